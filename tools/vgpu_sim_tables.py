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
"""Writes the cards and hosts that the kernel module vgpu_sim offers.

``python -m tools.vgpu_sim_tables``, with the virtual environment of
tools/test, turns ``cards.yaml`` and the bundled profiles of
``nova_vgpu_ext.sim`` into devstack/vgpu_sim/tables.c. A functional test does
the same and compares.
"""

from __future__ import annotations

import importlib.resources
import pathlib
import re

from nova_vgpu_ext import models
from nova_vgpu_ext.sim import description, parse, profile

FILE = pathlib.Path(__file__).parent.parent / 'devstack/vgpu_sim/tables.c'

_HEAD = """\
// SPDX-License-Identifier: GPL-2.0-only
/*
 * Made by "python -m tools.vgpu_sim_tables" from nova_vgpu_ext/sim/cards.yaml
 * and nova_vgpu_ext/sim/profiles; do not edit.
 */
#include <linux/kernel.h>

#include "vgpu_sim.h"
"""
_FRAMEWORKS = {
    models.Framework.MDEV: 'SIM_MDEV',
    models.Framework.VENDOR_VFIO: 'SIM_VENDOR_VFIO',
    models.Framework.NONE: 'SIM_NO_DRIVER',
}
_SLOT = ':00.0'


class _Card:
    """A card as the module knows it, under the name of its C variable."""

    def __init__(self, name: str, gpu: description.GpuSpec) -> None:
        self.name = name
        self.symbol = re.sub(r'\W', '_', name)
        self.total_vfs = gpu.total_vfs
        self.memory_mib = gpu.memory_mib
        self.types = (gpu.vfs[0] if gpu.vfs else gpu).types
        self.gpu = gpu

    def matches(self, gpu: description.GpuSpec) -> bool:
        """Tell whether a profile's GPU is this card."""
        types = {t for d in gpu.devices for t in d.types}
        return (
            types <= set(self.types)
            and (
                gpu.vendor_id,
                gpu.device_id,
                gpu.class_id,
                gpu.framework,
            )
            == (
                self.gpu.vendor_id,
                self.gpu.device_id,
                self.gpu.class_id,
                self.gpu.framework,
            )
            and gpu.frame_buffer_mib == self.gpu.frame_buffer_mib
        )

    def write(self) -> str:
        """Write the C of the card and its types."""
        types = ''.join(
            f'\t{{ {_number(t)}, {_text(_number(t))}, {_text(t.name)},\n'
            f'\t  {_text(t.description or description.describe(t))},\n'
            f'\t  {t.frame_buffer_mib}, {t.maximum} }},\n'
            for t in self.types
        )
        if types:
            types = (
                f'\nstatic const struct sim_type {self.symbol}_types[] = '
                f'{{\n{types}}};\n'
                f'static_assert(ARRAY_SIZE({self.symbol}_types) <= '
                'SIM_MAX_TYPES);\n'
            )
        gpu = self.gpu
        fields = {
            'name': _text(self.name),
            'vendor': f'0x{gpu.vendor_id}',
            'device': f'0x{gpu.device_id}',
            'class': f'0x{gpu.class_id}',
            'framework': _FRAMEWORKS[gpu.framework],
        }
        if types:
            fields |= {
                'fb_mib': str(self.memory_mib),
                'total_vfs': str(self.total_vfs),
                'types': f'{self.symbol}_types',
                'num_types': f'ARRAY_SIZE({self.symbol}_types)',
            }
        body = ''.join(f'\t.{k} = {v},\n' for k, v in fields.items())
        return (
            f'{types}\nstatic const struct sim_card {self.symbol} = '
            f'{{\n{body}}};\n'
        )


def _number(vgpu_type: description.TypeSpec) -> str:
    number = vgpu_type.id.removeprefix('nvidia-')
    if not number.isdecimal():
        raise ValueError(f'type {vgpu_type.id}: no number')
    return number


def _text(text: str) -> str:
    quoted = text.replace('\\', '\\\\').replace('"', '\\"')
    if not (quoted.isascii() and quoted.isprintable()):
        raise ValueError(f'{text!r}: not plain text')
    return f'"{quoted}"'


def _cards() -> list[_Card]:
    """Read every PCI card of cards.yaml."""
    file = importlib.resources.files('nova_vgpu_ext.sim') / 'cards.yaml'
    reader = parse.Reader('cards.yaml', {})
    cards = reader.mapping(
        'cards', parse.parse('cards.yaml', file.read_text('utf-8'))
    )
    reader.cards = cards
    return [
        _Card(
            name,
            reader.gpu(
                f'cards.{name}',
                {'card': name, 'address': '0000:00:00.0', 'vfs': '1'},
            ),
        )
        for name, data in cards.items()
        if 'device_id' in data
    ]


def _entry(cards: list[_Card], gpu: description.GpuSpec) -> str:
    """Write one GPU of a host; a card without a driver is added first."""
    card = next((c for c in cards if c.matches(gpu)), None)
    if card is None and gpu.framework is models.Framework.NONE:
        card = _Card(f'{gpu.vendor_id}:{gpu.device_id}', gpu)
        card.symbol = f'no_driver_{gpu.vendor_id}_{gpu.device_id}'
        cards.append(card)
    if card is None or not gpu.address.endswith(_SLOT):
        raise ValueError(f'{gpu.address}: not a card at device 00 function 0')
    domain, bus, _ = gpu.address.split(':')
    node = 'NUMA_NO_NODE' if gpu.numa_node is None else str(gpu.numa_node)
    return (
        f'\t{{ &{card.symbol}, 0x{domain}, 0x{bus}, {node}, '
        f'{gpu.total_vfs} }},\n'
    )


def _hosts(cards: list[_Card]) -> str:
    """Write the hosts whose GPUs are all on PCI."""
    parts, hosts = [], []
    for name in profile.names():
        gpus = profile.load(name).gpus
        if not gpus or any(g.is_virtual for g in gpus):
            continue
        symbol = re.sub(r'\W', '_', f'host_{name}')
        body = ''.join(_entry(cards, g) for g in gpus)
        parts.append(
            f'\nstatic const struct sim_host_gpu {symbol}[] = {{\n{body}}};\n'
        )
        hosts.append(
            f'\t{{ {_text(name)}, {symbol},\n\t  ARRAY_SIZE({symbol}) }},\n'
        )
    rows = ''.join(hosts)
    return (
        f'{"".join(parts)}\n'
        f'const struct sim_host sim_hosts[] = {{\n{rows}}};\n'
        'const unsigned int sim_num_hosts = ARRAY_SIZE(sim_hosts);\n'
    )


def tables() -> str:
    """Give the text of tables.c."""
    cards = _cards()
    named = ''.join(f'\t&{card.symbol},\n' for card in cards)
    hosts = _hosts(cards)
    return (
        f'{_HEAD}{"".join(card.write() for card in cards)}\n'
        f'const struct sim_card *const sim_cards[] = {{\n{named}}};\n'
        'const unsigned int sim_num_cards = ARRAY_SIZE(sim_cards);\n'
        f'{hosts}'
    )


def main() -> None:
    """Write the file."""
    FILE.write_text(tables())


if __name__ == '__main__':
    main()
