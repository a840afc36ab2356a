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
"""Providers of Placement: as they shall be, and as they are."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class InventoryRecord:
    """One inventory as Placement stores it; the defaults are Nova's."""

    total: int
    max_unit: int
    min_unit: int = 1
    step_size: int = 1
    reserved: int = 0
    allocation_ratio: float = 1.0


@dataclasses.dataclass(frozen=True)
class DesiredProvider:
    """What the provider of one GPU or VF shall look like."""

    name: str
    resource_class: str
    inventory: InventoryRecord
    traits: frozenset[str]
    #: Traits that this project owns on this provider beside its prefix.
    owned_traits: frozenset[str]


@dataclasses.dataclass(frozen=True)
class ReportedProvider:
    """A provider as Placement has it.

    ``used`` is by resource class, None where nobody has asked yet.
    """

    uuid: str
    name: str
    generation: int
    parent_uuid: str | None
    inventories: dict[str, InventoryRecord] = dataclasses.field(
        default_factory=dict
    )
    traits: frozenset[str] = frozenset()
    used: dict[str, int] | None = None
