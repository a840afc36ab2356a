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
"""The parts of tools/cloud that need no service."""

from __future__ import annotations

import configparser
import contextlib
import io
import json
import os
import pathlib
import signal
import stat
import sys
import time

from tests import base
from tools.labvm import host
from tools.minicloud import (
    CloudError,
    __main__,
    cloud,
    files,
    processes,
    services,
    settings,
)

_SLEEP = [sys.executable, '-c', 'import time; time.sleep(60)']
#: Says its child's number, and ignores the request to end.
_STUBBORN = [
    sys.executable,
    '-c',
    'import signal, subprocess, sys, time\n'
    'signal.signal(signal.SIGTERM, signal.SIG_IGN)\n'
    'child = subprocess.Popen(["sleep", "60"])\n'
    'print(child.pid, flush=True)\n'
    'time.sleep(60)\n',
]


def mode(path: pathlib.Path) -> str:
    """Give the permissions of a file."""
    return oct(stat.S_IMODE(path.stat().st_mode))


class ProcessesTest(base.TestCase):
    """Processes are those that were started, and end by their numbers."""

    def setUp(self) -> None:
        super().setUp()
        self.log = self.temp_dir()
        self.folder = self.temp_dir() / 'run'
        self.processes = self.again()
        self.addCleanup(lambda: self.processes.stop(self.processes.names()))

    def again(self) -> processes.Processes:
        """Look at them as a new command would."""
        return processes.Processes(self.folder, self.log)

    def test_start_and_stop(self) -> None:
        """A process is known to later commands until it is stopped."""
        self.processes.start('one', _SLEEP)
        self.assertTrue(self.again().is_running('one'))
        self.assertEqual(['one'], self.again().names())
        self.again().stop(['one', 'never-started'])
        self.assertFalse(self.processes.is_running('one'))
        self.assertEqual([], self.processes.names())

    def test_everything_of_a_session_ends(self) -> None:
        """What a process has started ends with it, asked or killed."""
        self.patch('tools.minicloud.processes._PATIENCE', 0.5)
        self.processes.start('stubborn', _STUBBORN)
        out = self.log / 'stubborn.out'
        end = time.monotonic() + 10
        while not out.read_text() and time.monotonic() < end:
            time.sleep(0.02)
        child = int(out.read_text())
        self.assertNotEqual(0, host.began(child))
        self.processes.stop(['stubborn'])
        self.assertFalse(self.processes.is_running('stubborn'))
        end = time.monotonic() + 10
        while host.began(child) and time.monotonic() < end:
            time.sleep(0.02)
        self.assertEqual(0, host.began(child))

    def test_what_outlives_its_leader_ends(self) -> None:
        """A process that was killed has left others of its session."""
        self.patch('tools.minicloud.processes._PATIENCE', 0.5)
        self.processes.start('killed', _STUBBORN)
        out = self.log / 'killed.out'
        end = time.monotonic() + 10
        while not out.read_text() and time.monotonic() < end:
            time.sleep(0.02)
        pid, _ = json.loads((self.folder / 'killed.json').read_text())
        os.kill(pid, signal.SIGKILL)
        while self.processes.is_running('killed') and time.monotonic() < end:
            time.sleep(0.02)
        child = int(out.read_text())
        self.assertNotEqual(0, host.began(child))
        self.again().stop(['killed'])
        self.assertEqual(0, host.began(child))

    def test_run_to_the_end(self) -> None:
        """A command that fails says why; none is remembered."""
        self.processes.run('good', ['true'])
        error = self.assertRaises(
            CloudError,
            self.processes.run,
            'bad',
            ['sh', '-c', 'echo no such table; exit 3'],
        )
        self.assertIn('bad ended with 3', str(error))
        self.assertIn('no such table', str(error))
        self.assertEqual([], self.processes.names())

    def test_another_process_with_the_number(self) -> None:
        """A number that somebody else has by now is never signalled."""
        self.folder.mkdir()
        record = [os.getpid(), host.began(os.getpid()) - 1]
        (self.folder / 'old.json').write_text(json.dumps(record))
        asked: list[int] = []
        before = signal.signal(signal.SIGTERM, lambda n, f: asked.append(n))
        self.addCleanup(signal.signal, signal.SIGTERM, before)
        self.assertFalse(self.processes.is_running('old'))
        self.processes.stop(['old'])
        self.assertEqual([], asked)
        self.assertEqual([], self.processes.names())

    def test_broken_record(self) -> None:
        """What a kill left half-written is as good as nothing."""
        self.folder.mkdir()
        (self.folder / 'half.json').write_text('[12')
        self.assertFalse(self.processes.is_running('half'))
        self.processes.stop(['half'])
        self.assertEqual([], self.processes.names())

    def test_ended_too_early(self) -> None:
        """Why a process has ended is in the message."""
        self.processes.start('short', ['sh', '-c', 'echo no such option'])
        end = time.monotonic() + 10
        while self.processes.is_running('short') and time.monotonic() < end:
            time.sleep(0.02)
        error = self.assertRaises(CloudError, self.processes.check, 'short')
        self.assertIn('short has ended', str(error))
        self.assertIn('no such option', str(error))


class SettingsTest(base.TestCase):
    """A cloud's settings, and the files that are made of them."""

    def create(self) -> settings.Settings:
        """Make a cloud's folder."""
        made = settings.create(
            self.temp_dir() / 'clouds' / 'one', cloud.COMPUTES, ('x.conf',)
        )
        self.addCleanup(settings.forget, made)
        return made

    def test_roundtrip(self) -> None:
        """What is remembered is what was made."""
        made = self.create()
        self.assertEqual(made, settings.load(made.folder))
        self.assertEqual(len(settings.PORTS), len(set(made.ports.values())))

    def test_no_cloud(self) -> None:
        """Where nothing was made, nothing is loaded."""
        folder = self.temp_dir()
        self.assertIsNone(settings.load(folder))
        found = cloud.Cloud(folder)
        error = self.assertRaises(CloudError, lambda: found.settings)
        self.assertIn('tools/cloud up', str(error))
        self.assertFalse(found.is_up)

    def test_file_of_another_version(self) -> None:
        """What cannot be read is no cloud, and can be taken down."""
        made = self.create()
        for text in ('{', '[]', '{"ports": {}}'):
            (made.folder / 'cloud.json').write_text(text)
            self.assertIsNone(settings.load(made.folder), text)

    def test_ports_are_not_those_of_clients(self) -> None:
        """No client's connection can take the port of a service."""
        with open('/proc/sys/net/ipv4/ip_local_port_range') as file:
            first = int(file.read().split()[0])
        ports = self.create().ports.values()
        self.assertLess(max(ports), first)

    def test_no_file_is_elsewhere(self) -> None:
        """No service keeps anything outside of the cloud's folder."""
        made = self.create()
        files.write(made)
        for path in made.etc.glob('*.conf'):
            for line in path.read_text().splitlines():
                name, _, value = line.partition(' = ')
                if name.endswith(('_dir', '_datadir', '_repository')):
                    self.assertIn(str(made.folder), value, path)
        keystone = (made.etc / 'keystone.conf').read_text()
        # Its default is in /etc.
        self.assertIn('[fernet_receipts]\nkey_repository = ', keystone)

    def test_only_the_owner_reads(self) -> None:
        """Passwords are for nobody else."""
        made = self.create()
        files.write(made)
        folders = (made.folder, made.etc, made.data, made.log, made.sockets)
        self.assertEqual({'0o700'}, {mode(path) for path in folders})
        written = [made.folder / 'cloud.json', *made.etc.iterdir()]
        self.assertEqual({'0o600'}, {mode(path) for path in written})

    def test_nothing_listens_elsewhere(self) -> None:
        """No file names another address than the loopback's."""
        made = self.create()
        files.write(made)
        for path in made.etc.iterdir():
            self.assertNotIn('0.0.0.0', path.read_text(), path)  # noqa: S104

    def test_configuration_of_nova(self) -> None:
        """Each compute node has its own host, types and no database."""
        made = self.create()
        files.write(made)
        for compute in made.computes:
            parser = configparser.RawConfigParser()
            parser.read(made.etc / f'{compute.name}.conf')
            self.assertEqual(compute.name, parser['DEFAULT']['host'])
            self.assertFalse(parser.has_section('api_database'))
            types = 'nvidia-194' if compute.profile else None
            self.assertEqual(
                types,
                parser.get('devices', 'enabled_mdev_types', fallback=None),
            )

    def test_unknown_compute(self) -> None:
        """A compute node that is not there: the message says which are."""
        error = self.assertRaises(CloudError, self.create().compute, 'gpu9')
        self.assertIn('gpu01, gpu02, cpu01', str(error))


class ProgramsTest(base.TestCase):
    """What Debian's packages bring."""

    def test_missing_packages(self) -> None:
        """All that is missing is named at once, with the way to get it."""
        self.patch('tools.minicloud.services._program', lambda name: None)
        self.patch(
            'tools.minicloud.services._RABBITMQ', pathlib.Path('/nowhere')
        )
        error = self.assertRaises(CloudError, services.require_programs)
        self.assertIn(
            'apt-get install erlang-base mariadb-server rabbitmq-server',
            str(error),
        )


class CommandLineTest(base.TestCase):
    """What is typed."""

    def run_main(self, *arguments: str) -> tuple[int, str, str]:
        """Run the command line on a folder of its own."""
        self.patch('tools.minicloud.__main__._FOLDER', self.temp_dir())
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = __main__.main(arguments)
            except SystemExit as ended:
                code = int(ended.code or 0)
        return code, out.getvalue(), err.getvalue()

    def test_nothing_is_up(self) -> None:
        """Without a cloud each command says so."""
        self.assertEqual(
            (3, 'The cloud is not up.\n', ''), self.run_main('status')
        )
        self.assertEqual(
            (0, '', 'There is no cloud.\n'), self.run_main('down')
        )
        code, _, err = self.run_main('run', 'true')
        self.assertEqual((1, True), (code, 'tools/cloud up' in err))

    def test_one_at_a_time(self) -> None:
        """A second command is refused; the lock goes with the cloud."""
        folder = self.temp_dir() / 'clouds' / 'one'
        found = cloud.Cloud(folder)
        with found.locked():
            busy = cloud.Cloud(folder).locked()
            error = self.assertRaises(CloudError, busy.__enter__)
            self.assertIn('Another command', str(error))
        self.assertFalse(folder.parent.exists())
        with found.locked():
            folder.mkdir()
        self.assertEqual(2, len(list(folder.parent.iterdir())))

    def test_bad_words(self) -> None:
        """Names and files are checked before anything starts."""
        for arguments in (
            ('--name', '../x', 'up'),
            ('up', '--nova-conf', '/no/such/file'),
            ('fly',),
        ):
            self.assertEqual(2, self.run_main(*arguments)[0], arguments)
        code, _, err = self.run_main('run')
        self.assertEqual((1, True), (code, 'Say what to run' in err))
