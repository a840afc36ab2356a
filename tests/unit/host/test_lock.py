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
"""One program at a time changes a host."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import time

from nova_vgpu_ext import exception
from nova_vgpu_ext.host import lock
from tests import base

PATIENCE = 30.0

#: Holds the lock until its standard input ends.
HOLDER = """\
import sys
from nova_vgpu_ext.host import lock
with lock.host_lock(sys.argv[1], 30):
    print('got', flush=True)
    sys.stdin.read()
"""

#: Takes it as the libvirt hook does, without any library.
PLAIN = """\
import fcntl, sys
with open(sys.argv[1] + '/lock', 'a') as stream:
    try:
        fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print('taken')
    else:
        print('free')
"""


class LockTest(base.TestCase):
    """Between processes, and where it cannot be taken."""

    def setUp(self) -> None:
        super().setUp()
        self.state = str(self.temp_dir() / 'var' / 'lib')

    def start(self, program: str) -> subprocess.Popen[str]:
        """Run a program that gets the state's folder."""
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, '-c', program, self.state],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for stream in (process.stdin, process.stdout):
            self.addCleanup(stream.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def held(self) -> subprocess.Popen[str]:
        """Give a process that has the lock."""
        process = self.start(HOLDER)
        self.assertEqual('got\n', process.stdout.readline())
        return process

    def take(self, seconds: float) -> None:
        """Take the lock, and let it go."""
        with lock.host_lock(self.state, seconds):
            pass

    def test_another_program_waits_in_vain(self) -> None:
        """It names the file and the time, and what shows who has it."""
        self.held()
        start = time.monotonic()
        error = self.assertRaises(exception.HostError, self.take, 0.3)
        took = time.monotonic() - start
        self.assertGreaterEqual(took, 0.3)
        self.assertLess(took, PATIENCE)
        self.assertNotIn('\n', str(error))
        for part in (f'{self.state}/lock', 'another program', '0.3 s'):
            self.assertIn(part, str(error))

    def test_another_program_waits_for_its_turn(self) -> None:
        """And gets the lock as soon as the first one ends."""
        first = self.held()
        second = self.start(HOLDER)
        first.stdin.close()
        self.assertEqual('got\n', second.stdout.readline())
        first.wait(PATIENCE)

    def test_a_killed_program_holds_nothing(self) -> None:
        """A lock that outlived it would stop the host for good."""
        holder = self.held()
        holder.kill()
        holder.wait()
        self.take(PATIENCE)

    def test_it_is_free_after_an_error(self) -> None:
        """Whatever happened under it."""

        def fail() -> None:
            with lock.host_lock(self.state, PATIENCE):
                raise ZeroDivisionError

        self.assertRaises(ZeroDivisionError, fail)
        self.held()

    def test_the_hook_sees_it(self) -> None:
        """The hook has no such library, and takes the file's own lock."""
        with lock.host_lock(self.state, PATIENCE):
            self.assertEqual('taken\n', self.start(PLAIN).stdout.readline())
        self.assertEqual('free\n', self.start(PLAIN).stdout.readline())

    def test_the_folder_is_made_for_root_alone(self) -> None:
        """The ledger and the put-aside definitions are below it."""
        self.take(PATIENCE)
        mode = pathlib.Path(self.state).stat().st_mode
        self.assertEqual(0o700, mode & 0o777)

    def test_a_folder_that_cannot_be_written(self) -> None:
        """One line names the file, what is wrong, and the option."""
        os.makedirs(os.path.dirname(self.state))
        pathlib.Path(self.state).write_text('')
        error = self.assertRaises(exception.HostError, self.take, PATIENCE)
        self.assertNotIn('\n', str(error))
        self.assertIn(f'{self.state}/lock', str(error))
        self.assertIn('[vgpu] state_path', str(error))

    def test_a_file_system_that_is_read_only(self) -> None:
        """Such as a container's, or one with errors."""
        self.state = '/proc/no-such-folder'
        error = self.assertRaises(exception.HostError, self.take, PATIENCE)
        self.assertIn(self.state, str(error))

    def test_a_folder_in_the_place_of_the_file(self) -> None:
        """It is no lock, and is not waited for."""
        os.makedirs(os.path.join(self.state, 'lock'))
        error = self.assertRaises(exception.HostError, self.take, PATIENCE)
        self.assertIn(f'{self.state}/lock', str(error))
