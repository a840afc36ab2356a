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
"""The commands, as somebody types them."""

from __future__ import annotations

import csv
import io
import json
import re
import signal
import subprocess
import time

import yaml

from tests.functional import base
from tests.functional.base import NODE, Outcome, program, run_cli
from tests.functional.fixtures import http_server, placement

#: Profiles, with a configuration that fits each.
PROFILES = {
    'v100x8': 'enabled_mdev_types = nvidia-194',
    'v100x8-busy': 'enabled_mdev_types = nvidia-194, nvidia-197\n'
    '[mdev_nvidia-197]\ndevice_addresses = 0000:1a:00.0',
    'a40-sriov': 'enabled_mdev_types = nvidia-562',
    'l40s-vendor-vfio': '[pci]\nreport_in_placement = true',
    'mtty': 'enabled_mdev_types = mtty-2\n'
    '[mdev_mtty-2]\ndevice_addresses = mtty_mtty',
    'mixed': 'enabled_mdev_types = nvidia-194, nvidia-562\n'
    '[mdev_nvidia-562]\ndevice_addresses = 0000:41:00.4',
}

#: The columns of each command: what scripts rely on.
COLUMNS = {
    'gpu list': 'address vendor_id device_id numa_node driver framework vfs '
    'total_vfs types mdevs',
    'type list': 'type name product series frame_buffer_mib heads resolution '
    'maximum available gpus',
    'mdev list': 'uuid type product gpu guest parameters',
    'config check': 'severity option found expected remedy',
    'inventory list': 'provider resource_class total used reserved min_unit '
    'max_unit step_size allocation_ratio traits',
    'sim list': 'profile gpus description',
}

SHOWN = (
    'address libvirt_name vendor_id device_id numa_node driver framework '
    'total_vfs vfs types mdevs'
)

#: Rows of each command on each profile.
ROWS = {
    'v100x8': {'gpu list': 8, 'mdev list': 0, 'inventory list': 8},
    'v100x8-busy': {'gpu list': 8, 'mdev list': 5, 'inventory list': 8},
    'a40-sriov': {'gpu list': 1, 'mdev list': 1},
    'l40s-vendor-vfio': {'gpu list': 1, 'mdev list': 0, 'inventory list': 1},
    'mtty': {'gpu list': 1, 'mdev list': 0, 'inventory list': 1},
    'mixed': {'gpu list': 5, 'mdev list': 1},
}

LAST_LINE = re.compile(
    r'^\d+ providers?, \d+ changes?, \d+ requests?, \d+\.\d\d s$'
)


class _Signalling:
    """Sends a signal while it is finalised."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGTERM)


class _SignalledTime:
    """Stands in for the module time; a signal comes in the first pause."""

    monotonic = staticmethod(time.monotonic)

    def __init__(self) -> None:
        self.pauses = 0

    def sleep(self, seconds: float) -> None:
        """Do not wait."""
        self.pauses += 1
        if self.pauses > 1:
            msg = 'it goes on'
            raise AssertionError(msg)
        _Signalling()


class FormatTest(base.HostTestCase):
    """Every command in every format, on every kind of host."""

    def run_on(self, profile: str, *command: str) -> Outcome:
        """Run a command on a simulated host."""
        conf = PROFILES[profile]
        if not conf.startswith('['):
            conf = f'[devices]\n{conf}'
        return run_cli(
            f'--config-file={self.write_conf(conf)}',
            f'--sysfs-root={self.root}',
            f'--node={NODE}',
            *command,
        )

    def check(self, profile: str) -> None:
        """Run every command that lists something, in every format."""
        self.root = self.host(profile)
        for command, names in COLUMNS.items():
            columns = names.split()
            found = {}
            for kind in ('json', 'yaml', 'csv', 'value', 'table'):
                found[kind] = self.run_on(
                    profile, *command.split(), '-f', kind
                )
            codes = {outcome.code for outcome in found.values()}
            self.assertEqual(1, len(codes), f'{profile} {command}')
            rows = json.loads(found['json'].out)
            if command != 'config check':
                self.assertEqual({0}, codes, found['json'])
            else:
                self.assertEqual({int(bool(rows))}, codes)
            expected = ROWS[profile].get(command)
            if expected is not None:
                self.assertEqual(expected, len(rows), f'{profile} {command}')
            for row in rows:
                self.assertEqual(columns, list(row))
            self.assertEqual(rows, yaml.safe_load(found['yaml'].out) or [])
            table = list(csv.reader(io.StringIO(found['csv'].out)))
            self.assertEqual(columns, table[0])
            self.assertEqual(len(rows), len(table) - 1)
            self.assertEqual(
                len(rows), len(found['value'].out.strip('\n').splitlines())
            )
            # A table without rows has no head either.
            for name in columns if rows else ():
                self.assertIn(name, found['table'].out)

    def check_show(self, profile: str, address: str) -> None:
        """Show one GPU in every format that one object has."""
        for kind in ('json', 'yaml', 'csv', 'value', 'table', 'shell'):
            found = self.run_on(profile, 'gpu', 'show', address, '-f', kind)
            self.assertEqual((0, ''), (found.code, found.err))
            self.assertIn(address, found.out)
            if kind == 'json':
                self.assertEqual(SHOWN.split(), list(json.loads(found.out)))

    def test_v100x8(self) -> None:
        """The reference host."""
        self.check('v100x8')
        self.check_show('v100x8', '0000:89:00.0')

    def test_v100x8_busy(self) -> None:
        """The same with mdevs of two types."""
        self.check('v100x8-busy')

    def test_a40_sriov(self) -> None:
        """Virtual functions with mdev types."""
        self.check('a40-sriov')
        self.check_show('a40-sriov', '0000:41:00.0')

    def test_l40s_vendor_vfio(self) -> None:
        """Virtual functions with vendor-specific VFIO."""
        self.check('l40s-vendor-vfio')

    def test_mtty(self) -> None:
        """A virtual parent."""
        self.check('mtty')
        self.check_show('mtty', 'mtty_mtty')

    def test_mixed(self) -> None:
        """All of them at once, and a GPU without a driver."""
        self.check('mixed')
        self.check_show('mixed', '0000:d8:00.0')

    def test_gpu_that_is_not_there(self) -> None:
        """The known ones are named."""
        self.root = self.host('mtty')
        for command in (
            ('gpu', 'show', '0000:1a:00.0'),
            ('type', 'list', '--gpu', '0000:1a:00.0'),
        ):
            found = self.run_on('mtty', *command)
            self.assertEqual(1, found.code)
            (line,) = found.errors
            self.assertIn("'0000:1a:00.0'", line)
            self.assertIn('mtty_mtty', line)

    def test_inventory_values(self) -> None:
        """Numbers are numbers, and traits a list, for programs."""
        self.root = self.host('v100x8')
        found = self.run_on('v100x8', 'inventory', 'list', '-f', 'json')
        row = json.loads(found.out)[0]
        self.assertEqual(f'{NODE}_pci_0000_1a_00_0', row['provider'])
        self.assertEqual((32, None), (row['total'], row['used']))
        self.assertIn('CUSTOM_NVIDIA_194', row['traits'])

    def test_config_pci(self) -> None:
        """The section for vendor-specific VFIO can be read by Nova."""
        self.root = self.host('l40s-vendor-vfio')
        found = self.run_on('l40s-vendor-vfio', 'config', 'pci')
        self.assertEqual((0, ''), (found.code, found.err))
        lines = found.out.splitlines()
        self.assertEqual(
            ['[filter_scheduler]', 'pci_in_placement = true', '[pci]'],
            lines[:3],
        )
        specs = [x for x in lines if x.startswith('device_spec = ')]
        self.assertEqual(3, len(specs))


class ReportTest(base.HostTestCase):
    """``nova-vgpu report``."""

    def setUp(self) -> None:
        super().setUp()
        self.server = self.useFixture(placement.PlacementServer())
        self.server.create_provider(NODE)
        conf = (
            '[devices]\nenabled_mdev_types = nvidia-194\n'
            + self.server.config_text()
        )
        self.arguments = [
            f'--config-file={self.write_conf(conf)}',
            f'--sysfs-root={self.host("v100x8")}',
            f'--node={NODE}',
        ]

    def report(self, *options: str) -> Outcome:
        """Report in this process."""
        return run_cli(*self.arguments, 'report', *options)

    def test_first_and_second(self) -> None:
        """Each action is a line; the last line counts truly."""
        with self.server.counting() as seen:
            found = self.report()
        self.assertEqual((0, ''), (found.code, found.err))
        *actions, last = found.out.splitlines()
        self.assertRegex(last, LAST_LINE)
        self.assertTrue(last.startswith('9 providers, 24 changes, '), last)
        self.assertIn(f' {len(seen)} requests, ', last)
        self.assertEqual(24, len(actions))
        for line in actions:
            self.assertRegex(line, '^(create provider|set (traits|inv))')
        with self.server.counting() as seen:
            found = self.report()
        self.assertEqual(1, len(found.out.splitlines()))
        self.assertRegex(found.out.strip(), LAST_LINE)
        self.assertIn('9 providers, 0 changes, ', found.out)
        self.assertEqual([], [r for r in seen if r.is_write])

    def test_dry_run(self) -> None:
        """It prints the actions and writes nothing."""
        with self.server.counting() as seen:
            found = self.report('--dry-run')
        self.assertEqual(0, found.code)
        self.assertEqual([], [r for r in seen if r.is_write])
        *lines, last = found.out.splitlines()
        self.assertIn('24 changes to make', last)
        done = self.report().out.splitlines()[:-1]
        self.assertEqual(sorted(done), sorted(lines))

    def test_what_is_allocated_is_an_error(self) -> None:
        """The rest is done; the exit code tells."""
        self.report()
        name = f'{NODE}_pci_0000_1a_00_0'
        self.server.allocate({name: {'VGPU': 20}})
        conf = (
            '[devices]\nenabled_mdev_types = nvidia-196\n'
            + self.server.config_text()
        )
        self.arguments[0] = f'--config-file={self.write_conf(conf)}'
        found = self.report()
        self.assertEqual(1, found.code)
        (line,) = found.errors
        self.assertIn(name, line)
        self.assertIn('20 VGPU allocated of 8', line)
        providers = self.server.providers(NODE)
        totals = {p.totals.get('VGPU') for p in providers.values()}
        self.assertEqual({None, 8, 20}, totals)

    def test_used_is_shown(self) -> None:
        """inventory list asks Placement for it."""
        self.report()
        self.server.allocate({f'{NODE}_pci_0000_1b_00_0': {'VGPU': 3}})
        found = run_cli(*self.arguments, 'inventory', 'list', '-f', 'json')
        used = {
            row['provider'][-12:]: row['used']
            for row in json.loads(found.out)
            if row['used']
        }
        self.assertEqual({'0000_1b_00_0': 3}, used)

    def test_bad_seconds(self) -> None:
        """Less than a second, or no number, is refused."""
        for text in ('0', 'often', '-1', 'nan', '1e9'):
            found = self.report(f'--watch={text}')
            self.assertNotEqual(0, found.code)
            self.assertIn(f"'{text}'", found.err)
            self.assertIn('1 to 86400', found.err)
        self.assertEqual([], self.server.requests)

    def start(self) -> subprocess.Popen[str]:
        """Watch in a process of its own."""
        child = subprocess.Popen(  # noqa: S603
            [*program(), *self.arguments, 'report', '--watch', '1'],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=base.program_environment(),
        )
        self.addCleanup(self._end, child)
        return child

    @staticmethod
    def _end(child: subprocess.Popen[str]) -> None:
        child.kill()
        child.communicate()

    def _reads(self) -> int:
        return sum('in_tree=' in r.path for r in self.server.requests)

    def test_watch_ends_cleanly(self) -> None:
        """SIGTERM and SIGINT end it with the last exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            before = self._reads()
            child = self.start()
            http_server.wait_until(lambda n=before: self._reads() >= n + 3)
            # Not in the middle of a request, but between two cycles.
            time.sleep(0.2)
            child.send_signal(number)
            out, err = child.communicate(timeout=120)
            self.assertEqual((0, ''), (child.returncode, err))
            lines = [x for x in out.splitlines() if LAST_LINE.match(x)]
            self.assertGreaterEqual(len(lines), 2)
            self.assertIn('9 providers, 0 changes, 1 request, ', lines[-1])

    def test_watch_ends_where_exceptions_are_dropped(self) -> None:
        """A signal that comes while an object is finalised counts."""
        self.patch('nova_vgpu_ext.cli.report.time', _SignalledTime())
        self.patch('sys.unraisablehook', lambda unraisable: None)
        for number in (signal.SIGINT, signal.SIGTERM):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        self.assertEqual(0, self.report('--watch=1').code)

    def test_watch_survives_an_outage(self) -> None:
        """A cycle that fails says so; a later one does the work."""
        child = self.start()
        http_server.wait_until(lambda: self._reads() >= 3)
        self.server.stop()
        assert child.stderr is not None  # noqa: S101
        line = child.stderr.readline()
        self.assertIn('no answer', line)
        self.assertNotIn('Traceback', line)
        name = f'{NODE}_pci_0000_1a_00_0'
        self.server.start_again()
        self.server.delete_provider(name)
        http_server.wait_until(
            lambda: (
                bool(self.server.find(name))
                and bool(self.server.provider(name).inventories)
            )
        )
        time.sleep(0.2)
        child.send_signal(signal.SIGTERM)
        _, err = child.communicate(timeout=120)
        self.assertEqual(0, child.returncode, err)
        self.assertNotIn('Traceback', err)
