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
"""Reading the GPUs of a whole cloud, host by host."""

from __future__ import annotations

import collections
import contextlib
import threading
from collections.abc import Iterable, Iterator

from nova_vgpu_ext import exception
from nova_vgpu_ext.models import (
    Capacity,
    CloudGpu,
    CloudHost,
    ReportedProvider,
)
from nova_vgpu_ext.placement import parallel
from nova_vgpu_ext.placement.client import PlacementClient
from nova_vgpu_ext.plan import gpus

#: Classes of which a host is likely to have a free unit, so that Placement
#: describes its whole tree as an allocation candidate.
_LIKELY_CLASSES = ('MEMORY_MB', 'VGPU', 'VCPU', 'DISK_GB')

_Contents = tuple[frozenset[str], dict[str, Capacity]]


class CloudReader:
    """Reads hosts with GPUs, several at a time.

    :param client: the way to Placement.
    :param readers: how many hosts or GPUs are read at once, over all calls.
    """

    def __init__(self, client: PlacementClient, readers: int) -> None:
        self._client = client
        self._readers = readers
        self._slots = threading.BoundedSemaphore(readers)

    def trees(self, host: str | None = None) -> list[list[ReportedProvider]]:
        """List the trees that have GPUs; one request, two for one host.

        :param host: the name of the only compute node to look at.
        :returns: for each compute node its own provider, and those of its
            children that have the name of a GPU.
        :raises NodeNotFound: Placement does not know the host.
        """
        providers = (
            self._client.tree(self._root(host))
            if host is not None
            else self._client.providers()
        )
        by_parent: dict[str, list[ReportedProvider]] = collections.defaultdict(
            list
        )
        for provider in providers:
            if provider.parent_uuid is not None:
                by_parent[provider.parent_uuid].append(provider)
        trees = []
        for root in providers:
            children = [
                child
                for child in by_parent.get(root.uuid, ())
                if gpus.may_be_gpu(root.name, child.name)
            ]
            if root.parent_uuid is None and children:
                trees.append([root, *sorted(children, key=_name)])
        return sorted(trees, key=lambda tree: tree[0].name)

    def hosts(
        self, trees: Iterable[list[ReportedProvider]]
    ) -> Iterator[CloudHost]:
        """Read what the hosts offer, in their order.

        A host costs one request; where nothing at all is free on it, four
        and three more for each of its providers.

        :param trees: as of :meth:`trees`.
        :returns: each host; without a GPU where all were deleted meanwhile.
        """
        return parallel.each(self._read, trees, self._readers)

    def allocations(
        self, read: Iterable[CloudGpu]
    ) -> Iterator[tuple[CloudGpu, dict[str, dict[str, int]]]]:
        """Read who uses GPUs; one request for each that is used.

        :param read: GPUs, of which those without usage are left out.
        :returns: the GPU, and by the consumer's UUID the amount of each
            class.
        """
        used = (g for g in read if any(c.used for c in g.capacities.values()))
        return parallel.each(self._consumers, used, self._readers)

    def _root(self, host: str) -> str:
        try:
            return self._client.find_root(host)
        except exception.NodeNotFound as exc:
            raise exception.NodeNotFound(
                exc.url,
                exc.found,
                'give the name that openstack hypervisor list shows',
            ) from exc

    def _consumers(
        self, gpu: CloudGpu
    ) -> tuple[CloudGpu, dict[str, dict[str, int]]]:
        try:
            with self._slots:
                return gpu, self._client.allocations(gpu.uuid)
        except exception.ProviderGone:
            return gpu, {}

    def _read(self, tree: list[ReportedProvider]) -> CloudHost:
        root, *children = tree
        with self._slots:
            contents = self._contents(tree)
        found = (
            gpus.recognise(root.name, root.uuid, child, *contents[child.uuid])
            for child in children
            if child.uuid in contents
        )
        traits, capacities = contents.get(root.uuid, (frozenset(), {}))
        return CloudHost(
            uuid=root.uuid,
            name=root.name,
            gpus=tuple(gpu for gpu in found if gpu is not None),
            capacities=capacities,
            traits=traits,
        )

    def _contents(self, tree: list[ReportedProvider]) -> dict[str, _Contents]:
        for name in _LIKELY_CLASSES:
            found = self._client.summaries(tree[0].uuid, name)
            if found:
                return found
        contents = {}
        for provider in tree:
            with contextlib.suppress(exception.ProviderGone):
                contents[provider.uuid] = self._one(provider.uuid)
        return contents

    def _one(self, uuid: str) -> _Contents:
        used = self._client.usages(uuid)
        capacities = {
            name: Capacity(
                int((r.total - r.reserved) * r.allocation_ratio),
                used.get(name, 0),
            )
            for name, r in self._client.inventories(uuid).items()
        }
        return self._client.traits(uuid), capacities


def _name(provider: ReportedProvider) -> str:
    return provider.name
