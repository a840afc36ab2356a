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
"""What Nova's request says, as plain data.

Nova's objects are RequestSpec and HostState of its scheduler, and the
allocation candidates that the latter carries: Placement's own, as of
``GET /allocation_candidates``.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from nova_vgpu_ext.plan import gpus
from nova_vgpu_ext.plan.flavors import request
from nova_vgpu_ext.plan.policy import Policy, Slot

LOG = logging.getLogger(__name__)

#: The extra spec that goes before ``[vgpu] gpu_policy``.
POLICY_KEY = f'{request.PARAMETER}gpu_policy'

Candidate = Mapping[str, Any]


def policy_of(spec: Any, default: Policy | None) -> Policy | None:
    """Tell which policy a request wants; None for none.

    :param spec: the RequestSpec.
    :param default: where the flavor does not say.
    """
    value = _extra_specs(spec).get(POLICY_KEY)
    if value is None:
        return default
    try:
        return Policy(value)
    except ValueError:
        LOG.warning(
            'flavor %r: found %s=%.60r, expected pack or spread; '
            'it counts as not set',
            spec.flavor.name,
            POLICY_KEY,
            value,
        )
        return default


def amounts(candidate: Candidate, classes: Collection[str]) -> dict[Slot, int]:
    """Tell what a candidate takes of GPUs.

    :param classes: more classes of vGPUs than are named so.
    """
    return {
        (provider, name): amount
        for provider, taken in candidate['allocations'].items()
        for name, amount in taken['resources'].items()
        if request.is_vgpu_class(name, classes)
    }


def wanted_class(hosts: Iterable[Any], classes: Collection[str]) -> str | None:
    """Name a class of vGPUs that a request wants; None if it wants none.

    All candidates of a request are for the same classes. There are none for
    a rebuild.

    :param hosts: HostStates.
    """
    for host in hosts:
        for candidate in host.allocation_candidates[:1]:
            names = {name for _, name in amounts(candidate, classes)}
            return min(names, default=None)
    return None


def type_traits(
    spec: Any, resource_class: str, classes: Collection[str]
) -> frozenset[str]:
    """Name the traits of a type that whoever gives a class must have."""
    for group in request.vgpu_groups(_extra_specs(spec), classes):
        if resource_class in group.resources:
            return frozenset(filter(gpus.is_type_trait, group.required))
    return frozenset()


def _extra_specs(spec: Any) -> dict[str, str]:
    flavor = spec.flavor
    if not flavor.obj_attr_is_set('extra_specs'):
        return {}
    return dict(flavor.extra_specs or {})
