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
"""What still fits on the devices of a host."""

from __future__ import annotations

from collections.abc import Iterator

from nova_vgpu_ext.models import Gpu, Snapshot, VgpuDevice, VgpuType


class Rooms:
    """Hands out room for mdevs, while they are planned."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._devices = {d.address: d for d in snapshot.devices}
        self._cards = {
            vf.address: gpu for gpu in snapshot.gpus for vf in gpu.vfs
        }
        self._types: dict[str, dict[str, VgpuType]] = {}
        self._planned: dict[str, list[str]] = {}

    def take(self, address: str, type_id: str) -> str | None:
        """Take room for one mdev; if there is none, say why."""
        device = self._devices.get(address)
        if device is None:
            return f'there is no GPU {address}'
        offered = device.type(type_id)
        if offered is None:
            return f'{address} does not offer {type_id}'
        if not self._fits(device, offered):
            return f'{address} has no room for {type_id}'
        self._planned.setdefault(address, []).append(type_id)
        return None

    def _fits(self, device: VgpuDevice, offered: VgpuType) -> bool:
        planned = self._planned.get(device.address, [])
        if len(planned) >= offered.available:
            return False
        # A GPU has one type at a time; a virtual parent, as mtty, has any.
        if device.vendor_id is not None and {*planned, offered.id} != {
            offered.id
        }:
            return False
        card = self._cards.get(device.address)
        return card is None or self._fits_on_card(card, offered)

    def _fits_on_card(self, card: Gpu, offered: VgpuType) -> bool:
        """Tell whether the VFs of a card, which share its memory, have room.

        Each VF says that it has, until the last of the memory is gone.
        """
        placed = list(self._placed(card))
        most = offered.maximum
        if most is not None and placed.count(offered.id) >= most:
            return False
        types = self._types.setdefault(card.address, card.offered_types)
        sizes = {t.id: t.frame_buffer_mib or 0 for t in types.values()}
        memory = max(sizes[t.id] * (t.maximum or 0) for t in types.values())
        if not memory:
            return True  # The driver does not describe its types.
        used = sum(sizes.get(type_id, 0) for type_id in placed)
        return used + sizes[offered.id] <= memory

    def _placed(self, card: Gpu) -> Iterator[str]:
        for vf in card.vfs:
            yield from (m.type_id for m in vf.mdevs if m.type_id is not None)
            yield from self._planned.get(vf.address, ())
