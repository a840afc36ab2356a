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
"""``nova-vgpu prepare``: what must be there before nova-compute starts."""

from __future__ import annotations

import argparse
import time

from nova_vgpu_ext import models
from nova_vgpu_ext.cli.host_command import HostCommand
from nova_vgpu_ext.plan import functions, mdevs
from nova_vgpu_ext.plan import ledger as ledger_plan

_POLL_SECONDS = 1.0


class Prepare(HostCommand):
    """Bring back what a reboot took away, before nova-compute starts.

    Enables virtual functions, sets the types of [vgpu] vf_types, makes the
    mdevs of every defined domain again with their UUID, type and GPU, and
    puts persistent definitions aside that cannot be started any more, because
    nova-compute would not start with them. It can be given again at any time.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the option."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            '--wait',
            metavar='SECONDS',
            type=int,
            default=60,
            help='how long the driver may take until its GPUs offer vGPU '
            'types (default: 60)',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Plan step by step: each changes what the next one can see.

        :returns: 1 where something could not be brought back.
        """
        host = self.app.host
        wanted = functions.parse_types(host.value('vgpu', 'vf_types'))
        findings: list[models.Finding] = []
        if parsed_args.dry_run:
            snapshot = host.observe()
            usage = host.usage(snapshot)
            for plan in (
                functions.enable(snapshot),
                functions.set_types(snapshot, usage, wanted),
                mdevs.restore(snapshot, usage),
            ):
                self.show(plan.actions)
                findings += plan.findings
        else:
            with host.changing() as applier:
                self.show(
                    applier.run(functions.enable(host.observe()).actions)
                )
                snapshot = self._await_types(parsed_args.wait)
                usage = host.usage(snapshot)
                types = functions.set_types(snapshot, usage, wanted)
                self.show(applier.run(types.actions))
                restored = mdevs.restore(snapshot, usage)
                self.show(applier.run(restored.actions))
                findings += [*types.findings, *restored.findings]
            self._remember()
        return self.conclude(findings)

    def _await_types(self, seconds: int) -> models.Snapshot:
        """Read the host once its driver is up, or the time is over."""
        end = time.monotonic() + seconds
        while True:
            snapshot = self.app.host.observe()
            waiting = [
                gpu.address
                for gpu in snapshot.gpus
                if gpu.framework is models.Framework.NONE and gpu.driver
            ]
            if not waiting or time.monotonic() >= end:
                return snapshot
            time.sleep(_POLL_SECONDS)

    def _remember(self) -> None:
        """Bring the ledger up to date, and forget what nothing needs."""
        host = self.app.host
        snapshot = host.observe()
        usage = host.usage(snapshot)
        host.ledger.change(
            ledger_plan.entries(snapshot, usage),
            ledger_plan.forgotten(snapshot, usage),
        )
