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
"""NVIDIA's vendor-specific VFIO: ``nvidia/current_vgpu_type`` on each VF."""

from __future__ import annotations

import re

from nova_vgpu_ext import models
from nova_vgpu_ext.host.backends import base

_LINE = re.compile(r'([0-9]{1,9})\s*:\s*(\S.*)', re.ASCII)
_HEADER = re.compile(r'ID\s*:\s*vGPU Name', re.ASCII | re.IGNORECASE)
_NO_TYPE = '0'
_TYPE_ID = re.compile(r'[0-9]{1,9}', re.ASCII)

#: The set type and the creatable ones of one VF.
_Read = tuple[str | None, list[str]]


class VendorVfioBackend(base.Backend):
    """Reads the folder ``nvidia`` of each VF."""

    framework = models.Framework.VENDOR_VFIO

    def __init__(self, host: base.Host) -> None:
        super().__init__(host)
        self._sysfs = host.sysfs
        #: The names of types by id, which the driver has once for all cards.
        self._names: dict[str, str] = {}

    def offers(self) -> dict[str, base.Offer]:
        """Give each VF that has the folder, with its types."""
        listed: dict[str, _Read] = {}
        for vf in sorted(self.host.physical_functions):
            folder = f'{self.host.directory(vf)}/nvidia'
            current = self._sysfs.text(f'{folder}/current_vgpu_type')
            creatable = self._sysfs.text(f'{folder}/creatable_vgpu_types')
            if (
                current is None
                and creatable is None
                and not self._sysfs.noted(f'{folder}/current_vgpu_type')
            ):
                continue
            listed[vf] = (
                self._current(f'{folder}/current_vgpu_type', current),
                self._creatable(folder, creatable or ''),
            )
        # A second pass: a type that is set here may be named elsewhere only.
        return {
            vf: self._offer(vf, current, creatable)
            for vf, (current, creatable) in listed.items()
        }

    def _current(self, path: str, text: str | None) -> str | None:
        """Give the set type, ``0`` for none, None where that is unknown."""
        if text is None:
            return None
        if _TYPE_ID.fullmatch(text):
            return text
        self._sysfs.note(path, repr(text[:40]), 'the number of a type')
        return None

    def _creatable(self, folder: str, text: str) -> list[str]:
        found = []
        for line in text.splitlines():
            match = _LINE.fullmatch(line.strip())
            if match:
                found.append(match[1])
                self._names[match[1]] = match[2]
            elif line.strip() and not _HEADER.fullmatch(line.strip()):
                self._sysfs.note(
                    f'{folder}/creatable_vgpu_types',
                    repr(line.strip()[:40]),
                    'lines such as 1145  : NVIDIA L40S-1B',
                )
        return found

    def _offer(
        self, vf: str, current: str | None, creatable: list[str]
    ) -> base.Offer:
        physfn = self.host.physical_functions[vf]
        # Nothing is offered where it is unknown what is set.
        free = current == _NO_TYPE
        if free:
            current = None
        ids = {*creatable, *([current] if current is not None else [])}
        card = self.host.pci_devices.get(physfn)
        types = [
            self.host.catalog.complete(
                models.VgpuType(
                    id=type_id,
                    name=self._names.get(type_id),
                    available=int(free),
                ),
                type_id,
                card,
            )
            for type_id in sorted(ids, key=base.type_order)
        ]
        folder = f'{self.host.directory(vf)}/nvidia'
        return base.Offer(
            types=tuple(types),
            current_type=current,
            parameters=self._sysfs.text(f'{folder}/vgpu_params') or None,
            physical_function=physfn,
        )
