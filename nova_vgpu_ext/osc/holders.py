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
"""Who holds the vGPUs of a cloud: Placement's consumers, as Nova knows them.

Placement is asked for the consumers of each GPU that is used, and Nova for
the servers of each host that has such a GPU: so requests grow with hosts and
GPUs, not with vGPUs, and a host is dropped when it has been passed on.
"""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Iterable, Iterator

from nova_vgpu_ext.models import CloudGpu, ComputeNode, Migration, Server
from nova_vgpu_ext.osc.cloud import Cloud
from nova_vgpu_ext.placement import parallel
from nova_vgpu_ext.plan import audit
from nova_vgpu_ext.plan.usage import Holding

#: How many hosts Nova is asked about at once. Together with the reads of
#: Placement these are no more than the connections that requests keeps.
_LOOKUPS = 2

_Allocations = tuple[CloudGpu, dict[str, dict[str, int]]]


class Holders:
    """Finds who holds vGPUs.

    :param cloud: the cloud.
    """

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._lock = threading.Lock()

    def of(self, read: Iterable[CloudGpu]) -> Iterator[Holding]:
        """Give what each consumer holds of each GPU, in order of the GPUs.

        :param read: the GPUs, those of a host together.
        """
        allocations = self._cloud.gpus.allocations(read)
        hosts = (
            list(group)
            for _, group in itertools.groupby(
                allocations, key=lambda found: found[0].host_uuid
            )
        )
        for found in parallel.each(self._of_host, hosts, _LOOKUPS):
            yield from found

    def _of_host(self, found: list[_Allocations]) -> list[Holding]:
        with self._lock:
            node = self._nodes.get(found[0][0].host_uuid)
        servers = self._servers(node) if node is not None else {}
        owner = functools.cache(functools.partial(self._owner, servers))
        holdings = []
        for gpu, consumers in found:
            for uuid, amounts in sorted(consumers.items()):
                project_id, server, move = owner(uuid)
                if project_id is not None:
                    holdings.append(
                        Holding(uuid, project_id, gpu, amounts, server, move)
                    )
        return holdings

    @functools.cached_property
    def _nodes(self) -> dict[str, ComputeNode]:
        """The compute nodes by UUID, read once."""
        return {n.uuid: n for n in self._cloud.compute.compute_nodes()}

    @functools.cached_property
    def _moves(self) -> dict[str, Migration]:
        """The moves in progress by UUID, read once if at all."""
        return {
            move.uuid: move
            for status in audit.IN_PROGRESS
            for move in self._cloud.compute.migrations(status=status)
        }

    def _servers(self, node: ComputeNode) -> dict[str, Server]:
        return {s.uuid: s for s in self._cloud.compute.servers(node.host)}

    def _owner(
        self, servers: dict[str, Server], uuid: str
    ) -> tuple[str | None, Server | None, Migration | None]:
        """Find whose a consumer is.

        One that is not on its host by Nova is looked at by itself: a server
        that moves, or is soft-deleted, or a move.

        :returns: its project, its server and the move that it is; None for
            what there is not. Without a project it holds nothing any more.
        """
        server = servers.get(uuid) or self._cloud.compute.server(uuid)
        if server is not None:
            return server.project_id, server, None
        with self._lock:
            move = self._moves.get(uuid)
        if move is not None:
            server = self._cloud.compute.server(move.server_uuid)
            if server is not None:
                return server.project_id, server, move
        consumer = self._cloud.placement.consumer(uuid)
        return (consumer.project_id if consumer else None), None, move
