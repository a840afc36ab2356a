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
"""GPUs, virtual functions, vGPU types and mediated devices."""

from __future__ import annotations

import dataclasses
import enum
import re
from collections.abc import Iterable

#: A PCI address as the kernel prints it.
PCI_ADDRESS = re.compile(
    r'[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]', re.ASCII
)

#: A product at the end of a type's name: card, size and series.
_PRODUCT = re.compile(r'\S+-[0-9]+(?P<series>[ABCQ])[A-Z0-9]*$', re.ASCII)

#: The PCI vendor id of NVIDIA, as sysfs prints it, without ``0x``.
NVIDIA_VENDOR_ID = '10de'


def libvirt_name(address: str) -> str:
    """Name libvirt's node device for a device address.

    :param address: a PCI address or the name of a virtual parent.
    :returns: ``pci_0000_1a_00_0`` for ``0000:1a:00.0``; a virtual parent's
        name is its libvirt name already. Source: libvirt's node device
        driver, which joins the subsystem and the sysfs name.
    """
    if PCI_ADDRESS.fullmatch(address):
        return 'pci_' + re.sub('[:.]', '_', address)
    return address


class Framework(enum.Enum):
    """The kernel interface through which a GPU hands out vGPUs."""

    #: Mediated devices: ``mdev_supported_types``.
    MDEV = 'mdev'
    #: Vendor-specific VFIO: ``nvidia/current_vgpu_type`` on each VF.
    VENDOR_VFIO = 'vendor-vfio'
    #: The driver offers no vGPU, or is not loaded (yet).
    NONE = 'none'


@dataclasses.dataclass(frozen=True)
class VgpuType:
    """One type that one device offers, with what is known of it.

    What neither sysfs nor the driver's catalogue tells is None.
    """

    #: ``nvidia-194`` (mdev) or ``1145`` (vendor-specific VFIO).
    id: str
    #: The name that the driver gives: ``GRID V100DX-1Q``, ``NVIDIA A40-2Q``.
    name: str | None = None
    #: How many more can be made on this device now.
    available: int = 0
    #: How many can exist at once on one GPU.
    maximum: int | None = None
    frame_buffer_mib: int | None = None
    heads: int | None = None
    #: Width and height in pixels of the largest display: ``5120x2880``.
    resolution: str | None = None
    #: ``vfio-pci`` for GPUs.
    device_api: str | None = None
    #: Whether ``available`` could be read; if not, it is 0.
    is_counted: bool = True

    @property
    def product(self) -> str | None:
        """The last word of an NVIDIA name: ``V100DX-1Q``.

        Drivers prefix it with ``GRID`` (older) or ``NVIDIA`` (newer). None
        for a name that ends in no product, as of other drivers' types.
        """
        match = _PRODUCT.search(self.name or '')
        return match[0] if match else None

    @property
    def series(self) -> str | None:
        """The licence series, ``Q``, ``B``, ``A`` or ``C``, or None.

        It is the letter behind the size: ``Q`` of ``V100DX-1Q``, ``B`` of
        ``V100DX-2B4``, ``C`` of ``A100-1-5CME``.
        """
        match = _PRODUCT.search(self.name or '')
        return match['series'] if match else None


def sum_types(types: Iterable[VgpuType]) -> dict[str, VgpuType]:
    """Put what several devices offer together.

    :param types: with repetitions; the first of an id gives the description.
    :returns: by id, in the order of the first ones; ``available`` is summed.
    """
    total: dict[str, VgpuType] = {}
    for vgpu_type in types:
        seen = total.get(vgpu_type.id)
        total[vgpu_type.id] = (
            dataclasses.replace(
                seen, available=seen.available + vgpu_type.available
            )
            if seen
            else vgpu_type
        )
    return total


@dataclasses.dataclass(frozen=True)
class Mdev:
    """A mediated device that exists in the kernel."""

    uuid: str
    #: The id of its type, None where it vanished while it was read.
    type_id: str | None
    #: The address of the device it was made on.
    parent: str
    #: The guest that holds it, by NVIDIA's ``nvidia/vm_name``.
    guest: str | None = None
    #: The plugin parameters set for it, by NVIDIA's ``nvidia/vgpu_params``.
    parameters: str | None = None


@dataclasses.dataclass(frozen=True)
class PciDevice:
    """Any PCI function on the bus; enough to say what an address is."""

    address: str
    #: Four hex digits each, lower case: ``10de``, ``1db5``.
    vendor_id: str
    device_id: str
    #: Six hex digits, lower case: ``030200`` is a 3D controller.
    class_id: str
    driver: str | None = None

    @property
    def is_display(self) -> bool:
        """Whether the base class is 03, display controller."""
        return self.class_id.startswith('03')


@dataclasses.dataclass(frozen=True)
class VgpuDevice:
    """What GPUs, VFs and virtual parents have in common."""

    address: str
    vendor_id: str | None = None
    device_id: str | None = None
    #: None where the platform does not say (the kernel prints -1).
    numa_node: int | None = None
    driver: str | None = None
    #: The types that this very device offers, in the order of their ids.
    types: tuple[VgpuType, ...] = ()
    #: The mdevs made on this very device, in the order of their UUIDs.
    mdevs: tuple[Mdev, ...] = ()

    @property
    def libvirt_name(self) -> str:
        """The name of libvirt's node device."""
        return libvirt_name(self.address)

    @property
    def offered_types(self) -> dict[str, VgpuType]:
        """The types by id."""
        return sum_types(self.types)

    def type(self, type_id: str) -> VgpuType | None:
        """Find an offered type by its id."""
        return next((t for t in self.types if t.id == type_id), None)


@dataclasses.dataclass(frozen=True)
class VirtualFunction(VgpuDevice):
    """An SR-IOV virtual function of a GPU."""

    #: The address of the physical function.
    physical_function: str = ''
    #: Vendor-specific VFIO: the type set now, None where none is.
    current_type: str | None = None
    #: Vendor-specific VFIO: the plugin parameters.
    parameters: str | None = None


@dataclasses.dataclass(frozen=True)
class Gpu(VgpuDevice):
    """A physical function, or a virtual parent, that offers vGPU types.

    ``types`` and ``mdevs`` are those of the device itself; where the VFs
    offer the types, they stand on the VFs.
    """

    framework: Framework = Framework.NONE
    vfs: tuple[VirtualFunction, ...] = ()
    #: How many VFs the card can have, 0 without SR-IOV.
    total_vfs: int = 0

    @property
    def devices(self) -> tuple[VgpuDevice, ...]:
        """The GPU itself and its VFs."""
        return (self, *self.vfs)

    @property
    def offered_types(self) -> dict[str, VgpuType]:
        """Every type of the GPU or its VFs by id; ``available`` is summed."""
        return sum_types(t for d in self.devices for t in d.types)
