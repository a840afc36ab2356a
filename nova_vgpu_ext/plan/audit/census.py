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
"""What the GPUs of a cloud have in common, to tell those that differ."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Mapping
from typing import TypeVar

from nova_vgpu_ext.models import CloudGpu, CloudHost
from nova_vgpu_ext.plan import gpus, traits

#: What share of all must agree for the rest to be the odd ones.
_CLEAR = 0.75

_T = TypeVar('_T')


@dataclasses.dataclass(frozen=True)
class Census:
    """What GPUs offer and say, counted."""

    #: The classes of their vGPUs, and those of cards with vendor VFIO.
    classes: frozenset[str]
    pci_classes: frozenset[str]
    #: By type: how many GPUs have just these traits of ours.
    trait_sets: Mapping[str, Mapping[frozenset[str], int]]
    #: By type and class: how many GPUs can hold so many vGPUs.
    totals: Mapping[tuple[str, str], Mapping[int, int]]


def take(hosts: Iterable[CloudHost]) -> Census:
    """Count what GPUs offer and say.

    Those that are marked as gone offer nothing, and say nothing.
    """
    classes = set()
    pci_classes = set()
    trait_sets: dict[str, collections.Counter[frozenset[str]]] = (
        collections.defaultdict(collections.Counter)
    )
    totals: dict[tuple[str, str], collections.Counter[int]] = (
        collections.defaultdict(collections.Counter)
    )
    for gpu in (gpu for host in hosts for gpu in host.gpus):
        name = gpus.resource_class(gpu)
        if name is None:
            continue
        classes.add(name)
        if gpu.is_pci:
            pci_classes.add(name)
        type_id = one_type(gpu)
        if type_id is None or is_gone(gpu):
            continue
        trait_sets[type_id][own_traits(gpu)] += 1
        totals[type_id, name][gpu.capacities[name].total] += 1
    return Census(
        frozenset(classes),
        frozenset(pci_classes),
        dict(trait_sets),
        dict(totals),
    )


def is_gone(gpu: CloudGpu) -> bool:
    """Tell whether its host has said that it is gone or not configured."""
    return traits.GONE in gpu.traits


def own_traits(gpu: CloudGpu) -> frozenset[str]:
    """Give the traits that this project writes."""
    return frozenset(t for t in gpu.traits if gpus.is_type_trait(t))


def one_type(gpu: CloudGpu) -> str | None:
    """Give the type that a GPU's traits name, if it is one."""
    ids = gpus.type_ids(gpu.traits)
    return ids[0] if len(ids) == 1 else None


def clear_choice(counted: Mapping[_T, int]) -> _T | None:
    """Give what nearly all agree on; None where they do not."""
    whole = sum(counted.values())
    for value, count in counted.items():
        if count >= _CLEAR * whole:
            return value
    return None


def agreed(
    counted: Mapping[frozenset[str], int],
) -> frozenset[str] | None:
    """Give the traits that nearly all have and none contradicts."""
    choice = clear_choice(counted)
    if choice is None or not all(names <= choice for names in counted):
        return None
    return choice


def without(counted: Mapping[_T, int], value: _T) -> dict[_T, int]:
    """Leave one that has a value out of what was counted."""
    rest = dict(counted)
    if rest.get(value):
        rest[value] -= 1
    return {value: count for value, count in rest.items() if count}
