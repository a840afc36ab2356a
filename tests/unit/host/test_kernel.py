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
"""NVIDIA's program that enables virtual functions, as it really behaves."""

from __future__ import annotations

import os
import pathlib
import select
import time
import types

from nova_vgpu_ext import exception
from nova_vgpu_ext.host import kernel
from tests import base

CARD = '0000:41:00.0'
RACE = f'Cannot obtain unbindLock for {CARD}'
PATIENCE = 20.0


class EnableTest(base.TestCase):
    """A script stands for ``sriov-manage``; it counts its calls."""

    def setUp(self) -> None:
        super().setUp()
        self.folder = self.temp_dir()
        self.program = self.folder / 'sriov-manage'
        self.calls = self.folder / 'calls'
        self.waits: list[float] = []
        # The library's own name for the module, not everybody's.
        clock = types.SimpleNamespace(sleep=self.waits.append)
        self.patch('tenacity.nap.time', clock)

    def script(self, *lines: str) -> None:
        """Write the program; $call is how often it has been called."""
        self.program.write_text(
            '\n'.join(
                (
                    '#!/bin/sh',
                    f'echo "$@" >>{self.calls}',
                    f'call=$(wc -l <{self.calls})',
                    *lines,
                    '',
                )
            )
        )
        self.program.chmod(0o755)

    def enable(self, program: pathlib.Path | None = None) -> None:
        """Enable the functions of the card."""
        with kernel.RealKernel(str(program or self.program), 5) as real:
            real.enable_vfs(CARD)

    def asked(self) -> list[str]:
        """Give the arguments of each call."""
        return self.calls.read_text().splitlines()

    def refused(
        self, program: pathlib.Path | None = None
    ) -> exception.HostError:
        """Enable them, and get the line that says why it does not work."""
        error = self.assertRaises(exception.HostError, self.enable, program)
        self.assertNotIn('\n', str(error))
        self.assertIn(str(program or self.program), str(error))
        return error

    def test_it_works_at_once(self) -> None:
        """One call for one card, and no wait."""
        self.script('exit 0')
        self.enable()
        self.assertEqual([f'-e {CARD}'], self.asked())
        self.assertEqual([], self.waits)

    def test_the_driver_is_not_ready_twice(self) -> None:
        """The race of the first seconds after a boot, as NVIDIA prints it."""
        self.script(f'[ $call -gt 2 ] || {{ echo "{RACE}"; exit 1; }}')
        self.enable()
        self.assertEqual(3, len(self.asked()))
        self.assertEqual(2, len(self.waits))
        self.assertGreater(min(self.waits), 0)
        self.assertGreater(self.waits[1], self.waits[0])

    def test_the_race_counts_whatever_the_status(self) -> None:
        """A script may print an error and end with 0."""
        self.script(f'[ $call -gt 2 ] || echo "{RACE}"')
        self.enable()
        self.assertEqual(3, len(self.asked()))

    def test_the_driver_is_never_ready(self) -> None:
        """A number of calls, less than a minute, the program's last words."""
        self.script('echo Enabling', f'echo "{RACE}" >&2', 'exit 1')
        error = self.refused()
        self.assertIsInstance(error, exception.ActionFailed)
        self.assertIn(RACE, str(error))
        self.assertIn(CARD, str(error))
        self.assertGreater(len(self.asked()), 2)
        self.assertLess(sum(self.waits), 60)

    def test_it_fails_without_a_word(self) -> None:
        """The status is all there is to tell."""
        self.script('exit 7')
        self.assertIn('status 7', str(self.refused()))

    def test_what_it_says_is_no_text(self) -> None:
        """Bytes and a lot of them are no second error."""
        self.script('head -c 300000 /dev/zero', r"printf '\377\n'", 'exit 1')
        self.refused()

    def test_it_is_missing(self) -> None:
        """It comes with the driver, so no later call finds it either."""
        for path in (self.folder / 'none', self.folder):
            error = self.refused(path)
            self.assertIn('[vgpu] sriov_manage', str(error))
        self.assertEqual([], self.waits)

    def test_it_hangs(self) -> None:
        """In the kernel, or in a program that it has called."""
        self.patch('nova_vgpu_ext.host.kernel._PROGRAM_SECONDS', 0.5)
        alive = self.folder / 'alive'
        os.mkfifo(alive)
        handle = os.open(alive, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, handle)
        self.script(f'sleep 600 >{alive}')
        start = time.monotonic()
        error = self.refused()
        self.assertLess(time.monotonic() - start, PATIENCE)
        self.assertIn('0.5 s', str(error))
        # Six times the limit would be longer than any boot waits.
        self.assertEqual(1, len(self.asked()))
        # It hangs up when nobody has it open any more.
        poll = select.poll()
        poll.register(handle, select.POLLHUP)
        self.assertEqual(1, len(poll.poll(PATIENCE * 1000)))

    def test_it_asks_nothing(self) -> None:
        """A program that reads a terminal would wait for a person."""
        self.script('cat', 'exit 0')
        self.enable()


class WriteTest(base.TestCase):
    """Writes go to this machine's files."""

    def test_a_write(self) -> None:
        """Errors are those of the file."""
        path = self.temp_dir() / 'file'
        path.write_text('')
        with kernel.RealKernel('none', 20) as real:
            real.write(str(path), '1')
            self.assertRaises(FileNotFoundError, real.write, f'{path}x', '1')
        self.assertEqual('1', path.read_text())
