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
"""Reading a compute node's providers, and remembering what was read.

Each provider is remembered with its generation. The tree's list carries every
generation, so one request tells what moved, and only that is read again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from nova_vgpu_ext import exception
from nova_vgpu_ext.models import Capacity, ReportedProvider
from nova_vgpu_ext.placement import parallel
from nova_vgpu_ext.placement.client import PlacementClient
from nova_vgpu_ext.plan import gpus, report

#: From this many providers on that must be read, one request for what the
#: whole tree says together pays off.
_BULK = 4

#: Classes of which a tree is likely to have a free unit, so that Placement
#: describes it as an allocation candidate.
_LIKELY_CLASSES = (gpus.VGPU, 'MEMORY_MB')


@dataclasses.dataclass(frozen=True)
class Tree:
    """A compute node's providers in Placement at one moment."""

    #: Its inventories only; nothing else of it matters here.
    root: ReportedProvider
    #: Those of its GPUs, by name.
    gpus: dict[str, ReportedProvider]

    @property
    def with_inventory(self) -> frozenset[str]:
        """The names of the GPU providers that have an inventory."""
        return frozenset(n for n, p in self.gpus.items() if p.inventories)

    @property
    def size(self) -> int:
        """How many providers there are, the root included."""
        return 1 + len(self.gpus)


class TreeReader:
    """Reads one node's tree, cheaply the second time.

    :param client: the way to Placement.
    :param node: the compute node's name.
    :param readers: how many reads are under way at once.
    """

    def __init__(
        self, client: PlacementClient, node: str, readers: int
    ) -> None:
        self._client = client
        self._node = node
        self._readers = readers
        self._root_uuid: str | None = None
        self._seen: dict[str, ReportedProvider] = {}

    def observe(self) -> Tree:
        """Read the providers that moved since the last call.

        :raises PlacementError: Placement cannot be read.
        :raises NodeNotFound: it does not know the node.
        """
        listed: dict[str, ReportedProvider] = {}
        if self._root_uuid is not None:
            listed = self._list(self._root_uuid)
        if self._root_uuid not in listed:
            # The first call, or somebody deleted and remade the tree.
            self._root_uuid = self._client.find_root(self._node)
            listed = self._list(self._root_uuid)
        self._seen = {
            uuid: _still_true(seen)
            for uuid, seen in self._seen.items()
            if uuid in listed and seen.generation == listed[uuid].generation
        }
        moved = [p for u, p in listed.items() if u not in self._seen]
        self._read(self._root_uuid, moved)
        return self.tree()

    def tree(self) -> Tree:
        """Give what is known now, without a request."""
        root = self._seen[self._root_uuid or '']
        return Tree(
            root, {p.name: p for p in self._seen.values() if p is not root}
        )

    def read_usage(self, providers: Iterable[ReportedProvider]) -> Tree:
        """Read how much is allocated, where that is not known yet.

        :param providers: some of the tree.
        :returns: the tree, with ``used`` set on those.
        """

        def read(provider: ReportedProvider) -> ReportedProvider:
            used = self._client.usages(provider.uuid)
            return dataclasses.replace(provider, used=used)

        unknown = [p for p in providers if p.used is None]
        for provider in parallel.each(read, unknown, self._readers):
            self.remember(provider)
        return self.tree()

    def remember(self, provider: ReportedProvider) -> None:
        """Take note of a provider as a write left it."""
        self._seen[provider.uuid] = provider

    def confirm(self, written: Sequence[ReportedProvider]) -> None:
        """Take note of writes whose answer did not tell the generation.

        One request lists the generations; a provider that has not the one
        expected was written by somebody else too, and is read again later.

        :param written: as they are if nothing else was written.
        """
        try:
            listed = self._list(self.tree().root.uuid)
        except exception.PlacementError:
            listed = {}  # What was written stands; it is read again later.
        for provider in written:
            now = listed.get(provider.uuid)
            if now and now.generation == provider.generation:
                self.remember(provider)
            else:
                self.forget(provider)

    def forget(self, provider: ReportedProvider) -> None:
        """Take note that a provider is gone, or no longer known."""
        self._seen.pop(provider.uuid, None)

    def _list(self, root_uuid: str) -> dict[str, ReportedProvider]:
        return {
            p.uuid: p
            for p in self._client.tree(root_uuid)
            if p.uuid == root_uuid
            or (
                p.parent_uuid == root_uuid
                and report.may_be_gpu(p.name, self._node)
            )
        }

    def _read(self, root_uuid: str, moved: Sequence[ReportedProvider]) -> None:
        summaries: dict[str, tuple[frozenset[str], dict[str, Capacity]]] = {}
        if len(moved) >= _BULK:
            for name in _LIKELY_CLASSES:
                summaries = self._client.summaries(root_uuid, name)
                if summaries:
                    break

        def read(provider: ReportedProvider) -> ReportedProvider:
            uuid = provider.uuid
            traits: frozenset[str] = frozenset()
            used: dict[str, int] | None = None
            if uuid in summaries:
                traits, capacities = summaries[uuid]
                used = {name: has.used for name, has in capacities.items()}
            elif uuid != root_uuid:
                traits = self._client.traits(uuid)
            return dataclasses.replace(
                provider,
                inventories=self._client.inventories(uuid),
                traits=traits,
                used=used,
            )

        for provider in parallel.each(read, moved, self._readers):
            self.remember(provider)


def _still_true(seen: ReportedProvider) -> ReportedProvider:
    """Drop what may have changed although the generation has not.

    Placement moves it when something is allocated, but not when a consumer
    goes.
    """
    if seen.used is None or not any(seen.used.values()):
        return seen
    return dataclasses.replace(seen, used=None)
