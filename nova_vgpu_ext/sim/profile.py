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
"""Profiles of simulated hosts: the bundled ones and the user's own.

A profile is a YAML file; ``cards.yaml`` holds the cards that profiles name.
A file may bring cards of its own below ``cards``.
"""

from __future__ import annotations

import functools
import importlib.resources
import os
from typing import Any

from nova_vgpu_ext import exception, models
from nova_vgpu_ext.sim import parse, rules
from nova_vgpu_ext.sim.description import (
    DeviceSpec,
    GpuSpec,
    MdevSpec,
    PciSpec,
    Profile,
    TypeSpec,
    VfSpec,
    available,
    creatable,
    describe,
    vf_addresses,
)
from nova_vgpu_ext.sim.rules import check

__all__ = [
    'DeviceSpec',
    'GpuSpec',
    'MdevSpec',
    'PciSpec',
    'Profile',
    'TypeSpec',
    'VfSpec',
    'available',
    'check',
    'creatable',
    'describe',
    'known_types',
    'load',
    'names',
    'vf_addresses',
]

_PACKAGE = 'nova_vgpu_ext.sim'
_SUFFIX = '.yaml'
_SIZE_LIMIT = 1 << 20


@functools.cache
def _bundled_cards() -> dict[str, Any]:
    file = importlib.resources.files(_PACKAGE) / 'cards.yaml'
    cards = parse.parse('cards.yaml', file.read_text('utf-8'))
    return cards if isinstance(cards, dict) else {}


def names() -> list[str]:
    """List the bundled profiles."""
    folder = importlib.resources.files(_PACKAGE) / 'profiles'
    return sorted(
        entry.name.removesuffix(_SUFFIX)
        for entry in folder.iterdir()
        if entry.name.endswith(_SUFFIX)
    )


def known_types() -> tuple[models.VgpuType, ...]:
    """List the types of all bundled cards, with id and name."""
    return tuple(
        models.VgpuType(found['id'], found['name'])
        for card in _bundled_cards().values()
        for found in card['types']
    )


def load(name: str) -> Profile:
    """Load a profile.

    :param name: the name of a bundled one, or the path of a YAML file, which
        has a ``/`` or ends with ``.yaml`` or ``.yml``.
    :raises exception.NotFound: if no bundled profile has this name.
    :raises exception.ConfigError: if the file cannot be used.
    """
    if '/' in name or name.endswith((_SUFFIX, '.yml')):
        file, text = name, _read(name)
        short = os.path.splitext(os.path.basename(name))[0]
    elif name in names():
        file, short = f'{name}{_SUFFIX}', name
        folder = importlib.resources.files(_PACKAGE) / 'profiles'
        text = (folder / file).read_text('utf-8')
    else:
        raise exception.NotFound('profile', name, names())
    profile = parse.Reader(file, _bundled_cards()).profile(
        short, parse.parse(file, text)
    )
    rules.check(profile, file)
    return profile


def _read(path: str) -> str:
    try:
        with open(path, encoding='utf-8') as stream:
            text = stream.read(_SIZE_LIMIT + 1)
    except OSError as e:
        found = e.strerror or str(e)
        raise exception.ConfigError(path, found, 'a profile') from e
    except UnicodeDecodeError as e:
        raise exception.ConfigError(path, 'bytes', 'UTF-8 text') from e
    if len(text) > _SIZE_LIMIT:
        raise exception.ConfigError(path, 'a larger file', '1 MiB at most')
    return text
