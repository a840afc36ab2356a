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
"""Client configuration tokens, which are secrets, in files."""

from __future__ import annotations

import os
import re
import stat

from nova_vgpu_ext import exception

#: No ``/``, and nothing that begins with a dot.
_NAME = re.compile(r'[A-Za-z0-9_-][A-Za-z0-9._-]{0,200}', re.ASCII)
_BYTES = 64 << 10

_FOLDER = '[vgpu_vendordata] secrets_dir'


def check_name(name: str, option: str) -> None:
    """Refuse what is no plain name of a file.

    :param option: where the name stands.
    :raises ConfigError: it is none.
    """
    if not _NAME.fullmatch(name):
        raise exception.ConfigError(
            option,
            repr(name[:80]),
            f'the name of a file in {_FOLDER}',
        )


def read(folder: str, name: str) -> str:
    """Read a token that nobody else can read or replace.

    :param folder: the folder of secrets.
    :param name: one that :func:`check_name` takes.
    :returns: its text, which is not looked at further.
    :raises ConfigError: it is not there, or others could have a hand in it.
    """
    path = os.path.join(folder, name)
    try:
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            _check(folder, os.fstat(opened), 'chmod 700')
            return _read(path, name, opened)
        finally:
            os.close(opened)
    except OSError as error:
        raise exception.ConfigError(
            path,
            (error.strerror or str(error)).lower(),
            'a token in a file, neither of them a symbolic link',
            'put the token there, or correct token_file',
        ) from error


def _read(path: str, name: str, folder: int) -> str:
    # A FIFO without a writer would block.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    with open(os.open(name, flags, dir_fd=folder), 'rb') as stream:
        found = os.fstat(stream.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise exception.ConfigError(path, 'no plain file', 'a token')
        _check(path, found, 'chmod 600')
        text = stream.read(_BYTES + 1)
    try:
        return text.decode('ascii').strip()
    except UnicodeDecodeError:
        raise exception.ConfigError(
            path, 'bytes that are no text', 'a client configuration token'
        ) from None


def _check(path: str, found: os.stat_result, remedy: str) -> None:
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o077:
        raise exception.ConfigError(
            path,
            f'mode {mode:04o}',
            'that only its owner can use it',
            f'{remedy} {path}',
        )
    if found.st_uid != os.geteuid():
        raise exception.ConfigError(
            path,
            f'owner {found.st_uid}',
            f'{os.geteuid()}, the user of this service',
            f'chown {os.geteuid()} {path}',
        )
