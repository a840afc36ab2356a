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
"""A small simulated host that takes writes, with one card of each kind."""

from __future__ import annotations

import dataclasses
import os
import pathlib

from nova_vgpu_ext import models
from nova_vgpu_ext.host import snapshot
from nova_vgpu_ext.sim import kernel
from nova_vgpu_ext.sim import profile as profiles

V100 = '0000:1a:00.0'
A40 = '0000:41:00.0'
L40S = '0000:c1:00.0'
VFS = profiles.vf_addresses(A40, 3)
VENDOR_VFS = profiles.vf_addresses(L40S, 3)
UUIDS = [f'{n:08x}-5f0b-4a52-9f61-6c1f5a3c2d10' for n in range(5)]
GUEST_UUID = 'd878445d-df99-4510-b467-c67a4c1a7c34'


def spec(
    type_id: str, name: str, size: int, maximum: int
) -> profiles.TypeSpec:
    """Describe a type as NVIDIA's driver does."""
    one = profiles.TypeSpec(type_id, name, size, 4, '5120x2880', maximum)
    return dataclasses.replace(one, description=profiles.describe(one))


V100_TYPES = (
    spec('nvidia-194', 'GRID V100DX-1Q', 1024, 3),
    spec('nvidia-196', 'GRID V100DX-4Q', 4096, 1),
)
A40_TYPES = (
    spec('nvidia-557', 'NVIDIA A40-1Q', 1024, 4),
    spec('nvidia-558', 'NVIDIA A40-2Q', 2048, 2),
)
L40S_TYPES = (
    spec('1153', 'NVIDIA L40S-12Q', 12288, 2),
    spec('1148', 'NVIDIA L40S-2Q', 2048, 12),
)


def host() -> profiles.Profile:
    """Describe one card of each kind, small enough to fill up."""
    guest = profiles.MdevSpec(GUEST_UUID, 'nvidia-194', 'instance-1')
    return profiles.Profile(
        'small',
        (
            profiles.GpuSpec(V100, V100_TYPES, (guest,)),
            profiles.GpuSpec(
                A40,
                device_id='2235',
                vfs=tuple(profiles.VfSpec(a, A40_TYPES) for a in VFS),
                total_vfs=3,
            ),
            profiles.GpuSpec(
                L40S,
                device_id='26b9',
                framework=models.Framework.VENDOR_VFIO,
                vfs=tuple(profiles.VfSpec(a, L40S_TYPES) for a in VENDOR_VFS),
                total_vfs=3,
            ),
            profiles.GpuSpec(
                'mtty_mtty',
                (
                    profiles.TypeSpec('mtty-1', 'Single port', maximum=4),
                    profiles.TypeSpec('mtty-2', 'Dual port', maximum=2),
                ),
                driver=None,
                vendor_id='0000',
                class_id='000000',
            ),
        ),
        (profiles.PciSpec('0000:5e:00.0', '8086', '1572', '020000', 'i40e'),),
    )


class Host:
    """A simulated host in a folder of its own."""

    def __init__(self, folder: str, profile: profiles.Profile) -> None:
        self.root = os.path.join(folder, 'sys')
        kernel.build(profile, self.root)
        self.kernel = kernel.SimulatedKernel(self.root)

    def write(self, path: str, text: str) -> int:
        """Write to a file, and give the number of the error."""
        try:
            self.kernel.write(os.path.join(self.root, path), text)
        except OSError as error:
            return error.errno
        return 0

    def read(self, path: str) -> str:
        """Read a file."""
        return pathlib.Path(self.root, path).read_text().strip()

    def type_folder(self, address: str, type_id: str) -> str:
        """Name the folder of a type below the root."""
        parent = f'bus/pci/devices/{address}'
        if address == 'mtty_mtty':
            parent = 'devices/virtual/mtty/mtty'
        return f'{parent}/mdev_supported_types/{type_id}'

    def create(self, address: str, type_id: str, uuid: str) -> int:
        """Make an mdev."""
        folder = self.type_folder(address, type_id)
        return self.write(f'{folder}/create', uuid)

    def available(self, address: str, type_id: str) -> int:
        """Read what the driver says of a type."""
        folder = self.type_folder(address, type_id)
        return int(self.read(f'{folder}/available_instances'))

    def remove(self, uuid: str) -> int:
        """Remove an mdev."""
        return self.write(f'bus/mdev/devices/{uuid}/remove', '1')

    def set_type(self, vf: str, text: str) -> int:
        """Set the type of a function."""
        path = f'bus/pci/devices/{vf}/nvidia/current_vgpu_type'
        return self.write(path, text)

    def creatable(self, vf: str) -> set[str]:
        """Read the types that a function could have."""
        text = self.read(f'bus/pci/devices/{vf}/nvidia/creatable_vgpu_types')
        return {
            line.partition(':')[0].strip() for line in text.splitlines()[1:]
        }

    def observe(self) -> models.Snapshot:
        """Read it as every program does."""
        return snapshot.observe(self.root, None)
