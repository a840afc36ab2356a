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

from nova_vgpu_ext import exception, secret_file

#: No ``/``, and nothing that begins with a dot.
_NAME = re.compile(r'[A-Za-z0-9_-][A-Za-z0-9._-]{0,200}', re.ASCII)

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
    owner = os.geteuid()
    try:
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            secret_file.check(folder, os.fstat(opened), 0o700, owner)
            flags = secret_file.FLAGS | os.O_NOFOLLOW
            found = os.open(name, flags, dir_fd=opened)
            return secret_file.read(path, found, owner)
        finally:
            os.close(opened)
    except OSError as error:
        raise exception.ConfigError(
            path,
            (error.strerror or str(error)).lower(),
            'a token in a file, neither of them a symbolic link',
            'put the token there, or correct token_file',
        ) from error
