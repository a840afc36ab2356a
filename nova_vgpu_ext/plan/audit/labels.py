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
"""Traits that are missing on a GPU, contradict others, or are misplaced.

The right set of a type is what nearly all GPUs with that type have. A GPU is
set right by ``--heal`` only where no other GPU contradicts that set, what the
GPU has left fits it alone, and another GPU of the same host has it whole: the
host then is configured to write it.
"""

from __future__ import annotations

import collections
from collections.abc import Collection, Iterator

from nova_vgpu_ext.models import CloudGpu, CloudHost, Severity
from nova_vgpu_ext.plan import gpus, traits
from nova_vgpu_ext.plan.audit import repairs
from nova_vgpu_ext.plan.audit.census import (
    Census,
    agreed,
    clear_choice,
    is_gone,
    one_type,
    own_traits,
    without,
)
from nova_vgpu_ext.plan.audit.findings import Finding, listed
from nova_vgpu_ext.plan.audit.view import HostView


def check(view: HostView, census: Census) -> Iterator[Finding]:
    """Compare the traits of GPUs, and look at the compute node's own."""
    yield from _host(view.host)
    for gpu in view.host.gpus:
        if gpu.is_pci or is_gone(gpu) or gpus.resource_class(gpu) is None:
            continue
        yield from _gpu(view.host, gpu, census)


def _host(host: CloudHost) -> Iterator[Finding]:
    ours = frozenset(t for t in host.traits if t.startswith(traits.PREFIX))
    if ours:
        yield Finding(
            'host-traits',
            Severity.WARNING,
            host.name,
            host.uuid,
            f"{listed(sorted(ours))} on the compute node's own provider, "
            'where they fit every GPU',
            'remove them with openstack resource provider trait set '
            f'{host.uuid}, naming the others',
            repairs.SetTraits(host.uuid, host.name, host.traits, remove=ours),
        )


def _gpu(host: CloudHost, gpu: CloudGpu, census: Census) -> Iterator[Finding]:
    ids = gpus.type_ids(gpu.traits)
    if len(ids) > 1:
        check, severity = 'stale-traits', Severity.ERROR
        found = f'traits of several types: {listed(ids)}'
        right = _meant(gpu, census)
    elif not ids:
        if not _needs_type(host, gpu, census):
            return
        check, severity = 'missing-traits', Severity.WARNING
        found = 'no trait of a type, so that flavors which name one miss it'
        right = _meant(gpu, census)
    else:
        ours = own_traits(gpu)
        others = without(census.trait_sets.get(ids[0], {}), ours)
        usual = clear_choice(others)
        if usual is None or usual == ours:
            return
        check, severity = _direction(usual - ours, ours - usual)
        found = _difference(ids[0], usual - ours, ours - usual)
        right = _meant(gpu, census)
    yield Finding(
        check,
        severity,
        gpu.host,
        gpu.address,
        found,
        f'nova-vgpu report on {gpu.host}',
        _repair(host, gpu, right),
    )


def _direction(
    missing: frozenset[str], extra: frozenset[str]
) -> tuple[str, Severity]:
    if extra:
        return 'stale-traits', Severity.ERROR
    return 'missing-traits', Severity.WARNING


def _difference(
    type_id: str, missing: frozenset[str], extra: frozenset[str]
) -> str:
    parts = []
    if missing:
        parts.append(f'lacks {listed(sorted(missing))}')
    if extra:
        parts.append(f'has {listed(sorted(extra))}')
    return f'{" and ".join(parts)}, unlike other GPUs with {type_id}'


def _needs_type(host: CloudHost, gpu: CloudGpu, census: Census) -> bool:
    """Tell whether a GPU without a type's trait should have one.

    A class of its own tells what a GPU offers as well.
    """
    if gpus.resource_class(gpu) == gpus.VGPU:
        return bool(census.trait_sets)
    return any(gpus.type_ids(other.traits) for other in host.gpus)


def _meant(gpu: CloudGpu, census: Census) -> frozenset[str] | None:
    """Give the one right set that what a GPU says fits.

    It fits a set if for each kind of trait that the GPU has, the set's is
    among them; the type, or the product, must be.
    """
    ours = own_traits(gpu)
    said = _kinds(ours)
    fitting = []
    for type_id, counted in census.trait_sets.items():
        right = agreed(
            without(counted, ours) if one_type(gpu) == type_id else counted
        )
        if right is not None and _fits(said, _kinds(right)):
            fitting.append(right)
    return fitting[0] if len(fitting) == 1 else None


def _fits(
    said: dict[str, frozenset[str]], right: dict[str, frozenset[str]]
) -> bool:
    return bool({'type', 'product'} & said.keys() & right.keys()) and all(
        right[kind] <= said[kind] for kind in said.keys() & right.keys()
    )


def _kinds(names: Collection[str]) -> dict[str, frozenset[str]]:
    """Sort traits by what they tell."""
    found: dict[str, set[str]] = collections.defaultdict(set)
    for name in names:
        if not name.startswith(traits.PREFIX):
            found['type'].add(name)
        elif name.startswith(f'{traits.PREFIX}SERIES_'):
            found['series'].add(name)
        elif name.startswith(f'{traits.PREFIX}FB_'):
            found['frame_buffer'].add(name)
        else:
            found['product'].add(name)
    return {kind: frozenset(of_kind) for kind, of_kind in found.items()}


def _repair(
    host: CloudHost, gpu: CloudGpu, right: frozenset[str] | None
) -> repairs.SetTraits | None:
    if right is None or not any(
        own_traits(other) == right for other in host.gpus
    ):
        return None
    ours = own_traits(gpu)
    return repairs.SetTraits(
        gpu.uuid,
        gpu.name,
        gpu.traits,
        add=right - ours,
        remove=ours - right,
    )
