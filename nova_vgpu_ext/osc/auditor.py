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
"""Reading a cloud for its audit, and looking twice at what seems wrong.

A busy cloud is never seen all at one moment: a server may be moved, made or
deleted between two reads, and Nova itself writes first to its database and
then to Placement. So a finding counts only if a second, later look at the
host finds it again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import heapq
import time
from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from typing import Any, TypeAlias

from nova_vgpu_ext import exception
from nova_vgpu_ext.models import (
    CloudHost,
    ComputeNode,
    InventoryRecord,
    Migration,
    Server,
)
from nova_vgpu_ext.osc.cloud import Cloud
from nova_vgpu_ext.placement import parallel
from nova_vgpu_ext.plan import audit, gpus

#: Seconds between the looks: longer than Nova takes from the end of a move
#: to the end of its allocation.
SETTLE = 5.0

#: How many hosts are looked at at once.
_READERS = 8


@dataclasses.dataclass(frozen=True)
class _Facts:
    """What is read once for a look at many hosts."""

    nodes: Mapping[str, ComputeNode]
    by_name: Mapping[str, str]
    moving: frozenset[str]
    census: audit.Census
    #: Moves whose UUIDs had to be looked for among all.
    moves: Mapping[str, Migration]


#: Passes items on, given how many there will be.
Track: TypeAlias = Callable[[Iterable[Any], int], Iterator[Any]]


class Auditor:
    """Audits a cloud, or one host of it.

    :param cloud: the cloud.
    :param host: the compute node's name; None for all.
    :param track: passes hosts on and shows how many of how many there were.
    """

    def __init__(self, cloud: Cloud, host: str | None, track: Track) -> None:
        self._cloud = cloud
        self._host = host
        self._track = track
        self._facts: _Facts | None = None

    def findings(self) -> Iterator[audit.Finding]:
        """Find what is wrong, by host, in a stable order.

        :raises VgpuError: Placement or Nova cannot be read.
        """
        trees = self._cloud.gpus.trees(self._host)
        hosts = list(self._track(self._cloud.gpus.hosts(trees), len(trees)))
        facts = self._read_facts(audit.take(hosts))
        looks = parallel.each(
            functools.partial(self._look, facts), hosts, _READERS
        )
        doubtful: list[tuple[str, list[audit.Finding]]] = []
        tracked = self._track(zip(hosts, looks, strict=True), len(hosts))
        for host, found in tracked:
            if found:
                doubtful.append((host.name, found))
        roots = self._roots(hosts)
        if not doubtful and not roots:
            return
        time.sleep(SETTLE)
        unknown = {
            finding.object
            for _, found in doubtful
            for finding in found
            if finding.check == audit.LEAKED
        }
        self._facts = self._read_facts(facts.census, unknown)
        yield from heapq.merge(
            self._confirmed(doubtful),
            [f for f in self._roots(hosts) if f in roots],
            key=lambda finding: finding.key,
        )

    def again(self, finding: audit.Finding) -> audit.Finding | None:
        """Look again at the object of a finding.

        :returns: what is wrong with it now; None: nothing any more.
        """
        return next(
            (
                found
                for found in self._look_again(finding.host)
                if _place(found) == _place(finding)
            ),
            None,
        )

    def _confirmed(
        self, doubtful: Sequence[tuple[str, list[audit.Finding]]]
    ) -> Iterator[audit.Finding]:
        looks = parallel.each(
            self._look_again, [name for name, _ in doubtful], _READERS
        )
        for (_, before), now in zip(doubtful, looks, strict=True):
            places = {_place(finding) for finding in before}
            yield from (f for f in now if _place(f) in places)

    def _look_again(self, name: str) -> list[audit.Finding]:
        """Read a host afresh; nothing is wrong with one that is gone."""
        assert self._facts is not None  # noqa: S101
        try:
            trees = self._cloud.gpus.trees(name)
        except exception.NodeNotFound:
            return []
        return [
            finding
            for host in self._cloud.gpus.hosts(trees)
            for finding in self._look(self._facts, host)
        ]

    def _read_facts(
        self, census: audit.Census, unknown: Collection[str] = ()
    ) -> _Facts:
        """Read what concerns all hosts.

        Nova leaves the moves of a cell that does not answer out, but fails
        when it is asked for compute nodes then: so that comes last.

        :param unknown: UUIDs to look for among all moves.
        """
        moving = frozenset(
            move.uuid
            for status in audit.IN_PROGRESS
            for move in self._cloud.compute.migrations(status=status)
        )
        moves = (
            audit.find_moves(self._cloud.compute.migrations(), unknown)
            if unknown
            else {}
        )
        nodes = self._cloud.compute.compute_nodes()
        return _Facts(
            nodes={node.uuid: node for node in nodes},
            by_name={node.name: node.uuid for node in nodes},
            moving=moving,
            census=census,
            moves=moves,
        )

    def _roots(self, hosts: Sequence[CloudHost]) -> list[audit.Finding]:
        """Find vGPUs on compute nodes that have no GPU's provider."""
        known = {gpu.uuid for host in hosts for gpu in host.gpus}
        known |= {host.uuid for host in hosts}
        client = self._cloud.placement
        others = set(client.providers_with_free(gpus.VGPU)) - known
        if not others:
            return []
        return sorted(
            (
                audit.root_vgpu(provider.name, provider.uuid)
                for provider in client.providers()
                if provider.uuid in others
                and provider.parent_uuid is None
                and self._host in (None, provider.name)
            ),
            key=lambda finding: finding.key,
        )

    def _look(self, facts: _Facts, host: CloudHost) -> list[audit.Finding]:
        """Read who uses a host's GPUs, and judge."""
        view = audit.HostView(
            host=host,
            in_nova=host.uuid in facts.nodes,
            nodes=facts.by_name,
            held=self._held(host),
            servers=self._servers(facts.nodes.get(host.uuid)),
            moving=facts.moving,
            records=self._records(facts, host),
        )
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
                    held[gpu.uuid] = self._cloud.placement.allocations(
                        gpu.uuid
                    )
        return held

    def _servers(self, node: ComputeNode | None) -> dict[str, Server]:
        if node is None:
            return {}
        return {
            server.uuid: server
            for server in self._cloud.compute.servers(node.host)
        }

    def _records(
        self, facts: _Facts, host: CloudHost
    ) -> dict[str, dict[str, InventoryRecord]]:
        records = {}
        for gpu, _ in audit.odd(host, facts.census):
            with contextlib.suppress(exception.ProviderGone):
                records[gpu.uuid] = self._cloud.placement.inventories(gpu.uuid)
        return records

    def _suspect(
        self, facts: _Facts, view: audit.HostView, uuid: str
    ) -> audit.Suspect:
        """Look at one consumer, in Placement first."""
        placement, compute = self._cloud.placement, self._cloud.compute
        consumer = placement.consumer(uuid)
        if consumer is None or uuid in view.servers:
            return audit.Suspect(consumer)
        move = facts.moves.get(uuid)
        server = compute.server(move.server_uuid if move else uuid)
        if server is None:
            return audit.Suspect(consumer, move=move)
        if move is not None:
            own = placement.consumer(server.uuid)
            return audit.Suspect(consumer, server, move, own=own)
        moves = tuple(compute.migrations(server=uuid))
        return audit.Suspect(consumer, server, moves=moves)


def _place(finding: audit.Finding) -> tuple[str, str]:
    return finding.host, finding.object
