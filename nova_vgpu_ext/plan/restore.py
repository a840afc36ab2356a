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
"""Mediated devices that a reboot took, and definitions that are stale."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from nova_vgpu_ext.models import (
    Domain,
    Finding,
    MdevDefinition,
    Severity,
    Snapshot,
    Usage,
)
from nova_vgpu_ext.plan.actions import (
    Action,
    CreateMdev,
    HostPlan,
    UndefineMdev,
)
from nova_vgpu_ext.plan.rooms import Rooms


def restore(snapshot: Snapshot, usage: Usage) -> HostPlan:
    """Plan to bring back what a reboot took, before nova-compute starts.

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


def waiting(
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
