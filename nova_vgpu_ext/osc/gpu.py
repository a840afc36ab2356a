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
"""``openstack vgpu gpu list`` and ``type list``: what the cloud offers."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from typing import Any

from nova_vgpu_ext import exception
from nova_vgpu_ext.cells import cells
from nova_vgpu_ext.models import CloudGpu, CloudHost
from nova_vgpu_ext.osc import base
from nova_vgpu_ext.plan import gpus, usage
from nova_vgpu_ext.plan.flavors import offers


class GpuList(base.Lister):
    """List the GPUs of the cloud, as Placement knows them.

    One row for each resource provider of a GPU, by host and address. With
    SR-IOV each virtual function is such a provider; a card with
    vendor-specific VFIO is one as a whole, and its total is the number of
    its functions. Sums are in "vgpu type list" and "vgpu usage show".

    provider is the UUID that "openstack resource provider" commands take.
    type and product are what the GPU offers, read from its traits or its
    resource class; they are empty where these do not say it, or name
    several types. total, used and free count vGPUs.

    Examples:

      openstack vgpu gpu list --type V100DX-1Q -c host -c free
      openstack vgpu gpu list --host gpu01.example.org -f json
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the choices."""
        parser = super().get_parser(prog_name)
        base.add_host(parser)
        parser.add_argument(
            '--type',
            metavar='<type>',
            help='only GPUs that offer this: a type (nvidia-194), a product '
            '(V100DX-1Q, L40S-12Q) or a resource class '
            '(CUSTOM_NVIDIA_L40S_12Q)',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Any:
        """Read host by host."""
        columns = (
            'provider',
            'host',
            'address',
            'type',
            'product',
            'total',
            'used',
            'free',
            'traits',
        )
        found = read_gpus(self, parsed_args, parsed_args.host)
        if parsed_args.type is not None:
            found = _of_type(found, parsed_args.type)
        return columns, map(_row, found)


class TypeList(base.Lister):
    """List the vGPU types that the cloud offers, with their sums.

    One row for each type and resource class. type, product, series (Q, B, A
    or C) and frame_buffer_mib are read from the GPUs' traits, which
    "nova-vgpu report" sets on each host; what traits do not say is empty.
    class is the resource class that a flavor asks for. gpus counts resource
    providers, so each virtual function of a GPU with SR-IOV. total, used and
    free count vGPUs.

    Example:

      openstack vgpu type list -c product -c free
    """

    def take_action(self, parsed_args: argparse.Namespace) -> Any:
        """Read all hosts."""
        columns = (
            'type',
            'product',
            'series',
            'frame_buffer_mib',
            'class',
            'gpus',
            'total',
            'used',
            'free',
        )
        rows = usage.by_kind(read_gpus(self, parsed_args))
        return columns, (
            cells(
                (
                    kind.type.id,
                    kind.type.product,
                    kind.type.series,
                    kind.type.frame_buffer_mib,
                    kind.resource_class,
                    room.gpus,
                    room.total,
                    room.used,
                    room.free,
                )
            )
            for kind, room in rows
        )


def read_hosts(
    command: base.Lister,
    parsed_args: argparse.Namespace,
    host: str | None = None,
) -> Iterator[CloudHost]:
    """Read hosts with GPUs, several at a time, in order of their names.

    :param command: which shows the progress.
    :param host: the only compute node to look at.
    :raises NodeNotFound: Placement does not know the host.
    """
    reader = command.cloud.gpus
    trees = reader.trees(host)
    return command.track(parsed_args, reader.hosts(trees), len(trees))


def read_gpus(
    command: base.Lister,
    parsed_args: argparse.Namespace,
    host: str | None = None,
) -> Iterator[CloudGpu]:
    """Read the GPUs of hosts; see :func:`read_hosts`."""
    hosts = read_hosts(command, parsed_args, host)
    return (gpu for found in hosts for gpu in found.gpus)


def _of_type(read: Iterable[CloudGpu], name: str) -> Iterator[CloudGpu]:
    """Pass on the GPUs that offer a type.

    :raises NotFound: none does; it tells what is offered.
    """
    is_known = False
    kinds: set[str] = set()
    for gpu in read:
        if gpus.answers_to(gpu, name):
            is_known = True
            yield gpu
        elif not is_known:
            kinds.update(map(str, offers.offers([gpu])))
    if not is_known:
        raise exception.NotFound('vGPU type', name, sorted(kinds))


def _row(gpu: CloudGpu) -> tuple[object, ...]:
    kind = gpus.offered(gpu)
    has = gpus.capacity(gpu)
    return cells(
        (
            gpu.uuid,
            gpu.host,
            gpu.address,
            kind.id,
            kind.product,
            has.total,
            has.used,
            has.free,
            sorted(gpu.traits),
        )
    )
