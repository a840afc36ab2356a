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
"""Finding flavors, and comparing one with what it shall be."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping

from nova_vgpu_ext import exception
from nova_vgpu_ext.models import Flavor
from nova_vgpu_ext.plan.flavors import check, specs
from nova_vgpu_ext.plan.flavors.specs import Wish


def by_name(flavors: Iterable[Flavor], name: str) -> Flavor | None:
    """Find a flavor by its name, which no two have."""
    return next((f for f in flavors if f.name == name), None)


def find(flavors: Iterable[Flavor], text: str) -> Flavor:
    """Find a flavor by its name, or else its ID.

    :raises NotFound: there is none; it names those that ask for vGPUs.
    """
    flavors = list(flavors)
    for flavor in (
        *(f for f in flavors if f.name == text),
        *(f for f in flavors if f.id == text),
    ):
        return flavor
    names = sorted(f.name for f in flavors if check.is_about_vgpus(f))
    raise exception.NotFound('flavor', text, names)


def require_same(
    known: Flavor, wanted: Flavor, wish: Wish, given: Mapping[str, str]
) -> None:
    """Raise unless a flavor that is there is what is wanted.

    :param given: the parameters.
    :raises Refused: it lists the differences.
    """
    fields = [
        (name, getattr(known, name), getattr(wanted, name))
        for name in ('vcpus', 'ram', 'disk', 'ephemeral', 'swap', 'is_public')
    ]
    shall = specs.replace(known.extra_specs, wish, [wish.resource_class])
    shall |= given
    keys = sorted({*known.extra_specs, *shall})
    fields += [(k, known.extra_specs.get(k), shall.get(k)) for k in keys]
    lines = [
        f'{name}: it has {_value(has)}, not {_value(wants)}'
        for name, has, wants in fields
        if has != wants
    ]
    if lines:
        quoted = shlex.quote(known.name)
        raise exception.Refused(
            [
                f'flavor {known.name} is there with other values:',
                *lines,
                'what vGPUs it asks for can be changed with openstack vgpu '
                f'flavor set {quoted}; its size cannot: take another name',
            ]
        )


def _value(value: object) -> str:
    return 'nothing' if value is None else str(value)
