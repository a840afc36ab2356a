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
"""How long reading a host takes, against the bare reads."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import tempfile
from collections.abc import Iterator

from nova_vgpu_ext.host import snapshot
from nova_vgpu_ext.sim import builder, description, profile
from tools.benchmarks.rows import Row, seconds


def large_host(
    cards: int = 16, vfs: int = 32, prefix: str = '0000'
) -> description.Profile:
    """Describe a host with many cards of the profile a40-sriov."""
    card = profile.load('a40-sriov').gpus[0]
    gpus = []
    for number in range(cards):
        address = f'{prefix}:{0x10 + number * 8:02x}:00.0'
        addresses = description.vf_addresses(address, vfs)
        gpus.append(
            dataclasses.replace(
                card,
                address=address,
                vfs=tuple(
                    description.VfSpec(a, card.vfs[0].types) for a in addresses
                ),
                total_vfs=vfs,
            )
        )
    return description.Profile('large', tuple(gpus))


def _read(path: str) -> bytes:
    with open(path, 'rb', buffering=0) as file:
        return file.read(4096)


def _bare(root: str) -> int:
    """Read what any reader needs: ids, types, and what is available."""
    count = 0
    for device in os.scandir(f'{root}/bus/pci/devices'):
        _read(f'{device.path}/uevent')
        count += 1
    for device in os.scandir(f'{root}/class/mdev_bus'):
        _read(f'{device.path}/numa_node')
        for kind in os.scandir(f'{device.path}/mdev_supported_types'):
            for name in (
                'name',
                'description',
                'device_api',
                'available_instances',
            ):
                _read(f'{kind.path}/{name}')
                count += 1
    for mdev in os.scandir(f'{root}/bus/mdev/devices'):
        os.readlink(f'{mdev.path}/mdev_type')
    return count


def run() -> Iterator[Row]:
    """Measure both on the same tree."""
    with tempfile.TemporaryDirectory() as folder:
        root = str(pathlib.Path(folder) / 'sys')
        builder.build(large_host(), root)
        snapshot.observe(root, None)
        what = '16 GPUs, 512 VFs'
        bare = Row(what, 'bare reads', seconds(lambda: _bare(root), 5))
        yield bare
        ours = seconds(lambda: snapshot.observe(root, None), 5)
        yield Row(what, 'this project', ours, base=bare)
