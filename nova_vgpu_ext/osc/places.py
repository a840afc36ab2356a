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
"""What the cloud offers flavors, and where it has room for them."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping

from nova_vgpu_ext import exception
from nova_vgpu_ext.models import (
    CloudGpu,
    CloudHost,
    Finding,
    Flavor,
    ReportedProvider,
    Severity,
)
from nova_vgpu_ext.osc import progress
from nova_vgpu_ext.osc.cloud import Cloud
from nova_vgpu_ext.placement import candidates
from nova_vgpu_ext.plan.flavors import check, offers, request, room
from nova_vgpu_ext.plan.flavors.offers import Offer
from nova_vgpu_ext.plan.flavors.room import Shape

#: How many of the hosts with a type are read to know its class: one round
#: of requests.
_SAMPLE = 8
#: How many candidates Placement may give; nova-scheduler's own limit
#: (``[scheduler] max_placement_results``).
_LIMIT = 1000
#: How many hosts a line names.
_SHOWN = 10


@dataclasses.dataclass(frozen=True)
class Room:
    """Where a flavor has room now, as Placement says."""

    #: The compute nodes, in order.
    hosts: tuple[str, ...]
    #: Whether these are all.
    is_all: bool


class Places:
    """The hosts of a cloud, seen from a flavor.

    :param cloud: nothing of it is read before it is needed.
    """

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._sampled: dict[str, CloudHost] = {}

    @functools.cached_property
    def _trees(self) -> list[list[ReportedProvider]]:
        return self._cloud.gpus.trees()

    @functools.cached_property
    def _all(self) -> tuple[list[Offer], frozenset[Shape]]:
        shapes = set()
        kinds: dict[object, CloudGpu] = {}
        for host in self._read(self._trees):
            shapes.add(room.shape(host))
            for gpu in host.gpus:
                kinds[frozenset(gpu.capacities), gpu.traits] = gpu
        return offers.offers(kinds.values()), frozenset(shapes)

    @property
    def offers(self) -> list[Offer]:
        """What is offered; this reads every host with GPUs."""
        return self._all[0]

    @property
    def shapes(self) -> frozenset[Shape]:
        """What hosts look like; this reads every host with GPUs."""
        return self._all[1]

    @property
    def classes(self) -> frozenset[str]:
        """The classes of vGPUs; this reads every host with GPUs."""
        return room.classes(self.shapes)

    def find(self, text: str) -> Offer:
        """Find a kind of vGPU by what a user calls it.

        A few hosts that have it are enough; every host with GPUs is read
        only where it is not found, or where all of a class is in use.

        :param text: a type, a product or a resource class.
        :raises NotFound: no host offers it.
        :raises Refused: the name stands for several classes.
        """
        for having in self._having(text):
            names = (
                tree[0].name
                for tree in self._trees
                if any(p.uuid in having for p in tree)
            )
            gpus = [gpu for host in self._sample(names) for gpu in host.gpus]
            try:
                return offers.find(text, offers.offers(gpus))
            except exception.NotFound:
                continue
        return offers.find(text, self.offers)

    def _having(self, text: str) -> Iterator[Collection[str]]:
        """Give the providers that may offer a type, one way after another."""
        client = self._cloud.placement
        for trait in offers.traits_of(text):
            if trait in client.known_traits(trait):
                yield {p.uuid for p in client.providers(trait)}
        for name in offers.classes_of(text):
            if name in client.known_classes():
                yield set(client.providers_with_free(name))

    def classes_in(self, extra_specs: Mapping[str, str]) -> frozenset[str]:
        """Tell which classes in extra specs are vGPUs by the cloud alone."""
        unnamed = any(
            name.startswith('CUSTOM_') and not request.is_vgpu_class(name)
            for group in request.read(extra_specs).groups
            for name in group.resources
        )
        return self.classes if unnamed else frozenset()

    def now(self, flavor: Flavor) -> Room:
        """Ask Placement where a server of a flavor could go now."""
        query = candidates.query(request.asked(flavor), _LIMIT)
        try:
            found = self._cloud.placement.candidates(query)
        except exception.QueryRefused:
            found = []
        names = {p.uuid: tree[0].name for tree in self._trees for p in tree}
        hosts = {names[uuid] for c in found for uuid in c if uuid in names}
        return Room(tuple(sorted(hosts)), len(found) < _LIMIT)

    def guests(self, flavor: Flavor, found: Room) -> dict[str, int]:
        """Count the servers of a flavor that hosts have room for now.

        :param found: as of :meth:`now`; what it names has room for one.
        :returns: by host.
        """
        trees = [
            tree
            for tree in self._trees
            if not found.is_all or tree[0].name in found.hosts
        ]
        free = {
            host.name: room.shape(host, free=True)
            for host in self._read(trees)
            if candidates.is_enabled(host.traits)
        }
        classes = room.classes(free.values())
        wanted = request.asked(flavor)
        counted = {
            name: room.guests(shape, wanted, classes)
            for name, shape in free.items()
        }
        sure = {name: max(1, counted.get(name, 1)) for name in found.hosts}
        return {n: k for n, k in sorted((counted | sure).items()) if k}

    def problems(self, flavor: Flavor, found: Room) -> list[Finding]:
        """Find what is wrong with a flavor.

        Every host with GPUs is read only where none has room.

        :param found: as of :meth:`now`.
        """
        if not found.hosts:
            return check.check(flavor, self.shapes)
        shapes = {room.shape(host) for host in self._sample(found.hosts)}
        return check.check(flavor, shapes)

    def verdict(self, flavor: Flavor) -> Iterator[str]:
        """Tell where a flavor has room now, and what is wrong with it."""
        found = self.now(flavor)
        problems = self.problems(flavor, found)
        if found.hosts:
            yield f'{flavor.name} has room now on {_named(found)}'
        elif all(p.severity is Severity.WARNING for p in problems):
            yield (
                f'warning: {flavor.name} has room on no host now; it would '
                'have with less in use, or with a disabled host enabled'
            )
        for problem in problems:
            yield (
                f'warning: {flavor.name}: {problem.option}: found '
                f'{problem.found}, expected {problem.expected}; '
                f'{problem.remedy}'
            )

    def _sample(self, names: Iterable[str]) -> list[CloudHost]:
        """Read a few hosts, each once."""
        few = list(itertools.islice(names, _SAMPLE))
        trees = {tree[0].name: tree for tree in self._trees}
        new = [trees[n] for n in few if n in trees and n not in self._sampled]
        self._sampled |= {host.name: host for host in self._read(new)}
        return [self._sampled[name] for name in few if name in self._sampled]

    def _read(
        self, trees: list[list[ReportedProvider]]
    ) -> Iterable[CloudHost]:
        hosts = self._cloud.gpus.hosts(trees)
        return progress.track(hosts, len(trees), 'hosts')


def _named(found: Room) -> str:
    named = ', '.join(found.hosts[:_SHOWN])
    more = len(found.hosts) - _SHOWN
    if more > 0:
        named += f' and {more} more'
    return named if found.is_all else f'{named}, and maybe others'
