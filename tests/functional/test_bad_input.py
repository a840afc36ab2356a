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
"""Bad input: one clear line, a non-zero exit, nothing half-written."""

from __future__ import annotations

import builtins
import dataclasses
import errno
import json
import os
import pathlib
from typing import Any

from tests.functional import base
from tests.functional.base import NODE, Outcome, run_cli
from tests.functional.fixtures import keystone, placement

GPU_1 = '0000:1a:00.0'
GPU_2 = '0000:1b:00.0'
NIC = '0000:5e:00.0'
COUNT = 8
GOOD = '[devices]\nenabled_mdev_types = nvidia-194\n'


@dataclasses.dataclass(frozen=True)
class Case:
    """One fault of a configuration, and what must be said of it."""

    name: str
    conf: str
    option: str
    words: tuple[str, ...]
    fatal: bool = False
    #: How many GPUs of v100x8 are reported nevertheless.
    reported: int = COUNT


def types(names: str, **sections: str) -> str:
    """Write ``[devices]`` and sections of types, one option in each."""
    text = f'[devices]\nenabled_mdev_types = {names}\n'
    for name, option in sections.items():
        text += f'[mdev_nvidia-{name[1:]}]\n{option}\n'
    return text


CASES = (
    Case(
        'unknown type',
        types('nvidia-194, nvidia-9999', n9999=f'device_addresses = {GPU_1}'),
        '[devices] enabled_mdev_types',
        ("'nvidia-9999'", 'no GPU offers', 'nvidia-194', 'type list'),
        reported=7,
    ),
    Case(
        'only type that no GPU offers',
        types('nvidia-250'),
        '[devices] enabled_mdev_types',
        ("'nvidia-250'", 'no GPU offers', 'nvidia-194', 'type list'),
        reported=0,
    ),
    Case(
        'duplicate address of two types',
        types(
            'nvidia-194, nvidia-196',
            n194=f'device_addresses = {GPU_1}',
            n196=f'device_addresses = {GPU_1}',
        ),
        '[mdev_nvidia-196] device_addresses',
        (GPU_1, 'nvidia-194 and nvidia-196', 'once', 'remove one'),
        fatal=True,
    ),
    Case(
        'duplicate address of one type',
        types('nvidia-194', n194=f'device_addresses = {GPU_1}, {GPU_1}'),
        '[mdev_nvidia-194] device_addresses',
        (GPU_1, 'twice', 'once', 'remove one'),
        fatal=True,
    ),
    Case(
        'malformed address',
        types('nvidia-194', n194='device_addresses = 1a:00.0'),
        '[mdev_nvidia-194] device_addresses',
        ("'1a:00.0'", 'like 0000:1a:00.0', 'gpu list'),
        fatal=True,
    ),
    Case(
        'address of a network card',
        types('nvidia-194', n194=f'device_addresses = {GPU_1}, {NIC}'),
        '[mdev_nvidia-194] device_addresses',
        (NIC, 'a network card', 'the address of a GPU', 'gpu list'),
        reported=1,
    ),
    Case(
        'max_instances 0',
        types('nvidia-194', n194='max_instances = 0'),
        '[mdev_nvidia-194] max_instances',
        ("'0'", 'a whole number from 1', 'mend or remove'),
        fatal=True,
    ),
    Case(
        'max_instances that is text',
        types('nvidia-194', n194='max_instances = all'),
        '[mdev_nvidia-194] max_instances',
        ("'all'", 'a whole number from 1', 'mend or remove'),
        fatal=True,
    ),
    Case(
        'max_instances below capacity',
        types('nvidia-194', n194='max_instances = 31'),
        '[mdev_nvidia-194] max_instances',
        ('31', GPU_1, 'no limit', 'remove it'),
        reported=0,
    ),
    Case(
        'class in lower case',
        types('nvidia-194', n194='mdev_class = vgpu'),
        '[mdev_nvidia-194] mdev_class',
        ("'vgpu'", 'VGPU, or CUSTOM_', 'mend or remove'),
        fatal=True,
    ),
)


class BadInputTestCase(base.HostTestCase):
    """A test of what the program says."""

    def setUp(self) -> None:
        super().setUp()
        self.waits = self.useFixture(base.Waits())

    def check_line(
        self, name: str, outcome: Outcome, *words: str, code: int = 1
    ) -> None:
        """Check an exit code and the one line on standard error."""
        self.assertEqual(code, outcome.code, f'{name}: {outcome}')
        self.assertEqual(1, len(outcome.errors), f'{name}: {outcome.err}')
        self.assertNotIn('Traceback', outcome.err)
        for word in words:
            self.assertIn(word, outcome.err, name)
        # What to do stands at the end.
        self.assertIn('; ', outcome.err, name)


class ConfigurationTest(BadInputTestCase):
    """Faults of nova.conf that the host reveals."""

    def setUp(self) -> None:
        super().setUp()
        self.root = self.host('v100x8')
        self.server = self.useFixture(placement.PlacementServer())

    def run_with(self, case: Case, node: str, *command: str) -> Outcome:
        """Run a command with the configuration of a case."""
        path = self.write_conf(case.conf + self.server.config_text())
        return run_cli(
            f'--config-file={path}',
            f'--sysfs-root={self.root}',
            f'--node={node}',
            *command,
        )

    def test_config_check(self) -> None:
        """One row that names everything; nothing on standard error."""
        for case in CASES:
            found = self.run_with(case, NODE, 'config', 'check', '-f', 'json')
            self.assertEqual((1, ''), (found.code, found.err), case.name)
            (row,) = json.loads(found.out)
            severity = 'fatal' if case.fatal else 'error'
            self.assertEqual(
                (severity, case.option), (row['severity'], row['option'])
            )
            text = ' '.join(row.values())
            for word in case.words:
                self.assertIn(word, text, case.name)

    def test_report(self) -> None:
        """What is fatal stops it; else the rest is reported."""
        for number, case in enumerate(CASES):
            node = f'node{number}'
            self.server.create_provider(node)
            with self.server.counting() as seen:
                found = self.run_with(case, node, 'report')
            self.check_line(case.name, found, case.option, *case.words)
            self.assertNotIn('Traceback', found.out)
            children = len(self.server.providers(node)) - 1
            if case.fatal:
                self.assertEqual([], seen, case.name)
                self.assertEqual('', found.out)
                self.assertEqual(0, children, case.name)
            else:
                self.assertEqual(case.reported, children, case.name)
                self.assertIn(f'{children + 1} provider', found.out)

    def test_inventory_list(self) -> None:
        """It fails where Nova would refuse to start, and only there."""
        for number, case in enumerate(CASES):
            node = f'node{number}'
            self.server.create_provider(node)
            found = self.run_with(
                case, node, 'inventory', 'list', '-f', 'json'
            )
            self.assertEqual(int(case.fatal), found.code, case.name)
            self.assertEqual(1, len(found.errors), found.err)
            rows = json.loads(found.out)
            expected = 0 if case.fatal else case.reported
            self.assertEqual(expected, len(rows), case.name)


class FileTest(BadInputTestCase):
    """Files and folders that cannot be used, in each command."""

    COMMANDS = (
        ('config', 'check'),
        ('inventory', 'list'),
        ('report',),
        ('report', '--dry-run'),
        ('config', 'pci'),
    )

    def each(
        self,
        name: str,
        arguments: list[str],
        *words: str,
        commands: tuple[tuple[str, ...], ...] = COMMANDS,
    ) -> None:
        """Run every command that reads configuration and host."""
        for command in commands:
            found = run_cli(*arguments, *command)
            self.check_line(f'{name} {command}', found, *words)
            self.assertEqual('', found.out.strip())

    def test_nova_conf(self) -> None:
        """Missing, a folder, malformed, not text."""
        root = f'--sysfs-root={self.host("v100x8")}'
        folder = self.temp_dir()
        bad = folder / 'bad.conf'
        bad.write_bytes(b'\xff\xfe\x00')
        broken = self.write_conf('[devices]\nenabled_mdev_types\n')
        for name, path, words in (
            ('missing', folder / 'none.conf', ('no such file',)),
            ('folder', folder, ('directory', 'a file')),
            ('malformed', pathlib.Path(broken), (':2:', 'an INI file')),
            ('binary', bad, ('UTF-8', 'an INI file')),
        ):
            self.each(
                name,
                [f'--config-file={path}', root, f'--node={NODE}'],
                str(path),
                'found',
                'expected',
                *words,
            )

    def test_unreadable_nova_conf(self) -> None:
        """Injected at open(), for the tests may run as root."""
        path = self.write_conf(GOOD)
        real = builtins.open

        def refuse(file: Any, *args: Any, **kwargs: Any) -> Any:
            if file == path:
                raise OSError(errno.EACCES, os.strerror(errno.EACCES), file)
            return real(file, *args, **kwargs)

        root = self.host('v100x8')
        self.patch('builtins.open', refuse)
        self.each(
            'unreadable',
            [f'--config-file={path}', f'--sysfs-root={root}'],
            path,
            'permission denied',
        )

    def test_no_nova_conf(self) -> None:
        """Nothing given and nothing in the usual places."""
        self.patch('oslo_config.cfg.find_config_files', lambda *a, **k: [])
        self.patch('oslo_config.cfg.find_config_dirs', lambda *a, **k: [])
        self.each(
            'none',
            [f'--sysfs-root={self.host("v100x8")}'],
            'nova.conf',
            '--config-file',
            # The [pci] options come from the host alone.
            commands=self.COMMANDS[:-1],
        )

    def test_sysfs_root_without_pci(self) -> None:
        """Neither an empty folder nor a missing one is a host."""
        path = self.write_conf(GOOD)
        folder = self.temp_dir()
        for root in (folder, folder / 'none'):
            self.each(
                'sysfs',
                [f'--config-file={path}', f'--sysfs-root={root}'],
                '[vgpu] sysfs_root',
                str(root),
                'no bus/pci/devices',
                '/sys',
            )
            found = run_cli(f'--sysfs-root={root}', 'gpu', 'list')
            self.check_line('gpu list', found, str(root))

    def test_bad_values_of_our_own_options(self) -> None:
        """[vgpu] is checked as well as Nova's options."""
        path = self.write_conf(GOOD + '[vgpu]\ntraits = kind\n')
        root = f'--sysfs-root={self.host("v100x8")}'
        found = run_cli(f'--config-file={path}', root, 'config', 'check')
        self.check_line('traits', found, '[vgpu] traits', "'kind'", 'product')

    def test_no_placement_section(self) -> None:
        """The report needs it; the checks do not."""
        path = self.write_conf(GOOD)
        root = f'--sysfs-root={self.host("v100x8")}'
        arguments = [f'--config-file={path}', root, f'--node={NODE}']
        found = run_cli(*arguments, 'report')
        self.check_line(
            'report', found, '[placement] auth_type', 'nothing', 'auth_url'
        )
        for command in (('config', 'check'), ('inventory', 'list')):
            self.assertEqual(0, run_cli(*arguments, *command).code)

    def test_incomplete_placement_section(self) -> None:
        """What keystoneauth misses is told in one line."""
        root = f'--sysfs-root={self.host("v100x8")}'
        for text, word in (
            ('auth_type = password\n', 'auth_url'),
            ('auth_type = nonsense\n', 'nonsense'),
            ('auth_type = password\nauth_url = nonsense\n', 'nonsense'),
            (
                'auth_type = password\nauth_url = http://a.invalid/v3\n',
                'required',
            ),
        ):
            path = self.write_conf(f'{GOOD}[placement]\n{text}')
            found = run_cli(
                f'--config-file={path}', root, f'--node={NODE}', 'report'
            )
            self.check_line(text, found, '[placement]', word)


class PlacementFaultTest(BadInputTestCase):
    """Placement that answers wrongly, or not at all."""

    def setUp(self) -> None:
        super().setUp()
        self.server = self.useFixture(placement.PlacementServer())
        self.root = self.host('v100x8')
        self.server.create_provider(NODE)

    def report(self, node: str = NODE, **options: str) -> Outcome:
        """Report the host."""
        path = self.write_conf(GOOD + self.server.config_text(**options))
        return run_cli(
            f'--config-file={path}',
            f'--sysfs-root={self.root}',
            f'--node={node}',
            'report',
        )

    def check_repaired(self) -> None:
        """Check that the next run makes all well."""
        self.server.clear_faults()
        found = self.report()
        self.assertEqual((0, ''), (found.code, found.err))
        self.assertEqual(COUNT + 1, len(self.server.providers()))

    def test_unknown_node(self) -> None:
        """The name is shown, and where to take the right one from."""
        found = self.report('elsewhere')
        self.check_line('node', found, "'elsewhere'", '--node', 'hypervisor')
        self.assertEqual([], [r for r in self.server.requests if r.is_write])

    def test_stopped(self) -> None:
        """Connection refused."""
        self.server.stop()
        found = self.report()
        self.check_line('stopped', found, self.server.url, 'no answer')
        self.server.start_again()
        self.check_repaired()

    def test_errors_that_stay(self) -> None:
        """From the first request on, and later."""
        for status in (500, 503):
            for skip in (0, 1, 6):
                self.server.fault_status(status, times=10000, skip=skip)
                found = self.report()
                words = (str(status),) if skip else ()
                self.check_line(f'{status} {skip}', found, 'log', *words)
                self.server.clear_faults()
        self.check_repaired()

    def test_errors_that_pass(self) -> None:
        """Two errors, then fine, wherever they come: nobody notices."""
        for number, skip in enumerate((0, 1, 4, 9)):
            node = f'node{number}'
            self.server.create_provider(node)
            self.server.fault_status(500, skip=skip)
            self.server.fault_status(503, skip=skip)
            found = self.report(node)
            self.assertEqual((0, ''), (found.code, found.err), skip)
            self.assertEqual(COUNT + 1, len(self.server.providers(node)))
            self.server.clear_faults()

    def test_login_page(self) -> None:
        """HTML with 200, as a proxy with a login answers."""
        for skip in (0, 1, 5, 12):
            self.server.fault_login_page(times=10000, skip=skip)
            found = self.report()
            self.check_line(f'login {skip}', found, 'endpoint_override')
            self.server.clear_faults()
        self.check_repaired()

    def test_truncated(self) -> None:
        """Half an answer, each time."""
        for skip in (0, 1, 5):
            self.server.fault_truncate(times=10000, skip=skip)
            found = self.report()
            self.check_line(f'truncated {skip}', found)
            self.server.clear_faults()
        self.check_repaired()

    def test_too_slow(self) -> None:
        """A request ends after [placement] timeout."""
        self.server.fault_slow(5, times=10000, skip=1)
        found = self.report(timeout='0.2')
        self.check_line('slow', found, 'no answer')

    def test_other_service(self) -> None:
        """JSON of something else than Placement."""
        self.server.fault(
            status=200, body=b'{"hello": "world"}', times=10000, skip=1
        )
        self.check_line('other', self.report(), 'another service')
        self.server.clear_faults()
        self.check_repaired()

    def test_wrong_token(self) -> None:
        """A user that may not."""
        self.check_line('token', self.report(token='wrong'), '[placement]')  # noqa: S106


class KeystoneTest(BadInputTestCase):
    """What the real Keystone refuses."""

    def setUp(self) -> None:
        super().setUp()
        self.keystone = self.useFixture(keystone.KeystoneServer())
        self.server = self.useFixture(
            placement.PlacementServer(keystone=self.keystone)
        )
        self.server.create_provider(NODE)
        self.root = self.host('v100x8')

    def report(self, **options: str) -> Outcome:
        """Report the host."""
        path = self.write_conf(GOOD + self.server.config_text(**options))
        return run_cli(
            f'--config-file={path}',
            f'--sysfs-root={self.root}',
            f'--node={NODE}',
            'report',
        )

    def test_credentials(self) -> None:
        """Wrong password, user, project, region; no Keystone; no role."""
        for name, options, words in (
            (
                'password',
                {'password': 'wrong'},
                ('Keystone refused', 'check username, password'),
            ),
            ('user', {'username': 'nobody'}, ('Keystone refused',)),
            ('project', {'project_name': 'none'}, ('Keystone refused',)),
            ('region', {'region_name': 'Elsewhere'}, ('region_name',)),
            (
                'interface',
                {'valid_interfaces': 'nowhere'},
                ('valid_interfaces',),
            ),
            (
                'no Keystone',
                {'auth_url': 'http://127.0.0.1:9/v3'},
                ('http://127.0.0.1:9/v3',),
            ),
            ('role', {'username': 'weak'}, ('403', 'role')),
        ):
            with self.server.counting() as seen:
                found = self.report(**options)
            self.check_line(name, found, *words)
            self.assertEqual('', found.out)
            self.assertEqual([], [r for r in seen if r.is_write])

    def test_nova_s_own_section(self) -> None:
        """The section of a working nova.conf is enough."""
        found = self.report()
        self.assertEqual((0, ''), (found.code, found.err))
        self.assertEqual(COUNT + 1, len(self.server.providers()))
