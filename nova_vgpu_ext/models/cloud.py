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
"""What a cloud has: hosts with GPUs, servers, flavors, allocations."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping


@dataclasses.dataclass(frozen=True)
class Capacity:
    """How much of one resource class a provider has and has given away."""

    #: What can be allocated: (total - reserved) * allocation ratio.
    total: int
    used: int

    @property
    def free(self) -> int:
        """How much more can be allocated; 0 where too much is."""
        return max(0, self.total - self.used)


@dataclasses.dataclass(frozen=True)
class CloudGpu:
    """The provider of a GPU, of a VF, or of a card with vendor VFIO."""

    uuid: str
    name: str
    generation: int
    #: The compute node's name and its provider's UUID.
    host: str
    host_uuid: str
    #: As the kernel writes it, or the name of a virtual parent.
    address: str
    #: Whether Nova's PCI tracking reports it (vendor-specific VFIO).
    is_pci: bool = False
    #: Everything it offers, by resource class.
    capacities: Mapping[str, Capacity] = dataclasses.field(
        default_factory=dict
    )
    traits: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True)
class CloudHost:
    """A compute node that has GPUs."""

    uuid: str
    name: str
    gpus: tuple[CloudGpu, ...]
    #: The compute node's own resources, by class.
    capacities: Mapping[str, Capacity] = dataclasses.field(
        default_factory=dict
    )
    #: The compute node's own traits.
    traits: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True)
class Consumer:
    """All that one server, or one migration, has allocated."""

    uuid: str
    generation: int | None
    project_id: str
    user_id: str
    #: By the provider's UUID: the amount of each class.
    resources: Mapping[str, Mapping[str, int]]

    def of_class(self, names: frozenset[str]) -> Iterator[tuple[str, int]]:
        """Give provider and amount of what is allocated of some classes."""
        for provider, amounts in self.resources.items():
            for name, amount in amounts.items():
                if name in names:
                    yield provider, amount


@dataclasses.dataclass(frozen=True)
class Flavor:
    """A flavor, as Nova has it."""

    id: str
    name: str
    vcpus: int
    #: In MiB.
    ram: int
    #: In GiB.
    disk: int
    is_public: bool = True
    #: In GiB.
    ephemeral: int = 0
    #: In MiB.
    swap: int = 0
    extra_specs: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Server:
    """A server, as an administrator sees it."""

    uuid: str
    name: str
    project_id: str
    #: ``ACTIVE``, ``SHELVED_OFFLOADED`` and so on.
    status: str
    #: What is being done with it, None if nothing is.
    task_state: str | None
    #: The compute node that it is on, None without one.
    node: str | None
    #: The name of the flavor that it was made or resized with.
    flavor: str
    #: That flavor's extra specs when it was used.
    extra_specs: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class ComputeNode:
    """A compute node, as Nova's API lists it."""

    #: Also that of its provider.
    uuid: str
    name: str
    #: The compute service's, by which servers are asked for.
    host: str


@dataclasses.dataclass(frozen=True)
class Migration:
    """A move of a server; Placement knows its UUID as a consumer."""

    uuid: str
    server_uuid: str
    #: ``migration``, ``resize``, ``live-migration``, ``evacuation``.
    kind: str
    status: str
    source_node: str | None
    target_node: str | None
