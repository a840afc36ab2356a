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
"""What a simulated host has, as plain data, and the rules of its driver.

A description holds what an administrator would say of the host; how many
more vGPUs fit is computed by :func:`available` alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from nova_vgpu_ext import models


@dataclasses.dataclass(frozen=True)
class TypeSpec:
    """A vGPU type that a device offers."""

    id: str
    name: str
    #: What one vGPU takes of the card's memory; 0 where nothing counts it.
    frame_buffer_mib: int = 0
    heads: int | None = None
    resolution: str | None = None
    #: How many fit on one empty card.
    maximum: int = 1
    device_api: str = 'vfio-pci'
    #: The text of ``description``; None where the driver has no such file.
    description: str | None = None


@dataclasses.dataclass(frozen=True)
class MdevSpec:
    """A mediated device that exists."""

    uuid: str
    type: str
    guest: str | None = None
    parameters: str | None = None


@dataclasses.dataclass(frozen=True)
class DeviceSpec:
    """What GPUs and VFs have in common."""

    address: str
    types: tuple[TypeSpec, ...] = ()
    mdevs: tuple[MdevSpec, ...] = ()
    #: By type id: what the device says instead of what the rules give.
    available: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def type(self, type_id: str) -> TypeSpec | None:
        """Find an offered type by its id."""
        return next((t for t in self.types if t.id == type_id), None)


@dataclasses.dataclass(frozen=True)
class VfSpec(DeviceSpec):
    """An enabled virtual function; its ids are those of its card."""

    #: Vendor-specific VFIO: the id of the type that is set.
    current_type: str | None = None
    #: Vendor-specific VFIO: the plugin parameters.
    parameters: str | None = None


@dataclasses.dataclass(frozen=True)
class GpuSpec(DeviceSpec):
    """A card, or a virtual parent such as ``mtty_mtty``.

    Where the VFs offer the types, ``types`` of the card itself is empty.
    """

    vendor_id: str = models.NVIDIA_VENDOR_ID
    device_id: str = '1db5'
    class_id: str = '030200'
    #: None where the platform does not say.
    numa_node: int | None = None
    driver: str | None = 'nvidia'
    framework: models.Framework = models.Framework.MDEV
    vfs: tuple[VfSpec, ...] = ()
    #: The functions that appear when they are enabled.
    hidden_vfs: tuple[VfSpec, ...] = ()
    total_vfs: int = 0
    #: The card's memory; None: as much as fills it with one of its types.
    frame_buffer_mib: int | None = None

    @property
    def is_virtual(self) -> bool:
        """Whether it is below ``devices/virtual`` instead of on a bus."""
        return not models.PCI_ADDRESS.fullmatch(self.address)

    @property
    def devices(self) -> tuple[DeviceSpec, ...]:
        """The card itself and its VFs."""
        return (self, *self.vfs)

    @property
    def memory_mib(self) -> int:
        """The memory that the vGPUs of the card share."""
        if self.frame_buffer_mib is not None:
            return self.frame_buffer_mib
        sizes = [
            t.frame_buffer_mib * t.maximum
            for d in (*self.devices, *self.hidden_vfs)
            for t in d.types
        ]
        return max(sizes, default=0)


@dataclasses.dataclass(frozen=True)
class PciSpec:
    """A PCI function that is no GPU: a network card or a bridge."""

    address: str
    vendor_id: str
    device_id: str
    class_id: str
    driver: str | None = None
    numa_node: int | None = None
    #: The address of the physical function, where this is an enabled VF.
    physical_function: str | None = None


@dataclasses.dataclass(frozen=True)
class Profile:
    """A simulated host."""

    name: str
    gpus: tuple[GpuSpec, ...] = ()
    pci_devices: tuple[PciSpec, ...] = ()
    description: str = ''

    @property
    def types(self) -> dict[str, TypeSpec]:
        """Every type of the host by id."""
        return {
            t.id: t for gpu in self.gpus for d in gpu.devices for t in d.types
        }


def describe(vgpu_type: TypeSpec) -> str:
    """Write the text of ``description`` as NVIDIA's driver does."""
    return (
        f'num_heads={vgpu_type.heads or 1}, frl_config=60, '
        f'framebuffer={vgpu_type.frame_buffer_mib}M, '
        f'max_resolution={vgpu_type.resolution or "1280x1024"}, '
        f'max_instance={vgpu_type.maximum}'
    )


def placed_types(device: DeviceSpec) -> Iterator[str]:
    """Give the type id of every vGPU on this very device."""
    for mdev in device.mdevs:
        yield mdev.type
    if isinstance(device, VfSpec) and device.current_type is not None:
        yield device.current_type


def fits(gpu: GpuSpec, vgpu_type: TypeSpec) -> bool:
    """Tell whether the VFs of a card leave room for one more of a type."""
    free = gpu.memory_mib - vgpu_type.frame_buffer_mib
    same = 0
    for vf in gpu.vfs:
        for type_id in placed_types(vf):
            found = vf.type(type_id)
            free -= found.frame_buffer_mib if found else 0
            same += type_id == vgpu_type.id
    return free >= 0 and same < vgpu_type.maximum


def available(gpu: GpuSpec, device: DeviceSpec, vgpu_type: TypeSpec) -> int:
    """Tell how many more of a type the driver offers on a device.

    A VF holds one vGPU, and the VFs share the card's memory and the type's
    maximum. A card without VFs has one type at a time. A virtual parent
    shares its ports between all types.

    :param gpu: the card.
    :param device: the card itself or one of its VFs.
    :param vgpu_type: a type of the device.
    """
    if vgpu_type.id in device.available:
        return device.available[vgpu_type.id]
    placed = list(placed_types(device))
    if isinstance(device, VfSpec):
        return int(not placed and fits(gpu, vgpu_type))
    if gpu.is_virtual:
        ports = max(t.maximum for t in device.types)
        cost = {t.id: ports // t.maximum for t in device.types}
        free = ports - sum(cost.get(p, 0) for p in placed)
        return max(0, free // cost[vgpu_type.id])
    if any(type_id != vgpu_type.id for type_id in placed):
        return 0
    return max(0, vgpu_type.maximum - len(placed))


def creatable(gpu: GpuSpec, vf: VfSpec) -> tuple[TypeSpec, ...]:
    """Give the types of a vendor-specific VFIO VF's creatable list.

    A VF that has a type set still lists what would fit beside it.
    """
    return tuple(
        t
        for t in vf.types
        if (vf.available[t.id] if t.id in vf.available else fits(gpu, t))
    )


def vf_addresses(address: str, count: int, offset: int = 4) -> list[str]:
    """Number the VFs of a card as the PCI bus does.

    :param address: the physical function.
    :param count: how many VFs.
    :param offset: the function number of the first VF.
    """
    domain, bus, slot = address[:-2].split(':')
    own = int(bus, 16) << 8 | int(slot, 16) << 3 | int(address[-1])
    return [
        f'{domain}:{n >> 8:02x}:{n >> 3 & 0x1F:02x}.{n & 7}'
        for n in range(own + offset, own + offset + count)
    ]
