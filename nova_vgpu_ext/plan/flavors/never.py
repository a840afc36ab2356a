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
"""Why a flavor can never be scheduled."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from nova_vgpu_ext.models import Finding, Flavor, Severity
from nova_vgpu_ext.plan import gpus, traits
from nova_vgpu_ext.plan.flavors import request, room
from nova_vgpu_ext.plan.flavors.request import Group, Request
from nova_vgpu_ext.plan.flavors.room import Device, Kind, Shape

_UNITS = {'MEMORY_MB': 'MiB of memory', 'DISK_GB': 'GiB of disk'}


def reasons(
    flavor: Flavor, shapes: Collection[Shape], vgpus: Collection[str] = ()
) -> list[Finding]:
    """Find why no host would have room, were all of them empty.

    :param flavor: of which Placement would not refuse the request as such:
        see :func:`refused`.
    :param shapes: of the hosts that have GPUs.
    :param vgpus: classes of vGPUs beside those of the hosts.
    :returns: nothing if one host has room.
    """
    wanted = request.asked(flavor)
    vgpus = {*vgpus, *room.classes(shapes)}
    if any(room.guests(shape, wanted, vgpus) for shape in shapes):
        return []
    found = list(_Reasons(wanted, shapes, vgpus).each())
    return found or [
        _never(
            flavor.name,
            'no host that has all of it together',
            'a host with the GPUs and with room for the rest',
            'ask for less, or for another type',
        )
    ]


def refused(wanted: Request) -> Iterator[Finding]:
    """Find why Placement would refuse the request as such.

    Source: ``placement/lib.py`` and
    ``placement/handlers/allocation_candidate.py`` (Placement 16).
    """
    if len(wanted.numbered) > 1 and wanted.policy is None:
        yield _never(
            request.GROUP_POLICY,
            f'no policy for {len(wanted.numbered)} groups with numbers, '
            'which Placement refuses',
            'isolate, or none for GPUs with SR-IOV',
            'set it to isolate',
        )
    for group in wanted.groups:
        for trait in sorted(group.required & group.forbidden):
            yield _never(
                f'trait{group.suffix}:{trait}',
                'required and forbidden, which Placement refuses',
                'one of them',
                'unset one of them',
            )
        if group.suffix and not group.resources:
            yield _without_resources(group)


def _without_resources(group: Group) -> Finding:
    trait = min(group.required | group.forbidden)
    resources = f'resources{group.suffix}:{gpus.VGPU}'
    # To Nova, "traits" is a trait of the group "s".
    expected = f'trait:{trait}' if group.suffix == 's' else f'{resources}=1'
    return _never(
        _trait_key(group, trait),
        f'a trait of the group {group.suffix} without resources, which '
        'Placement refuses',
        f'{expected}, or neither',
        'unset it, or set the expected key',
    )


class _Reasons:
    """Looks for reasons in the parts of a request, one by one.

    :param wanted: what no host has room for.
    """

    def __init__(
        self,
        wanted: Request,
        shapes: Collection[Shape],
        vgpus: Collection[str],
    ) -> None:
        self._wanted = wanted
        self._shapes = shapes
        self._vgpus = vgpus
        self._devices = {d for s in shapes for d, _ in s.devices}
        self._host_traits = frozenset[str]().union(*(s.traits for s in shapes))

    def each(self) -> Iterator[Finding]:
        """Give the reasons."""
        for kind in room.kinds(self._wanted, self._vgpus):
            yield from self._of_gpus(kind.group) or self._together(kind)
        for group in self._wanted.groups:
            if not group.suffix and group.alias is None:
                yield from self._without_number(group)

    def _without_number(self, group: Group) -> Iterator[Finding]:
        parts = room.of_single(
            Shape(frozenset(), self._host_traits, frozenset()),
            group,
            self._vgpus,
        )
        for part in parts.values():
            yield from self._of_gpus(part)
        if not parts:
            yield from self._of_host(group)
        yield from self._on_every_host(group)
        yield from self._sizes(group)

    def _of_gpus(self, group: Group) -> list[Finding]:
        """Find what no single GPU gives."""
        name, wanted = next(
            (n, a)
            for n, a in sorted(group.resources.items())
            if request.is_vgpu_class(n, self._vgpus)
        )
        offering = [d for d in self._devices if d.amount(name)]
        if not offering:
            return [self._no_class(group, name)]
        found = list(_traits(group, offering))
        if found:
            return found
        fitting = [
            d
            for d in offering
            if group.required <= d.traits and not group.forbidden & d.traits
        ]
        if not fitting:
            return [
                _never(
                    _key(group, name),
                    'no GPU that has all the traits that it asks for',
                    'traits that one GPU has',
                    'unset a trait; openstack vgpu gpu list shows those of '
                    'each GPU',
                )
            ]
        most = max(d.amount(name) for d in fitting)
        if most < wanted:
            return [_too_many(group, name, wanted, most)]
        return []

    def _no_class(self, group: Group, name: str) -> Finding:
        key = _key(group, name)
        if self._lost_class(group, name):
            return _never(
                key,
                f'no GPU that offers {name}; such GPUs offer VGPU',
                'device_addresses beside mdev_class in nova.conf',
                'Nova applies mdev_class only to a type with '
                'device_addresses, and else starts guests without a GPU: add '
                'them there, and restart nova-compute',
            )
        return _never(
            key,
            f'no GPU that offers {name}',
            'a class that openstack vgpu type list shows',
            'ask for such a class, or let hosts report this one',
        )

    def _lost_class(self, group: Group, name: str) -> bool:
        """Tell whether GPUs that were to have a class have VGPU.

        What ``mdev_class`` was meant for is known from the trait beside it,
        or from the product that the class is named for.
        """
        if name == gpus.VGPU:
            return False
        product = gpus.product_of(name)
        traits_of_it = set(filter(gpus.is_type_trait, group.required))
        if product and not traits_of_it:
            traits_of_it = {traits.product_trait(product)}
        return any(
            d.resource_class == gpus.VGPU and traits_of_it <= d.traits
            for d in self._devices
        )

    def _together(self, kind: Kind) -> list[Finding]:
        """Find that no host gives all groups of a kind at once."""
        isolated = self._wanted.policy == 'isolate'
        most = max(
            (_most(shape, kind, isolated) for shape in self._shapes),
            default=0,
        )
        if most >= kind.number:
            return []
        name = min(kind.group.resources)
        what = 'GPUs' if isolated else 'vGPUs'
        return [
            _never(
                _key(kind.group, name),
                f'{kind.number} vGPUs'
                + (' of different GPUs' if isolated else ''),
                f'at most {most}: no host has more such {what}',
                'ask for fewer',
            )
        ]

    def _of_host(self, group: Group) -> Iterator[Finding]:
        """Find traits that a host lacks where no vGPU is beside them."""
        numbers = [g.suffix for g in self._wanted.numbered]
        for trait in sorted(group.required - self._host_traits):
            key = _trait_key(group, trait)
            if not gpus.is_type_trait(trait):
                yield _never(
                    key,
                    'required, but no host with GPUs has it',
                    'a trait of such a host',
                    'unset it',
                )
            elif numbers:
                yield _never(
                    key,
                    'a trait of GPUs beside no vGPU',
                    f'trait{numbers[0]}:{trait}',
                    'give each group with a number its own trait',
                )
            else:
                yield _never(
                    key,
                    'a trait of GPUs beside no vGPU',
                    f'resources:{gpus.VGPU}=1 beside it',
                    f'set resources:{gpus.VGPU}=1',
                )

    def _on_every_host(self, group: Group) -> Iterator[Finding]:
        for trait in sorted(group.forbidden):
            if all(trait in shape.traits for shape in self._shapes):
                yield _never(
                    _trait_key(group, trait),
                    'forbidden, but every host with GPUs has it',
                    'a trait that some of them do not have',
                    'unset it',
                )

    def _sizes(self, group: Group) -> Iterator[Finding]:
        """Find what no host has as much of."""
        for name, wanted in sorted(group.resources.items()):
            amounts = [
                dict(shape.amounts)[name]
                for shape in self._shapes
                if name in dict(shape.amounts)
            ]
            if amounts and max(amounts) < wanted:
                unit = _UNITS.get(name, name)
                yield _never(
                    name,
                    f'{wanted} {unit}',
                    f'at most {max(amounts)}: no host with GPUs has more',
                    'ask for less',
                )


def _traits(group: Group, offering: Sequence[Device]) -> Iterator[Finding]:
    for trait in sorted(group.required):
        if not any(trait in d.traits for d in offering):
            yield _never(
                _trait_key(group, trait),
                'required, but no GPU has it that offers the class',
                'a trait that openstack vgpu gpu list shows',
                'ask for another type, or let hosts report their traits '
                '(nova-vgpu report)',
            )
    for trait in sorted(group.forbidden):
        if all(trait in d.traits for d in offering):
            yield _never(
                _trait_key(group, trait),
                'forbidden, but every GPU has it that offers the class',
                'a trait that some GPUs do not have',
                'unset it',
            )


def _too_many(group: Group, name: str, wanted: int, most: int) -> Finding:
    return _never(
        _key(group, name),
        f'{wanted} vGPUs of one GPU or VF',
        f'at most {most}: none offers more at once',
        'ask for one in each of several groups with numbers: openstack vgpu '
        'flavor set --count',
    )


def _most(shape: Shape, kind: Kind, isolated: bool) -> int:
    slots = [(d.slots(kind.group), n) for d, n in shape.devices]
    return sum(n * (min(each, 1) if isolated else each) for each, n in slots)


def _key(group: Group, name: str) -> str:
    if group.alias is not None:
        return request.ALIAS
    return f'resources{group.suffix}:{name}'


def _trait_key(group: Group, trait: str) -> str:
    return f'trait{group.suffix}:{trait}'


def _never(key: str, found: str, expected: str, remedy: str) -> Finding:
    return Finding(Severity.ERROR, key, found, expected, remedy)
