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
"""``nova-vgpu inventory``: what this host shall have in Placement."""

from __future__ import annotations

import argparse
from typing import Any

from nova_vgpu_ext.cells import cells
from nova_vgpu_ext.cli.base import Lister
from nova_vgpu_ext.models import ReportedProvider


class InventoryList(Lister):
    """List the inventories that this host shall have in Placement.

    Cards with vendor-specific VFIO are shown as nova-compute reports them.
    ``used`` is what Placement says of the GPUs' providers; it stays empty
    where Placement does not have them yet, and without a [placement] section.
    The exit code is 1 where nova-compute would refuse to start.
    """

    _fatal = False

    def take_action(self, parsed_args: argparse.Namespace) -> Any:
        """Plan, and show the plan's providers."""
        reported = self._reported()
        plan = self.app.host.plan(
            [name for name, p in reported.items() if p.inventories]
        )
        self.app.show_findings(plan.findings)
        self._fatal = plan.is_fatal
        rows = [
            (p.name, p.resource_class, p.inventory, p.traits)
            for p in plan.providers
        ] + [(p.name, p.resource_class, p.record, p.traits) for p in plan.pci]
        columns = (
            'provider',
            'resource_class',
            'total',
            'used',
            'reserved',
            'min_unit',
            'max_unit',
            'step_size',
            'allocation_ratio',
            'traits',
        )
        return columns, (
            cells(
                (
                    name,
                    resource_class,
                    record.total,
                    _used(reported.get(name), resource_class),
                    record.reserved,
                    record.min_unit,
                    record.max_unit,
                    record.step_size,
                    record.allocation_ratio,
                    sorted(traits),
                )
            )
            for name, resource_class, record, traits in rows
        )

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Exit with 1 where Nova would refuse the configuration."""
        code: int = super().run(parsed_args)
        return code or int(self._fatal)

    def _reported(self) -> dict[str, ReportedProvider]:
        """Ask Placement for the providers that it has, with their usage."""
        host = self.app.host
        if not host.has_placement:
            return {}
        reader = host.tree_reader(host.placement())
        return reader.read_usage(reader.observe().gpus.values()).gpus


def _used(has: ReportedProvider | None, resource_class: str) -> int | None:
    return (has.used or {}).get(resource_class) if has else None
