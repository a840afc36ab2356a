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
"""What flavors ask for, as a person would say it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from nova_vgpu_ext.plan import gpus
from nova_vgpu_ext.plan.flavors import request, room
from nova_vgpu_ext.plan.flavors.request import Group
from nova_vgpu_ext.plan.flavors.room import Kind


def describe(
    extra_specs: Mapping[str, str], vgpus: Collection[str] = ()
) -> str:
    """Say what vGPUs a flavor asks for; empty if none.

    :param vgpus: the classes that are vGPUs, beside those named so.
    """
    groups = request.vgpu_groups(extra_specs, vgpus)
    wanted = request.Request(groups, request.read(extra_specs).policy)
    kinds = room.kinds(wanted, vgpus)
    kinds += [Kind(g) for g in groups if not g.suffix and g.alias is None]
    text = ', and '.join(part for kind in kinds for part in _kind(kind))
    separate = sum(kind.number for kind in kinds if _is_separate(kind.group))
    if wanted.policy == 'isolate' and separate > 1:
        text += ', each of another GPU'
    return text


def _is_separate(group: Group) -> bool:
    return bool(group.suffix) or group.alias is not None


def _kind(kind: Kind) -> Iterator[str]:
    group = kind.group
    for name, amount in sorted(group.resources.items()):
        number = kind.number * amount
        text = f'{number} vGPU{"s" if number > 1 else ""}'
        if amount > 1:
            text += ' of one GPU'
        if name != gpus.VGPU or not group.required:
            text += f' of the class {name}'
        required = sorted(group.required)
        types = gpus.type_ids(required)
        others = [t for t in required if not gpus.type_ids([t])]
        if types:
            text += f' of the type {" and ".join(types)}'
        if others:
            text += f' with {" and ".join(others)}'
        if group.forbidden:
            text += f' without {" and ".join(sorted(group.forbidden))}'
        if group.alias is not None:
            text += f' (PCI alias {group.alias})'
        yield text
