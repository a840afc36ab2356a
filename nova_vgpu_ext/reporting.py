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
"""Cycles of reporting, for the command and for the agent."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from nova_vgpu_ext import exception
from nova_vgpu_ext.models import DesiredProvider, Finding, Severity

if TYPE_CHECKING:
    from nova_vgpu_ext.placement.client import PlacementClient
    from nova_vgpu_ext.placement.reporter import Reporter
    from nova_vgpu_ext.placement.tree import Tree
    from nova_vgpu_ext.plan import report
    from nova_vgpu_ext.runtime import Runtime


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How one cycle ended."""

    #: GPU providers and the compute node's own.
    providers: int
    #: What was written, or would be.
    actions: tuple[report.Action, ...]
    #: What is not as the configuration says.
    findings: tuple[Finding, ...]
    #: Whether the cycle before had other findings.
    is_news: bool
    #: How many were made since the last outcome.
    requests: int
    seconds: float
    is_dry: bool = False

    @property
    def is_right(self) -> bool:
        """Whether there is at most something to be warned of."""
        return all(f.severity is Severity.WARNING for f in self.findings)

    def __str__(self) -> str:
        changes = _count(len(self.actions), 'change')
        return (
            f'{_count(self.providers, "provider")}, '
            f'{changes}{" to make" if self.is_dry else ""}, '
            f'{_count(self.requests, "request")}, {self.seconds:.2f} s'
        )


class Reporting:
    """Reports one host again and again, through one client.

    Placement is first asked when it is needed; after a failure the next
    cycle goes on where this one stopped.

    :param host: the host.
    """

    def __init__(self, host: Runtime) -> None:
        self._host = host
        self._counted = 0
        self._told: tuple[Finding, ...] = ()

    @functools.cached_property
    def _connected(self) -> tuple[PlacementClient, Reporter]:
        client = self._host.placement()
        return client, self._host.reporter(client)

    def run(
        self,
        on_action: Callable[[report.Action], None],
        dry_run: bool = False,
    ) -> Outcome:
        """Run one cycle.

        :param on_action: called after each write, or with each that a dry
            run would make.
        :raises FatalFindings: nova-compute would refuse the configuration;
            nothing is written.
        :raises VgpuError: the configuration, the host or Placement cannot be
            used.
        """
        started = time.monotonic()
        client, reporter = self._connected
        findings: tuple[Finding, ...] = ()

        def planner(
            tree: Tree,
        ) -> tuple[tuple[DesiredProvider, ...], tuple[str, ...]]:
            nonlocal findings
            plan = self._host.plan(tree.with_inventory)
            findings = plan.findings
            if plan.is_fatal:
                raise exception.FatalFindings(findings)
            return plan.providers, plan.held

        if dry_run:
            result = reporter.dry_run(planner)
            for action in result.actions:
                on_action(action)
        else:
            result = reporter.run(planner, on_action)
        findings += result.findings
        told, self._told = self._told, findings
        counted, self._counted = self._counted, client.requests
        return Outcome(
            result.providers,
            result.actions,
            findings,
            findings != told,
            client.requests - counted,
            time.monotonic() - started,
            dry_run,
        )


def _count(number: int, noun: str) -> str:
    return f'{number} {noun}' if number == 1 else f'{number} {noun}s'
