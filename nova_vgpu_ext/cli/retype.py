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
"""``nova-vgpu gpu retype``: another vGPU type on one GPU."""

from __future__ import annotations

import argparse

from nova_vgpu_ext import models
from nova_vgpu_ext.cli.host_command import HostCommand
from nova_vgpu_ext.plan import functions, retype
from nova_vgpu_ext.plan.actions import HostPlan


class GpuRetype(HostCommand):
    """Give a GPU another vGPU type.

    Says what must go first and who uses it, prints the change of nova.conf,
    and then switches: mdevs of other types that nobody uses are removed, and
    virtual functions with vendor-specific VFIO get the new type. Nothing is
    changed while anything of another type is in use.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the arguments."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            'address', metavar='ADDRESS', help='a GPU as gpu list shows it'
        )
        parser.add_argument(
            'type',
            metavar='TYPE',
            help='a type that type list shows, or a product',
        )
        return parser

    def plan(self, parsed_args: argparse.Namespace) -> HostPlan:
        """Find out what stands in the way, and what nova.conf lacks."""
        host = self.app.host
        snapshot = host.observe()
        gpu = retype.find_gpu(snapshot, parsed_args.address)
        usage = host.usage(snapshot, placement=True)
        plan = retype.plan(snapshot, usage, gpu, parsed_args.type)
        self._say(gpu, self._lines(snapshot, gpu, parsed_args.type))
        return plan

    def rest(self, parsed_args: argparse.Namespace) -> HostPlan:
        """Set the new type where one is set, once what must go is gone."""
        gpu = retype.find_gpu(self.app.host.observe(), parsed_args.address)
        if gpu.framework is not models.Framework.VENDOR_VFIO:
            return HostPlan()
        type_id = functions.type_id(gpu, parsed_args.type)
        return HostPlan() if type_id is None else functions.fill(gpu, type_id)

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Switch; what an interrupted run has switched is remembered too."""
        code = super().take_action(parsed_args)
        if not parsed_args.dry_run:
            self.app.host.remember()
        return code

    def _lines(
        self, snapshot: models.Snapshot, gpu: models.Gpu, type_text: str
    ) -> list[str]:
        host = self.app.host
        if gpu.framework is models.Framework.VENDOR_VFIO:
            items = host.value('vgpu', 'vf_types')
            return retype.vf_types(items, gpu, type_text)
        return retype.configuration(
            host.devices_config, snapshot, gpu, type_text
        )

    def _say(self, gpu: models.Gpu, lines: list[str]) -> None:
        if not lines:
            self.app.stderr.write(
                'nova.conf names the type already; restart nova-compute if '
                'it has not been since\n'
            )
            return
        self.app.stderr.write(
            'nova.conf: change these lines, restart nova-compute, then run '
            'nova-vgpu report:\n'
        )
        for line in lines:
            self.app.stderr.write(f'  {line}\n')
        if gpu.framework is models.Framework.VENDOR_VFIO:
            self.app.stderr.write(
                'nova-vgpu config pci prints the [pci] lines for it\n'
            )
