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
"""Writing extra specs that ask for vGPUs, and nothing but them."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping

from nova_vgpu_ext.plan import gpus, pci
from nova_vgpu_ext.plan.flavors import request, spelling
from nova_vgpu_ext.plan.flavors.request import Group


@dataclasses.dataclass(frozen=True)
class Wish:
    """Some vGPUs that are all alike, for one guest."""

    resource_class: str
    count: int = 1
    #: Traits of the GPU that each comes from.
    required: frozenset[str] = frozenset()
    forbidden: frozenset[str] = frozenset()
    #: Whether each comes from another provider. False for a single one.
    isolate: bool = False
    #: The PCI alias that gives a virtual function; None for mdevs.
    alias: str | None = None


def write(wish: Wish, taken: Collection[str] = ()) -> dict[str, str]:
    """Write a wish as extra specs.

    One vGPU takes the plain form, several take a numbered group each, so
    that Placement may give them from different GPUs, or from different VFs,
    each of which has one.

    A class alone gives no PCI device: Nova attaches what
    ``pci_passthrough:alias`` asks for, and asks Placement for the alias's
    class itself. Source: ``nova/objects/request_spec.py``,
    ``generate_request_groups_from_pci_requests`` (Nova 34).

    :param taken: suffixes of groups that are there for something else.
    """
    specs: dict[str, str] = {}
    if wish.alias is not None:
        specs[request.ALIAS] = f'{wish.alias}:{wish.count}'
        if wish.isolate:
            specs[request.GROUP_POLICY] = 'isolate'
        return specs
    for suffix in _suffixes(wish.count, taken):
        specs[f'resources{suffix}:{wish.resource_class}'] = '1'
        for trait in sorted(wish.required):
            specs[f'trait{suffix}:{trait}'] = request.REQUIRED
        for trait in sorted(wish.forbidden):
            specs[f'trait{suffix}:{trait}'] = request.FORBIDDEN
    if wish.count > 1:
        specs[request.GROUP_POLICY] = 'isolate' if wish.isolate else 'none'
    return specs


def read(
    extra_specs: Mapping[str, str], classes: Collection[str] = ()
) -> Wish | None:
    """Read a wish from extra specs.

    Of the group without a number only traits of types belong to it; the
    others may be the host's.

    :param classes: as of :func:`request.vgpu_groups`.
    :returns: None where no vGPU is asked for, or vGPUs that differ.
    """
    groups = request.vgpu_groups(extra_specs, classes)
    kinds = {_kind(group) for group in groups}
    if len(kinds) != 1 or any(len(g.resources) > 1 for g in groups):
        return None
    name, required, forbidden, alias = kinds.pop()
    count = sum(g.resources[name] for g in groups)
    policy = request.read(extra_specs).policy
    return Wish(
        resource_class=name,
        count=count,
        required=required,
        forbidden=forbidden,
        isolate=count > 1 and policy == 'isolate',
        alias=alias,
    )


def _kind(
    group: Group,
) -> tuple[str, frozenset[str], frozenset[str], str | None]:
    required, forbidden = group.required, group.forbidden
    if not group.suffix:
        required = frozenset(filter(gpus.is_type_trait, required))
        forbidden = frozenset(filter(gpus.is_type_trait, forbidden))
    return next(iter(group.resources)), required, forbidden, group.alias


def replace(
    extra_specs: Mapping[str, str],
    wish: Wish,
    classes: Collection[str] = (),
) -> dict[str, str]:
    """Give a flavor's extra specs with another wish in them.

    What does not ask for vGPUs stays as it is.

    :param classes: as of :func:`request.vgpu_groups`.
    :returns: all extra specs as they shall be.
    """
    kept = without(extra_specs, classes)
    taken = {suffix for _, suffix, _ in filter(None, map(request.split, kept))}
    specs = kept | write(wish, taken)
    others = kept.get(request.ALIAS)
    if others and wish.alias is not None:
        specs[request.ALIAS] = f'{others},{wish.alias}:{wish.count}'
    return specs


def without(
    extra_specs: Mapping[str, str], classes: Collection[str] = ()
) -> dict[str, str]:
    """Leave out of extra specs all that asks for vGPUs, or was meant to.

    A policy stays while several groups with numbers are for something else.
    """
    misspelt = spelling.misspelt(extra_specs, classes)
    ours = _own_suffixes(extra_specs, classes)
    kept = {}
    for key, value in extra_specs.items():
        parts = request.split(key)
        if key in misspelt:
            continue
        if key == request.ALIAS:
            others = ','.join(_other_aliases(value, classes))
            if others:
                kept[key] = others
        elif not parts or not _asks(parts, ours, classes):
            kept[key] = value
    if len(request.read(kept).numbered) < 2:
        kept.pop(request.GROUP_POLICY, None)
    return kept


def _own_suffixes(
    extra_specs: Mapping[str, str], classes: Collection[str]
) -> set[str]:
    """Find the numbered groups of vGPUs and nothing else."""
    own: dict[str, bool] = {}
    for kind, suffix, name in filter(None, map(request.split, extra_specs)):
        if suffix and kind == 'resources':
            is_vgpu = request.is_vgpu_class(name, classes)
            own[suffix] = own.get(suffix, True) and is_vgpu
    return {suffix for suffix, is_own in own.items() if is_own}


def _asks(
    parts: tuple[str, str, str], own: set[str], classes: Collection[str]
) -> bool:
    kind, suffix, name = parts
    if suffix in own:
        return True
    if kind == 'resources':
        return request.is_vgpu_class(name, classes)
    return gpus.is_type_trait(name)


def _other_aliases(text: str, classes: Collection[str]) -> Iterator[str]:
    for item in text.split(','):
        name = item.partition(':')[0].strip()
        if not request.is_vgpu_class(pci.class_of(name), classes):
            yield item


def _suffixes(count: int, taken: Collection[str]) -> Iterator[str]:
    if count == 1:
        yield ''
        return
    number = 0
    for _ in range(count):
        number += 1
        while str(number) in taken:
            number += 1
        yield str(number)
