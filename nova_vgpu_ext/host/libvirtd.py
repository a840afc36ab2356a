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
"""libvirt's process that starts guests, and what a process has mounted."""

from __future__ import annotations

import errno
import os
import re

from nova_vgpu_ext.host.question import ask
from nova_vgpu_ext.host.read import text
from nova_vgpu_ext.models import Libvirtd, Mount, Unknown

_DAEMONS = frozenset({'libvirtd', 'virtqemud'})
#: A host of many containers has a long list of mounts.
_MOUNTS_LIMIT = 8 << 20
_OCTAL = re.compile(r'\\([0-7]{3})')


def find(proc: str = '/proc') -> Libvirtd | None:
    """Find the process.

    :param proc: where the processes are listed.
    :raises OSError: they cannot be looked at.
    """
    for pid in sorted(filter(str.isdigit, os.listdir(proc)), key=int):
        try:
            name = text(f'{proc}/{pid}/comm')
            if name in _DAEMONS:
                return Libvirtd(
                    name,
                    int(pid),
                    _started(proc, pid),
                    _other_mounts(proc, pid),
                )
        except (FileNotFoundError, ProcessLookupError):
            continue
    return None


def _started(proc: str, pid: str) -> float:
    """Tell when a process started.

    The name, the second field, may hold anything, blanks and brackets too.
    Source: proc(5).
    """
    path = f'{proc}/{pid}/stat'
    fields = text(path).rpartition(')')[2].split()
    try:
        seconds = int(fields[19]) / os.sysconf('SC_CLK_TCK')
    except (IndexError, ValueError) as error:
        raise OSError(errno.EINVAL, 'no time of the start', path) from error
    return _boot(f'{proc}/stat') + seconds


def _boot(path: str) -> int:
    for line in text(path).splitlines():
        name, _, value = line.partition(' ')
        if name == 'btime' and value.isdigit():
            return int(value)
    raise OSError(errno.EINVAL, 'no time of the boot', path)


def _other_mounts(proc: str, pid: str) -> tuple[Mount, ...] | Unknown | None:
    """Read what a process sees, if that is not what this one sees."""

    def read() -> tuple[Mount, ...] | None:
        own = os.readlink(f'{proc}/self/ns/mnt')
        if os.readlink(f'{proc}/{pid}/ns/mnt') == own:
            return None
        return mounts(f'{proc}/{pid}/mountinfo')

    return ask(read)


def mounts(path: str) -> tuple[Mount, ...]:
    """Read what a process has mounted.

    :param path: its file mountinfo.
    :raises OSError: it cannot be read.
    """
    found = []
    for line in text(path, _MOUNTS_LIMIT).splitlines():
        left, dash, right = line.partition(' - ')
        fields, kind = left.split(' '), right.split(' ')
        if not dash or len(fields) < 6 or len(kind) < 3:
            continue
        options = {*fields[5].split(','), *kind[2].split(',')}
        where = _OCTAL.sub(lambda m: chr(int(m[1], 8)), fields[4])
        found.append(Mount(where, kind[0], 'ro' not in options))
    return tuple(found)
