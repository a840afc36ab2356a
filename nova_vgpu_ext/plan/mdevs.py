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
"""Mediated devices: finding them and their types, and making new ones."""

from __future__ import annotations

from collections.abc import Sequence

from nova_vgpu_ext import exception
from nova_vgpu_ext.models import (
    Framework,
    Gpu,
    Mdev,
    MdevDefinition,
    Snapshot,
    VgpuDevice,
    VgpuType,
    VirtualFunction,
)
from nova_vgpu_ext.plan.actions import (
    Action,
    CreateMdev,
    DefineMdev,
    HostPlan,
)
from nova_vgpu_ext.plan.rooms import Rooms


def find_device(snapshot: Snapshot, address: str) -> VgpuDevice:
    """Find a GPU or VF that the user named.

    :raises NotFound: there is none.
    """
    device = snapshot.device(address)
    if device is None:
        known = [gpu.address for gpu in snapshot.gpus]
        raise exception.NotFound('GPU', address, known)
    return device


def find_mdev(snapshot: Snapshot, uuid: str) -> tuple[VgpuDevice, Mdev]:
    """Find an mdev that the user named, and what it is made on.

    :raises NotFound: there is none.
    """
    for device in snapshot.devices:
        for mdev in device.mdevs:
            if mdev.uuid == uuid:
                return device, mdev
    known = sorted(mdev.uuid for mdev in snapshot.mdevs)
    raise exception.NotFound('mdev', uuid, known)


def resolve_type(device: VgpuDevice, text: str) -> VgpuType:
    """Find the type that a user named.

    :param device: a GPU, which stands for its VFs too, or a VF.
    :param text: the id (``nvidia-194``), the product (``V100DX-1Q``) or the
        whole name (``GRID V100DX-1Q``).
    :raises Refused: it is ambiguous.
    :raises NotFound: the device does not offer it.
    """
    offered = device.offered_types
    if text in offered:
        return offered[text]
    named = [t for t in offered.values() if text in (t.product, t.name)]
    if len(named) > 1:
        ids = ', '.join(t.id for t in named)
        raise exception.Refused(
            [f'type {text!r} is ambiguous on {device.address}: {ids}']
        )
    if not named:
        known = [_label(t) for t in offered.values()]
        raise exception.NotFound('type', text, known)
    return named[0]


def create(
    snapshot: Snapshot,
    address: str,
    type_text: str,
    uuids: Sequence[str],
    persist: bool = False,
    definitions: Sequence[MdevDefinition] = (),
) -> HostPlan:
    """Plan new mdevs of one type on one GPU.

    An mdev that is there already, as wanted, is left as it is, so that an
    interrupted command can be given again.

    :param address: a GPU, whose VFs are used where it has them, or a VF.
    :param type_text: as of :func:`resolve_type`.
    :param uuids: one for each mdev.
    :param persist: whether they shall come back after a reboot.
    :param definitions: the persistent mdevs that there are.
    :raises VgpuError: the address, the type or a UUID cannot be used, or
        there is no room for all of them.
    """
    device = find_device(snapshot, address)
    _refuse_vendor(snapshot, device)
    wanted = resolve_type(device, type_text)
    taken: list[Mdev | MdevDefinition] = [*snapshot.mdevs, *definitions]
    for known in taken:
        if known.uuid in uuids:
            _refuse_elsewhere(known, device, wanted)
    there = {mdev.uuid: mdev.parent for mdev in snapshot.mdevs}
    uuids = list(dict.fromkeys(uuids))
    missing = [uuid for uuid in uuids if uuid not in there]
    rooms = Rooms(snapshot)
    # Where an mdev is defined it is made, before others take the card's room.
    homes: dict[str, str] = {}
    for definition in definitions:
        if (
            definition.uuid in missing
            and definition.uuid not in homes
            and rooms.take(definition.parent, wanted.id) is None
        ):
            homes[definition.uuid] = definition.parent
    parents = _room(rooms, device, wanted)
    if len(missing) > len(homes) + len(parents):
        found = [*homes.values(), *parents]
        raise exception.Refused([_full(device, wanted, missing, found)])
    actions: list[Action] = []
    for uuid in uuids:
        if uuid in missing:
            parent = homes.get(uuid) or parents.pop(0)
            actions.append(CreateMdev(uuid, parent, wanted.id))
        else:
            parent = there[uuid]
        definition = MdevDefinition(uuid, parent, wanted.id, True)
        if persist and definition not in definitions:
            actions.append(DefineMdev(definition))
    return HostPlan(tuple(actions))


def _label(vgpu_type: VgpuType) -> str:
    if vgpu_type.product is None:
        return vgpu_type.id
    return f'{vgpu_type.id} ({vgpu_type.product})'


def _refuse_vendor(snapshot: Snapshot, device: VgpuDevice) -> None:
    physfn = device.address
    if isinstance(device, VirtualFunction):
        physfn = device.physical_function
    gpu = snapshot.device(physfn)
    if isinstance(gpu, Gpu) and gpu.framework is not Framework.MDEV:
        raise exception.Refused(
            [
                f'{device.address}: found framework {gpu.framework.value}, '
                'expected mdev; a VF with vendor-specific VFIO gets its type '
                'through nova-vgpu gpu retype or prepare'
                if gpu.framework is Framework.VENDOR_VFIO
                else f'{device.address}: found a GPU without vGPU types, '
                'expected mdev types; nova-vgpu doctor says what is missing'
            ]
        )


def _refuse_elsewhere(
    known: Mdev | MdevDefinition, device: VgpuDevice, wanted: VgpuType
) -> None:
    inside = {place.address for place in _places(device)}
    if known.type_id == wanted.id and known.parent in inside:
        return
    kind = 'one' if isinstance(known, Mdev) else 'a persistent one'
    raise exception.Refused(
        [
            f'mdev {known.uuid}: found {kind} of {known.type_id} on '
            f'{known.parent}, expected none, or one of {wanted.id} on '
            f'{device.address}; choose another UUID'
        ]
    )


def _places(device: VgpuDevice) -> tuple[VgpuDevice, ...]:
    return device.devices if isinstance(device, Gpu) else (device,)


def _room(rooms: Rooms, device: VgpuDevice, wanted: VgpuType) -> list[str]:
    """Take all the room for a type; give a parent for each vGPU."""
    parents: list[str] = []
    for place in _places(device):
        while rooms.take(place.address, wanted.id) is None:
            parents.append(place.address)
    return parents


def _full(
    device: VgpuDevice,
    wanted: VgpuType,
    missing: Sequence[str],
    parents: Sequence[str],
) -> str:
    others = sorted(
        {
            str(m.type_id)
            for place in _places(device)
            for m in place.mdevs
            if m.type_id != wanted.id
        }
    )
    remedy = 'nova-vgpu mdev list shows what is there'
    if others:
        remedy = f'mdevs of {", ".join(others)} take its room; {remedy}'
    return (
        f'{device.address}: found room for {len(parents)} of '
        f'{_label(wanted)}, expected {len(missing)}; {remedy}'
    )
