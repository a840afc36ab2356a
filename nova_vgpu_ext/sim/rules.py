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
"""The rules that a description of a simulated host has to keep."""

from __future__ import annotations

import re
import uuid

from nova_vgpu_ext import exception, models
from nova_vgpu_ext.sim import description

_VIRTUAL = re.compile(r'[a-z0-9-]+(_[a-z0-9-]+)?', re.ASCII)
_NAME = re.compile(r'[A-Za-z0-9_-]+', re.ASCII)
_RESOLUTION = re.compile(r'[0-9]+x[0-9]+', re.ASCII)
_HEX = re.compile(r'[0-9a-f]+', re.ASCII)
_SLOTS_PER_BUS = 256


class _Checker:
    def __init__(self, file: str) -> None:
        self.file = file
        self.addresses: set[str] = set()
        self.uuids: set[str] = set()

    def fail(self, key: str, found: str, expected: str) -> None:
        raise exception.ConfigError(f'{self.file}: {key}', found, expected)

    def address(self, key: str, address: str, virtual: bool = False) -> None:
        if not models.PCI_ADDRESS.fullmatch(address) and not (
            virtual and _VIRTUAL.fullmatch(address)
        ):
            self.fail(key, repr(address), 'an address such as 0000:1a:00.0')
        if address in self.addresses:
            self.fail(key, f'{address} twice', 'each address once')
        self.addresses.add(address)

    def ids(
        self, key: str, spec: description.GpuSpec | description.PciSpec
    ) -> None:
        for name, size in (
            ('vendor_id', 4),
            ('device_id', 4),
            ('class_id', 6),
        ):
            value = getattr(spec, name)
            if len(value) != size or not _HEX.fullmatch(value):
                self.fail(f'{key}.{name}', repr(value), f'{size} hex digits')
        if spec.driver is not None:
            self.name(f'{key}.driver', spec.driver)
        if spec.numa_node is not None and spec.numa_node < 0:
            self.fail(f'{key}.numa_node', str(spec.numa_node), '0 or more')

    def gpu(self, key: str, gpu: description.GpuSpec) -> None:
        self.address(f'{key}.address', gpu.address, virtual=True)
        self.ids(key, gpu)
        if gpu.total_vfs > _SLOTS_PER_BUS or len(gpu.vfs) > gpu.total_vfs:
            self.fail(
                f'{key}.vfs',
                str(len(gpu.vfs)),
                f'at most total_vfs, here {gpu.total_vfs}',
            )
        for number, vf in enumerate(gpu.vfs):
            self.address(f'{key}.vfs[{number}].address', vf.address)
        for device in gpu.devices:
            self.types(f'{key}.types', gpu, device)
            self.placed(f'{key} {device.address}', gpu, device)
        self.room(key, gpu)

    def types(
        self,
        key: str,
        gpu: description.GpuSpec,
        device: description.DeviceSpec,
    ) -> None:
        ids = [t.id for t in device.types]
        for vgpu_type in device.types:
            self.vgpu_type(f'{key} {vgpu_type.id!r}', vgpu_type)
        for type_id in ids:
            if ids.count(type_id) > 1:
                self.fail(key, f'{type_id} twice', 'each type once')
        framework = gpu.framework
        if ids and (
            framework is models.Framework.NONE
            or (
                framework is models.Framework.VENDOR_VFIO
                and not isinstance(device, description.VfSpec)
            )
        ):
            self.fail(
                key, ', '.join(ids), f'none with framework {framework.value}'
            )

    def vgpu_type(self, key: str, spec: description.TypeSpec) -> None:
        self.name(f'{key}.id', spec.id)
        for field in ('name', 'device_api', 'description'):
            self.line(f'{key}.{field}', getattr(spec, field))
        if spec.resolution and not _RESOLUTION.fullmatch(spec.resolution):
            self.fail(
                f'{key}.resolution', repr(spec.resolution), 'as in 5120x2880'
            )
        if spec.maximum < 1 or spec.frame_buffer_mib < 0:
            found = f'{spec.maximum} of {spec.frame_buffer_mib} MiB'
            self.fail(f'{key}.maximum', found, '1 or more')

    def name(self, key: str, value: str) -> None:
        """Refuse what cannot be the name of a file."""
        if not _NAME.fullmatch(value):
            self.fail(key, repr(value), 'letters, digits, - and _')

    def line(self, key: str, value: str | None) -> None:
        if value is not None and not (value and value.isprintable()):
            self.fail(key, repr(value), 'one line of text')

    def placed(
        self,
        key: str,
        gpu: description.GpuSpec,
        device: description.DeviceSpec,
    ) -> None:
        mdev = gpu.framework is models.Framework.MDEV
        if device.mdevs and not mdev:
            self.fail(f'{key}.mdevs', 'mdevs', 'framework mdev')
        current = getattr(device, 'current_type', None)
        if current and gpu.framework is not models.Framework.VENDOR_VFIO:
            self.fail(f'{key}.current_type', current, 'framework vendor-vfio')
        for type_id in description.placed_types(device):
            if device.type(type_id) is None:
                self.fail(key, f'type {type_id}', 'a type of the device')
        for type_id, count in device.available.items():
            if count < 0 or device.type(type_id) is None:
                self.fail(f'{key}.available', type_id, 'a type of the device')
        for spec in device.mdevs:
            self.uuid(f'{key}.mdevs', spec.uuid)
            self.line(f'{key}.mdevs guest', spec.guest)
            self.line(f'{key}.mdevs parameters', spec.parameters)

    def uuid(self, key: str, value: str) -> None:
        try:
            good = str(uuid.UUID(value)) == value
        except ValueError:
            good = False
        if not good:
            self.fail(key, repr(value), 'a UUID in lower case')
        if value in self.uuids:
            self.fail(key, f'{value} twice', 'each UUID once')
        self.uuids.add(value)

    def room(self, key: str, gpu: description.GpuSpec) -> None:
        """Refuse what the driver could not have made."""
        used = 0
        counts: dict[str, int] = {}
        for vf in gpu.vfs:
            placed = list(description.placed_types(vf))
            if len(placed) > 1:
                self.fail(
                    f'{key} {vf.address}', f'{len(placed)} vGPUs', 'one per VF'
                )
            for type_id in placed:
                found = vf.type(type_id)
                used += found.frame_buffer_mib if found else 0
                counts[type_id] = counts.get(type_id, 0) + 1
                if found and counts[type_id] > found.maximum:
                    self.fail(
                        key,
                        f'{counts[type_id]} of {type_id}',
                        f'at most {found.maximum}',
                    )
        if used > gpu.memory_mib:
            self.fail(
                key, f'vGPUs of {used} MiB', f'at most {gpu.memory_mib} MiB'
            )
        self.own_room(key, gpu)

    def own_room(self, key: str, gpu: description.GpuSpec) -> None:
        """Refuse more mdevs on the card itself than fit."""
        placed = [m.type for m in gpu.mdevs]
        if not gpu.is_virtual and len(set(placed)) > 1:
            self.fail(
                f'{key}.mdevs',
                f'types {", ".join(sorted(set(placed)))}',
                'one type at a time on a card without VFs',
            )
        ports = max((t.maximum for t in gpu.types), default=0)
        taken = sum(ports // t.maximum * placed.count(t.id) for t in gpu.types)
        if taken > ports:
            self.fail(
                f'{key}.mdevs', f'{len(placed)} mdevs', 'no more than fit'
            )
        for vgpu_type in gpu.types:
            if placed.count(vgpu_type.id) > vgpu_type.maximum:
                self.fail(
                    f'{key}.mdevs',
                    f'{placed.count(vgpu_type.id)} of {vgpu_type.id}',
                    f'at most {vgpu_type.maximum}',
                )


def check(profile: description.Profile, file: str = 'profile') -> None:
    """Refuse a description that no host could match.

    :param profile: the description.
    :param file: what the message names.
    :raises exception.ConfigError: on the first thing that is wrong.
    """
    checker = _Checker(file)
    for number, gpu in enumerate(profile.gpus):
        checker.gpu(f'gpus[{number}]', gpu)
    whole = {
        spec.address
        for spec in profile.pci_devices
        if spec.physical_function is None
    }
    for number, spec in enumerate(profile.pci_devices):
        key = f'pci_devices[{number}]'
        if spec.physical_function not in {None, *whole}:
            checker.fail(
                f'{key}.physical_function',
                repr(spec.physical_function),
                'another one of pci_devices that is no VF',
            )
        checker.address(f'{key}.address', spec.address)
        checker.ids(key, spec)
