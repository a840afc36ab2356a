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

import functools
import heapq
import time
from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Iterator,
    Sequence,
)
from typing import Any, TypeAlias

from nova_vgpu_ext import exception
from nova_vgpu_ext.models import CloudHost
from nova_vgpu_ext.osc import look
from nova_vgpu_ext.osc.cloud import Cloud
from nova_vgpu_ext.placement import parallel
from nova_vgpu_ext.plan import audit, gpus
from nova_vgpu_ext.plan.flavors import request

#: Seconds between the looks: longer than Nova takes from the end of a move
#: to the end of its allocation.
SETTLE = 5.0

#: How many hosts are looked at at once.
_READERS = 8

#: Passes items on, given how many there will be.
Track: TypeAlias = Callable[[Iterable[Any], int], Iterator[Any]]

#: A host's name, and what was found on it.
_Found: TypeAlias = tuple[str, list[audit.Finding]]


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
        self._looker = look.Looker(cloud)
        self._facts: look.Facts | None = None

    def findings(self) -> Iterator[audit.Finding]:
        """Find what is wrong, by host, in a stable order.

        :raises VgpuError: Placement or Nova cannot be read.
        """
        trees = self._cloud.gpus.trees(self._host)
        hosts = list(self._track(self._cloud.gpus.hosts(trees), len(trees)))
        facts = self._read_facts(audit.take(hosts))
        doubtful = self._doubtful(facts, hosts)
        doubtful += self._doubtful(facts, self._without_gpus(facts, hosts))
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
            self._confirmed(self._facts, sorted(doubtful, key=_name)),
            [f for f in self._roots(hosts) if f in roots],
            key=lambda finding: finding.key,
        )

    def again(self, finding: audit.Finding) -> audit.Finding | None:
        """Look again at the object of a finding of this audit.

        :returns: what is wrong with it now; None: nothing any more.
        """
        assert self._facts is not None  # noqa: S101
        found = self._look_again(self._facts, finding.host)
        same = (f for f in found if _place(f) == _place(finding))
        return next(same, None)

    def _doubtful(
        self, facts: look.Facts, hosts: Sequence[CloudHost]
    ) -> list[_Found]:
        """Look at hosts for the first time."""
        looks = parallel.each(
            functools.partial(self._looker.look, facts), hosts, _READERS
        )
        tracked = self._track(zip(hosts, looks, strict=True), len(hosts))
        return [(host.name, found) for host, found in tracked if found]

    def _confirmed(
        self, facts: look.Facts, doubtful: Sequence[_Found]
    ) -> Iterator[audit.Finding]:
        """Look a second time."""
        looks = parallel.each(
            functools.partial(self._look_again, facts),
            [name for name, _ in doubtful],
            _READERS,
        )
        for (_, before), now in zip(doubtful, looks, strict=True):
            places = {_place(finding) for finding in before}
            yield from (f for f in now if _place(f) in places)

    def _look_again(self, facts: look.Facts, name: str) -> list[audit.Finding]:
        """Read a host afresh; nothing is wrong with one that is gone."""
        try:
            trees = self._cloud.gpus.trees(name)
        except exception.NodeNotFound:
            return []
        hosts = list(self._cloud.gpus.hosts(trees)) or _bare(facts, [name])
        return [f for host in hosts for f in self._looker.look(facts, host)]

    def _read_facts(
        self, census: audit.Census, unknown: Collection[str] = ()
    ) -> look.Facts:
        """Read what concerns all hosts.

        Nova leaves the moves of a cell that does not answer out, but fails
        when it is asked for compute nodes then: so that comes last.

        :param unknown: UUIDs to look for among all moves.
        """
        compute = self._cloud.compute
        moving = frozenset(
            move.uuid
            for status in audit.IN_PROGRESS
            for move in compute.migrations(status=status)
        )
        every = compute.migrations() if unknown else ()
        moves = audit.find_moves(every, unknown)
        nodes = compute.compute_nodes()
        return look.Facts(
            nodes={node.uuid: node for node in nodes},
            by_name={node.name: node.uuid for node in nodes},
            moving=moving,
            moves=moves,
            census=census,
        )

    def _without_gpus(
        self, facts: look.Facts, hosts: Sequence[CloudHost]
    ) -> list[CloudHost]:
        """Find hosts that have no GPU, but servers that ask for one.

        Of hosts that were looked at all servers are known; of the others
        Nova only tells the running servers of each flavor.
        """
        if self._host is not None:
            return [] if hosts else _bare(facts, [self._host])
        compute = self._cloud.compute
        names = set()
        for flavor in compute.flavors():
            if not request.vgpu_groups(
                flavor.extra_specs, facts.census.classes
            ):
                continue
            for uuid in compute.running(flavor.id):
                if uuid in self._looker.servers:
                    continue
                server = compute.server(uuid)
                if server is not None and server.node is not None:
                    names.add(server.node)
        return _bare(facts, names - {host.name for host in hosts})

    def _roots(self, hosts: Sequence[CloudHost]) -> list[audit.Finding]:
        """Find vGPUs on compute nodes that have no GPU's provider."""
        known = {gpu.uuid for host in hosts for gpu in host.gpus}
        known |= {host.uuid for host in hosts}
        client = self._cloud.placement
        others = set(client.providers_with_free(gpus.VGPU)) - known
        if not others:
            return []
        found = [
            audit.root_vgpu(provider.name, provider.uuid)
            for provider in client.providers()
            if provider.uuid in others
            and provider.parent_uuid is None
            and self._host in (None, provider.name)
        ]
        return sorted(found, key=lambda finding: finding.key)


def _bare(facts: look.Facts, names: Iterable[str]) -> list[CloudHost]:
    """Make hosts without a GPU of compute nodes that Nova has."""
    return [
        CloudHost(uuid=facts.by_name[name], name=name, gpus=())
        for name in sorted(names)
        if name in facts.by_name
    ]


def _name(found: _Found) -> str:
    return found[0]


def _place(finding: audit.Finding) -> tuple[str, str]:
    return finding.host, finding.object
