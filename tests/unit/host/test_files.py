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
"""Small files that are never half written."""

from __future__ import annotations

import errno
import os
import pathlib
from collections.abc import Callable

from nova_vgpu_ext.host import files
from tests import base


def full(*_: object) -> None:
    """Stand for a disk without room."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class FilesTestCase(base.TestCase):
    """A folder with a file in it."""

    def setUp(self) -> None:
        super().setUp()
        self.folder = self.temp_dir()
        self.file = self.folder / 'file'
        self.file.write_text('old')

    def names(self) -> list[str]:
        """List the folder, hidden files included."""
        return sorted(os.listdir(self.folder))


class ReadTest(FilesTestCase):
    """What is taken for a small file."""

    def test_a_file(self) -> None:
        """Up to the limit, and not a byte more."""
        self.assertEqual('old', files.read(str(self.file), 3))
        self.assertRaises(ValueError, files.read, str(self.file), 2)

    def test_the_limit_is_in_bytes(self) -> None:
        """A text of three characters may be longer."""
        self.file.write_text('äöü')
        self.assertEqual('äöü', files.read(str(self.file), 6))
        self.assertRaises(ValueError, files.read, str(self.file), 5)

    def test_no_link_is_followed(self) -> None:
        """Whoever can make a link must not choose what root reads."""
        link = self.folder / 'link'
        link.symlink_to(self.file)
        error = self.assertRaises(OSError, files.read, str(link), 10)
        self.assertEqual(errno.ELOOP, error.errno)

    def test_what_is_no_file(self) -> None:
        """A FIFO does not hang the reader."""
        os.mkfifo(self.folder / 'fifo')
        for name in ('fifo', 'none', '.'):
            path = str(self.folder / name)
            self.assertRaises(OSError, files.read, path, 10)

    def test_no_handle_is_left(self) -> None:
        """Of a folder, which can be opened but not read."""
        before = os.listdir('/proc/self/fd')
        self.assertRaises(OSError, files.read, str(self.folder), 10)
        self.assertEqual(before, os.listdir('/proc/self/fd'))

    def test_bytes_that_are_no_text(self) -> None:
        """UTF-8 is expected."""
        self.file.write_bytes(b'\xff\xfe')
        self.assertRaises(ValueError, files.read, str(self.file), 10)


class ReplaceTest(FilesTestCase):
    """The old text or the new one, and nothing else."""

    def test_a_file_is_replaced(self) -> None:
        """Who has the old one open goes on with the old one."""
        with open(self.file) as reader:
            files.replace(str(self.file), 'new\n', 0o600)
            self.assertEqual('old', reader.read())
        self.assertEqual('new\n', self.file.read_text())
        self.assertEqual(['file'], self.names())

    def test_a_file_is_made(self) -> None:
        """With the permissions that are asked for, from the start."""
        before = os.umask(0o022)
        self.addCleanup(os.umask, before)
        for name, mode in (('secret', 0o600), ('public', 0o644)):
            path = self.folder / name
            files.replace(str(path), 'x', mode)
            self.assertEqual(mode, path.stat().st_mode & 0o777)

    def test_a_link_is_replaced_and_not_followed(self) -> None:
        """What it leads to stays."""
        link = self.folder / 'link'
        link.symlink_to(self.file)
        files.replace(str(link), 'new', 0o600)
        self.assertFalse(link.is_symlink())
        self.assertEqual('new', link.read_text())
        self.assertEqual('old', self.file.read_text())

    def test_a_full_disk_leaves_the_old_file(self) -> None:
        """Whenever it says so: in the write, the flush or the rename."""
        for name in ('os.fsync', 'os.replace'):
            self._refused(name, full)

    def test_a_write_that_fails(self) -> None:
        """A limit on the size of files stands for the full disk."""
        import resource
        import signal

        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_FSIZE, before)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        self.addCleanup(signal.signal, signal.SIGXFSZ, handler)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
        error = self.assertRaises(
            OSError, files.replace, str(self.file), 'x' * (2 << 20), 0o600
        )
        self.assertEqual(errno.EFBIG, error.errno)
        self._is_as_before()

    def test_an_interruption_leaves_the_old_file(self) -> None:
        """Ctrl-C is no exception of the usual kind."""

        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        self.patch('os.fsync', interrupt)
        self.assertRaises(
            KeyboardInterrupt, files.replace, str(self.file), 'new', 0o600
        )
        self._is_as_before()

    def test_half_a_program_cannot_be_run(self) -> None:
        """The file that a kill leaves behind is no hook that libvirt runs."""
        modes = []

        def note(handle: int) -> None:
            modes.append(os.fstat(handle).st_mode & 0o777)

        self.patch('os.fsync', note)
        files.replace(str(self.file), 'new', 0o755)
        self.assertEqual(0o600, modes[0])
        self.assertEqual(0o755, self.file.stat().st_mode & 0o777)

    def test_a_missing_folder(self) -> None:
        """Making it is for the caller, who knows its permissions."""
        path = self.folder / 'none' / 'file'
        self.assertRaises(OSError, files.replace, str(path), 'x', 0o600)

    def test_the_text_is_on_the_disk_before_the_name(self) -> None:
        """Otherwise a crash could leave an empty file with the name."""
        calls: list[str] = []

        def record(name: str) -> Callable[..., object]:
            real = getattr(os, name)

            def call(*args: object) -> object:
                is_file = name == 'replace' or not _is_folder(args[0])
                calls.append(name if is_file else f'{name} folder')
                return real(*args)

            return call

        for name in ('fsync', 'replace'):
            self.patch(f'os.{name}', record(name))
        files.replace(str(self.file), 'new', 0o600)
        self.assertEqual(['fsync', 'replace', 'fsync folder'], calls)

    def _refused(self, name: str, fault: Callable[..., object]) -> None:
        before = getattr(os, name.removeprefix('os.'))
        self.patch(name, fault)
        error = self.assertRaises(
            OSError, files.replace, str(self.file), 'new', 0o600
        )
        self.assertEqual(errno.ENOSPC, error.errno)
        self._is_as_before()
        self.patch(name, before)

    def _is_as_before(self) -> None:
        self.assertEqual('old', self.file.read_text())
        self.assertEqual(['file'], self.names())


def _is_folder(handle: object) -> bool:
    return pathlib.Path(f'/proc/self/fd/{handle}').is_dir()
