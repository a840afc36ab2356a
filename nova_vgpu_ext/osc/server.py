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
"""``openstack vgpu server list``: who uses the GPUs."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from typing import Any

from nova_vgpu_ext.cells import cells
from nova_vgpu_ext.osc import base
from nova_vgpu_ext.osc.gpu import read_gpus
from nova_vgpu_ext.osc.holders import Holders
from nova_vgpu_ext.plan.usage import Holding


class ServerList(base.Lister):
    """List the servers that hold vGPUs, and on which GPU.

    One row for each server, GPU and resource class, by host and address of
    the GPU: what Placement has allocated, with what Nova knows of it. host
    and gpu say where the vGPU is, which is another host than the server's
    while it moves. flavor is the one that the server was made or resized
    with, and project the project's id.

    migration is empty but where a move holds the vGPU in the server's place:
    the source host's part of a resize that is not confirmed yet, or of a
    migration under way. It is the move's UUID, which Placement has as the
    consumer.

    A consumer that Nova does not know has no name: "openstack vgpu audit"
    tells whether its allocation has leaked.

    Examples:

      openstack vgpu server list --host gpu01.example.org
      openstack vgpu server list -f csv > vgpus.csv
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the choice."""
        parser = super().get_parser(prog_name)
        base.add_host(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Any:
        """Read host by host."""
        columns = (
            'server',
            'name',
            'project',
            'flavor',
            'host',
            'gpu',
            'class',
            'count',
            'migration',
        )
        found = read_gpus(self, parsed_args, parsed_args.host)
        held = tell_of_unknown(self, Holders(self.cloud).of(found))
        return columns, (row for holding in held for row in _rows(holding))


def tell_of_unknown(
    command: base.Lister, held: Iterable[Holding]
) -> Iterator[Holding]:
    """Pass holdings on; at the end count those that Nova does not know."""
    unknown: set[str] = set()
    for holding in held:
        if holding.server is None:
            unknown.add(holding.consumer)
        yield holding
    if unknown:
        command.log.warning(
            'Nova does not know these consumers: %d; see openstack vgpu audit',
            len(unknown),
        )


def _rows(holding: Holding) -> Iterator[tuple[object, ...]]:
    server = holding.server
    for name, amount in sorted(holding.amounts.items()):
        yield cells(
            (
                server.uuid if server else holding.consumer,
                server.name if server else None,
                holding.project_id,
                server.flavor if server else None,
                holding.gpu.host,
                holding.gpu.address,
                name,
                amount,
                holding.migration.uuid if holding.migration else None,
            )
        )
