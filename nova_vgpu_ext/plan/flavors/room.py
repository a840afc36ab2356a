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
"""How many guests of a flavor a host has room for.

Hosts that are alike are one *shape* here, so that a cloud of any size is a
few of them.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping

from nova_vgpu_ext.models import Capacity, CloudGpu, CloudHost
from nova_vgpu_ext.plan import gpus
from nova_vgpu_ext.plan.flavors import request
from nova_vgpu_ext.plan.flavors.request import Group, Request

#: What a compute node itself always has.
_OF_HOSTS = frozenset({'VCPU', 'PCPU', 'MEMORY_MB'})


@dataclasses.dataclass(frozen=True)
class Device:
    """What GPUs that are alike offer, each."""

    amounts: frozenset[tuple[str, int]]
    traits: frozenset[str]
    #: That of its vGPUs; others can stand beside it.
    resource_class: str | None = None
    #: Whether Nova's PCI tracking reports it.
    is_pci: bool = False
    #: Whether it is hardware, which mtty is not.
    is_real: bool = True

    def amount(self, name: str) -> int:
        """Tell how much it has of a class."""
        return dict(self.amounts).get(name, 0)

    def slots(self, group: Group) -> int:
        """Tell how often it can serve a group."""
        if group.forbidden & self.traits or group.required - self.traits:
            return 0
        return min(
            self.amount(name) // wanted
            for name, wanted in group.resources.items()
        )


@dataclasses.dataclass(frozen=True)
class Shape:
    """What hosts that are alike offer, each."""

    amounts: frozenset[tuple[str, int]]
    traits: frozenset[str]
    #: Each with the number of them on a host.
    devices: frozenset[tuple[Device, int]]


@dataclasses.dataclass(frozen=True)
class Kind:
    """Groups that are alike and may each come from another provider."""

    group: Group
    number: int = 1


def shape(host: CloudHost, free: bool = False) -> Shape:
    """Tell the shape of a host.

    :param free: take what is free now instead of all.
    """
    devices = collections.Counter(_device(gpu, free) for gpu in host.gpus)
    return Shape(
        _amounts(host.capacities, free),
        host.traits,
        frozenset(devices.items()),
    )


def classes(shapes: Iterable[Shape]) -> frozenset[str]:
    """Name the classes of vGPUs that hosts offer."""
    return frozenset(
        device.resource_class
        for shape in shapes
        for device, _ in shape.devices
        if device.resource_class is not None
    )


def guests(shape: Shape, wanted: Request, vgpus: Collection[str]) -> int:
    """Count the guests that a host has room for.

    Exact where the groups are alike, or want different GPUs; else there may
    be room for fewer. What neither compute nodes nor GPUs offer is taken to
    be there.

    :param wanted: as of :func:`request.asked`.
    :param vgpus: the classes that are vGPUs, beside those named so.
    """
    rooms: list[int] = []
    for group in wanted.groups:
        if not group.suffix and group.alias is None:
            rooms += _single(shape, group, vgpus)
    for kind in kinds(wanted, vgpus):
        slots = [(d.slots(kind.group), n) for d, n in shape.devices]
        isolated = wanted.policy == 'isolate'
        rooms.append(_numbered(slots, kind.number, isolated))
    return min(rooms, default=1)


def kinds(wanted: Request, vgpus: Collection[str]) -> list[Kind]:
    """Put the groups of vGPUs together that are alike."""
    found: dict[object, Kind] = {}
    for group in wanted.groups:
        number = 1
        if group.alias is not None:
            ((name, number),) = group.resources.items()
            group = dataclasses.replace(group, resources={name: 1})
        elif not group.suffix:
            continue
        if any(request.is_vgpu_class(n, vgpus) for n in group.resources):
            key = (
                frozenset(group.resources.items()),
                group.required,
                group.forbidden,
            )
            known = found.get(key, Kind(group, 0))
            found[key] = Kind(known.group, known.number + number)
    return list(found.values())


def of_single(
    shape: Shape, group: Group, vgpus: Collection[str]
) -> dict[str, Group]:
    """Tell what the group without a number wants of GPUs.

    A trait may then be the host's as well as the GPU's.

    :returns: by class of vGPUs what one GPU must give.
    """
    names = [n for n in group.resources if request.is_vgpu_class(n, vgpus)]
    required = group.required - shape.traits if len(names) == 1 else ()
    return {
        name: dataclasses.replace(
            group,
            resources={name: group.resources[name]},
            required=frozenset(required),
        )
        for name in names
    }


def _single(
    shape: Shape, group: Group, vgpus: Collection[str]
) -> Iterator[int]:
    """Count guests by what they want without a number."""
    if group.forbidden & shape.traits:
        yield 0
    of_gpus = of_single(shape, group, vgpus)
    for part in of_gpus.values():
        yield sum(d.slots(part) * n for d, n in shape.devices)
    amounts = dict(shape.amounts)
    others = False
    for name, number in group.resources.items():
        if name in amounts or name in _OF_HOSTS:
            yield amounts.get(name, 0) // number
        others = others or name not in (*amounts, *of_gpus, *_OF_HOSTS)
    missing = group.required - shape.traits
    if not of_gpus and any(
        gpus.is_type_trait(t) or not others for t in missing
    ):
        yield 0


def _numbered(
    slots: list[tuple[int, int]], number: int, isolated: bool
) -> int:
    """Count guests that take some slots each.

    :param slots: of some devices that are alike, and how many they are.
    :param number: how many slots a guest takes.
    :param isolated: whether it takes them of different devices.
    """
    most = sum(each * devices for each, devices in slots) // number
    if not isolated:
        return most
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        usable = sum(min(each, middle) * count for each, count in slots)
        if usable >= number * middle:
            low = middle
        else:
            high = middle - 1
    return low


def _device(gpu: CloudGpu, free: bool) -> Device:
    return Device(
        _amounts(gpu.capacities, free),
        gpu.traits,
        gpus.resource_class(gpu),
        is_pci=gpu.is_pci,
        is_real=':' in gpu.address,
    )


def _amounts(
    capacities: Mapping[str, Capacity], free: bool
) -> frozenset[tuple[str, int]]:
    return frozenset(
        (name, has.free if free else has.total)
        for name, has in capacities.items()
    )
