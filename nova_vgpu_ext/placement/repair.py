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
"""Doing what an audit has planned: one write, or none if it is done."""

from __future__ import annotations

import dataclasses

from nova_vgpu_ext import exception
from nova_vgpu_ext.models import Consumer, ReportedProvider
from nova_vgpu_ext.placement.client import PlacementClient
from nova_vgpu_ext.plan import audit


def apply(client: PlacementClient, repair: audit.Repair) -> bool:
    """Carry out a repair, if what it was planned on is still so.

    :returns: False where somebody else has done it already.
    :raises PlanOutdated: something has changed: look again, and plan anew.
    :raises PlacementError: Placement failed or refuses it.
    """
    if isinstance(repair, audit.Release):
        return _keep(client, repair.consumer, frozenset())
    if isinstance(repair, audit.LeaveHost):
        return _leave(client, repair)
    if isinstance(repair, audit.DeleteProvider):
        return _delete(client, repair)
    return _set_traits(client, repair)


def _keep(
    client: PlacementClient, consumer: Consumer, kept: frozenset[str]
) -> bool:
    """Let a consumer keep what it has of some providers only.

    The generation alone does not tell that a consumer is the same: where all
    was taken from it and it got something else, it counts from the start.
    """
    now = client.consumer(consumer.uuid)
    if now is None:
        return False
    if now != consumer:
        raise _outdated(consumer.uuid)
    rest = {p: n for p, n in consumer.resources.items() if p in kept}
    client.set_allocations(dataclasses.replace(consumer, resources=rest))
    return True


def _leave(client: PlacementClient, repair: audit.LeaveHost) -> bool:
    consumer = repair.consumer
    left = {provider.uuid for provider in client.tree(repair.host_uuid)}
    kept = frozenset(consumer.resources) - left
    if not left or not kept:
        raise _outdated(repair.host)
    return _keep(client, consumer, kept)


def _delete(client: PlacementClient, repair: audit.DeleteProvider) -> bool:
    now = _find(client, repair.gpu.uuid)
    if now is None:
        return False
    if now.generation != repair.gpu.generation:
        raise _outdated(repair.gpu.name)
    client.delete_provider(now.uuid)
    return True


def _set_traits(client: PlacementClient, repair: audit.SetTraits) -> bool:
    now = _find(client, repair.uuid)
    if now is None or client.traits(repair.uuid) != repair.before:
        raise _outdated(repair.name)
    client.set_traits(now.uuid, now.generation, repair.after)
    return True


def _find(client: PlacementClient, uuid: str) -> ReportedProvider | None:
    """Read a provider; None if it is gone."""
    return next((p for p in client.tree(uuid) if p.uuid == uuid), None)


def _outdated(name: str) -> exception.PlanOutdated:
    return exception.PlanOutdated(
        name, 'changed since it was looked at', 'run it again'
    )
