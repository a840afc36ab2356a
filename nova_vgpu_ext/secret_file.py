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
"""Licence tokens in files, which are secrets."""

from __future__ import annotations

import os
import stat

from nova_vgpu_ext import exception

#: How to open one: a FIFO without a writer would block.
FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK

_LIMIT = 64 << 10
_TOKEN = 'a client configuration token'  # noqa: S105


def check(
    path: str, found: os.stat_result, mode: int, owner: int | None = None
) -> None:
    """Refuse a file or folder that others can use.

    :param mode: one that is good.
    :param owner: whose it has to be; None if anybody's will do.
    :raises ConfigError: it is open to others, or another one's.
    """
    has = stat.S_IMODE(found.st_mode)
    if has & 0o077:
        raise exception.ConfigError(
            path,
            f'mode {has:04o}',
            'that only its owner can use it',
            f'chmod {mode:o} {path}',
        )
    if owner is not None and found.st_uid != owner:
        raise exception.ConfigError(
            path,
            f'owner {found.st_uid}',
            f'{owner}, the user of this service',
            f'chown {owner} {path}',
        )


def read(path: str, opened: int, owner: int | None = None) -> str:
    """Read a token that only its owner can use.

    :param path: for messages.
    :param opened: the file, opened with :data:`FLAGS`; it is closed.
    :param owner: whose it has to be; None if anybody's will do.
    :returns: its text, which is not looked at further.
    :raises ConfigError: it is none, or others could have a hand in it.
    """
    try:
        found = os.fstat(opened)
        if not stat.S_ISREG(found.st_mode):
            raise exception.ConfigError(path, 'no plain file', _TOKEN)
        check(path, found, 0o600, owner)
        with open(opened, 'rb', closefd=False) as stream:
            content = stream.read(_LIMIT + 1)
    finally:
        os.close(opened)
    if len(content) > _LIMIT:
        raise exception.ConfigError(path, f'more than {_LIMIT} bytes', _TOKEN)
    try:
        return content.decode('ascii').strip()
    except UnicodeDecodeError:
        raise exception.ConfigError(
            path, 'bytes that are no text', _TOKEN
        ) from None
