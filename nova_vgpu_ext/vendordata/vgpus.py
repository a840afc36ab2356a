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
"""Which vGPUs a guest has, by its flavor. Pure."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping

from nova_vgpu_ext.models import VgpuType
from nova_vgpu_ext.plan import gpus
from nova_vgpu_ext.plan.flavors import request


def find(
    extra_specs: Mapping[str, str], types: Mapping[str, str]
) -> Iterator[tuple[str, str | None]]:
    """Read the vGPUs that a flavor asks for.

    :param extra_specs: the copy of them that the guest keeps.
    :param types: the product of resource classes whose flavors do not say it.
    :returns: the name of each kind, and its series; None where the name has
        none.
    """
    for group in request.vgpu_groups(extra_specs, types.keys()):
        for name in group.resources:
            yield _named(group.required, name, types.get(name))


def _named(
    traits: frozenset[str], resource_class: str, otherwise: str | None
) -> tuple[str, str | None]:
    found = gpus.described(traits, [resource_class])
    product = found.product or _products().get(found.id or '')
    if product is None and found.series is None and found.id is None:
        product = otherwise
    series = VgpuType('', product).series if product else None
    return product or found.name or resource_class, series or found.series


@functools.cache
def _products() -> dict[str, str]:
    """Give the product of each type id that is known."""
    from nova_vgpu_ext.sim import profile

    return {t.id: t.product for t in profile.known_types() if t.product}
