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
"""Faults under the commands that change a host: one line, nothing lost."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import time

from nova_vgpu_ext.host import lock
from nova_vgpu_ext.sim import kernel
from tests.functional import base, host_base
from tests.functional.base import NODE, Outcome
from tests.functional.host_base import (
    GPU,
    OTHER_GPU,
    SRIOV,
    UUIDS,
    VENDOR,
)

_CREATE = ('mdev', 'create', f'--gpu={GPU}', '--type=V100DX-1Q')


class LedgerTest(host_base.HostCommandTestCase):
    """A ledger that cannot be used is left as it is, and so is the host."""

    def setUp(self) -> None:
        super().setUp()
        self.create(UUIDS[0])
        self.good_text = self.host.ledger_path.read_text()

    def check(self, found: str, *words: str) -> None:
        """Run every command that needs the ledger, and one that does not."""
        for command in (
            (*_CREATE, f'--uuid={UUIDS[1]}'),
            ('mdev', 'remove', UUIDS[0]),
            ('mdev', 'clean', '--grace=0'),
            ('mdev', 'show', UUIDS[0]),
            ('gpu', 'retype', GPU, 'nvidia-196'),
            ('prepare',),
        ):
            said = self.refused(*command)
            self.assertTrue(
                said.startswith(f'{self.host.ledger_path}: found {found}'),
                said,
            )
            self.assertEqual(1, said.count(': found '), said)
            self.assertIn('; mend it, or move it away', said)
            for word in words:
                self.assertIn(word, said)
        self.assertEqual([UUIDS[0]], list(self.host.mdevs))
        self.good('mdev', 'list')
        self.good('mdev', 'xml', UUIDS[0])

    def test_truncated(self) -> None:
        """Half of it, or nothing of it."""
        for size in (0, 20, len(self.good_text) - 2):
            self.host.ledger_path.write_text(self.good_text[:size])
            self.check('', 'expected JSON')

    def test_something_else(self) -> None:
        """Other JSON, and bytes that are no text."""
        for data in (b'[]', b'{"entries": {}}', b'null', b'\xff\xfe' * 40):
            self.host.ledger_path.write_bytes(data)
            for line in self.run_on('prepare').errors:
                self.assertIn(str(self.host.ledger_path), line)
            self.assertEqual(data, self.host.ledger_path.read_bytes())

    def test_from_the_future(self) -> None:
        """An older program must not take away what it does not know."""
        text = self.good_text.replace('"version": 1', '"version": 2')
        self.host.ledger_path.write_text(text)
        self.check('version 2', 'expected 1')
        self.assertEqual(text, self.host.ledger_path.read_text())

    def test_symbolic_link(self) -> None:
        """It is neither followed nor replaced."""
        other = self.temp_dir() / 'other'
        other.write_text(self.good_text)
        self.host.ledger_path.unlink()
        self.host.ledger_path.symlink_to(other)
        self.check('a symbolic link', 'expected a regular file')
        self.assertEqual(self.good_text, other.read_text())

    def test_no_file(self) -> None:
        """A folder, or a pipe that nobody writes to."""
        self.host.ledger_path.unlink()
        self.host.ledger_path.mkdir()
        self.check('no regular file')
        self.host.ledger_path.rmdir()
        os.mkfifo(self.host.ledger_path)
        found = self.run_on('prepare')
        self.assertEqual((1, ''), (found.code, found.out))
        self.assertIn('no regular file', found.err)
        self.host.ledger_path.unlink()

    def test_moved_away(self) -> None:
        """As the message says: it is made again."""
        self.create(UUIDS[1], SRIOV, 'A40-2B', '--persist')
        before = self.host.ledger
        self.host.ledger_path.rename(self.temp_dir() / 'ledger')
        self.assertEqual(0, self.run_on('prepare').code)
        self.assertEqual(before, self.host.ledger)

    def test_entries_that_are_not_valid(self) -> None:
        """They lead nowhere in sysfs, and do not stop the rest."""
        guests = self.use_libvirt()
        self.create(UUIDS[1])
        guests.define('one', UUIDS[:2])
        text = self.host.ledger_path.read_text()
        kernel.reboot(self.host.root)
        at = text.index('"parent"')
        text = text[:at] + text[at:].replace(f'"{GPU}"', '"../../../etc"', 1)
        self.host.ledger_path.write_text(text)
        found = self.run_on('prepare')
        self.assertEqual(1, found.code)
        (line,) = found.errors
        self.assertIn(UUIDS[0], line)
        self.assertEqual([UUIDS[1]], list(self.host.mdevs))


class RefusedWriteTest(host_base.HostCommandTestCase):
    """sysfs, or a disk, that takes no write."""

    def refuse(self, number: int, *names: str) -> None:
        """Let writes to files of these names fail, or to all."""
        real = kernel.SimulatedKernel.write

        def write(host: kernel.SimulatedKernel, path: str, text: str) -> None:
            if not names or os.path.basename(path) in names:
                raise OSError(number, os.strerror(number), path)
            real(host, path, text)

        self.patch('nova_vgpu_ext.sim.kernel.SimulatedKernel.write', write)

    def failed(self, *command: str) -> tuple[str, str]:
        """Run a command that fails; give what it did, and its last line."""
        found = self.run_on(*command)
        self.assertEqual(1, found.code, found)
        self.assertNotIn('Traceback', found.err)
        return found.out, found.errors[-1]

    def test_read_only(self) -> None:
        """A container without privilege: it is said so, and how to go on."""
        self.create(UUIDS[0])
        self.good('mdev', 'params', 'set', UUIDS[0], 'disable_vnc=1')
        for number in (errno.EROFS, errno.EACCES, errno.EPERM):
            self.refuse(number)
            for command in (
                (*_CREATE, f'--uuid={UUIDS[1]}'),
                ('mdev', 'remove', UUIDS[0]),
                ('mdev', 'clean', '--grace=0'),
                ('mdev', 'params', 'set', UUIDS[0], 'enable_uvm=1'),
                ('mdev', 'params', 'clear', UUIDS[0]),
                ('gpu', 'retype', GPU, 'nvidia-196'),
                ('gpu', 'retype', VENDOR, '1148'),
            ):
                out, line = self.failed(*command)
                self.assertEqual('', out)
                self.assertTrue(line.startswith(self.host.root), line)
                self.assertIn(os.strerror(number).lower(), line)
                self.assertIn('a container needs a writable sysfs', line)
        self.assertEqual([UUIDS[0]], list(self.host.mdevs))

    def test_read_only_at_boot(self) -> None:
        """Each step is tried, and each is told."""
        self.create(UUIDS[0])
        self.create(UUIDS[1], OTHER_GPU)
        self.use_libvirt().define('guest', UUIDS[:2])
        kernel.reboot(self.host.root)
        self.refuse(errno.EROFS)
        found = self.run_on('prepare')
        self.assertEqual(1, found.code)
        self.assertEqual(2, len(found.errors))
        self.assertEqual({*UUIDS[:2]}, set(self.host.ledger))

    def test_one_gpu_fails(self) -> None:
        """The guests of the others get their mdevs."""
        self.create(UUIDS[0])
        self.create(UUIDS[1], SRIOV, 'A40-2B')
        self.create(UUIDS[2], OTHER_GPU)
        self.use_libvirt().define('guest', UUIDS[:3])
        kernel.reboot(self.host.root)
        real = kernel.SimulatedKernel.write

        def write(host: kernel.SimulatedKernel, path: str, text: str) -> None:
            if GPU in path:
                raise OSError(errno.EIO, os.strerror(errno.EIO), path)
            real(host, path, text)

        self.patch('nova_vgpu_ext.sim.kernel.SimulatedKernel.write', write)
        found = self.run_on('prepare')
        self.assertEqual(1, found.code)
        (line,) = found.errors
        self.assertIn('input/output error', line)
        self.assertEqual({*UUIDS[1:3]}, set(self.host.mdevs))
        self.patch('nova_vgpu_ext.sim.kernel.SimulatedKernel.write', real)
        self.assertEqual(1, len(self.good('prepare')))

    def test_busy(self) -> None:
        """A guest that no plan knew of."""
        self.create(UUIDS[0])
        self.refuse(errno.EBUSY)
        _, line = self.failed('mdev', 'remove', UUIDS[0])
        self.assertIn('a device in use', line)

    def test_full_in_between(self) -> None:
        """What was made before the GPU was full stays and is printed."""
        real = kernel.SimulatedKernel.write
        left = [3]

        def write(host: kernel.SimulatedKernel, path: str, text: str) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
            real(host, path, text)

        self.patch('nova_vgpu_ext.sim.kernel.SimulatedKernel.write', write)
        out, line = self.failed(*_CREATE, '--count=5')
        self.assertEqual(3, len(out.splitlines()))
        self.assertIn('no room', line)
        self.assertEqual(3, len(self.host.mdevs))
        self.assertLessEqual(set(self.host.mdevs), set(self.host.ledger))

    def _disk_full(self, part: str) -> None:
        real = os.fsync
        where = f'{kernel.FOLDER}/{part}'

        def fsync(handle: int) -> None:
            if where in os.readlink(f'/proc/self/fd/{handle}'):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            real(handle)

        self.patch('os.fsync', fsync)

    def test_disk_full_for_the_ledger(self) -> None:
        """The old one stays, and no piece of a new one."""
        self.create(UUIDS[0])
        before = self.host.ledger
        self._disk_full('state/')
        out, line = self.failed(*_CREATE, f'--uuid={UUIDS[1]}')
        self.assertIn(str(self.host.ledger_path), line)
        self.assertIn('no space left', line.lower())
        self.assertEqual(before, self.host.ledger)
        self.assertEqual(
            {'ledger.json', 'lock'}, set(os.listdir(self.host.own / 'state'))
        )
        self.assertEqual(len(out.splitlines()), len(self.host.mdevs) - 1)

    def test_disk_full_for_a_definition(self) -> None:
        """The mdev is there, and the same command completes it."""
        self._disk_full('mdevctl.d/')
        command = (*_CREATE, f'--uuid={UUIDS[0]}', '--persist')
        out, line = self.failed(*command)
        self.assertEqual(1, len(out.splitlines()))
        self.assertIn(f'{self.host.own}/mdevctl.d', line)
        self.assertEqual({}, self.host.definitions)
        self.patch('os.fsync', lambda handle: None)
        self.assertEqual(1, len(self.good(*command)))

    def test_disk_full_for_what_is_put_aside(self) -> None:
        """No copy, no removal."""
        self.create(UUIDS[0], GPU, 'V100DX-1Q', '--persist')
        self._disk_full('state/put-aside')
        self.failed('mdev', 'remove', UUIDS[0])
        self.assertEqual([UUIDS[0]], list(self.host.mdevs))
        self.assertEqual(1, len(self.host.definitions))

    def test_state_path_that_cannot_be(self) -> None:
        """A file is in its place."""
        path = self.temp_dir() / 'file'
        path.write_text('')
        self.options = f'state_path = {path}/state\n'
        self.configure()
        _, line = self.failed(*_CREATE)
        self.assertIn(f'{path}/state', line)
        self.assertIn('[vgpu] state_path', line)
        self.assertEqual({}, self.host.mdevs)


class TwoProgramsTest(host_base.HostCommandTestCase):
    """Several at once: one after the other, or a clear end."""

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start the program in a process of its own."""
        child = subprocess.Popen(  # noqa: S603
            [
                *base.program(),
                f'--config-file={self.config_file}',
                f'--sysfs-root={self.host.root}',
                f'--node={NODE}',
                *command,
            ],
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

    def together(self, *commands: tuple[str, ...]) -> list[Outcome]:
        """Run programs at the same time."""
        children = [self.start(*command) for command in commands]
        outcomes = []
        for child in children:
            out, err = child.communicate(timeout=120)
            self.assertNotIn('Traceback', err)
            outcomes.append(Outcome(child.returncode, out, err))
        return outcomes

    def test_both_fit(self) -> None:
        """All 32 are made, each once."""
        found = self.together(*[(*_CREATE, '--count=16')] * 2)
        self.assertEqual([(0, ''), (0, '')], [(o.code, o.err) for o in found])
        lines = [line for o in found for line in o.out.splitlines()]
        self.assertEqual(32, len({line.split()[2] for line in lines}))
        self.assertEqual(32, len(self.host.mdevs))
        self.assertEqual(set(self.host.mdevs), set(self.host.ledger))

    def test_one_fits(self) -> None:
        """The other is told how much room is left, and makes none."""
        found = self.together(*[(*_CREATE, '--count=20')] * 2)
        self.assertEqual([0, 1], sorted(o.code for o in found))
        refused = max(found)
        self.assertEqual('', refused.out)
        self.assertIn('found room for 12', refused.err)
        self.assertEqual(20, len(self.host.mdevs))

    def test_same_uuid(self) -> None:
        """The second finds what the first has made."""
        command = (*_CREATE, f'--uuid={UUIDS[0]}', '--persist')
        found = self.together(command, command)
        self.assertEqual([0, 0], [o.code for o in found])
        self.assertEqual(['', 'nothing to do\n'], sorted(o.err for o in found))

    def test_remove_and_clean(self) -> None:
        """Who comes second finds nothing more to do."""
        for uuid in UUIDS[:4]:
            self.create(uuid, GPU, 'V100DX-1Q', '--persist')
        removed, cleaned = self.together(
            ('mdev', 'remove', *UUIDS[:4]), ('mdev', 'clean', '--grace=0')
        )
        self.assertEqual(({}, {}), (self.host.mdevs, self.host.definitions))
        self.assertEqual(0, cleaned.code)
        self.assertEqual(
            8, len(removed.out.splitlines()) + len(cleaned.out.splitlines())
        )

    def hold_lock(self) -> int:
        """Hold the host's lock in a process of its own."""
        ready, started = os.pipe()
        child = os.fork()
        if child == 0:
            with lock.host_lock(str(self.host.own / 'state'), 10):
                os.write(started, b'.')
                time.sleep(600)
            os._exit(0)
        self.addCleanup(os.close, started)
        self.addCleanup(os.close, ready)
        os.read(ready, 1)
        return child

    def test_lock_is_held(self) -> None:
        """It gives up after [vgpu] write_timeout, with the file's name."""
        self.options = 'write_timeout = 1\n'
        self.configure()
        self.create(UUIDS[0])
        child = self.hold_lock()
        self.addCleanup(os.waitpid, child, 0)
        self.addCleanup(os.kill, child, signal.SIGKILL)
        for command in (
            _CREATE,
            ('mdev', 'remove', UUIDS[0]),
            ('prepare',),
        ):
            began = time.monotonic()
            said = self.refused(*command)
            self.assertLess(time.monotonic() - began, 30)
            self.assertIn(f'{self.host.own}/state/lock: found another', said)
            self.assertIn('within 1 s', said)
        # What only reads, or only plans, does not wait.
        self.good('mdev', 'show', UUIDS[0])
        self.good('mdev', 'remove', UUIDS[0], '--dry-run')

    def test_lock_of_a_program_that_died(self) -> None:
        """kill -9 frees it at once."""
        self.options = 'write_timeout = 1\n'
        self.configure()
        child = self.hold_lock()
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        self.create(UUIDS[0])

    def test_it_waits(self) -> None:
        """Within that time the second program goes on by itself."""
        child = self.hold_lock()
        waiting = self.start(*_CREATE)
        time.sleep(1.0)
        self.assertIsNone(waiting.poll())
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        out, err = waiting.communicate(timeout=60)
        self.assertEqual((0, ''), (waiting.returncode, err))
        self.assertEqual(1, len(self.host.mdevs), out)
