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
"""Sums over the GPUs of a cloud, and over those who use them.

Each takes a stream, and holds as many sums as there are rows of its result.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable

from nova_vgpu_ext.models import CloudGpu, Migration, Server
from nova_vgpu_ext.plan import gpus
from nova_vgpu_ext.plan.gpus import OfferedType


@dataclasses.dataclass(frozen=True)
class Room:
    """How many vGPUs some GPUs can hold and have given away."""

    #: How many providers: a virtual function is one too.
    gpus: int = 0
    total: int = 0
    used: int = 0
    #: A GPU that has given away too much does not lessen it.
    free: int = 0

    def with_gpu(self, gpu: CloudGpu) -> Room:
        """Add what a GPU has."""
        has = gpus.capacity(gpu)
        return Room(
            self.gpus + 1,
            self.total + has.total,
            self.used + has.used,
            self.free + has.free,
        )


@dataclasses.dataclass(frozen=True)
class Kind:
    """What a flavor can ask for: a type under a resource class."""

    type: OfferedType
    #: None for GPUs that offer nothing at all.
    resource_class: str | None


@dataclasses.dataclass(frozen=True)
class Holding:
    """What a server, or a move of one, holds of one GPU."""

    #: The UUID that Placement knows.
    consumer: str
    project_id: str
    gpu: CloudGpu
    #: By resource class.
    amounts: dict[str, int]
    #: None where Nova does not know the consumer.
    server: Server | None
    #: Where the consumer is a move, not the server itself.
    migration: Migration | None = None


@dataclasses.dataclass(frozen=True)
class ProjectUse:
    """What a project uses."""

    project_id: str
    #: How many servers hold vGPUs; one that moves counts once.
    servers: int
    vgpus: int


def room(read: Iterable[CloudGpu]) -> Room:
    """Sum what some GPUs have."""
    result = Room()
    for gpu in read:
        result = result.with_gpu(gpu)
    return result


def by_kind(read: Iterable[CloudGpu]) -> list[tuple[Kind, Room]]:
    """Sum what GPUs have by what they offer, in order of the names."""
    found: dict[Kind, Room] = collections.defaultdict(Room)
    for gpu in read:
        kind = Kind(gpus.offered(gpu), gpus.resource_class(gpu))
        found[kind] = found[kind].with_gpu(gpu)
    return sorted(found.items(), key=_order)


def by_project(held: Iterable[Holding]) -> list[ProjectUse]:
    """Sum what projects use, the largest use first."""
    servers: dict[str, set[str]] = collections.defaultdict(set)
    vgpus: dict[str, int] = collections.defaultdict(int)
    for holding in held:
        owner = holding.server.uuid if holding.server else holding.consumer
        servers[holding.project_id].add(owner)
        vgpus[holding.project_id] += sum(holding.amounts.values())
    rows = [ProjectUse(p, len(servers[p]), vgpus[p]) for p in vgpus]
    return sorted(rows, key=lambda row: (-row.vgpus, row.project_id))


def _order(item: tuple[Kind, Room]) -> tuple[object, ...]:
    """Order types by number, and before GPUs that do not tell theirs."""
    kind = item[0]
    driver, _, number = (kind.type.id or '').partition('-')
    return (
        kind.type.id is None,
        driver,
        int(number or 0),
        kind.type.product or '',
        kind.resource_class or '',
        kind.type.frame_buffer_mib or 0,
    )
