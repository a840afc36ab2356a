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
"""Mediated devices: which to make, which may go, which must come back.

No rule here removes an mdev that a domain names, a process holds, or
Placement may count on. Nova picks an unused mdev, or makes one, only after
Placement has allocated it, and defines the domain later; in between, the
allocation is the only trace. So where more is allocated on a GPU than its
domains account for, nothing of that GPU is removed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from nova_vgpu_ext import exception
from nova_vgpu_ext.models import (
    Domain,
    Finding,
    Framework,
    Gpu,
    Mdev,
    MdevDefinition,
    Severity,
    Snapshot,
    Usage,
    VgpuDevice,
    VgpuType,
    VirtualFunction,
)
from nova_vgpu_ext.plan.actions import (
    Action,
    CreateMdev,
    DefineMdev,
    HostPlan,
    RemoveMdev,
    UndefineMdev,
)
from nova_vgpu_ext.plan.rooms import Rooms

_ASKED = 'it is removed'


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
    parents = _room(snapshot, device, wanted)
    if len(missing) > len(parents):
        raise exception.Refused([_full(device, wanted, missing, parents)])
    homes: dict[str, str] = {}
    for definition in definitions:
        if definition.uuid in missing and definition.parent in parents:
            parents.remove(definition.parent)
            homes[definition.uuid] = definition.parent
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


def users(mdev: Mdev, usage: Usage) -> list[str]:
    """Say who uses an mdev."""
    found = [str(domain) for domain in usage.domains_of(mdev.uuid)]
    found += [f'process {h}' for h in usage.holders.get(mdev.uuid, ())]
    if mdev.guest:
        found.append(f'guest {mdev.guest}, by the driver')
    return found


def remove(snapshot: Snapshot, usage: Usage, uuids: Sequence[str]) -> HostPlan:
    """Plan the removal of mdevs, and of their persistent definitions.

    :param uuids: of mdevs, or of persistent definitions of which there is
        no mdev now.
    :returns: the removals, and an error for each that is not there.
    :raises NotFound: there is none of them.
    :raises Refused: one is in use, or may be; all reasons are given.
    """
    existing = {mdev.uuid: mdev for mdev in snapshot.mdevs}
    absent: list[Finding] = []
    actions: list[Action] = []
    for uuid in dict.fromkeys(uuids):
        steps = list(_removal(uuid, existing.get(uuid), usage, _ASKED))
        if not steps:
            absent.append(_absent(uuid))
        actions += steps
    _refuse_used(snapshot, usage, uuids)
    if absent and not actions:
        raise exception.NotFound('mdev', uuids[0], sorted(existing))
    return HostPlan(tuple(actions), tuple(absent))


def clean(
    snapshot: Snapshot,
    usage: Usage,
    configured: Mapping[str, str],
    grace: float,
) -> HostPlan:
    """Plan the removal of orphans.

    An orphan is an mdev that nobody uses (:func:`remove`), and that is older
    than the grace time or of another type than its GPU is configured for.

    :param configured: by address, the type that nova.conf gives an mdev
        parent; where it gives none, only the age counts.
    :param grace: in seconds.
    :returns: the removals, and a warning for each mdev that would be an
        orphan but for an allocation.
    :raises Refused: libvirt was not asked, so that nobody knows what is used.
    """
    if not usage.has_domains:
        raise exception.Refused(
            [
                '[vgpu] libvirt_uri: found no connection, expected libvirt '
                'to say which mdevs its domains name; nothing is removed'
            ]
        )
    actions: list[Action] = []
    findings: list[Finding] = []
    for device in snapshot.devices:
        orphans = [
            (mdev, reason)
            for mdev in device.mdevs
            if not users(mdev, usage)
            for reason in [_orphan(mdev, usage, configured, grace)]
            if reason is not None
        ]
        surplus = in_flight(device, usage)
        if orphans and surplus:
            findings.append(_kept(device, len(orphans), surplus))
            continue
        for mdev, reason in orphans:
            actions += _removal(mdev.uuid, mdev, usage, reason)
    return HostPlan(tuple(actions), tuple(findings))


def restore(snapshot: Snapshot, usage: Usage) -> HostPlan:
    """Plan what a reboot took away, before nova-compute starts.

    The mdevs of every domain come back with their UUID, type and device,
    from the persistent definitions or else the ledger. A definition that
    cannot be started any more would keep nova-compute from starting, because
    it starts each (``_start_inactive_mediated_devices`` of Nova's libvirt
    driver), so it is put aside.
    """
    rooms = Rooms(snapshot)
    # Where each mdev is, or will be.
    places = {mdev.uuid: mdev.parent for mdev in snapshot.mdevs}
    actions: list[Action] = []
    findings: list[Finding] = []
    for domain in usage.domains:
        for uuid in domain.mdevs:
            if uuid in places:
                continue
            origin = _origin(uuid, usage)
            if origin is None:
                findings.append(_unknown_mdev(domain.name, uuid))
                continue
            problem = rooms.take(origin.parent, origin.type_id)
            if problem:
                findings.append(_no_room(domain.name, origin, problem))
                continue
            places[uuid] = origin.parent
            actions.append(CreateMdev(uuid, origin.parent, origin.type_id))
    actions += _stale(usage.definitions, rooms, places)
    return HostPlan(tuple(actions), tuple(findings))


def leave_type(
    snapshot: Snapshot, usage: Usage, gpu: Gpu, type_id: str
) -> HostPlan:
    """Plan what must go before a GPU can have another type.

    :param type_id: the type to come.
    :raises Refused: an mdev of another type is in use.
    """
    others = [
        mdev.uuid
        for device in gpu.devices
        for mdev in device.mdevs
        if mdev.type_id != type_id
    ]
    inside = {device.address for device in gpu.devices}
    others += [
        d.uuid
        for d in usage.definitions
        if d.parent in inside and d.type_id != type_id
    ]
    waiting = [
        f'mdev {uuid}: {domain} waits for it with {origin.type_id} on '
        f'{origin.parent}; nova-vgpu prepare makes it again'
        for uuid, origin, domain in _waiting(snapshot, usage)
        if origin.parent in inside and origin.type_id != type_id
    ]
    _refuse_used(snapshot, usage, others, waiting)
    return remove(snapshot, usage, others)


def in_flight(device: VgpuDevice, usage: Usage) -> int:
    """Count what is allocated on a device beyond what its domains name."""
    allocated = (usage.allocated or {}).get(device.address, 0)
    named = sum(
        any(True for _ in usage.domains_of(mdev.uuid)) for mdev in device.mdevs
    )
    return max(0, allocated - named)


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


def _room(
    snapshot: Snapshot, device: VgpuDevice, wanted: VgpuType
) -> list[str]:
    """Give a parent for each vGPU of a type that fits."""
    rooms = Rooms(snapshot)
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


def _no_home(uuid: str, parent: str, wanted: VgpuType) -> str:
    return (
        f'{parent}: found no room for {_label(wanted)}, expected room for '
        f'the persistent mdev {uuid}; nova-vgpu mdev remove forgets it'
    )


def _absent(uuid: str) -> Finding:
    return Finding(
        Severity.ERROR,
        f'mdev {uuid}',
        'none',
        'one to remove',
        'nova-vgpu mdev list shows what is there',
    )


def _refuse_used(
    snapshot: Snapshot,
    usage: Usage,
    uuids: Iterable[str],
    more: Iterable[str] = (),
) -> None:
    """Refuse to remove what somebody uses.

    :param uuids: of mdevs, or of definitions.
    :param more: reasons that are known already.
    :raises Refused: there is a reason; all are given.
    """
    existing = {mdev.uuid: mdev for mdev in snapshot.mdevs}
    reasons = [*more]
    parents: dict[str, None] = {}
    for uuid in dict.fromkeys(uuids):
        mdev = existing.get(uuid)
        if mdev is not None:
            parents[mdev.parent] = None
            found = users(mdev, usage)
        else:
            found = [str(domain) for domain in usage.domains_of(uuid)]
        reasons += [f'mdev {uuid}: in use by {user}' for user in found]
    reasons += _allocated(parents, snapshot, usage)
    if reasons:
        raise exception.Refused(dict.fromkeys(reasons))


def _allocated(
    parents: Iterable[str], snapshot: Snapshot, usage: Usage
) -> Iterator[str]:
    for address in parents:
        device = snapshot.device(address)
        surplus = in_flight(device, usage) if device else 0
        if surplus:
            yield (
                f'{address}: Placement has {surplus} vGPU(s) allocated that '
                'no domain names, expected none; a guest may be about to '
                'start with one of its mdevs'
            )


def _removal(
    uuid: str, mdev: Mdev | None, usage: Usage, reason: str
) -> Iterator[Action]:
    # The definitions first: what is interrupted in between is an mdev that
    # the next run removes, not one that comes back.
    for definition in usage.definitions:
        if definition.uuid == uuid:
            yield UndefineMdev(definition, reason)
    if mdev is not None:
        yield RemoveMdev(mdev.uuid, mdev.parent, mdev.type_id)


def _orphan(
    mdev: Mdev,
    usage: Usage,
    configured: Mapping[str, str],
    grace: float,
) -> str | None:
    """Say why an mdev without users may go, None if it may not."""
    wanted = configured.get(mdev.parent, mdev.type_id)
    if mdev.type_id is not None and wanted != mdev.type_id:
        return f'the GPU is configured for {wanted}'
    if usage.ages.get(mdev.uuid, 0) >= grace:
        return 'nothing uses it'
    return None


def _kept(device: VgpuDevice, orphans: int, surplus: int) -> Finding:
    return Finding(
        Severity.WARNING,
        device.address,
        f'{orphans} mdev(s) that nothing uses, with {surplus} vGPU(s) '
        'allocated in Placement that no domain names',
        'no such allocation, before an mdev is removed',
        'a guest may be about to start; if it stays so, look for servers '
        'that are gone (nova-manage placement audit)',
    )


def _stale(
    definitions: Iterable[MdevDefinition],
    rooms: Rooms,
    places: dict[str, str],
) -> Iterator[Action]:
    """Put definitions aside of which no mdev is there and none can be made.

    :param places: where mdevs are or will be, by UUID; those that can be
        made are added.
    """
    for definition in definitions:
        uuid, parent = definition.uuid, definition.parent
        if places.get(uuid, parent) != parent:
            # mdevctl keeps a UUID once for each parent; only one can be made.
            problem: str | None = f'its mdev is on {places[uuid]}'
        elif uuid in places:
            continue
        else:
            problem = rooms.take(parent, definition.type_id)
        if problem:
            yield UndefineMdev(definition, problem)
        else:
            places[uuid] = parent


def _origin(uuid: str, usage: Usage) -> MdevDefinition | None:
    definition = usage.definition(uuid)
    if definition is not None:
        return definition
    entry = usage.ledger.get(uuid)
    if entry is None:
        return None
    return MdevDefinition(uuid, entry.parent, entry.type_id)


def _waiting(
    snapshot: Snapshot, usage: Usage
) -> Iterator[tuple[str, MdevDefinition, Domain]]:
    """Give the mdevs that domains name and that are not there."""
    existing = {mdev.uuid for mdev in snapshot.mdevs}
    for domain in usage.domains:
        for uuid in domain.mdevs:
            origin = None if uuid in existing else _origin(uuid, usage)
            if origin is not None:
                yield uuid, origin, domain


def _unknown_mdev(domain: str, uuid: str) -> Finding:
    return Finding(
        Severity.ERROR,
        f'domain {domain}',
        f'mdev {uuid}, of which neither the ledger nor a persistent '
        'definition knows GPU and type',
        'an mdev that can be made again',
        'make it by hand (nova-vgpu mdev create --uuid), or hard-reboot the '
        'server (openstack server reboot --hard)',
    )


def _no_room(domain: str, origin: MdevDefinition, problem: str) -> Finding:
    return Finding(
        Severity.ERROR,
        f'domain {domain}',
        f'mdev {origin.uuid} of {origin.type_id} on {origin.parent}: '
        f'{problem}',
        'a GPU with room for it',
        'check the GPU (nova-vgpu gpu show), or hard-reboot the server '
        '(openstack server reboot --hard)',
    )
