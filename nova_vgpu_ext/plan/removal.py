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
"""Mediated devices that may go, and those that may not.

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
    Gpu,
    Mdev,
    Severity,
    Snapshot,
    Usage,
    VgpuDevice,
)
from nova_vgpu_ext.plan import restore
from nova_vgpu_ext.plan.actions import (
    Action,
    HostPlan,
    RemoveMdev,
    UndefineMdev,
)

_ASKED = 'it is removed'


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
        for uuid, origin, domain in restore.waiting(snapshot, usage)
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
