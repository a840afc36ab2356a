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
"""Values that are copied as they are: checked, so that they stay one line.

What is written becomes a template of Jinja, so nothing may begin an
expression, a statement or a comment of it.
"""

from __future__ import annotations

import json
import re
from typing import Any

from nova_vgpu_ext.models import PCI_ADDRESS
from nova_vgpu_ext.plan import pci
from nova_vgpu_ext.plan.kolla import pci_options
from nova_vgpu_ext.plan.kolla.description import Description
from nova_vgpu_ext.plan.kolla.notes import Notes, short

#: A host or group of Ansible's inventory.
NAME = re.compile('[A-Za-z0-9_][A-Za-z0-9_.:-]{0,252}', re.ASCII)
#: A virtual parent of mdevs, ``mtty_mtty``.
VIRTUAL_PARENT = re.compile('[a-z][a-z0-9]*_[a-z0-9_]{1,60}', re.ASCII)
MDEV_CLASS = re.compile('CUSTOM_[A-Z0-9_]{1,248}', re.ASCII)
#: A filter, or the class of one with its module.
_WORD = re.compile('[A-Za-z_][A-Za-z0-9_.]{0,200}', re.ASCII)
_JINJA = re.compile('{{|{%|{#|[\r\n]')


def is_device(text: str) -> bool:
    """Tell whether a text names a GPU, a VF or a virtual parent."""
    return bool(PCI_ADDRESS.fullmatch(text) or VIRTUAL_PARENT.fullmatch(text))


def objects(notes: Notes, key: str, value: Any) -> tuple[str, ...]:
    """Take a list of JSON objects, each as nova.conf has it."""
    found = []
    for number, text in enumerate(notes.items(key, value)):
        if load_object(text) is None:
            notes.add(
                f'{key}[{number}]',
                short(text),
                "a JSON object in quotes, '{...}', as in nova.conf",
            )
        elif _JINJA.search(text):
            notes.add(
                f'{key}[{number}]',
                'what Jinja would take for its own, or a second line',
                'one line without {{, {% and {#',
            )
        elif text not in found:
            found.append(text)
    return tuple(found)


def load_object(text: Any) -> dict[str, Any] | None:
    """Parse a JSON object; None for whatever is none."""
    if not isinstance(text, str):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def words(notes: Notes, key: str, value: Any) -> tuple[str, ...]:
    """Take a list of filters or classes."""
    found = []
    for number, text in enumerate(notes.items(key, value)):
        if isinstance(text, str) and _WORD.fullmatch(text):
            found.append(text)
        else:
            notes.add(
                f'{key}[{number}]', short(text), 'the name of a Python class'
            )
    return tuple(dict.fromkeys(found))


def check_aliases(notes: Notes, description: Description) -> None:
    """Find aliases that Nova refuses, or takes for one with two meanings."""
    taken = {pci.alias_of(p): p for p in description.products}
    for number, text in enumerate(description.aliases):
        alias = load_object(text) or {}
        key = f'aliases[{number}]'
        for found, expected in pci_options.alias_faults(
            alias, bool(description.products)
        ):
            notes.add(key, found, expected)
        name = str(alias.get('name')).strip()
        if name in taken:
            notes.add(
                key,
                f'a second alias {short(name)}; there is one for '
                f'{taken[name]}',
                'each name once',
                'Nova wants one value for each alias with '
                '[filter_scheduler] pci_in_placement; remove this one, or '
                'rename it',
            )
        else:
            taken[name] = key
