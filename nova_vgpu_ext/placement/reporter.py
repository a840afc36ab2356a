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
"""Making Placement say what a plan wants: observe, plan the rest, apply."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import tenacity

from nova_vgpu_ext import exception
from nova_vgpu_ext.models import (
    DesiredProvider,
    Finding,
    ReportedProvider,
    Severity,
)
from nova_vgpu_ext.placement.client import PlacementClient
from nova_vgpu_ext.placement.tree import Tree, TreeReader
from nova_vgpu_ext.plan import gpus, report

#: How often a cycle is planned afresh when something else writes, or a
#: write gets no answer.
_ATTEMPTS = 5

#: By how much a reshape moves a provider's generation: it sets inventories
#: twice. Source: placement/objects/reshaper.py (Placement 16).
_RESHAPE_STEPS = 2

#: Gives the desired providers, and the beginnings of the names of those to
#: leave as they are, for what Placement has.
Planner: TypeAlias = Callable[
    [Tree], tuple[Sequence[DesiredProvider], tuple[str, ...]]
]

OnAction: TypeAlias = Callable[[report.Action], None]


@dataclasses.dataclass(frozen=True)
class Result:
    """What a cycle found and did."""

    #: GPU providers and the compute node's own, when the cycle ended.
    providers: int
    #: What was written, or would be.
    actions: tuple[report.Action, ...]
    #: What could not be written, and why.
    findings: tuple[Finding, ...]


class Reporter:
    """Keeps the providers of one compute node's GPUs in line.

    :param client: writes.
    :param reader: reads the node's tree, through the same client.
    """

    def __init__(self, client: PlacementClient, reader: TreeReader) -> None:
        self._client = client
        self._reader = reader

    def dry_run(self, planner: Planner) -> Result:
        """Plan only.

        :raises PlacementError: Placement cannot be read.
        """
        changes = self._changes(planner)
        return self._result(changes.actions, changes.findings)

    def run(self, planner: Planner, on_action: OnAction) -> Result:
        """Bring Placement in line, planning afresh when something moves.

        A write that conflicts, or gets no answer, is never repeated as it
        was: the tree is read again and the rest planned anew.

        :param on_action: called after each write.
        :raises PlacementError: Placement failed, or others kept writing.
            What was written stays, and the next call goes on from there.
        """
        done: list[report.Action] = []
        for attempt in tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(exception.PlanOutdated),
            stop=tenacity.stop_after_attempt(_ATTEMPTS),
            wait=tenacity.wait_exponential_jitter(initial=0.1, max=2),
            reraise=True,
        ):
            with attempt:
                changes = self._changes(planner)
                for action in self._apply(changes):
                    on_action(action)
                    done.append(action)
        return self._result(done, changes.findings)

    def _changes(self, planner: Planner) -> report.Changes:
        tree = self._reader.observe()
        if gpus.VGPU in tree.root.inventories:
            return report.Changes(findings=(_root_inventory(tree.root),))
        desired, held = planner(tree)
        shrinking = report.shrinking(desired, tree.gpus, held)
        tree = self._reader.read_usage(tree.gpus[name] for name in shrinking)
        return report.changes(desired, tree.gpus, held)

    def _result(
        self, actions: Sequence[report.Action], findings: Sequence[Finding]
    ) -> Result:
        size = self._reader.tree().size
        return Result(size, tuple(actions), tuple(findings))

    def _apply(self, changes: report.Changes) -> Iterator[report.Action]:
        """Write, and yield each action once it is done."""
        self._client.ensure_traits(
            {
                trait
                for action in changes.providers
                if isinstance(action, report.SetTraits)
                for trait in action.add
            }
        )
        for action in changes.providers:
            self._apply_one(action)
            yield action
        yield from self._apply_inventories(changes.inventories)
        for deletion in changes.deletions:
            has = self._reader.tree().gpus[deletion.name]
            self._client.delete_provider(has.uuid)
            self._reader.forget(has)
            yield deletion

    def _apply_one(
        self, action: report.CreateProvider | report.SetTraits
    ) -> None:
        tree = self._reader.tree()
        if isinstance(action, report.CreateProvider):
            self._reader.remember(
                self._client.create_provider(action.name, tree.root.uuid)
            )
            return
        has = tree.gpus[action.name]
        traits = (has.traits | action.add) - action.remove
        generation = self._client.set_traits(has.uuid, has.generation, traits)
        self._reader.remember(
            dataclasses.replace(has, traits=traits, generation=generation)
        )

    def _apply_inventories(
        self, actions: Sequence[report.SetInventory]
    ) -> Iterator[report.Action]:
        for name in sorted({a.resource_class for a in actions}):
            self._client.ensure_class(name)
        gpus = self._reader.tree().gpus
        wanted = [_changed(gpus[action.name], action) for action in actions]
        if len(wanted) > 1 and self._client.reshape(wanted):
            self._reader.confirm(
                [
                    dataclasses.replace(
                        provider,
                        generation=provider.generation + _RESHAPE_STEPS,
                    )
                    for provider in wanted
                ]
            )
            yield from actions
            return
        for action, provider in zip(actions, wanted, strict=True):
            self._reader.remember(self._client.set_inventories(provider))
            yield action


def _changed(
    has: ReportedProvider, action: report.SetInventory
) -> ReportedProvider:
    """Give a provider as it will be, with the generation that it has."""
    inventories = {
        name: record
        for name, record in has.inventories.items()
        if name not in action.remove
    }
    inventories[action.resource_class] = action.record
    return dataclasses.replace(has, inventories=inventories)


def _root_inventory(root: ReportedProvider) -> Finding:
    return Finding(
        Severity.ERROR,
        root.name,
        "VGPU on the compute node's own provider, as before Stein",
        'VGPU on the providers of its GPUs only',
        'Nova moves it, allocations included: start nova-compute once with '
        'a type enabled',
    )
