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
"""The only way to sysfs: small reads that never raise for a device's fault.

A device may vanish between two reads, a driver may print nonsense, and a
container may hide a file. What vanished is absent; everything else that
cannot be used is noted once as a :class:`~nova_vgpu_ext.models.ReadProblem`
and left out.
"""

from __future__ import annotations

import errno
import logging
import os
import re

from nova_vgpu_ext import exception, models

LOG = logging.getLogger(__name__)

#: The kernel gives one page per attribute; a directory of files may lie.
SIZE_LIMIT = 1 << 16

_VANISHED = frozenset(
    {errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.ENOTDIR, errno.ESTALE}
)
_DENIED = frozenset({errno.EACCES, errno.EPERM})
_NUMBER = re.compile(r'-?[0-9]{1,10}', re.ASCII)
#: What would change a terminal that shows it; lines and tabs do not.
_CONTROL = re.compile(r'[\x00-\x08\x0b-\x1f\x7f-\x9f]')
_LARGEST = (1 << 31) - 1


class Sysfs:
    """Reads below one root; every path is relative to it.

    :param root: where sysfs, or a simulated host, is.
    :raises exception.HostError: if no PCI bus is there.
    """

    def __init__(self, root: str) -> None:
        self.root = os.path.realpath(root)
        self._problems: dict[str, models.ReadProblem] = {}
        self._inside: dict[str, bool] = {'': True}
        if not os.path.isdir(os.path.join(self.root, 'bus/pci/devices')):
            raise exception.HostError(
                f'[vgpu] sysfs_root (--sysfs-root) = {root}',
                'no bus/pci/devices there',
                'sysfs or a simulated host',
                'set it to /sys or to the directory of a simulated host',
            )

    @property
    def problems(self) -> tuple[models.ReadProblem, ...]:
        """What could not be used so far, in the order of the paths."""
        return tuple(self._problems[path] for path in sorted(self._problems))

    def noted(self, path: str) -> bool:
        """Whether a file is there but could not be used."""
        return os.path.join(self.root, path) in self._problems

    def note(
        self, path: str, found: str, expected: str, hides: bool = False
    ) -> None:
        """Note that a file could not be used; the first note stays.

        :param hides: whether the file could not be read at all.
        """
        full = os.path.join(self.root, path)
        if full not in self._problems:
            problem = models.ReadProblem(full, found, expected, hides)
            LOG.info('Left out: %s', problem)
            self._problems[full] = problem

    def text(self, path: str) -> str | None:
        """Read a file, without white space at its ends; None if absent."""
        try:
            data = self._read(path) if self._is_inside(path) else None
        except OSError as e:
            self._translate(path, e, 'a readable file')
            return None
        if data is None:
            return None
        if len(data) > SIZE_LIMIT:
            self.note(path, 'a larger file', f'{SIZE_LIMIT} bytes at most')
            return None
        try:
            text = data.decode()
        except UnicodeDecodeError:
            self.note(path, 'bytes that are no UTF-8', 'text')
            return None
        if _CONTROL.search(text):
            self.note(path, 'control characters', 'text')
            return None
        return text.strip()

    def number(self, path: str, minimum: int = 0) -> int | None:
        """Read a decimal number; None if absent or no such number."""
        text = self.text(path)
        if text is None:
            return None
        if _NUMBER.fullmatch(text) and minimum <= int(text) <= _LARGEST:
            return int(text)
        self.note(path, f'{text[:40]!r}', f'a number of at least {minimum}')
        return None

    def names(self, path: str) -> list[str]:
        """List a directory in order; nothing if absent."""
        try:
            return sorted(self._list(path)) if self._is_inside(path) else []
        except OSError as e:
            self._translate(path, e, 'a readable directory')
            return []

    def link_name(self, path: str) -> str | None:
        """Give the last part of a link's target; None if absent."""
        return os.path.basename(self._target(path) or '') or None

    def link_path(self, path: str) -> str | None:
        """Give a link's target relative to the root; None if absent."""
        if self._target(path) is None:
            return None
        target = os.path.realpath(os.path.join(self.root, path))
        if os.path.commonpath([target, self.root]) != self.root:
            self.note(path, f'a link to {target}', f'one below {self.root}')
            return None
        return os.path.relpath(target, self.root)

    def _target(self, path: str) -> str | None:
        try:
            return self._link(path) if self._is_inside(path) else None
        except OSError as e:
            self._translate(path, e, 'a link')
            return None

    def _translate(self, path: str, error: OSError, expected: str) -> None:
        if error.errno in _VANISHED:
            LOG.debug('Absent: %s', path)
        elif error.errno in _DENIED:
            self.note(path, 'permission denied', expected, hides=True)
        else:
            found = error.strerror or str(error)
            self.note(path, found, expected, hides=True)

    def _is_inside(self, path: str) -> bool:
        """Tell whether the directory of a path is below the root."""
        folder = os.path.dirname(path)
        known = self._inside.get(folder)
        if known is None:
            known = self._is_inside(folder) and self._stays(folder)
            self._inside[folder] = known
        return known

    def _stays(self, folder: str) -> bool:
        full = os.path.join(self.root, folder)
        if not os.path.islink(full):
            return True
        target = os.path.realpath(full)
        if os.path.commonpath([target, self.root]) == self.root:
            return True
        self.note(folder, f'a link to {target}', f'one below {self.root}')
        return False

    # What touches the file system, each in one place.

    def _read(self, path: str) -> bytes:
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        handle = os.open(os.path.join(self.root, path), flags)
        try:
            return os.read(handle, SIZE_LIMIT + 1)
        finally:
            os.close(handle)

    def _list(self, path: str) -> list[str]:
        return os.listdir(os.path.join(self.root, path))

    def _link(self, path: str) -> str:
        return os.readlink(os.path.join(self.root, path))
