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
"""Writes that must not hang the program that asks for them."""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

from nova_vgpu_ext.host import writer
from tests import base

#: Much less than a person waits, much more than a busy machine needs.
PATIENCE = 20.0
#: The limit for a write that shall run into it.
SHORT = 0.3


def children() -> set[int]:
    """Give the processes that this one started and that have not ended."""
    found = set()
    for name in os.listdir('/proc'):
        with contextlib.suppress(OSError):
            if name.isdigit():
                stat = pathlib.Path('/proc', name, 'stat').read_text()
                state, parent = stat.rpartition(')')[2].split()[:2]
                if int(parent) == os.getpid() and state != 'Z':
                    found.add(int(name))
    return found


def has_ended(pid: int) -> bool:
    """Tell whether a process is gone, or only waits for its parent."""
    try:
        stat = pathlib.Path('/proc', str(pid), 'stat').read_text()
    except OSError:
        return True
    return stat.rpartition(')')[2].split()[0] == 'Z'


def wait_for(what: Callable[[], bool]) -> bool:
    """Wait until something is so."""
    end = time.monotonic() + PATIENCE
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


class WriterTestCase(base.TestCase):
    """A folder, a file to write to, and one that hangs whoever writes."""

    def setUp(self) -> None:
        super().setUp()
        self.folder = self.temp_dir()
        self.file = self.folder / 'file'
        self.file.write_text('')
        self.fifo = self.folder / 'fifo'
        os.mkfifo(self.fifo)
        self.before = children()

    def writer(self, seconds: float = PATIENCE) -> writer.Writer:
        """Make a writer that ends with the test."""
        made = writer.Writer(seconds)
        self.addCleanup(made.close)
        return made

    def worker(self) -> int:
        """Give the process that writes."""
        (pid,) = children() - self.before
        return pid


class WriteTest(WriterTestCase):
    """What is written, and what the kernel says to it."""

    def test_the_text_arrives_as_it_is(self) -> None:
        """Nothing is added to it, not even the end of a line."""
        self.writer().write(str(self.file), 'a=1,b=2 ')
        self.assertEqual('a=1,b=2 ', self.file.read_text())

    def test_a_text_arrives_in_one_piece(self) -> None:
        """The kernel takes each write(2) for the whole of it."""
        sizes = []

        def read() -> None:
            handle = os.open(self.fifo, os.O_RDONLY)
            sizes.append(len(os.read(handle, 1 << 16)))
            os.close(handle)

        reader = threading.Thread(target=read)
        reader.start()
        self.writer().write(str(self.fifo), 'x' * 4000)
        reader.join(PATIENCE)
        self.assertEqual([4000], sizes)

    def test_many_writes_share_one_process(self) -> None:
        """A process for each would cost more than the writes."""
        one = self.writer()
        for number in range(20):
            one.write(str(self.file), f'{number:04}')
        self.assertEqual(1, len(children() - self.before))
        self.assertEqual('0019', self.file.read_text())

    def test_errors_come_back_with_number_and_path(self) -> None:
        """As if the program itself had written."""
        loop = self.folder / 'loop'
        loop.symlink_to('loop')
        for path, number in (
            (self.folder / 'none', errno.ENOENT),
            (self.folder, errno.EISDIR),
            (self.file / 'below', errno.ENOTDIR),
            (loop, errno.ELOOP),
            (pathlib.Path('/dev/full'), errno.ENOSPC),
        ):
            error = self.assertRaises(
                OSError, self.writer().write, str(path), '1'
            )
            self.assertEqual(number, error.errno, path)
            self.assertEqual(str(path), error.filename)

    def test_no_file_is_made(self) -> None:
        """In sysfs there is nothing to make; elsewhere it would be litter."""
        missing = self.folder / 'none'
        self.assertRaises(
            FileNotFoundError, self.writer().write, str(missing), '1'
        )
        self.assertFalse(missing.exists())

    def test_no_link_is_followed(self) -> None:
        """Attributes are files; a link in their place leads elsewhere."""
        link = self.folder / 'link'
        link.symlink_to(self.file)
        error = self.assertRaises(OSError, self.writer().write, str(link), '1')
        self.assertEqual(errno.ELOOP, error.errno)
        self.assertEqual('', self.file.read_text())

    def test_what_can_be_no_path_or_text_is_an_error_only(self) -> None:
        """The process that writes lives on."""
        one = self.writer()
        for path, text in (('a\0b', '1'), (str(self.file), '\ud800')):
            error = self.assertRaises(OSError, one.write, path, text)
            self.assertEqual(errno.EINVAL, error.errno)
        one.write(str(self.file), 'good')
        self.assertEqual('good', self.file.read_text())

    def test_lines_in_path_and_text_are_data(self) -> None:
        """They are no further request."""
        odd = self.folder / 'a\nb'
        odd.write_text('')
        self.writer().write(str(odd), '1\n["x", "y"]\n')
        self.assertEqual('1\n["x", "y"]\n', odd.read_text())

    def test_a_text_of_ten_thousand_characters(self) -> None:
        """More than one buffer of the pipe between the two."""
        self.writer().write(str(self.file), 'é' * 200_000)
        self.assertEqual(200_000, len(self.file.read_text()))


class HangTest(WriterTestCase):
    """A write that the kernel does not answer."""

    def test_a_write_that_hangs_ends_in_time(self) -> None:
        """And the next one works, with another process."""
        one = self.writer(SHORT)
        start = time.monotonic()
        self.assertRaises(writer.Timeout, one.write, str(self.fifo), '1')
        took = time.monotonic() - start
        self.assertGreaterEqual(took, SHORT)
        self.assertLess(took, PATIENCE)
        one = self.writer()
        one.write(str(self.file), 'next')
        self.assertEqual('next', self.file.read_text())

    def test_the_same_writer_goes_on_after_a_hang(self) -> None:
        """A late answer would be taken for the next write's otherwise."""
        one = self.writer(2.0)
        self.assertRaises(writer.Timeout, one.write, str(self.fifo), '1')
        one.write(str(self.file), 'next')
        error = self.assertRaises(OSError, one.write, '/none/such', '1')
        self.assertEqual(errno.ENOENT, error.errno)
        self.assertEqual('next', self.file.read_text())

    def test_nothing_is_left_that_hangs(self) -> None:
        """What the kernel lets go is ended."""
        one = self.writer(SHORT)
        self.assertRaises(writer.Timeout, one.write, str(self.fifo), '1')
        one.close()
        self.assertTrue(wait_for(lambda: children() == self.before))

    def test_close_does_not_wait_for_a_write_that_hangs(self) -> None:
        """Ctrl-C in the middle of one ends the program."""
        one = self.writer()
        self.patch('select.select', interrupt)
        self.assertRaises(KeyboardInterrupt, one.write, str(self.fifo), '1')
        start = time.monotonic()
        one.close()
        self.assertLess(time.monotonic() - start, 2.0)
        self.assertTrue(wait_for(lambda: children() == self.before))

    def test_an_interrupted_write_answers_no_other(self) -> None:
        """Its answer is not read, so nothing may wait in the pipe."""
        one = self.writer()
        self.patch('select.select', interrupt_once())
        self.assertRaises(KeyboardInterrupt, one.write, '/none/such', '1')
        one.write(str(self.file), 'good')
        self.assertEqual('good', self.file.read_text())


class EndTest(WriterTestCase):
    """Processes that end too early, and none that ends too late."""

    def test_a_killed_process_is_replaced(self) -> None:
        """By the out-of-memory killer, between two writes."""
        one = self.writer()
        one.write(str(self.file), 'one')
        worker = self.worker()
        os.kill(worker, signal.SIGKILL)
        self.assertTrue(wait_for(lambda: has_ended(worker)))
        one.write(str(self.file), 'two')
        self.assertEqual('two', self.file.read_text())

    def test_a_process_killed_in_a_write_is_an_error(self) -> None:
        """Whether it was written is not known; the next write is tried."""
        one = self.writer()
        one.write(str(self.file), 'one')
        killer = threading.Timer(SHORT, os.kill, (self.worker(), 9))
        killer.start()
        error = self.assertRaises(OSError, one.write, str(self.fifo), '1')
        killer.join()
        self.assertIn('ended', str(error))
        one.write(str(self.file), 'two')
        self.assertEqual('two', self.file.read_text())

    def test_close_leaves_no_process(self) -> None:
        """Not even a dead one that nobody has asked for."""
        with writer.Writer(PATIENCE) as one:
            one.write(str(self.file), 'x')
            worker = self.worker()
        self.assertFalse(os.path.exists(f'/proc/{worker}'))

    def test_close_twice_and_without_a_write(self) -> None:
        """There is nothing to end then."""
        one = self.writer()
        one.close()
        one.write(str(self.file), 'x')
        one.close()
        one.close()
        self.assertEqual(self.before, children())

    def test_nothing_is_started_before_a_write(self) -> None:
        """A plan without steps costs no process."""
        self.writer()
        self.assertEqual(self.before, children())

    def test_it_ends_with_a_program_that_is_killed(self) -> None:
        """kill -9 runs no clean-up; the end of its input does."""
        program = (
            'import sys, time\n'
            'from nova_vgpu_ext.host import writer\n'
            'one = writer.Writer(20)\n'
            'one.write(sys.argv[1], "x")\n'
            'print(one._worker.pid, flush=True)\n'
            'time.sleep(60)\n'
        )
        parent = subprocess.Popen(  # noqa: S603
            [sys.executable, '-c', program, str(self.file)],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(parent.wait)
        self.addCleanup(parent.kill)
        self.addCleanup(parent.stdout.close)
        worker = int(parent.stdout.readline())
        self.assertFalse(has_ended(worker))
        parent.kill()
        self.assertTrue(wait_for(lambda: has_ended(worker)))

    def test_ctrl_c_is_for_the_program(self) -> None:
        """The terminal signals its group; a write is not torn by it."""
        one = self.writer()
        one.write(str(self.file), 'x')
        self.assertNotEqual(os.getpgid(0), os.getpgid(self.worker()))


def interrupt(*_: object) -> None:
    """Stand for Ctrl-C while an answer is awaited."""
    raise KeyboardInterrupt


def interrupt_once() -> Callable[..., object]:
    """Interrupt the first call, once there is an answer to it."""
    real = select.select
    calls = []

    def call(*args: object) -> object:
        calls.append(args)
        found = real(*args)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return found

    return call
