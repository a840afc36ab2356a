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
"""Cards with vendor-specific VFIO in one entry of a description."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nova_vgpu_ext.models import PCI_ADDRESS, Severity
from nova_vgpu_ext.plan import pci
from nova_vgpu_ext.plan.kolla import devices, pci_options, values
from nova_vgpu_ext.plan.kolla.description import Card, Description, Entry
from nova_vgpu_ext.plan.kolla.known import KnownTypes
from nova_vgpu_ext.plan.kolla.notes import Notes, short

_KEYS = ('type', 'vfs', 'live_migratable')
_WORDS = {'yes': True, 'true': True, 'no': False, 'false': False}
_ADDRESS = 'a PCI address as the kernel writes it, like 0000:3b:00.4'
_LOOK = 'nova-vgpu gpu show ADDRESS lists the functions on the host'


def read(
    notes: Notes, known: KnownTypes, key: str, value: Any
) -> tuple[Card, ...]:
    """Read the cards of an entry.

    :param key: of the mapping, as ``hosts.gpu01.vendor_vfio``.
    :param value: by the address of the physical function, keys and values.
    """
    found = []
    for address, item in notes.mapping(key, value).items():
        where = f'{key}.{address}'
        if not PCI_ADDRESS.fullmatch(address):
            notes.add(key, short(address), _ADDRESS, _LOOK)
            continue
        data = notes.mapping(where, item, _KEYS)
        vfs = _functions(notes, where, data.get('vfs', ''))
        migrates = _migrates(notes, where, data.get('live_migratable', 'no'))
        kind = devices.vendor_type(notes, known, where, data.get('type'))
        if kind:
            found.append(Card(address, *kind, vfs, migrates))
    return tuple(found)


def _migrates(notes: Notes, key: str, value: Any) -> bool:
    if not isinstance(value, str) or value.lower() not in _WORDS:
        notes.add(f'{key}.live_migratable', short(value), 'yes or no')
        return False
    return _WORDS[value.lower()]


def _functions(notes: Notes, key: str, value: Any) -> tuple[str, ...]:
    found = []
    for item in notes.items(f'{key}.vfs', value):
        if isinstance(item, str) and PCI_ADDRESS.fullmatch(item):
            found.append(item)
        else:
            notes.add(f'{key}.vfs', short(item), _ADDRESS, _LOOK)
    if not found:
        notes.add(
            f'{key}.vfs',
            'no virtual function',
            'the addresses of those that get the type',
            _LOOK,
        )
    return tuple(found)


def check(notes: Notes, key: str, entry: Entry) -> None:
    """Find devices that would be of two types or classes.

    :param key: of the entry, as ``hosts.gpu01``.
    """
    seen: dict[str, str] = {}
    for address, use in _uses(entry):
        if address in seen:
            notes.add(
                key,
                f'{address} as {seen[address]} and as {use}',
                'each device once, with one type',
                'remove one of the two',
            )
        seen.setdefault(address, use)
    for number, text in enumerate(entry.device_specs):
        spec = values.load_object(text) or {}
        where = f'{key}.device_specs[{number}]'
        faults = list(pci_options.spec_faults(spec))
        for found, expected in faults:
            notes.add(where, found, expected)
        if not faults:
            _check_class(notes, where, spec, entry)


def check_products(notes: Notes, description: Description) -> None:
    """Find products of which some cards let guests migrate, and some not."""
    named = [
        (f'{kind}.{entry.name}.vendor_vfio.{card.address}', card)
        for kind, entries in (
            ('hosts', description.hosts),
            ('groups', description.groups),
        )
        for entry in entries
        for card in entry.cards
    ]
    for key, card in named:
        if (
            not card.live_migratable
            and card.product in description.live_migratable
        ):
            notes.add(
                key,
                f'no live_migratable, which other cards with {card.product} '
                'have',
                'the same on every card with one type',
                'Nova has one alias for all of them; add live_migratable: '
                'yes, or remove it from the others',
            )


def _check_class(
    notes: Notes, key: str, spec: Mapping[str, Any], entry: Entry
) -> None:
    for card in entry.cards:
        if pci_options.has_nvidia_ids(spec):
            notes.add(
                key,
                f'ids of NVIDIA and no address, beside {card.address} below '
                'vendor_vfio',
                'an address',
                'these may be the ids of its functions, and Nova refuses a '
                'card with several classes',
                Severity.WARNING,
            )
        elif pci_options.may_match(spec, card):
            notes.add(
                key,
                f'functions of {card.address} with the class '
                f'{short(spec.get("resource_class"))}, which vendor_vfio '
                f'gives {pci.class_of(card.product)}',
                'one class on all functions of a card',
                'Nova refuses a card with several classes: remove it, or '
                'name the bus of the devices that are meant',
            )


def _uses(entry: Entry) -> Iterator[tuple[str, str]]:
    for type_config in entry.types:
        for address in type_config.device_addresses:
            yield address, f'a GPU with {type_config.id}'
    for card in entry.cards:
        yield card.address, f'a card with {card.product}'
    for card in entry.cards:
        for address in card.vfs:
            yield address, f'a function of {card.address}'
