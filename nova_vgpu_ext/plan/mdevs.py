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
) -> HostPlan:
    """Plan new mdevs of one type on one GPU.

    An mdev that is there already, as wanted, is left as it is, so that an
    interrupted command can be given again.

    :param address: a GPU, whose VFs are used where it has them, or a VF.
    :param type_text: as of :func:`resolve_type`.
    :param uuids: one for each mdev.
    :param persist: whether they shall come back after a reboot.
    :raises VgpuError: the address, the type or a UUID cannot be used, or
        there is no room for all of them.
    """
    device = find_device(snapshot, address)
    _refuse_vendor(snapshot, device)
    wanted = resolve_type(device, type_text)
    existing = {mdev.uuid: mdev for mdev in snapshot.mdevs}
    inside = {d.address for d in _places(device)}
    missing = []
    actions: list[Action] = []
    for uuid in uuids:
        found = existing.get(uuid)
        if found is None:
            missing.append(uuid)
        elif found.type_id != wanted.id or found.parent not in inside:
            raise exception.Refused(
                [
                    f'mdev {uuid}: found one of {found.type_id} on '
                    f'{found.parent}, expected none, or one of {wanted.id} '
                    f'on {address}; choose another UUID'
                ]
            )
        elif persist:
            actions.append(
                DefineMdev(MdevDefinition(uuid, found.parent, wanted.id, True))
            )
    parents = _room(device, wanted)
    if len(missing) > len(parents):
        raise exception.Refused([_full(device, wanted, missing, parents)])
    for uuid, parent in zip(missing, parents, strict=False):
        actions.append(CreateMdev(uuid, parent, wanted.id))
        if persist:
            actions.append(
                DefineMdev(MdevDefinition(uuid, parent, wanted.id, True))
            )
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
    :raises NotFound: there is neither.
    :raises Refused: one is in use, or may be; all reasons are given.
    """
    existing = {mdev.uuid: mdev for mdev in snapshot.mdevs}
    reasons: list[str] = []
    actions: list[Action] = []
    for uuid in dict.fromkeys(uuids):
        mdev = existing.get(uuid)
        definition = usage.definition(uuid)
        if mdev is None and definition is None:
            raise exception.NotFound('mdev', uuid, sorted(existing))
        if mdev is not None:
            reasons += [f'mdev {uuid}: {r}' for r in _reasons(mdev, usage)]
        else:
            reasons += [
                f'mdev {uuid}: in use by {d}' for d in usage.domains_of(uuid)
            ]
        actions += _removal(mdev, definition, 'it is removed')
    reasons += _allocated(
        [existing[uuid] for uuid in uuids if uuid in existing],
        snapshot,
        usage,
    )
    if reasons:
        raise exception.Refused(dict.fromkeys(reasons))
    return HostPlan(tuple(actions))


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
            actions += _removal(mdev, usage.definition(mdev.uuid), reason)
    return HostPlan(tuple(actions), tuple(findings))


def restore(snapshot: Snapshot, usage: Usage) -> HostPlan:
    """Plan what a reboot took away, before nova-compute starts.

    The mdevs of every domain come back with their UUID, type and device,
    from the persistent definitions or else the ledger. A definition that
    cannot be started any more would keep nova-compute from starting, because
    it starts each (``_start_inactive_mediated_devices`` of Nova's libvirt
    driver), so it is put aside.
    """
    existing = {mdev.uuid for mdev in snapshot.mdevs}
    rooms = _Rooms(snapshot)
    actions: list[Action] = []
    findings: list[Finding] = []
    coming: set[str] = set()
    for domain in usage.domains:
        for uuid in domain.mdevs:
            if uuid in existing or uuid in coming:
                continue
            origin = _origin(uuid, usage)
            if origin is None:
                findings.append(_unknown_mdev(domain.name, uuid))
                continue
            problem = rooms.take(origin.parent, origin.type_id)
            if problem:
                findings.append(_no_room(domain.name, origin, problem))
                continue
            coming.add(uuid)
            actions.append(CreateMdev(uuid, origin.parent, origin.type_id))
    for definition in usage.definitions:
        if definition.uuid in existing | coming:
            continue
        problem = rooms.take(definition.parent, definition.type_id)
        if problem:
            actions.append(UndefineMdev(definition, problem))
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


def _places(device: VgpuDevice) -> tuple[VgpuDevice, ...]:
    return device.devices if isinstance(device, Gpu) else (device,)


def _room(device: VgpuDevice, wanted: VgpuType) -> list[str]:
    """Give a parent for each vGPU of a type that fits."""
    parents: list[str] = []
    existing = 0
    for place in _places(device):
        offered = place.type(wanted.id)
        parents += [place.address] * (offered.available if offered else 0)
        existing += sum(m.type_id == wanted.id for m in place.mdevs)
    if isinstance(device, Gpu) and device.vfs and wanted.maximum is not None:
        # Each VF says that it has room, but they share the card's memory.
        return parents[: max(0, wanted.maximum - existing)]
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


def _reasons(mdev: Mdev, usage: Usage) -> Iterator[str]:
    for user in users(mdev, usage):
        yield f'in use by {user}'


def _allocated(
    mdevs: Iterable[Mdev], snapshot: Snapshot, usage: Usage
) -> Iterator[str]:
    for address in dict.fromkeys(mdev.parent for mdev in mdevs):
        device = snapshot.device(address)
        surplus = in_flight(device, usage) if device else 0
        if surplus:
            yield (
                f'{address}: Placement has {surplus} vGPU(s) allocated that '
                'no domain names, expected none; a guest may be about to '
                'start with one of its mdevs'
            )


def _removal(
    mdev: Mdev | None, definition: MdevDefinition | None, reason: str
) -> Iterator[Action]:
    # The definition first: what is interrupted in between is an mdev that
    # the next run removes, not one that comes back.
    if definition is not None:
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


def _origin(uuid: str, usage: Usage) -> MdevDefinition | None:
    definition = usage.definition(uuid)
    if definition is not None:
        return definition
    entry = usage.ledger.get(uuid)
    if entry is None:
        return None
    return MdevDefinition(uuid, entry.parent, entry.type_id)


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


class _Rooms:
    """What still fits, while mdevs are handed out in the plan."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._planned: dict[str, list[str]] = {}

    def take(self, address: str, type_id: str) -> str | None:
        """Take room for one mdev; if there is none, say why."""
        device = self._snapshot.device(address)
        if device is None:
            return f'there is no GPU {address}'
        offered = device.type(type_id)
        if offered is None:
            return f'{address} does not offer {type_id}'
        planned = self._planned.setdefault(address, [])
        others = [t for t in planned if t != type_id]
        if others or len(planned) >= offered.available:
            return f'{address} has no room for {type_id}'
        planned.append(type_id)
        return None
