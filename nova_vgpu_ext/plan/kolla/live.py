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
"""A description of the host that this runs on."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Sequence

from nova_vgpu_ext.models import DevicesConfig, Snapshot, TypeConfig
from nova_vgpu_ext.plan import pci
from nova_vgpu_ext.plan.kolla import devices, pci_options, values


def write(
    host: str,
    config: DevicesConfig,
    snapshot: Snapshot,
    cards: Sequence[pci.PciProvider],
    aliases: Collection[str],
    device_specs: Collection[str],
) -> str:
    """Write what nova.conf and the host say as a description.

    :param host: its name in the inventory.
    :param cards: the cards with vendor-specific VFIO, of
        :func:`nova_vgpu_ext.plan.pci.plan`.
    :param aliases: the values of ``[pci] alias``.
    :param device_specs: the values of ``[pci] device_spec``.
    :returns: the text of the file; empty where the host has nothing.
    """
    cards = [
        dataclasses.replace(
            card, live_migratable=_migrates(card, device_specs)
        )
        for card in cards
    ]
    lines = [*_gpus(config, snapshot), *_cards(cards)]
    if not lines:
        return ''
    own = _others(aliases, [card.alias for card in cards])
    specs = [spec for card in cards for spec in card.device_specs]
    lines += _strings('    device_specs:', _others(device_specs, specs), 6)
    return ''.join(
        f'{line}\n'
        for line in (
            '---',
            *_strings('aliases:', own, 2),
            'hosts:',
            f'  {_quoted(host)}:',
            *lines,
        )
    )


def _gpus(config: DevicesConfig, snapshot: Snapshot) -> Iterator[str]:
    types = [t for t in dict.fromkeys(config.types) if t.id]
    if types:
        yield '    gpus:'
    for type_config in types:
        addresses = type_config.device_addresses or (devices.ALL,)
        for address in dict.fromkeys(addresses):
            key = address if address == devices.ALL else _quoted(address)
            name = _name(snapshot, address, type_config.id)
            yield f'      {key}: {_value(type_config)}{name}'


def _value(type_config: TypeConfig) -> str:
    parts = [f'type: {type_config.id}']
    if type_config.mdev_class != 'VGPU':
        parts.append(f'class: {type_config.mdev_class}')
    if type_config.max_instances:
        parts.append(f'max_instances: {type_config.max_instances}')
    return type_config.id if len(parts) == 1 else f'{{{", ".join(parts)}}}'


def _name(snapshot: Snapshot, address: str, type_id: str) -> str:
    """Write the driver's name of a type as a comment."""
    for device in snapshot.mdev_parents:
        offered = device.type(type_id)
        if (
            offered
            and offered.name
            and address
            in (
                device.address,
                devices.ALL,
            )
        ):
            return f'  # {offered.name}'
    return ''


def _cards(cards: Sequence[pci.PciProvider]) -> Iterator[str]:
    if cards:
        yield '    vendor_vfio:'
    for card in cards:
        address = card.name.rpartition('_')[2].lower()
        yield f'      {_quoted(address)}:'
        yield f'        type: {card.product}'
        if card.live_migratable:
            yield '        live_migratable: yes'
        yield '        vfs:'
        yield from (f'          - {_quoted(vf)}' for vf in card.vfs)


def _migrates(card: pci.PciProvider, device_specs: Collection[str]) -> bool:
    """Tell whether nova.conf says so of functions of a card."""
    specs = [values.load_object(text) or {} for text in device_specs]
    return any(
        spec.get('address') in card.vfs
        and pci_options.is_true(spec.get('live_migratable'))
        for spec in specs
    )


def _others(found: Collection[str], ours: Collection[str]) -> list[str]:
    known = [values.load_object(text) for text in ours]
    return [text for text in found if values.load_object(text) not in known]


def _strings(
    heading: str, texts: Collection[str], indent: int
) -> Iterator[str]:
    if texts:
        yield heading
    yield from (f'{" " * indent}- {_quoted(text)}' for text in texts)


def _quoted(text: str) -> str:
    """Quote a scalar of YAML."""
    one_line = ' '.join(text.split('\n'))
    return "'" + one_line.replace("'", "''") + "'"
