# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.
"""``nova-vgpu doctor``, as somebody types it."""

from __future__ import annotations

import csv
import functools
import io
import json
import pathlib
import socket
from typing import Any

import yaml

from nova_vgpu_ext.host import hook_file, system
from nova_vgpu_ext.plan import doctor
from nova_vgpu_ext.sim import kernel, profile
from tests.functional import base
from tests.functional.base import NODE, Outcome, run_cli
from tests.functional.fixtures import libvirt as libvirt_fixture
from tests.functional.fixtures import placement

COLUMNS = ['check', 'status', 'found', 'expected', 'remedy']
#: The checks that look at no machine.
SIMULATED = [
    *('sysfs', 'vfs', 'config', 'types', 'leftovers', 'orphans', 'domains'),
    *('definitions', 'live-migration-options', 'state', 'ledger'),
    'placement',
]

CONF = """\
[devices]
enabled_mdev_types = nvidia-194
[libvirt]
live_migration_downtime = 500000
live_migration_downtime_steps = 3
live_migration_downtime_delay = 3
"""

UNIT = """\
LoadState=loaded
ActiveState=active
Result=success
UnitFileState=enabled
"""
MOUNTS = """\
22 1 8:1 / / rw - ext4 /dev/sda1 rw
23 22 0:21 / /sys rw - sysfs sysfs rw
"""


class DoctorTestCase(base.HostTestCase):
    """A simulated host, its configuration, and the command."""

    def setUp(self) -> None:
        super().setUp()
        self.root = str(self.temp_dir() / 'host')
        kernel.build(profile.load('v100x8'), self.root)
        self.configure(CONF)

    def configure(self, text: str) -> None:
        """Write nova.conf."""
        self.config_file = self.write_conf(text)

    def doctor(self, *options: str) -> Outcome:
        """Run the command."""
        return run_cli(
            f'--config-file={self.config_file}',
            f'--sysfs-root={self.root}',
            f'--node={NODE}',
            'doctor',
            *options,
        )

    def rows(self, code: int, *options: str) -> dict[str, dict[str, Any]]:
        """Run it; give the rows by their check."""
        found = self.doctor('-f', 'json', *options)
        self.assertNotIn('Traceback', found.err)
        self.assertEqual(code, found.code, found)
        rows = json.loads(found.out)
        for row in rows:
            self.assertEqual(COLUMNS, list(row))
        return {row['check']: row for row in rows}

    def problems(self, code: int, *options: str) -> dict[str, str]:
        """Run it; give the status of what is not ok."""
        rows = self.rows(code, '--problems', *options)
        return {name: row['status'] for name, row in rows.items()}

    def write_to(self, path: str, text: str) -> None:
        """Write to a file of the host, as somebody would to sysfs."""
        kernel.SimulatedKernel(self.root).write(f'{self.root}/{path}', text)


class SimulatedTest(DoctorTestCase):
    """A simulated host, without Placement."""

    def test_rows(self) -> None:
        """Order and columns are stable; what is not known counts."""
        rows = self.rows(1)
        self.assertEqual(SIMULATED, list(rows))
        self.assertEqual('unknown', rows['placement']['status'])
        self.assertEqual(
            {'ok'},
            {r['status'] for n, r in rows.items() if n != 'placement'},
        )

    def test_skip(self) -> None:
        """What is left out does not count, and is not shown."""
        rows = self.rows(0, '--skip=placement', '--skip', 'hook')
        self.assertEqual([n for n in SIMULATED if n != 'placement'], [*rows])

    def test_unknown_skip(self) -> None:
        """The known names are told."""
        found = self.doctor('--skip=nothing')
        self.assertEqual((2, ''), (found.code, found.out))
        self.assertIn('live-migration-options', found.err)

    def test_problems(self) -> None:
        """Only those are shown; the exit code is that of all."""
        self.assertEqual({'placement': 'unknown'}, self.problems(1))
        found = self.doctor('--problems', '--skip=placement')
        self.assertEqual((0, 'no problems\n'), (found.code, found.err))

    def test_formats(self) -> None:
        """Every format says the same."""
        expected = list(self.rows(1).values())
        found = yaml.safe_load(self.doctor('-f', 'yaml').out)
        self.assertEqual(expected, found)
        lines = csv.DictReader(
            io.StringIO(self.doctor('-f', 'csv', '--quote=all').out)
        )
        self.assertEqual(expected, list(lines))
        for kind in ('table', 'value'):
            for name in SIMULATED:
                self.assertIn(name, self.doctor('-f', kind).out)

    def test_nothing_is_changed(self) -> None:
        """Neither on the host, nor below it."""

        def contents() -> dict[str, bytes]:
            return {
                str(path): path.read_bytes()
                for path in pathlib.Path(self.root).rglob('*')
                if path.is_file()
            }

        before = contents()
        self.rows(1)
        self.assertEqual(before, contents())

    def test_default_options(self) -> None:
        """Those of Nova are a warning, because migration is optional."""
        self.configure('[devices]\nenabled_mdev_types = nvidia-194\n')
        self.assertEqual(
            {'live-migration-options': 'warning'},
            self.problems(1, '--skip=placement'),
        )

    def test_configuration_that_does_not_fit(self) -> None:
        """It is an error."""
        self.configure(CONF.replace('nvidia-194', 'nvidia-999'))
        self.assertEqual(
            {'config': 'error'}, self.problems(2, '--skip=placement')
        )

    def test_no_configuration(self) -> None:
        """What needs it is unknown; the rest is looked at."""
        self.patch('os.path.expanduser', lambda path: '/nowhere')
        found = run_cli(f'--sysfs-root={self.root}', 'doctor', '-f', 'json')
        self.assertEqual(1, found.code, found)
        rows = {r['check']: r for r in json.loads(found.out)}
        self.assertEqual('unknown', rows['config']['status'])
        self.assertIn('--config-file', rows['config']['remedy'])
        self.assertEqual('ok', rows['sysfs']['status'])

    def test_broken_configuration(self) -> None:
        """Every row is there; one says what is wrong, and where."""
        self.configure('[devices\n')
        rows = self.rows(2)
        self.assertEqual(SIMULATED, list(rows))
        self.assertEqual('error', rows['config']['status'])
        self.assertIn(self.config_file, rows['config']['found'])
        self.assertNotIn('this is a bug', str(rows))

    def test_bad_option(self) -> None:
        """An option of this project's own is named."""
        self.configure(f'{CONF}[vgpu]\norphan_grace = soon\n')
        rows = self.rows(2)
        self.assertEqual('error', rows['config']['status'])
        self.assertIn("'soon'", rows['config']['found'])
        self.assertIn('orphan_grace', rows['config']['found'])
        self.assertNotIn('this is a bug', str(rows))

    def test_broken_ledger(self) -> None:
        """One row says so; what needs it is not known."""
        folder = pathlib.Path(self.root, kernel.FOLDER, 'state')
        folder.mkdir()
        (folder / 'ledger.json').write_text('{')
        self.assertEqual(
            {
                'ledger': 'error',
                'definitions': 'unknown',
                'domains': 'unknown',
            },
            self.problems(2, '--skip=placement'),
        )

    def test_open_folder(self) -> None:
        """A folder that everybody writes."""
        folder = pathlib.Path(self.root, kernel.FOLDER, 'state')
        folder.mkdir()
        folder.chmod(0o777)
        self.assertEqual(
            {'state': 'warning'}, self.problems(1, '--skip=placement')
        )

    def test_leftover(self) -> None:
        """An mdev of another type takes the GPU."""
        uuid = 'd878445d-df99-4510-b467-c67a4c1a7c34'
        gpu = 'bus/pci/devices/0000:1a:00.0'
        self.write_to(f'{gpu}/mdev_supported_types/nvidia-196/create', uuid)
        rows = self.rows(2, '--problems', '--skip=placement')
        self.assertEqual(['leftovers'], list(rows))
        self.assertIn(uuid, rows['leftovers']['found'])
        self.assertIn('mdev clean', rows['leftovers']['remedy'])

    def test_check_that_fails(self) -> None:
        """It hides no other one."""

        def fail(*_: object) -> None:
            raise ZeroDivisionError

        self.patch('nova_vgpu_ext.plan.functions.enable', fail)
        rows = self.rows(1, '--skip=placement')
        self.assertEqual(SIMULATED[:-1], list(rows))
        self.assertEqual('unknown', rows['vfs']['status'])
        self.assertIn('ZeroDivisionError', rows['vfs']['found'])
        others = {r['status'] for n, r in rows.items() if n != 'vfs'}
        self.assertEqual({'ok'}, others)

    def test_no_host(self) -> None:
        """A folder that is no host is an error, and no traceback."""
        self.root = str(self.temp_dir())
        rows = self.rows(2)
        self.assertEqual('error', rows['sysfs']['status'])
        self.assertIn(self.root, rows['sysfs']['found'])


class VirtualFunctionsTest(DoctorTestCase):
    """Cards that have just booted."""

    def build(self, name: str, conf: str) -> None:
        """Make a host whose functions are not enabled."""
        self.root = str(self.temp_dir() / name)
        kernel.build(profile.load(name), self.root, vfs=False)
        self.configure(conf)

    def test_not_enabled(self) -> None:
        """The command that enables them is named."""
        self.build('a40-sriov', CONF.replace('nvidia-194', 'nvidia-562'))
        rows = self.rows(2)
        self.assertEqual('error', rows['vfs']['status'])
        self.assertIn('nova-vgpu prepare', rows['vfs']['remedy'])

    def test_types(self) -> None:
        """They are set by the same command, once the functions are there."""
        conf = CONF.replace('enabled_mdev_types = nvidia-194', '')
        self.build(
            'l40s-vendor-vfio',
            f'{conf}[vgpu]\nvf_types = 1153\n'
            '[pci]\nreport_in_placement = true\n',
        )
        arguments = [
            f'--config-file={self.config_file}',
            f'--sysfs-root={self.root}',
        ]
        self.assertEqual('error', self.problems(2)['vfs'])
        self.assertEqual(0, run_cli(*arguments, 'prepare').code)
        self.assertEqual({}, self.problems(0, '--skip=placement'))


class PlacementTest(DoctorTestCase):
    """What Placement says of the host."""

    def setUp(self) -> None:
        super().setUp()
        self.server = self.useFixture(placement.PlacementServer())
        self.server.create_provider(NODE)
        self.configure(CONF + self.server.config_text())

    def test_in_line(self) -> None:
        """Before a report there is something to do, afterwards nothing."""
        with self.server.counting() as seen:
            rows = self.rows(1)
        self.assertEqual([], [r for r in seen if r.is_write])
        self.assertEqual('warning', rows['placement']['status'])
        self.assertIn('24 changes to make', rows['placement']['found'])
        run_cli(
            f'--config-file={self.config_file}',
            f'--sysfs-root={self.root}',
            f'--node={NODE}',
            'report',
        )
        rows = self.rows(0)
        self.assertEqual(SIMULATED, list(rows))
        self.assertIn('9 providers', rows['placement']['found'])
        self.assertEqual({'ok'}, {r['status'] for r in rows.values()})

    def test_findings(self) -> None:
        """What stands in the way of a report is an error."""
        self.server.set_inventories(NODE, {'VGPU': {'total': 4}})
        self.assertEqual({'placement': 'error'}, self.problems(2))

    def test_fatal_configuration(self) -> None:
        """Nothing is compared with a configuration that Nova refuses."""
        self.configure(
            f'{CONF}[mdev_nvidia-194]\n'
            'device_addresses = 0000:1a:00.0, 0000:1a:00.0\n'
            + self.server.config_text()
        )
        found = self.problems(2)
        self.assertEqual('error', found.pop('config'))
        self.assertEqual({'unknown'}, set(found.values()))
        self.assertEqual({'leftovers', 'placement'}, set(found))

    def test_unknown_node(self) -> None:
        """The name is told."""
        self.server.delete_provider(NODE)
        rows = self.rows(2, '--problems')
        self.assertEqual(['placement'], list(rows))
        self.assertIn(NODE, rows['placement']['found'])

    def test_down(self) -> None:
        """It is an error; the rest is looked at."""
        self.useFixture(base.Waits())
        self.server.stop()
        self.assertEqual({'placement': 'error'}, self.problems(2))

    def test_silent(self) -> None:
        """It is not waited for."""
        silent = socket.create_server(('127.0.0.1', 0))
        self.addCleanup(silent.close)
        self.patch('nova_vgpu_ext.cli.doctor._SECONDS', 1)
        self.patch('nova_vgpu_ext.cli.doctor._REQUEST_SECONDS', 2)
        self.configure(
            f'{CONF}[placement]\nauth_type = admin_token\ntoken = x\n'
            f'endpoint = http://127.0.0.1:{silent.getsockname()[1]}\n'
        )
        rows = self.rows(1, '--problems')
        self.assertEqual(['placement'], list(rows))
        self.assertEqual(
            'Placement: no answer in time', rows['placement']['found']
        )

    def test_bad_section(self) -> None:
        """What is missing in it is told."""
        self.configure(f'{CONF}[placement]\nauth_type = password\n')
        rows = self.rows(2, '--problems')
        self.assertEqual(['placement'], list(rows))
        self.assertIn('[placement]', rows['placement']['found'])


class MachineTest(DoctorTestCase):
    """A host that is not simulated, with a machine around it."""

    def setUp(self) -> None:
        super().setUp()
        self.root = self.host('v100x8')
        self.machine = self.temp_dir()
        self.libvirt = self.useFixture(libvirt_fixture.Libvirt())
        connection = self.libvirt._connection
        connection.fakeLibVersion, connection.fakeVersion = 11003000, 10000000
        self.write('proc/sys/kernel/osrelease', '6.1.0-42-amd64\n')
        self.write('proc/cmdline', 'ro quiet\n')
        self.write(
            'proc/modules', 'nvidia_vgpu_vfio 1\nnvidia 1\nmdev 1\nvfio 1\n'
        )
        self.write('proc/self/mountinfo', MOUNTS)
        self.write('usr/sbin/mdevctl', '#!')
        self.write('usr/lib/udev/rules.d/60-mdevctl.rules', 'x')
        path = pathlib.Path(self.root, 'module/nvidia/version')
        path.parent.mkdir(parents=True)
        path.write_text('390.113\n')
        self.settings = {
            'sysfs_root': self.root,
            'state_path': str(self.machine / 'var/lib/state'),
            'mdevctl_path': str(self.machine / 'etc/mdevctl.d'),
        }
        hook_file.install(
            str(self.machine / 'etc/libvirt/hooks'), self.settings
        )
        program = self.write(
            'usr/bin/systemctl', f"#!/bin/sh\ncat <<'EOF'\n{UNITS}EOF\n"
        )
        program.chmod(0o755)
        self.patch(
            'nova_vgpu_ext.host.system.Places',
            functools.partial(
                system.Places,
                root=str(self.machine),
                systemctl=str(program),
                environment={},
            ),
        )
        self.configure(CONF)

    def write(self, name: str, text: str) -> pathlib.Path:
        """Write a file of the machine."""
        path = self.machine / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def configure(self, text: str) -> None:
        """Write nova.conf, with the machine's folders."""
        if hasattr(self, 'settings'):
            paths = {
                k: v for k, v in self.settings.items() if k != 'sysfs_root'
            }
            catalog = self.write('vgpuConfig.xml', '<vgpuconfig/>')
            paths['driver_catalog'] = str(catalog)
            text += '[vgpu]\n' + ''.join(
                f'{name} = {path}\n' for name, path in paths.items()
            )
        super().configure(text)

    def test_rows(self) -> None:
        """All of them, and all is well."""
        rows = self.rows(0, '--skip=placement')
        self.assertEqual(
            [c.name for c in doctor.CHECKS if c.name != 'placement'],
            list(rows),
        )

    def test_libvirt_is_asked(self) -> None:
        """A domain whose mdev is gone."""
        uuid = 'd878445d-df99-4510-b467-c67a4c1a7c34'
        self.libvirt.define('instance-1', [uuid])
        self.assertEqual(
            {'domains': 'error'}, self.problems(2, '--skip=placement')
        )

    def test_libvirt_down(self) -> None:
        """One error, and some that are not known."""
        self.libvirt.error = 'Failed to connect socket'
        rows = self.rows(2, '--problems', '--skip=placement')
        statuses = {name: row['status'] for name, row in rows.items()}
        self.assertEqual('error', statuses.pop('libvirt'))
        self.assertEqual(
            dict.fromkeys(('domains', 'definitions', 'qemu'), 'unknown'),
            statuses,
        )
        self.assertIn('Failed to connect', rows['libvirt']['found'])

    def test_machine(self) -> None:
        """Each part of it has a row."""
        self.write('proc/modules', 'nouveau 1\n')
        self.write('proc/sys/kernel/osrelease', '5.10.0\n')
        (self.machine / 'usr/sbin/mdevctl').unlink()
        (self.machine / 'usr/lib/udev/rules.d/60-mdevctl.rules').unlink()
        (self.machine / 'usr/bin/systemctl').write_text('#!/bin/sh\nexit 1\n')
        hook_file.remove(str(self.machine / 'etc/libvirt/hooks'))
        self.assertEqual(
            {
                'kernel': 'warning',
                'modules': 'error',
                'services': 'unknown',
                'mdevctl': 'error',
                'mdevctl-udev': 'warning',
                'hook': 'warning',
                'prepare': 'unknown',
                'agent': 'unknown',
            },
            self.problems(2, '--skip=placement'),
        )

    def test_container(self) -> None:
        """Folders that go with it are told."""
        self.write('.dockerenv', '')
        rows = self.rows(1, '--problems', '--skip=placement')
        self.assertEqual('warning', rows['mounts']['status'])
        self.assertIn('/etc/libvirt/hooks', rows['mounts']['found'])


UNITS = '\n'.join([UNIT] * len(system.SERVICES))
