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
"""The files below kolla-ansible's ``node_custom_config``."""

from __future__ import annotations

import difflib
import os
import stat

from nova_vgpu_ext import exception
from nova_vgpu_ext.host import files
from nova_vgpu_ext.plan.kolla import render, tree

#: Where kolla-ansible looks unless told otherwise.
DIRECTORY = '/etc/kolla/config'
_SIZE_LIMIT = 1 << 20
_NEW_MODE = 0o644


def read(root: str) -> dict[str, str]:
    """Read each file that decides about an option of ours.

    :returns: by path below the folder; nothing for what is not there.
    :raises ConfigError: a file cannot be read.
    """
    found = {}
    for path in (
        *tree.SHARED,
        *(tree.path_of(service) for service in render.SERVICES),
        *_per_host(root),
    ):
        text = _read(os.path.join(root, path))
        if text is not None:
            found[path] = text
    return found


def _per_host(root: str) -> list[str]:
    try:
        names = sorted(os.listdir(os.path.join(root, 'nova')))
    except OSError:
        return []
    return [f'nova/{host}/{name}' for host in names for name in tree.PER_HOST]


def _read(path: str) -> str | None:
    try:
        return files.read(os.path.realpath(path), _SIZE_LIMIT)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        found = (exc.strerror or str(exc)).lower()
        raise exception.ConfigError(
            path, found, 'a file that this user may read'
        ) from exc
    except ValueError as exc:
        raise exception.ConfigError(
            path, str(exc), f'UTF-8 text of {_SIZE_LIMIT} bytes at most'
        ) from exc


def diff(root: str, change: tree.Change) -> str:
    """Show a change as ``diff -u`` does."""
    path = os.path.join(root, change.path)
    return ''.join(
        difflib.unified_diff(
            (change.old or '').splitlines(keepends=True),
            (change.new or '').splitlines(keepends=True),
            '/dev/null' if change.old is None else path,
            '/dev/null' if change.new is None else path,
        )
    )


def write(root: str, change: tree.Change) -> None:
    """Write or remove a file; whoever reads it sees the old or the new one.

    A symbolic link stays, and what it points to is written; one to a file
    that goes, goes with it. Owner and permissions stay.

    :raises ConfigError: it cannot be written.
    """
    name = os.path.join(root, change.path)
    path = os.path.realpath(name)
    try:
        if change.new is None:
            os.unlink(path)
            if os.path.islink(name):
                os.unlink(name)
            return
        os.makedirs(os.path.dirname(path), exist_ok=True)
        mode, owner = _NEW_MODE, None
        if change.old is not None:
            found = os.stat(path)
            mode = stat.S_IMODE(found.st_mode)
            owner = (found.st_uid, found.st_gid)
        files.replace(path, change.new, mode, owner)
    except OSError as exc:
        raise exception.ConfigError(
            path,
            (exc.strerror or str(exc)).lower(),
            'a file that this user may write',
            'run it as the user of kolla-ansible; a second run writes what '
            'is missing',
        ) from exc
