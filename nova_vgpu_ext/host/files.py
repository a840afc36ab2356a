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
"""Small files that must never be half written, or follow a link."""

from __future__ import annotations

import contextlib
import errno
import os
import stat


def read(path: str, limit: int) -> str:
    """Read a small regular file.

    :param limit: in bytes.
    :raises OSError: it cannot be read, is a symbolic link or no file.
    :raises ValueError: it is larger, or no UTF-8 text.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    handle = os.open(path, flags)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, 'no regular file', path)
        with open(handle, 'rb', closefd=False) as stream:
            data = stream.read(limit + 1)
    finally:
        os.close(handle)
    if len(data) > limit:
        raise ValueError(f'more than {limit} bytes')
    return data.decode()


def replace(
    path: str, text: str, mode: int, owner: tuple[int, int] | None = None
) -> None:
    """Write a file as a whole: who reads sees the old text or the new one.

    One program at a time writes a file, under a lock.

    :param mode: its permissions.
    :param owner: user and group, if not those of this process; root only.
    :raises OSError: it cannot be written; the old one stays.
    """
    folder = os.path.dirname(path)
    temporary = os.path.join(folder, f'.{os.path.basename(path)}.new')
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)  # An interrupted run has left it.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    handle = os.open(temporary, flags, 0o600)
    try:
        with open(handle, 'w', encoding='utf-8') as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
            found = os.fstat(stream.fileno())
            if owner not in (None, (found.st_uid, found.st_gid)):
                # Who is not root may not give files away.
                with contextlib.suppress(PermissionError):
                    os.fchown(stream.fileno(), *owner)
            # Last: libvirt would run half of a hook that may be run.
            os.fchmod(stream.fileno(), mode)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    sync(folder)


def sync(folder: str) -> None:
    """Make a folder's list of names survive a crash."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
