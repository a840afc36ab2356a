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
"""Writing what a flavor asks for, and reading it back."""

from __future__ import annotations

import hypothesis
from hypothesis import strategies as st

from nova_vgpu_ext.plan.flavors import request, specs
from nova_vgpu_ext.plan.flavors.specs import Wish
from tests import base

L40S = 'CUSTOM_NVIDIA_L40S_12Q'
T194 = 'CUSTOM_NVIDIA_194'
T196 = 'CUSTOM_NVIDIA_196'

_TYPE_TRAITS = st.sampled_from([T194, T196, 'CUSTOM_VGPU_SERIES_Q'])


@st.composite
def wishes(draw: st.DrawFn) -> Wish:
    """Give any wish."""
    count = draw(st.integers(1, 5))
    isolate = count > 1 and draw(st.booleans())
    if draw(st.booleans()):
        return Wish(L40S, count, isolate=isolate, alias='l40s-12q')
    required = draw(st.frozensets(_TYPE_TRAITS))
    forbidden = draw(st.frozensets(_TYPE_TRAITS)) - required
    name = draw(st.sampled_from(['VGPU', L40S, 'CUSTOM_GOLD']))
    return Wish(name, count, required, forbidden, isolate)


#: What has nothing to do with vGPUs.
OTHERS = st.dictionaries(
    st.sampled_from(
        [
            'hw:cpu_policy',
            'resources:CUSTOM_LICENCE',
            'resources2:CUSTOM_NET',
            'trait:HW_CPU_X86_AVX',
            'trait2:CUSTOM_PHYSNET',
            'vgpu:frame_rate_limiter',
            'empty',
        ]
    ),
    st.sampled_from(['1', '']),
).map(lambda found: found | {'pci_passthrough:alias': 'nic:1'})


class WriteTest(base.TestCase):
    """The spellings that Nova needs."""

    def test_one(self) -> None:
        """One is the plain form."""
        self.assertEqual(
            {'resources:VGPU': '1'}, specs.write(Wish('VGPU', isolate=False))
        )
        self.assertEqual(
            {'resources:VGPU': '1', f'trait:{T194}': 'required'},
            specs.write(Wish('VGPU', required=frozenset({T194}))),
        )

    def test_several(self) -> None:
        """Each has a group and its traits."""
        self.assertEqual(
            {
                'resources1:VGPU': '1',
                f'trait1:{T194}': 'required',
                'resources2:VGPU': '1',
                f'trait2:{T194}': 'required',
                'group_policy': 'isolate',
            },
            specs.write(Wish('VGPU', 2, frozenset({T194}), isolate=True)),
        )
        self.assertEqual('none', specs.write(Wish('VGPU', 2))['group_policy'])

    def test_alias(self) -> None:
        """PCI devices are asked for by alias alone."""
        self.assertEqual(
            {'pci_passthrough:alias': 'l40s-12q:2'},
            specs.write(Wish(L40S, 2, alias='l40s-12q')),
        )

    def test_read_what_is_written(self) -> None:
        """A wish comes back as it was, and asks for its number of vGPUs."""

        @hypothesis.settings(max_examples=200, deadline=None, database=None)
        @hypothesis.given(wishes(), OTHERS)
        def same(wish: Wish, others: dict[str, str]) -> None:
            written = specs.replace(others, wish, {'CUSTOM_GOLD'})
            self.assertEqual(wish, specs.read(written, {'CUSTOM_GOLD'}))
            groups = request.vgpu_groups(written, {'CUSTOM_GOLD'})
            self.assertEqual(
                {wish.resource_class},
                {name for group in groups for name in group.resources},
            )
            self.assertEqual(
                wish.count, sum(sum(g.resources.values()) for g in groups)
            )

        same()

    def test_replace(self) -> None:
        """Nothing of an earlier wish stays, and all that is not one."""

        @hypothesis.settings(max_examples=200, deadline=None, database=None)
        @hypothesis.given(wishes(), wishes(), OTHERS)
        def same(first: Wish, second: Wish, others: dict[str, str]) -> None:
            gold = {'CUSTOM_GOLD'}
            before = specs.replace(others, first, gold)
            self.assertEqual(
                specs.replace(others, second, gold),
                specs.replace(before, second, gold),
            )
            self.assertEqual(others, specs.without(before, gold))
            self.assertEqual(before, specs.replace(before, first, gold))

        same()


class ReadTest(base.TestCase):
    """What is no wish, or is one in another spelling."""

    def test_nothing(self) -> None:
        """No vGPU, no wish."""
        self.assertIsNone(specs.read({'hw:cpu_policy': 'dedicated'}))

    def test_different_ones(self) -> None:
        """Groups that differ are no wish."""
        for more in (
            {'resources2:VGPU': '1', f'trait2:{T196}': 'required'},
            {f'resources2:{L40S}': '1'},
            {'pci_passthrough:alias': 'l40s-12q:1'},
            {f'resources1:{L40S}': '1'},
        ):
            found = specs.read(
                {'resources1:VGPU': '1', f'trait1:{T194}': 'required'} | more
            )
            self.assertIsNone(found, more)

    def test_other_spellings(self) -> None:
        """An amount and names of groups come to the same."""
        self.assertEqual(
            Wish('VGPU', 3, isolate=True),
            specs.read(
                {
                    'resources_A:VGPU': '2',
                    'resources7:VGPU': '1',
                    'group_policy': 'isolate',
                }
            ),
        )

    def test_traits_of_the_host(self) -> None:
        """Without a number only traits of types are the vGPU's."""
        self.assertEqual(
            Wish('VGPU', required=frozenset({T194})),
            specs.read(
                {
                    'resources:VGPU': '1',
                    f'trait:{T194}': 'required',
                    'trait:HW_CPU_X86_AVX': 'required',
                }
            ),
        )


class WithoutTest(base.TestCase):
    """What is about vGPUs goes, however it is written."""

    def test_misspelt(self) -> None:
        """What was meant for vGPUs goes as well."""
        self.assertEqual(
            {'hw:cpu_policy': 'shared'},
            specs.without(
                {
                    'resource:VGPU': '1',
                    'resources:vgpu': '1',
                    'trait:nvidia-194': 'required',
                    'resources1:VGPU': 'one',
                    'trait1:CUSTOM_RACK': 'required',
                    'group_policy': 'Isolate',
                    'pci_passthrough:alias': 'l40s-12q',
                    'hw:cpu_policy': 'shared',
                }
            ),
        )

    def test_policy_of_others(self) -> None:
        """Other groups keep their policy; a group of both keeps its trait."""
        others = {
            'resources1:CUSTOM_NET': '1',
            'resources2:CUSTOM_NET': '1',
            'trait2:CUSTOM_PHYSNET': 'required',
            'group_policy': 'isolate',
        }
        self.assertEqual(
            others, specs.without(others | {'resources2:VGPU': '1'})
        )
