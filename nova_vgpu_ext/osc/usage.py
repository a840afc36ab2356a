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
"""``openstack vgpu usage show``: where the capacity went."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import Any

from nova_vgpu_ext.cells import cells
from nova_vgpu_ext.osc import base
from nova_vgpu_ext.osc.gpu import read_gpus, read_hosts
from nova_vgpu_ext.osc.holders import Holders
from nova_vgpu_ext.osc.server import tell_of_unknown
from nova_vgpu_ext.plan import usage

_ROOM = ('gpus', 'total', 'used', 'free')


class UsageShow(base.Lister):
    """Show how many vGPUs are used and free, by host, type or project.

    By host or type, gpus counts resource providers, so each virtual function
    of a GPU with SR-IOV; total, used and free count vGPUs. Only hosts with
    GPUs are shown.

    By project, servers is how many of its servers hold vGPUs and used how
    many vGPUs they hold; what a move holds on the host that it leaves counts
    as well, as it does for Placement. This asks Nova for the servers of each
    host whose GPUs are used, and takes longer.

    Examples:

      openstack vgpu usage show --by type
      openstack vgpu usage show --by project -f json
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the choice."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--by',
            choices=sorted(_TABLES),
            default='host',
            help='what a row stands for (default: host)',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Any:
        """Read all hosts, and sum."""
        columns, rows = _TABLES[parsed_args.by]
        return columns, map(cells, rows(self, parsed_args))


def _by_host(
    command: base.Lister, parsed_args: argparse.Namespace
) -> Iterator[tuple[object, ...]]:
    hosts = read_hosts(command, parsed_args)
    return (
        (host.name, *_numbers(usage.room(host.gpus)))
        for host in hosts
        if host.gpus
    )


def _by_type(
    command: base.Lister, parsed_args: argparse.Namespace
) -> Iterator[tuple[object, ...]]:
    kinds = usage.by_kind(read_gpus(command, parsed_args))
    return (
        (k.type.id, k.type.product, k.resource_class, *_numbers(room))
        for k, room in kinds
    )


def _by_project(
    command: base.Lister, parsed_args: argparse.Namespace
) -> Iterator[tuple[object, ...]]:
    held = Holders(command.cloud).of(read_gpus(command, parsed_args))
    uses = usage.by_project(tell_of_unknown(command, held))
    return ((use.project_id, use.servers, use.vgpus) for use in uses)


def _numbers(room: usage.Room) -> tuple[int, int, int, int]:
    return room.gpus, room.total, room.used, room.free


_Rows = Callable[
    [base.Lister, argparse.Namespace], Iterator[tuple[object, ...]]
]
#: By the value of ``--by``: the columns, and what gives the rows.
_TABLES: dict[str, tuple[tuple[str, ...], _Rows]] = {
    'host': (('host', *_ROOM), _by_host),
    'project': (('project', 'servers', 'used'), _by_project),
    'type': (('type', 'product', 'class', *_ROOM), _by_type),
}
