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
"""Hosts and configurations for the tests of the plan, in few words."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from nova_vgpu_ext import models

NODE = 'node.example.org'
GPU_1 = '0000:1a:00.0'
GPU_2 = '0000:1b:00.0'
GPU_3 = '0000:3d:00.0'
CARD = '0000:41:00.0'
NIC = '0000:5e:00.0'
ALL_TRAITS = ('type', 'product', 'series', 'frame_buffer')

#: UUIDs of mdevs that a test names.
UUIDS = tuple(f'{n:08x}-5f0b-4a52-9f61-6c1f5a3c2d10' for n in range(8))

Offers = Mapping[str, int]
Device = TypeVar('Device', bound=models.VgpuDevice)


def types(offers: Offers) -> tuple[models.VgpuType, ...]:
    """Make types with the numbers that are available of them."""
    return tuple(
        models.VgpuType(type_id, f'GRID V100DX-{n + 1}Q', available)
        for n, (type_id, available) in enumerate(offers.items())
    )


def mdevs(address: str, held: Iterable[str]) -> tuple[models.Mdev, ...]:
    """Make a mediated device of each type that is named."""
    return tuple(
        models.Mdev(f'uuid-{n}-of-{type_id}', type_id, address)
        for n, type_id in enumerate(held)
    )


def gpu(
    address: str = GPU_1,
    offers: Offers | None = None,
    held: Iterable[str] = (),
) -> models.Gpu:
    """Make a GPU without virtual functions."""
    return models.Gpu(
        address,
        '10de',
        '1db5',
        driver='nvidia',
        types=types({'nvidia-194': 32} if offers is None else offers),
        mdevs=mdevs(address, held),
        framework=models.Framework.MDEV,
    )


def sriov(
    count: int = 4, type_id: str = 'nvidia-557', available: int = 1
) -> models.Gpu:
    """Make a card whose virtual functions offer a type."""
    return models.Gpu(
        CARD,
        '10de',
        '2235',
        driver='nvidia',
        framework=models.Framework.MDEV,
        total_vfs=count,
        vfs=tuple(
            models.VirtualFunction(
                f'0000:41:{1 + n // 8:02x}.{n % 8}',
                '10de',
                '2235',
                types=types({type_id: available}),
                physical_function=CARD,
            )
            for n in range(count)
        ),
    )


def vendor(*current: str | None) -> models.Gpu:
    """Make a card with vendor-specific VFIO and what its VFs have set."""
    return models.Gpu(
        CARD,
        '10de',
        '26b9',
        driver='nvidia',
        framework=models.Framework.VENDOR_VFIO,
        total_vfs=len(current),
        vfs=tuple(
            models.VirtualFunction(
                f'0000:41:00.{4 + n}',
                types=(
                    models.VgpuType('1145', 'NVIDIA L40S-1B'),
                    models.VgpuType('1153', 'NVIDIA L40S-12Q'),
                ),
                physical_function=CARD,
                current_type=type_id,
            )
            for n, type_id in enumerate(current)
        ),
    )


def mtty(offers: Offers | None = None) -> models.Gpu:
    """Make the virtual parent of the kernel's sample driver."""
    return models.Gpu(
        'mtty_mtty',
        types=types(offers or {'mtty-2': 12}),
        framework=models.Framework.MDEV,
    )


def no_types(
    driver: str | None = None, total_vfs: int = 0, address: str = GPU_1
) -> models.Gpu:
    """Make a GPU that offers nothing."""
    return models.Gpu(
        address, '10de', '1db5', driver=driver, total_vfs=total_vfs
    )


def host(*gpus: models.Gpu, **other: object) -> models.Snapshot:
    """Make a host of GPUs, with a network card beside them."""
    devices = {
        device.address: models.PciDevice(
            device.address, '10de', '1db5', '030200', device.driver
        )
        for one in gpus
        for device in one.devices
        if device.vendor_id
    }
    devices[NIC] = models.PciDevice(NIC, '8086', '1572', '020000', 'i40e')
    return models.Snapshot(
        gpus=tuple(sorted(gpus, key=lambda g: g.address)),
        pci_devices=devices,
        virtual_devices=frozenset(
            {'mtty', 'mtty_mtty', 'net', 'net_lo'}
            if any(g.vendor_id is None for g in gpus)
            else {'net', 'net_lo'}
        ),
        **other,
    )


def config(
    sections: Mapping[str, Mapping[str, object]] | Sequence[str],
    **other: object,
) -> models.DevicesConfig:
    """Make a configuration: the types, with their options if there are any."""
    options = (
        sections
        if isinstance(sections, Mapping)
        else {type_id: {} for type_id in sections}
    )
    return models.DevicesConfig(
        types=tuple(
            models.TypeConfig(type_id, **values)
            for type_id, values in options.items()
        ),
        **other,
    )


def at(*addresses: str, **other: object) -> dict[str, object]:
    """Write the options of a type with addresses."""
    return {'device_addresses': addresses, **other}


def mdev(
    number: int, type_id: str | None = 'nvidia-194', guest: str | None = None
) -> models.Mdev:
    """Make an mdev with one of the UUIDS, for :func:`holding`."""
    return models.Mdev(UUIDS[number], type_id, '', guest)


def holding(device: Device, *held: models.Mdev) -> Device:
    """Put mdevs on a GPU or VF."""
    return dataclasses.replace(
        device,
        mdevs=tuple(
            dataclasses.replace(one, parent=device.address) for one in held
        ),
    )


def domain(
    name: str,
    *uses: int | str,
    is_active: bool = False,
) -> models.Domain:
    """Make a domain that names mdevs by number, or VFs by address."""
    return models.Domain(
        name,
        f'{name}-uuid',
        is_active,
        tuple(UUIDS[n] for n in uses if isinstance(n, int)),
        tuple(a for a in uses if isinstance(a, str)),
    )


def definition(
    number: int,
    parent: str = GPU_1,
    type_id: str = 'nvidia-194',
    autostart: bool = True,
) -> models.MdevDefinition:
    """Make the persistent definition of an mdev."""
    return models.MdevDefinition(UUIDS[number], parent, type_id, autostart)


def entry(
    number: int, parent: str = GPU_1, type_id: str = 'nvidia-194'
) -> dict[str, models.LedgerEntry]:
    """Make what the ledger remembers of an mdev."""
    one = models.LedgerEntry(UUIDS[number], parent, type_id)
    return {one.name: one}
