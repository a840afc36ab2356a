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
"""What the commands have in common that change the host."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from nova_vgpu_ext import models
from nova_vgpu_ext.cli.base import Command
from nova_vgpu_ext.models import Severity
from nova_vgpu_ext.plan.actions import Action, HostPlan


class HostCommand(Command):
    """A command that plans under the host's lock, and applies the plan."""

    _shown = False

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the option that all of them have."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            '--dry-run',
            action='store_true',
            help='print what would be done, and do nothing',
        )
        return parser

    def plan(self, parsed_args: argparse.Namespace) -> HostPlan:
        """Decide what to do, from the host as it is now."""
        raise NotImplementedError

    def rest(self, parsed_args: argparse.Namespace) -> HostPlan:
        """Decide what follows, from the host as it is after the plan."""
        return HostPlan()

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Plan, and apply unless it is a dry run.

        :returns: 1 where the plan could not do all that was asked for.
        """
        if parsed_args.dry_run:
            plan = self.plan(parsed_args)
            self.show(plan.actions)
            self.show(self.rest(parsed_args).actions)
        else:
            with self.app.host.changing() as applier:
                plan = self.plan(parsed_args)
                self.show(applier.run(plan.actions))
                self.show(applier.run(self.rest(parsed_args).actions))
        return self.conclude(plan.findings)

    def show(self, actions: Iterable[Action]) -> None:
        """Print each step at once, so that a crash does not hide it."""
        for action in actions:
            self.app.stdout.write(f'{action}\n')
            self.app.stdout.flush()
            self._shown = True

    def conclude(
        self, findings: Iterable[models.Finding], tried: bool = False
    ) -> int:
        """Show what could not be done, and say so if there was nothing.

        :param tried: whether there was something that failed.
        :returns: the exit code.
        """
        findings = tuple(findings)
        self.app.show_findings(findings)
        if not self._shown and not findings and not tried:
            self.app.stderr.write('nothing to do\n')
        return int(any(f.severity is not Severity.WARNING for f in findings))
