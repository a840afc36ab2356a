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
"""What an audit has read of one compute node."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping

from nova_vgpu_ext.models import (
    CloudGpu,
    CloudHost,
    Consumer,
    InventoryRecord,
    Migration,
    Server,
)


@dataclasses.dataclass(frozen=True)
class Suspect:
    """A consumer that was looked at by itself.

    Placement was asked before Nova: what a server allocates while it begins
    to move is then seen as a move.
    """

    #: What it holds; None: nothing any more.
    consumer: Consumer | None
    #: The server of that UUID, or the one whose move has that UUID.
    server: Server | None = None
    #: The move of that UUID.
    move: Migration | None = None
    #: What Nova remembers of the server's moves.
    moves: tuple[Migration, ...] = ()
    #: What the server itself holds, where the consumer is its move.
    own: Consumer | None = None


@dataclasses.dataclass(frozen=True)
class HostView:
    """One compute node that has GPUs, and who uses them."""

    host: CloudHost
    #: Whether Nova has a compute node of that UUID.
    in_nova: bool = True
    #: The UUIDs of all compute nodes, by name.
    nodes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    #: By GPU and consumer, both UUIDs: the amount of each class.
    held: Mapping[str, Mapping[str, Mapping[str, int]]] = dataclasses.field(
        default_factory=dict
    )
    #: The servers on the compute node, by UUID.
    servers: Mapping[str, Server] = dataclasses.field(default_factory=dict)
    #: The UUIDs of moves in progress.
    moving: frozenset[str] = frozenset()
    #: The consumers that were looked at by themselves.
    suspects: Mapping[str, Suspect] = dataclasses.field(default_factory=dict)
    #: Whole inventories, by GPU and class, where they were read.
    records: Mapping[str, Mapping[str, InventoryRecord]] = dataclasses.field(
        default_factory=dict
    )

    def holders(self) -> dict[str, list[tuple[CloudGpu, dict[str, int]]]]:
        """Give what each consumer holds of this node's GPUs."""
        found: dict[str, list[tuple[CloudGpu, dict[str, int]]]] = (
            collections.defaultdict(list)
        )
        for gpu in sorted(self.host.gpus, key=lambda gpu: gpu.name):
            for consumer, amounts in self.held.get(gpu.uuid, {}).items():
                found[consumer].append((gpu, dict(amounts)))
        return dict(found)
