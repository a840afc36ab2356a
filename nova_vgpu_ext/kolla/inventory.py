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
"""The inventory of Ansible, as Ansible's own program reads it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from nova_vgpu_ext import exception
from nova_vgpu_ext.plan.kolla.inventory import Inventory

_PROGRAM = 'ansible-inventory'
_WHAT = 'an inventory of Ansible'
_SECONDS = 120


def load(path: str) -> Inventory:
    """Read an inventory: a file, or a folder of them.

    :raises ConfigError: there is none, Ansible cannot read it, or Ansible is
        not there.
    """
    if not os.path.exists(path):
        raise exception.ConfigError(path, 'no such file', _WHAT)
    command = [_program(), '-i', os.path.abspath(path), '--list']
    environ = os.environ | {
        # Else it warns only, and gives an inventory without a host.
        'ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED': 'true',
        'ANSIBLE_NOCOLOR': 'true',
    }
    try:
        done = subprocess.run(  # noqa: S603
            command,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding='utf-8',
            errors='replace',
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise _failed(path, f'no answer within {_SECONDS} s') from exc
    except OSError as exc:
        raise _failed(path, exc.strerror or str(exc)) from exc
    if done.returncode:
        raise _failed(path, ' '.join(done.stderr.split())[:500])
    return _parse(path, done.stdout)


def _program() -> str:
    beside = os.path.join(os.path.dirname(sys.executable), _PROGRAM)
    found = shutil.which(_PROGRAM) or shutil.which(beside)
    if found is None:
        raise exception.ConfigError(
            '--inventory',
            f'no {_PROGRAM} on the PATH',
            f'the {_PROGRAM} of ansible-core, which kolla-ansible runs with',
            "activate kolla-ansible's virtual environment, or leave "
            '--inventory out',
        )
    return found


def _failed(path: str, found: str) -> exception.ConfigError:
    return exception.ConfigError(
        path,
        f'what {_PROGRAM} refuses: {found}',
        _WHAT,
        f'try {_PROGRAM} -i {path} --list',
    )


def _parse(path: str, text: str) -> Inventory:
    try:
        data = json.loads(text)
        groups = {n: g for n, g in data.items() if n != '_meta'}
        # Ansible names a group without a host as a child only.
        names = {*groups, *(c for g in groups.values() for c in _children(g))}
        hosts = {n: _hosts(groups, n, set()) for n in names}
        everybody = set(data.get('_meta', {}).get('hostvars', ()))
        everybody.update(*hosts.values())
    except (AttributeError, TypeError, ValueError) as exc:
        raise _failed(path, 'an answer that is no inventory') from exc
    # Every host is in it, and it is not always spelled out.
    hosts['all'] = everybody
    return Inventory(
        os.path.basename(path.rstrip('/')),
        frozenset(everybody),
        {name: frozenset(found) for name, found in hosts.items()},
    )


def _hosts(
    groups: Mapping[str, Mapping[str, Any]], name: str, above: set[str]
) -> set[str]:
    """Give the hosts of a group and of its children."""
    group = groups.get(name, {})
    found = set(group.get('hosts', ()))
    for child in _children(group):
        if child not in above:
            found |= _hosts(groups, child, above | {name})
    return found


def _children(group: Mapping[str, Any]) -> Iterable[str]:
    children: Iterable[str] = group.get('children', ())
    return children
