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
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from nova_vgpu_ext import exception, models
from nova_vgpu_ext.cli.host_command import HostCommand
from nova_vgpu_ext.plan import functions, ledger, restore

if TYPE_CHECKING:
    from nova_vgpu_ext.host.apply import Applier
    from nova_vgpu_ext.plan.actions import Action

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
        if parsed_args.dry_run:
            return self._dry_run(wanted)
        failures: list[exception.ActionFailed] = []
        with host.changing() as applier:
            self.show(applier.run(functions.enable(host.observe()).actions))
            snapshot = self._await_types(parsed_args.wait)
            usage = host.usage(snapshot)
            # A guest may wait for an mdev whose definition is put aside.
            host.ledger.change(ledger.entries(snapshot, usage))
            types = functions.set_types(snapshot, usage, wanted)
            self.show(_each(applier, types.actions, failures))
            restored = restore.restore(snapshot, usage)
            self.show(_each(applier, restored.actions, failures))
        host.remember(forget=True)
        for failure in failures:
            self.app.stderr.write(f'{failure}\n')
        code = self.conclude(
            (*types.findings, *restored.findings), bool(failures)
        )
        return 1 if failures else code

    def _dry_run(self, wanted: Mapping[str, str]) -> int:
        host = self.app.host
        snapshot = host.observe()
        usage = host.usage(snapshot)
        enabling = functions.enable(snapshot)
        self.show(enabling.actions)
        if enabling.actions:
            self.app.stderr.write(
                'what follows is known once these functions are there\n'
            )
            return 0
        types = functions.set_types(snapshot, usage, wanted)
        restored = restore.restore(snapshot, usage)
        self.show((*types.actions, *restored.actions))
        return self.conclude((*types.findings, *restored.findings))

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


def _each(
    applier: Applier,
    actions: Iterable[Action],
    failures: list[exception.ActionFailed],
) -> Iterator[Action]:
    """Apply each step; what fails for one guest does not stop the others."""
    for action in actions:
        try:
            if applier.apply(action):
                yield action
        except exception.ActionFailed as failure:
            failures.append(failure)
