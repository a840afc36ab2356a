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
"""Virtual functions: enabling them, and giving them types."""

from __future__ import annotations

import dataclasses

from nova_vgpu_ext import exception, models
from nova_vgpu_ext.models import Usage
from nova_vgpu_ext.plan import functions
from nova_vgpu_ext.plan.actions import (
    Action,
    ClearVendorType,
    EnableVfs,
    HostPlan,
    SetVendorType,
)
from tests import base
from tests.unit.plan import hosts
from tests.unit.plan.hosts import CARD, GPU_1, GPU_2

VF = [f'0000:41:00.{4 + n}' for n in range(4)]
OTHER_CARD = '0000:c1:00.0'
OTHER_VF = '0000:c1:00.4'


def card(
    *current: str | None, offers: tuple[str, ...] = ('1145', '1153')
) -> models.Gpu:
    """Make a card whose VFs list these types beside the one they have."""
    whole = hosts.vendor(*current)
    return dataclasses.replace(
        whole,
        vfs=tuple(
            dataclasses.replace(
                vf,
                types=tuple(
                    t for t in vf.types if t.id in {*offers, vf.current_type}
                ),
            )
            for vf in whole.vfs
        ),
    )


def other_card() -> models.Gpu:
    """Make a second card with one VF."""
    (vf,) = hosts.vendor(None).vfs
    return dataclasses.replace(
        hosts.vendor(None),
        address=OTHER_CARD,
        vfs=(
            dataclasses.replace(
                vf, address=OTHER_VF, physical_function=OTHER_CARD
            ),
        ),
    )


class EnableTest(base.TestCase):
    """Which cards need sriov-manage."""

    def enabled(self, *gpus: models.Gpu) -> list[Action]:
        """Plan the functions of a host."""
        plan = functions.enable(hosts.host(*gpus))
        self.assertEqual((), plan.findings)
        return list(plan.actions)

    def test_cards_after_a_boot(self) -> None:
        """They can have functions, and have none."""
        self.assertEqual(
            [EnableVfs(GPU_1), EnableVfs(GPU_2)],
            self.enabled(
                hosts.no_types('nvidia', 16),
                hosts.no_types('nvidia', 32, GPU_2),
            ),
        )

    def test_cards_whose_functions_are_there(self) -> None:
        """Enabling them again would reset them under their guests."""
        self.assertEqual([], self.enabled(hosts.sriov()))
        self.assertEqual([], self.enabled(hosts.vendor('1153', None)))

    def test_cards_without_sriov(self) -> None:
        """There is nothing to enable on a V100."""
        self.assertEqual([], self.enabled(hosts.gpu(), hosts.mtty()))

    def test_cards_of_another_driver(self) -> None:
        """A card that is passed through is the guest's."""
        for driver in ('vfio-pci', 'nouveau', None):
            self.assertEqual([], self.enabled(hosts.no_types(driver, 16)))


class ParseTest(base.TestCase):
    """[vgpu] vf_types."""

    def test_every_spelling(self) -> None:
        """A number or a product, for all cards, one card or one VF."""
        self.assertEqual({}, functions.parse_types([]))
        self.assertEqual(
            {'': '1153', CARD: 'L40S-1B', VF[0]: '1145'},
            functions.parse_types(
                ['1153', f'{CARD}=L40S-1B', f'{VF[0]}=1145']
            ),
        )

    def test_what_is_wrong(self) -> None:
        """One line names the option and what was found."""
        for items in (
            [''],
            ['='],
            ['=1153'],
            [f'{CARD}='],
            ['41:00.0=1153'],
            [f'{CARD.upper()[:-1]}8=1153'],
            ['0000:C1:00.0=1153'],
            ['gpu0=1153'],
            [f' {CARD}=1153'],
            [f'{CARD}\n=1153'],
            ['1153', '1145'],
            ['1153', '1153'],
            [f'{CARD}=1153', f'{CARD}=1145'],
            ['x' * 10_000 + '=1'],
        ):
            error = self.assertRaises(
                exception.ConfigError, functions.parse_types, items
            )
            self.assertIn('[vgpu] vf_types', str(error))
            self.assertNotIn('\n', str(error))
            self.assertLess(len(str(error)), 300)


class SetTypesTest(base.TestCase):
    """What prepare makes of the configuration."""

    def plan(
        self,
        wanted: dict[str, str],
        *gpus: models.Gpu,
        usage: Usage | None = None,
    ) -> HostPlan:
        """Plan the types of a host."""
        return functions.set_types(hosts.host(*gpus), usage or Usage(), wanted)

    def actions(
        self, wanted: dict[str, str], *gpus: models.Gpu
    ) -> list[Action]:
        """Plan where nothing is in the way."""
        plan = self.plan(wanted, *gpus)
        self.assertEqual((), plan.findings)
        return list(plan.actions)

    def test_a_type_for_every_card(self) -> None:
        """By number, product or name."""
        for text in ('1153', 'L40S-12Q', 'NVIDIA L40S-12Q'):
            self.assertEqual(
                [
                    SetVendorType(VF[0], '1153'),
                    SetVendorType(VF[1], '1153'),
                    SetVendorType(OTHER_VF, '1153'),
                ],
                self.actions({'': text}, card(None, None), other_card()),
            )

    def test_the_nearest_says_it(self) -> None:
        """A function's own type, its card's, or the one for every card."""
        self.assertEqual(
            [
                SetVendorType(VF[0], '1145'),
                SetVendorType(VF[1], '1153'),
                SetVendorType(OTHER_VF, '1145'),
            ],
            self.actions(
                {'': '1145', CARD: '1153', VF[0]: '1145'},
                card(None, None),
                other_card(),
            ),
        )

    def test_a_card_that_nothing_names(self) -> None:
        """It stays as it is, also with a type that was set by hand."""
        self.assertEqual(
            [SetVendorType(OTHER_VF, '1145')],
            self.actions(
                {OTHER_CARD: '1145'}, card('1153', None), other_card()
            ),
        )
        self.assertEqual([], self.actions({}, card('1153', None)))

    def test_what_is_set_stays(self) -> None:
        """The second run of prepare has nothing to do."""
        self.assertEqual([], self.actions({'': '1153'}, card('1153', '1153')))

    def test_another_type_is_taken_away_first(self) -> None:
        """The driver refuses a type on top of another one."""
        self.assertEqual(
            [ClearVendorType(VF[0], '1145'), SetVendorType(VF[0], '1153')],
            self.actions({'': '1153'}, card('1145')),
        )

    def test_all_go_before_one_comes(self) -> None:
        """A card may take types of one size at a time."""
        steps = self.actions({'': '1153'}, card('1145', None, '1145'))
        kinds = [isinstance(step, SetVendorType) for step in steps]
        self.assertEqual([False, False, True, True, True], kinds)

    def test_a_function_in_use_is_left_as_it_is(self) -> None:
        """A domain that names it, defined or running, or a process."""
        for usage in (
            Usage(domains=(hosts.domain('vm', VF[0]),)),
            Usage(domains=(hosts.domain('vm', VF[0], is_active=True),)),
            Usage(holders={VF[0]: ('qemu-kvm (4711)',)}),
        ):
            plan = self.plan({'': '1153'}, card('1145', '1145'), usage=usage)
            self.assertEqual(
                (
                    ClearVendorType(VF[1], '1145'),
                    SetVendorType(VF[1], '1153'),
                ),
                plan.actions,
            )
            (finding,) = plan.findings
            self.assertEqual(VF[0], finding.option)
            user = 'domain vm' if usage.domains else 'qemu-kvm (4711)'
            self.assertIn(user, finding.found)
            self.assertIn('1145', finding.found)

    def test_a_function_in_use_with_the_right_type(self) -> None:
        """Nothing is wrong with it."""
        usage = Usage(domains=(hosts.domain('vm', VF[0]),))
        plan = self.plan({'': '1153'}, card('1153'), usage=usage)
        self.assertEqual(HostPlan(), plan)

    def test_a_named_function_without_a_type_gets_one(self) -> None:
        """A guest of before the reboot waits for it."""
        usage = Usage(domains=(hosts.domain('vm', VF[0]),))
        plan = self.plan({'': '1153'}, card(None), usage=usage)
        self.assertEqual((SetVendorType(VF[0], '1153'),), plan.actions)

    def test_a_full_card_is_no_finding(self) -> None:
        """32 functions, and memory for four: the rest have no type."""
        full = card('1153', '1153', None, None, offers=())
        for text in ('1153', 'L40S-12Q'):
            self.assertEqual([], self.actions({'': text}, full))

    def test_a_card_that_fills_up(self) -> None:
        """One function may list a type that its neighbour does not."""
        half = card('1153', None, None, offers=())
        half = dataclasses.replace(
            half, vfs=(*half.vfs[:2], card(None, None, None).vfs[2])
        )
        self.assertEqual(
            [SetVendorType(VF[2], '1153')], self.actions({'': '1153'}, half)
        )

    def test_a_type_that_the_card_does_not_know(self) -> None:
        """One finding for a card, however many functions it has."""
        plan = self.plan({'': 'L40S-7Q'}, card(None, None), other_card())
        self.assertEqual((), plan.actions)
        self.assertEqual(
            [True, True],
            [
                address in finding.found and "'L40S-7Q'" in finding.found
                for address, finding in zip(
                    (CARD, OTHER_CARD), plan.findings, strict=True
                )
            ],
        )
        for finding in plan.findings:
            self.assertEqual('[vgpu] vf_types', finding.option)

    def test_one_wrong_type_leaves_the_others(self) -> None:
        """Each function counts for itself."""
        plan = self.plan({'': '1153', VF[0]: '9999'}, card(None, None))
        self.assertEqual((SetVendorType(VF[1], '1153'),), plan.actions)
        (finding,) = plan.findings
        self.assertIn('9999', finding.found)

    def test_addresses_of_no_device(self) -> None:
        """A card that was taken out, or a slip of the hand."""
        plan = self.plan({'0000:77:00.0': '1153', CARD: '1153'}, card(None))
        self.assertEqual((SetVendorType(VF[0], '1153'),), plan.actions)
        (finding,) = plan.findings
        self.assertIn('0000:77:00.0', finding.found)

    def test_cards_with_mdevs_have_no_such_types(self) -> None:
        """Nova makes theirs."""
        self.assertEqual(
            [],
            self.actions(
                {'': '1153'}, hosts.sriov(), hosts.gpu(), hosts.mtty()
            ),
        )


class LeaveTest(base.TestCase):
    """A card for another type."""

    def test_what_must_go(self) -> None:
        """Every other type; the new one and empty functions stay."""
        plan = functions.leave_type(
            Usage(), card('1145', '1153', None, '1145'), '1153'
        )
        self.assertEqual(
            (ClearVendorType(VF[0], '1145'), ClearVendorType(VF[3], '1145')),
            plan.actions,
        )

    def test_in_use(self) -> None:
        """All users are named, and nothing is planned."""
        usage = Usage(
            domains=(hosts.domain('one', VF[0]), hosts.domain('two', VF[1])),
            holders={VF[1]: ('qemu-kvm (4711)',)},
        )
        error = self.assertRaises(
            exception.Refused,
            functions.leave_type,
            usage,
            card('1145', '1145', '1145'),
            '1153',
        )
        self.assertEqual(3, len(error.reasons))
        for part in (VF[0], 'domain one', 'domain two', '4711'):
            self.assertIn(part, str(error))

    def test_users_of_the_new_type_are_not_in_the_way(self) -> None:
        """They have what is wanted."""
        usage = Usage(domains=(hosts.domain('one', VF[0]),))
        plan = functions.leave_type(usage, card('1153', '1145'), '1153')
        self.assertEqual((ClearVendorType(VF[1], '1145'),), plan.actions)

    def test_filling(self) -> None:
        """Every function that has another type, or none."""
        plan = functions.fill(card('1153', None, '1145'), '1153')
        self.assertEqual(
            (SetVendorType(VF[1], '1153'), SetVendorType(VF[2], '1153')),
            plan.actions,
        )
