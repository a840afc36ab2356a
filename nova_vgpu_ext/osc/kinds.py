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
"""Which kinds of vGPU a guest has, or will have: by what the cloud knows."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

from nova_vgpu_ext import exception
from nova_vgpu_ext.models import Flavor, Server
from nova_vgpu_ext.osc import progress
from nova_vgpu_ext.osc.cloud import Cloud
from nova_vgpu_ext.osc.places import Places
from nova_vgpu_ext.plan import gpus
from nova_vgpu_ext.plan.flavors import request
from nova_vgpu_ext.plan.flavors.request import Group
from nova_vgpu_ext.plan.gpus import OfferedType

#: The name and the series letter of a vGPU.
_Vgpu = tuple[str, str | None]

_REPORT = 'run nova-vgpu report on the hosts that have it'


class Kinds:
    """Finds the product and series of vGPUs.

    :param cloud: nothing of it is read before it is needed.
    """

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def of_server(self, server: Server) -> list[_Vgpu]:
        """Tell what a server has, or else what it asks for.

        What it holds in Placement says most: a flavor may leave the type
        open. A server that holds nothing now, such as a shelved one, gets
        what its flavor asks for.

        :raises Refused: it asks for no vGPU, or the series is not known.
        """
        held = list(self._held(server.uuid))
        if held and all(kind.series for kind in held):
            return [(kind.product or kind.name, kind.series) for kind in held]
        return self._asked(f'server {server.name}', server.extra_specs)

    def of_flavor(self, flavor: Flavor) -> list[_Vgpu]:
        """Tell what servers of a flavor will have.

        :raises Refused: it asks for no vGPU, or the series is not known, or
            differs from host to host.
        """
        try:
            return self._asked(f'flavor {flavor.name}', flavor.extra_specs)
        except _Differs as error:
            name = shlex.quote(flavor.name)
            raise exception.Refused(
                [
                    *error.reasons,
                    'let it ask for one type: openstack vgpu flavor set '
                    f'{name} --type TYPE',
                ]
            ) from error

    def _held(self, uuid: str) -> Iterator[OfferedType]:
        """Read what the GPUs offer of which a server holds something."""
        placement = self._cloud.placement
        consumer = placement.consumer(uuid)
        for provider, amounts in (
            consumer.resources.items() if consumer else ()
        ):
            classes = [name for name in amounts if _may_be_vgpu(name)]
            traits = placement.traits(provider) if classes else frozenset()
            if any(map(gpus.is_vgpu_class, classes)) or any(
                map(gpus.is_type_trait, traits)
            ):
                yield gpus.described(traits, classes)

    def _asked(self, who: str, extra_specs: Mapping[str, str]) -> list[_Vgpu]:
        classes = Places(self._cloud).classes_in(extra_specs)
        groups = request.vgpu_groups(extra_specs, classes)
        if not groups:
            raise exception.Refused(
                [f'{who} asks for no vGPU; see openstack vgpu flavor show']
            )
        return [
            vgpu
            for group in groups
            for name in sorted(group.resources)
            for vgpu in self._one(who, group, name)
        ]

    def _one(self, who: str, group: Group, name: str) -> list[_Vgpu]:
        """Tell what one class of a group can be, all of one series."""
        said = gpus.described(group.required, [name])
        wanted = said.product or said.name or name
        if said.series is not None:
            return [(wanted, said.series)]
        found = {
            (kind.product or kind.name or wanted, kind.series)
            for kind in self._offered(group, name)
        }
        unknown = sorted(vgpu for vgpu, series in found if series is None)
        if unknown or not found:
            raise exception.Refused(
                [
                    f'{who}: no trait says of which product or series '
                    f'{vgpu} is; {_REPORT}, or give the product to '
                    'nova-vgpu guest config --type'
                    for vgpu in unknown
                ]
                or [
                    f'{who}: no host offers {wanted}, so its series is not '
                    'known; see openstack vgpu flavor check'
                ]
            )
        series = sorted({letter or '' for _, letter in found})
        if len(series) > 1:
            products = ', '.join(sorted(vgpu for vgpu, _ in found))
            raise _Differs(
                [
                    f'{who}: {wanted} can be any of {products}, which are '
                    f'of the series {" and ".join(series)}'
                ]
            )
        return sorted(found, key=str)

    def _offered(self, group: Group, name: str) -> Iterator[OfferedType]:
        """Read what the GPUs offer that could serve a group."""
        reader = self._cloud.gpus
        trees = reader.trees()
        hosts = progress.track(reader.hosts(trees), len(trees), 'hosts')
        for host in hosts:
            for gpu in host.gpus:
                if (
                    name in gpu.capacities
                    and group.required <= gpu.traits | host.traits
                    and not group.forbidden & gpu.traits
                ):
                    yield gpus.offered(gpu)


class _Differs(exception.Refused):
    """A flavor leaves open of which series its vGPU is."""


def _may_be_vgpu(name: str) -> bool:
    return name == gpus.VGPU or name.startswith('CUSTOM_')
