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
"""What is written to Placement, and what must never be."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import hypothesis
from hypothesis import strategies as st

from nova_vgpu_ext import models
from nova_vgpu_ext.plan import report
from tests import base

NODE = 'node.example.org'
NAMES = tuple(f'{NODE}_pci_0000_{n:02x}_00_0' for n in range(1, 6))
NAME = NAMES[0]
OURS = ('CUSTOM_NVIDIA_194', 'CUSTOM_VGPU_SERIES_Q', 'CUSTOM_VGPU_FB_1024M')
FOREIGN = ('CUSTOM_OTHER', 'OWNER_NOVA', 'CUSTOM_NVIDIA_999', 'HW_CPU_X86_VMX')
GONE = 'CUSTOM_VGPU_GONE'
CLASSES = ('VGPU', 'CUSTOM_A', 'CUSTOM_B')


def record(total: int) -> models.InventoryRecord:
    """Make a record as Nova writes it."""
    return models.InventoryRecord(total=total, max_unit=total)


def desired(
    name: str = NAME,
    total: int = 8,
    resource_class: str = 'VGPU',
    traits: tuple[str, ...] = (),
) -> models.DesiredProvider:
    """Make what a GPU shall look like."""
    return models.DesiredProvider(
        name,
        resource_class,
        record(total),
        frozenset(traits),
        frozenset({'CUSTOM_NVIDIA_194', 'CUSTOM_NVIDIA_196'}),
    )


def reported(
    totals: Mapping[str, int] | None = None,
    traits: tuple[str, ...] = (),
    used: Mapping[str, int] | None = None,
    name: str = NAME,
) -> models.ReportedProvider:
    """Make what Placement has."""
    totals = {'VGPU': 8} if totals is None else totals
    return models.ReportedProvider(
        f'uuid-{name}',
        name,
        1,
        'root',
        {c: record(total) for c, total in totals.items()},
        frozenset(traits),
        None if used is None else dict(used),
    )


def plan(
    wanted: list[models.DesiredProvider],
    has: list[models.ReportedProvider],
    held: tuple[str, ...] = (),
) -> tuple[report.Changes, list[str]]:
    """Plan; give the changes, and whose usage had to be known."""
    by_name = {p.name: p for p in has}
    return (
        report.changes(wanted, by_name, held),
        report.shrinking(wanted, by_name, held),
    )


class ChangesTest(base.TestCase):
    """Single cases; a provider's usage is asked only where it decides."""

    def check(
        self,
        wanted: list[models.DesiredProvider],
        has: list[models.ReportedProvider],
        lines: list[str],
        held: tuple[str, ...] = (),
        shrinking: tuple[str, ...] = (),
        finding: tuple[str, ...] = (),
    ) -> None:
        """Check the actions as they are printed, and the one finding."""
        changes, asked = plan(wanted, has, held)
        self.assertEqual(lines, [str(a) for a in changes.actions])
        self.assertEqual(list(shrinking), asked)
        self.assertEqual(1 if finding else 0, len(changes.findings))
        for one in changes.findings:
            self.assertIs(models.Severity.ERROR, one.severity)
            self.assertEqual(NAME, one.option)
            for word in finding:
                self.assertIn(word, str(one))

    def test_create(self) -> None:
        """Traits come before the inventory that can be asked for."""
        self.check(
            [desired(traits=OURS[:2])],
            [],
            [
                f'create provider {NAME}',
                f'set traits of {NAME}: add CUSTOM_NVIDIA_194, '
                'CUSTOM_VGPU_SERIES_Q',
                f'set inventory of {NAME}: VGPU total 8',
            ],
        )

    def test_create_without_traits(self) -> None:
        """With [vgpu] traits empty there is nothing to set."""
        self.check(
            [desired()],
            [],
            [
                f'create provider {NAME}',
                f'set inventory of {NAME}: VGPU total 8',
            ],
        )

    def test_equal(self) -> None:
        """Nothing to do is no action, whatever is used."""
        self.check(
            [desired(traits=OURS)],
            [reported(traits=OURS + FOREIGN, used={'VGPU': 8})],
            [],
        )

    def test_other_values_of_the_record(self) -> None:
        """Not the total alone must be equal."""
        has = reported()
        wrong = dataclasses.replace(record(8), allocation_ratio=2.0)
        has = dataclasses.replace(has, inventories={'VGPU': wrong})
        self.check(
            [desired()], [has], [f'set inventory of {NAME}: VGPU total 8']
        )

    def test_raise(self) -> None:
        """More is written without asking."""
        self.check(
            [desired(total=16)],
            [reported()],
            [f'set inventory of {NAME}: VGPU total 16'],
        )

    def test_lower(self) -> None:
        """Less is written where no more is used."""
        self.check(
            [desired(total=4)],
            [reported(used={'VGPU': 4})],
            [f'set inventory of {NAME}: VGPU total 4'],
            shrinking=(NAME,),
        )

    def test_lower_below_used(self) -> None:
        """The total goes down to what is used, and no further."""
        self.check(
            [desired(total=4)],
            [reported(used={'VGPU': 6})],
            [f'set inventory of {NAME}: VGPU total 6'],
            shrinking=(NAME,),
            finding=('6 VGPU', 'of 4', 'audit'),
        )

    def test_already_below_used(self) -> None:
        """It is not raised to what is used: Nova would lower it again."""
        self.check(
            [desired(total=4)],
            [reported({'VGPU': 4}, used={'VGPU': 6})],
            [],
            finding=('6 VGPU',),
        )
        self.check(
            [desired(total=4)],
            [reported({'VGPU': 5}, used={'VGPU': 6})],
            [],
            shrinking=(NAME,),
            finding=('6 VGPU',),
        )

    def test_class_change(self) -> None:
        """The old class goes with the write of the new one."""
        self.check(
            [desired(resource_class='CUSTOM_A')],
            [reported(used={'VGPU': 0})],
            [f'set inventory of {NAME}: CUSTOM_A total 8; remove VGPU'],
            shrinking=(NAME,),
        )

    def test_class_change_in_use(self) -> None:
        """It is blocked as a whole: the traits tell what is offered."""
        self.check(
            [desired(resource_class='CUSTOM_A', traits=OURS[:1])],
            [reported(used={'VGPU': 1})],
            [],
            shrinking=(NAME,),
            finding=('1 VGPU', 'CUSTOM_A', f'uuid-{NAME}'),
        )

    def test_traits(self) -> None:
        """Ours come and go; those of others stay."""
        self.check(
            [desired(traits=('CUSTOM_NVIDIA_196',))],
            [reported(traits=OURS + FOREIGN)],
            [
                f'set traits of {NAME}: add CUSTOM_NVIDIA_196; remove '
                'CUSTOM_NVIDIA_194, CUSTOM_VGPU_FB_1024M, '
                'CUSTOM_VGPU_SERIES_Q'
            ],
        )

    def test_class_of_somebody_else(self) -> None:
        """What stands beside the wanted class stays, VGPU aside."""
        self.check(
            [desired(total=4, resource_class='CUSTOM_A', traits=())],
            [reported({'CUSTOM_A': 2, 'CUSTOM_LICENCE': 9, 'VGPU': 3})],
            [f'set inventory of {NAME}: CUSTOM_A total 4; remove VGPU'],
            shrinking=(NAME,),
        )

    def test_gpu_that_is_gone(self) -> None:
        """Its provider is deleted, with any class of Nova's or ours."""
        self.check(
            [],
            [reported({'VGPU': 8, 'CUSTOM_A': 1}, OURS, {})],
            [f'delete provider {NAME}'],
            shrinking=(NAME,),
        )

    def test_gone_but_allocated(self) -> None:
        """It stays until the servers are gone, and offers no more."""
        self.check(
            [],
            [reported(traits=OURS + FOREIGN, used={'VGPU': 2})],
            [
                f'set traits of {NAME}: add CUSTOM_VGPU_GONE; remove '
                'CUSTOM_VGPU_FB_1024M, CUSTOM_VGPU_SERIES_Q',
                f'set inventory of {NAME}: VGPU total 2',
            ],
            shrinking=(NAME,),
            finding=('2 VGPU', f'--allocations uuid-{NAME}'),
        )
        self.check(
            [],
            [reported({'VGPU': 2}, (GONE, *FOREIGN), {'VGPU': 2})],
            [],
            shrinking=(NAME,),
            finding=('2 VGPU',),
        )

    def test_back_again(self) -> None:
        """A GPU that is wanted again is not marked as gone any more."""
        self.check(
            [desired(traits=OURS)],
            [reported({'VGPU': 2}, (GONE, OURS[0], *FOREIGN))],
            [
                f'set traits of {NAME}: add CUSTOM_VGPU_FB_1024M, '
                'CUSTOM_VGPU_SERIES_Q; remove CUSTOM_VGPU_GONE',
                f'set inventory of {NAME}: VGPU total 8',
            ],
        )

    def test_gone_but_held(self) -> None:
        """A GPU whose driver is not ready is not gone."""
        self.check([], [reported()], [], held=(NAME[:-5],))

    def test_of_another_owner(self) -> None:
        """Providers that another service marked, or that look foreign."""
        for has in (
            reported(traits=('OWNER_CYBORG',)),
            reported(traits=('COMPUTE_MANAGED_PCI_DEVICE',)),
            reported({'SRIOV_NET_VF': 3}),
            reported({'VGPU': 1, 'PGPU': 1}),
            reported(name=f'{NODE}_tty_ttyS0'),
            reported(name=f'{NODE}_0000:1A:00.0'),
        ):
            self.check([], [has], [])

    def test_names_of_gpus(self) -> None:
        """Only children that are named like Nova's count at all."""
        for name, may_be in (
            (NAME, True),
            (f'{NODE}_mtty_mtty', True),
            (f'{NODE}:Open vSwitch agent:br-ex', False),
            (f'{NODE}_0000:1A:00.0', False),
            ('other.example.org_pci_0000_1a_00_0', False),
            (NODE, False),
        ):
            self.assertEqual(may_be, report.may_be_gpu(name, NODE), name)


# -- any state at all ---------------------------------------------------------

_totals = st.integers(1, 12)
_desired = st.builds(
    desired,
    name=st.sampled_from(NAMES),
    total=_totals,
    resource_class=st.sampled_from(CLASSES),
    traits=st.sets(st.sampled_from(OURS)).map(tuple),
)
_reported = st.builds(
    reported,
    totals=st.dictionaries(
        st.sampled_from((*CLASSES, 'SRIOV_NET_VF')), _totals, max_size=3
    ),
    traits=st.sets(
        st.sampled_from((*OURS, *FOREIGN, GONE, 'OWNER_CYBORG'))
    ).map(tuple),
    used=st.dictionaries(st.sampled_from(CLASSES), st.integers(0, 15)),
    name=st.sampled_from(NAMES),
)
_held = st.sampled_from(((), (NAMES[1],), (f'{NODE}_pci_',)))


def apply(
    changes: report.Changes, before: dict[str, models.ReportedProvider]
) -> dict[str, models.ReportedProvider]:
    """Do to a state what Placement would do."""
    state = dict(before)
    for action in changes.actions:
        if isinstance(action, report.CreateProvider):
            state[action.name] = reported({}, used={}, name=action.name)
            continue
        has = state[action.name]
        changed: dict[str, Any] = {}
        if isinstance(action, report.DeleteProvider):
            del state[action.name]
            continue
        if isinstance(action, report.SetTraits):
            changed['traits'] = (has.traits | action.add) - action.remove
        else:
            kept = {
                name: record
                for name, record in has.inventories.items()
                if name not in action.remove
            }
            kept[action.resource_class] = action.record
            changed['inventories'] = kept
        state[action.name] = dataclasses.replace(has, **changed)
    return state


class AnyStateTest(base.TestCase):
    """What holds for every state of Placement."""

    @hypothesis.settings(max_examples=400, deadline=None)
    @hypothesis.given(
        st.lists(_desired, unique_by=lambda p: p.name),
        st.lists(_reported, unique_by=lambda p: p.name),
        _held,
    )
    def test_changes(
        self,
        wanted: list[models.DesiredProvider],
        has: list[models.ReportedProvider],
        held: tuple[str, ...],
    ) -> None:
        """One pass is enough, and takes nothing that is in use or foreign."""
        before = {p.name: p for p in has}
        changes = report.changes(wanted, before, held)
        after = apply(changes, before)

        again = report.changes(wanted, after, held)
        self.assertEqual((), again.actions)
        self.assertEqual(changes.findings, again.findings)

        for name, old in before.items():
            used = {c: n for c, n in (old.used or {}).items() if n}
            new = after.get(name)
            if new is None:
                self.assertEqual(
                    {}, {c: n for c, n in used.items() if c in old.inventories}
                )
                self.assertNotIn('OWNER_CYBORG', old.traits)
                self.assertNotIn('SRIOV_NET_VF', old.inventories)
                self.assertFalse(name.startswith(held))
                continue
            foreign = {
                t for t in old.traits if t in (*FOREIGN, 'OWNER_CYBORG')
            }
            self.assertLessEqual(foreign, new.traits)
            for resource_class, amount in used.items():
                if resource_class not in old.inventories:
                    continue
                total = old.inventories[resource_class].total
                self.assertGreaterEqual(
                    new.inventories[resource_class].total, min(total, amount)
                )

        # Usage is asked for wherever it decides: with those unknown that
        # were not asked for, the plan is the same.
        asked = report.shrinking(wanted, before, held)
        known = {
            name: p if name in asked else dataclasses.replace(p, used=None)
            for name, p in before.items()
        }
        self.assertEqual(
            changes.actions, report.changes(wanted, known, held).actions
        )
