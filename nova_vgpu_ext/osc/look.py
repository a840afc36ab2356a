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
"""One look at a host: who uses its GPUs, and what Nova knows of them."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping

from nova_vgpu_ext import exception
from nova_vgpu_ext.models import (
    CloudHost,
    ComputeNode,
    InventoryRecord,
    Migration,
    Server,
)
from nova_vgpu_ext.osc.cloud import Cloud
from nova_vgpu_ext.plan import audit


@dataclasses.dataclass(frozen=True)
class Facts:
    """What is read once for a look at many hosts."""

    #: The compute nodes by UUID, and their UUIDs by name.
    nodes: Mapping[str, ComputeNode]
    by_name: Mapping[str, str]
    #: The UUIDs of moves in progress.
    moving: frozenset[str]
    #: Moves whose UUIDs had to be looked for among all.
    moves: Mapping[str, Migration]
    census: audit.Census


class Looker:
    """Looks at hosts; several threads may share one.

    :param cloud: the cloud.
    """

    def __init__(self, cloud: Cloud) -> None:
        self._placement = cloud.placement
        self._compute = cloud.compute
        #: The UUIDs of all servers on the hosts that were looked at.
        self.servers: set[str] = set()

    def look(self, facts: Facts, host: CloudHost) -> list[audit.Finding]:
        """Read who uses a host's GPUs, and judge."""
        view = audit.HostView(
            host=host,
            in_nova=host.uuid in facts.nodes,
            nodes=facts.by_name,
            held=self._held(host),
            servers=self._servers_of(facts.nodes.get(host.uuid)),
            moving=facts.moving,
            records=self._records(facts, host),
        )
        self.servers.update(view.servers)
        suspects = {
            uuid: self._suspect(facts, view, uuid)
            for uuid in audit.suspects(view, facts.census)
        }
        view = dataclasses.replace(view, suspects=suspects)
        return audit.check(view, facts.census)

    def _held(self, host: CloudHost) -> dict[str, dict[str, dict[str, int]]]:
        held = {}
        for gpu in host.gpus:
            if any(has.used for has in gpu.capacities.values()):
                with contextlib.suppress(exception.ProviderGone):
                    held[gpu.uuid] = self._placement.allocations(gpu.uuid)
        return held

    def _servers_of(self, node: ComputeNode | None) -> dict[str, Server]:
        if node is None:
            return {}
        return {s.uuid: s for s in self._compute.servers(node.host)}

    def _records(
        self, facts: Facts, host: CloudHost
    ) -> dict[str, dict[str, InventoryRecord]]:
        records = {}
        for gpu, _ in audit.odd(host, facts.census):
            with contextlib.suppress(exception.ProviderGone):
                records[gpu.uuid] = self._placement.inventories(gpu.uuid)
        return records

    def _suspect(
        self, facts: Facts, view: audit.HostView, uuid: str
    ) -> audit.Suspect:
        """Look at one consumer, in Placement first."""
        consumer = self._placement.consumer(uuid)
        if consumer is None or uuid in view.servers:
            return audit.Suspect(consumer)
        move = facts.moves.get(uuid)
        server = self._compute.server(move.server_uuid if move else uuid)
        if server is None:
            return audit.Suspect(consumer, move=move)
        if move is not None:
            own = self._placement.consumer(server.uuid)
            return audit.Suspect(consumer, server, move, own=own)
        moves = tuple(self._compute.migrations(server=uuid))
        return audit.Suspect(consumer, server, moves=moves)
