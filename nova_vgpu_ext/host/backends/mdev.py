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
"""Mediated devices: ``mdev_supported_types``."""

from __future__ import annotations

import dataclasses
import logging
import posixpath
import re
from collections.abc import Sequence

from nova_vgpu_ext import models
from nova_vgpu_ext.host.backends import base

LOG = logging.getLogger(__name__)

_BUS = 'class/mdev_bus'
_DEVICES = 'bus/mdev/devices'
_VIRTUAL = 'devices/virtual/'

#: How often a host is read on which mdevs come and go meanwhile.
_ATTEMPTS = 3

#: What NVIDIA's description says, and how: the field, its key, its value.
_DESCRIPTION = (
    ('heads', 'num_heads', re.compile(r'([0-9]{1,4})', re.ASCII)),
    ('frame_buffer_mib', 'framebuffer', re.compile(r'([0-9]{1,9})M', re.A)),
    ('resolution', 'max_resolution', re.compile(r'([0-9]+x[0-9]+)', re.A)),
    ('maximum', 'max_instance', re.compile(r'([0-9]{1,9})', re.ASCII)),
)


class MdevBackend(base.Backend):
    """Reads ``/sys/class/mdev_bus`` and ``/sys/bus/mdev``."""

    framework = models.Framework.MDEV

    def __init__(self, host: base.Host) -> None:
        super().__init__(host)
        self._sysfs = host.sysfs
        #: Where each parent is below the root.
        self._paths: dict[str, str] = {}
        self._known: dict[tuple[str, str], models.VgpuType] = {}

    def offers(self) -> dict[str, base.Offer]:
        """Give each mdev parent with its types and mdevs.

        An mdev that comes or goes while the counts are read would be counted
        twice or not at all, so the host is then read again.
        """
        for _ in range(_ATTEMPTS):
            uuids = self._sysfs.names(_DEVICES)
            offers = self._offers(uuids)
            if self._sysfs.names(_DEVICES) == uuids:
                break
        return offers

    def _offers(self, uuids: Sequence[str]) -> dict[str, base.Offer]:
        mdevs = self._mdevs(uuids)
        parents = set(mdevs)
        for name in self._sysfs.names(_BUS):
            path = self._sysfs.link_path(f'{_BUS}/{name}')
            address = self._address(path) if path else None
            if address is not None:
                parents.add(address)
        return {
            address: self._offer(address, mdevs.get(address, []))
            for address in sorted(parents)
        }

    def _address(self, path: str) -> str | None:
        """Name the device at a path below the root."""
        if path.startswith(_VIRTUAL):
            name = path.removeprefix(_VIRTUAL).replace('/', '_')
        else:
            name = posixpath.basename(path)
            if name not in self.host.pci_devices:
                LOG.debug('Not on the PCI bus, not virtual: %s', path)
                return None
        self._paths[name] = path
        return name

    def _offer(self, address: str, mdevs: list[models.Mdev]) -> base.Offer:
        directory = self._paths[address]
        physfn = self.host.physical_functions.get(address)
        if physfn is None and address in self.host.pci_devices:
            physfn = self._sysfs.link_name(f'{directory}/physfn')
        folder = f'{directory}/mdev_supported_types'
        found = (
            self._type(f'{folder}/{type_id}', physfn or address, type_id)
            for type_id in self._sysfs.names(folder)
        )
        types = [vgpu_type for vgpu_type in found if vgpu_type is not None]
        return base.Offer(
            types=tuple(sorted(types, key=lambda t: base.type_order(t.id))),
            mdevs=tuple(sorted(mdevs, key=lambda m: m.uuid)),
            physical_function=physfn,
        )

    def _type(
        self, path: str, gpu: str, type_id: str
    ) -> models.VgpuType | None:
        count = f'{path}/available_instances'
        available = self._sysfs.number(count)
        if available is None and not self._sysfs.noted(count):
            return None
        known = self._known.get((gpu, type_id))
        if known is None:
            before = len(self._sysfs.problems)
            known = self._static(path, gpu, type_id)
            # Other VFs of the GPU say the same, unless this one vanished.
            if known.name or len(self._sysfs.problems) > before:
                self._known[gpu, type_id] = known
        return dataclasses.replace(
            known,
            available=available or 0,
            is_counted=available is not None,
        )

    def _static(self, path: str, gpu: str, type_id: str) -> models.VgpuType:
        """Read what is the same on every VF of one GPU."""
        said = self._description(f'{path}/description')
        vgpu_type = models.VgpuType(
            id=type_id,
            name=self._sysfs.text(f'{path}/name') or None,
            maximum=_number(said.get('maximum')),
            frame_buffer_mib=_number(said.get('frame_buffer_mib')),
            heads=_number(said.get('heads')),
            resolution=said.get('resolution'),
            device_api=self._sysfs.text(f'{path}/device_api') or None,
        )
        card = self.host.pci_devices.get(gpu)
        return self.host.catalog.complete(
            vgpu_type,
            type_id.removeprefix('nvidia-'),
            card,
        )

    def _description(self, path: str) -> dict[str, str]:
        """Take NVIDIA's description apart; other vendors' is prose."""
        text = self._sysfs.text(path) or ''
        pairs = dict(
            part.strip().partition('=')[::2] for part in text.split(',')
        )
        said = {}
        for field, key, pattern in _DESCRIPTION:
            value = pairs.get(key)
            match = pattern.fullmatch(value) if value is not None else None
            if match:
                said[field] = match[1]
            elif value is not None:
                found = f'{key}={value}'[:60]
                self._sysfs.note(
                    path, repr(found), f'{key} as NVIDIA writes it'
                )
        return said

    def _mdevs(self, uuids: Sequence[str]) -> dict[str, list[models.Mdev]]:
        """Read every mdev, by the address of its parent."""
        found: dict[str, list[models.Mdev]] = {}
        for uuid in uuids:
            path = self._sysfs.link_path(f'{_DEVICES}/{uuid}')
            parent = self._address(posixpath.dirname(path)) if path else None
            if path is None or parent is None:
                continue
            nvidia = f'{path}/nvidia'
            mdev = models.Mdev(
                uuid=uuid,
                type_id=self._sysfs.link_name(f'{path}/mdev_type'),
                parent=parent,
                guest=self._sysfs.text(f'{nvidia}/vm_name') or None,
                parameters=self._sysfs.text(f'{nvidia}/vgpu_params') or None,
            )
            found.setdefault(parent, []).append(mdev)
        return found


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)
