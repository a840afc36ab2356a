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

import os
import secrets


def read(path: str, limit: int) -> str:
    """Read a small regular file.

    :param limit: in bytes.
    :raises OSError: it cannot be read, or is a symbolic link.
    :raises ValueError: it is larger, or no UTF-8 text.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    handle = os.open(path, flags)
    with open(handle, 'rb') as stream:
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f'more than {limit} bytes')
    return data.decode()


def replace(path: str, text: str, mode: int) -> None:
    """Write a file as a whole: who reads sees the old text or the new one.

    :param mode: its permissions.
    :raises OSError: it cannot be written; the old one stays.
    """
    folder = os.path.dirname(path)
    name = f'.{os.path.basename(path)}.{secrets.token_hex(8)}'
    temporary = os.path.join(folder, name)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    handle = os.open(temporary, flags, mode)
    try:
        with open(handle, 'w', encoding='utf-8') as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
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
