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
"""The parts of tools/lab that need no virtual machine."""

from __future__ import annotations

import os
import pathlib
import subprocess

from tests import base
from tools.labvm import LabError, host, images, machine, store


class TestRequire(base.TestCase):
    """What a machine lacks is named as Debian names it."""

    def test_missing(self) -> None:
        """One line to type installs all that is missing."""
        self.patch('tools.labvm.host.program', lambda name: name)
        error = self.assertRaises(LabError, host.require, host.RUNNING)
        self.assertIn(
            'apt-get install openssh-client qemu-system-x86 qemu-utils\n',
            str(error),
        )

    def test_found(self) -> None:
        """Nothing is said of what is there."""
        host.require(['tar'])

    def test_every_package_is_in_bindep(self) -> None:
        """CI installs what the lab asks for."""
        text = (images.ROOT / 'bindep.txt').read_text()
        listed = {line.split()[0] for line in text.splitlines() if line}
        wanted = {*host._PACKAGES.values(), 'debian-archive-keyring'}
        self.assertEqual(set(), wanted - listed - {'tar'})


class TestStore(base.TestCase):
    """Artifacts by what they are made from."""

    def setUp(self) -> None:
        super().setUp()
        self.store = store.Store(self.temp_dir() / 'store')
        self.made: list[str] = []

    def get(self, *parts: bytes) -> pathlib.Path:
        """Ask for the one artifact."""

        def make(folder: pathlib.Path) -> None:
            self.made.append(folder.name)
            (folder / 'file').write_bytes(b' '.join(parts))

        return self.store.get('thing', parts, make)

    def test_made_once(self) -> None:
        """The same parts are the same artifact."""
        self.assertEqual(self.get(b'a', b'b'), self.get(b'a', b'b'))
        self.assertEqual(1, len(self.made))

    def test_made_anew(self) -> None:
        """Other parts make another, and the old one goes."""
        old = self.get(b'a', b'b')
        new = self.get(b'ab')
        self.assertEqual([False, True], [old.exists(), new.exists()])
        self.assertEqual(b'ab', (new / 'file').read_bytes())

    def test_interrupted(self) -> None:
        """Half of an artifact is none."""

        def make(folder: pathlib.Path) -> None:
            (folder / 'half').touch()
            raise KeyboardInterrupt

        self.assertRaises(
            KeyboardInterrupt, self.store.get, 'thing', [b'a'], make
        )
        self.assertEqual(['file'], os.listdir(self.get(b'a')))

    def test_failed_stage(self) -> None:
        """The error shows the end of the log."""
        log = self.store.log('thing')
        log.write_text('first\nlast\n')

        def fail() -> None:
            with store.stage('Making it', log):
                raise store.Failed('it ended with 1')

        error = self.assertRaises(LabError, fail)
        self.assertIn(
            'Making it failed: it ended with 1\nfirst\nlast', str(error)
        )
        self.assertIn(str(log), str(error))


class TestMachine(base.TestCase):
    """What is known of a guest's process."""

    def setUp(self) -> None:
        super().setUp()
        folder = self.temp_dir()
        self.machine = machine.Machine(
            folder / 'machine', images.Builder(folder)
        )

    def test_nothing_runs(self) -> None:
        """Commands say how to start it; stop has nothing to do."""
        self.assertIsNone(self.machine.running())
        error = self.assertRaises(LabError, self.machine.attach, 'true')
        self.assertIn('tools/lab start', str(error))
        self.assertFalse(self.machine.stop())

    def test_other_process_with_the_same_id(self) -> None:
        """A process id alone is no proof."""
        child = subprocess.Popen(['/bin/cat'], stdin=subprocess.PIPE)
        self.addCleanup(child.communicate)
        began = host.began(child.pid)
        settings = machine.Settings()
        for offset, alive in ((0, True), (-1, False)):
            found = machine.Running(
                settings, child.pid, began + offset, 22, 'tcg', '/nowhere'
            )
            self.assertEqual(alive, found.is_alive)

    def test_too_little_memory(self) -> None:
        """The message tells both figures, and the option."""
        self.patch('tools.labvm.host.free_memory_mib', lambda: 100)
        self.patch('tools.labvm.host.program', lambda name: f'/bin/{name}')
        error = self.assertRaises(
            LabError, self.machine.start, machine.Settings(memory=1024)
        )
        for part in ('1024 MiB', '100 MiB', '--memory'):
            self.assertIn(part, str(error))


class TestHost(base.TestCase):
    """What is read of this machine."""

    def test_memory(self) -> None:
        """It has some."""
        self.assertGreater(host.free_memory_mib(), 0)

    def test_no_kvm_without_access(self) -> None:
        """Whoever may not open /dev/kvm is not kept waiting."""
        self.patch('os.access', lambda path, mode: False)
        folder = self.temp_dir()
        self.assertFalse(host.kvm_works(folder / 'vmlinuz', folder))
        self.assertEqual([], os.listdir(folder))
