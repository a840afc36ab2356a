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
"""Faults of flavors: each is found, and a good flavor has none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import hypothesis
from hypothesis import strategies as st

from nova_vgpu_ext import models
from nova_vgpu_ext.plan.flavors import check, offers, room, specs
from tests import base
from tests.unit.plan.audit import clouds

L40S = 'CUSTOM_NVIDIA_L40S_12Q'
GOLD = 'CUSTOM_GOLD'
T194 = 'CUSTOM_NVIDIA_194'
T196 = 'CUSTOM_NVIDIA_196'

SIZES = {'VCPU': (64, 0), 'MEMORY_MB': (262144, 0), 'DISK_GB': (2048, 0)}


def host(*gpus: models.CloudGpu, **fields: Any) -> models.CloudHost:
    """Make a compute node of the usual size."""
    capacities = {
        name: models.Capacity(*has)
        for name, has in (SIZES | fields.pop('sizes', {})).items()
    }
    return clouds.host(
        *gpus,
        capacities=capacities,
        traits=frozenset({'HW_CPU_X86_AVX'}),
        **fields,
    )


def vf(number: int, traits: Iterable[str] = ()) -> models.CloudGpu:
    """Make a VF with its one vGPU."""
    return clouds.gpu(
        number, {'VGPU': (1, 0)}, traits, address=f'0000:41:01.{number}'
    )


def card(number: int = 9) -> models.CloudGpu:
    """Make a card with vendor VFIO."""
    return clouds.gpu(number, {L40S: (4, 0)}, (), is_pci=True)


#: One host with two GPUs of each type, another with a card and one with VFs.
CLOUD = (
    host(
        clouds.gpu(1),
        clouds.gpu(2),
        clouds.gpu(3, {'VGPU': (8, 8)}, clouds.TYPE_196),
        clouds.gpu(4, {'VGPU': (8, 8)}, clouds.TYPE_196),
        clouds.gpu(5, {GOLD: (16, 0)}, {'CUSTOM_NVIDIA_195'}),
    ),
    host(card(), name='gpu02'),
    host(*(vf(n, {'CUSTOM_NVIDIA_35'}) for n in range(8)), name='gpu03'),
)


def flavor(extra_specs: Mapping[str, str], **fields: Any) -> models.Flavor:
    """Make a flavor of a modest size."""
    values = {'vcpus': 2, 'ram': 4096, 'disk': 20} | fields
    return models.Flavor('id', 'a flavor', **values, extra_specs=extra_specs)


class CheckTestCase(base.TestCase):
    """A test that checks flavors in a cloud."""

    cloud = CLOUD

    def findings(
        self, extra_specs: Mapping[str, str], **fields: Any
    ) -> list[models.Finding]:
        """Check a flavor."""
        shapes = {room.shape(host) for host in self.cloud}
        return check.check(flavor(extra_specs, **fields), shapes)

    def assert_fault(
        self,
        extra_specs: Mapping[str, str],
        key: str,
        found: str,
        expected: str,
        severity: models.Severity = models.Severity.ERROR,
        **fields: Any,
    ) -> None:
        """Expect one finding, with texts in it."""
        findings = self.findings(extra_specs, **fields)
        self.assertEqual([key], [f.option for f in findings], findings)
        self.assertEqual(severity, findings[0].severity)
        self.assertIn(found, findings[0].found)
        self.assertIn(expected, findings[0].expected)

    def assert_good(self, extra_specs: Mapping[str, str]) -> None:
        """Expect no finding."""
        self.assertEqual([], self.findings(extra_specs), extra_specs)


class GoodTest(CheckTestCase):
    """Nothing is found where nothing is wrong."""

    def test_written(self) -> None:
        """What this project writes for any type and number that fits."""
        found = offers.offers(g for h in CLOUD for g in h.gpus)
        self.assertEqual(5, len(found))
        for offer in found:
            for count in (1, 2):
                if offer.resource_class == GOLD and count == 2:
                    continue  # There is one such GPU.
                for isolate in (None, *((False,) if offer.is_pci else ())):
                    wish = offer.wish(count, isolate)
                    self.assert_good(specs.write(wish))

    def test_other_flavors(self) -> None:
        """What is not about vGPUs is no concern."""
        self.assert_good({})
        self.assert_good(
            {
                'resources1:CUSTOM_NET': '1',
                'resources2:CUSTOM_NET': '1',
                'trait:CUSTOM_PHYSNET': 'required',
                'pci_passthrough:alias': 'gpu',
                'resources:VCPU': '0',
                'aggregate_instance_extra_specs:vgpu': 'yes',
            }
        )

    def test_plain(self) -> None:
        """The simplest form, and others that work."""
        self.assert_good({'resources:VGPU': '1'})
        self.assert_good({f'resources:{GOLD}': '1', 'vgpu:disable_vnc': '1'})
        self.assert_good(
            {
                'resources:VGPU': '1',
                f'trait:{T194}': 'forbidden',
                'trait:HW_CPU_X86_AVX': 'required',
                'vgpu:gpu_policy': 'pack',
            }
        )
        self.assert_good(
            {'resourcesA:VGPU': '1', 'resourcesB:VGPU': '1'}
            | {'group_policy': 'isolate'}
        )


class SpellingTest(CheckTestCase):
    """Near misses."""

    def test_keys(self) -> None:
        """Keys that Nova does not know."""
        for key, expected in (
            ('resource:VGPU', 'resources:VGPU'),
            ('Resources:VGPU', 'resources:VGPU'),
            ('resource1:VGPU', 'resources1:VGPU'),
            ('resources.2:VGPU', 'resources2:VGPU'),
            ('resources:vgpu', 'resources:VGPU'),
            ('resources: VGPU', 'resources:VGPU'),
            ('resources3:vGPUs', 'resources3:VGPU'),
            ('resource:custom_gold', f'resources:{GOLD}'),
            ('resources:GOLD', f'resources:{GOLD}'),
            ('resources:nvidia_l40s-12q', f'resources:{L40S}'),
        ):
            with_trait = {key: '1', f'trait:{T194}': 'required'}
            self.assert_fault(with_trait, key, 'without a GPU', expected)

    def test_amounts(self) -> None:
        """Values that are no number from 1."""
        for value in ('0', '-1', 'one', '1.0', ''):
            self.assert_fault(
                {'resources:VGPU': value},
                'resources:VGPU',
                'without a GPU',
                'a number from 1',
            )

    def test_traits(self) -> None:
        """Values and names of traits."""
        for key, value, found, expected in (
            (f'trait:{T194}', 'yes', 'any type', 'required'),
            (f'trait:{T194}', 'Required', 'any type', 'required'),
            (f'traits:{T194}', 'required', 'group s', f'trait:{T194}'),
            (f'trait.1:{T194}', 'required', 'any type', f'trait1:{T194}'),
            ('trait:nvidia-194', 'required', 'not know', f'trait:{T194}'),
            ('trait:NVIDIA_194', 'required', 'not know', f'trait:{T194}'),
        ):
            self.assert_fault(
                {'resources:VGPU': '1', key: value}, key, found, expected
            )

    def test_parameters(self) -> None:
        """Unknown keys and values."""
        for key, value, expected in (
            ('vgpu:frame_rate_limit', '0', 'frame_rate_limiter'),
            ('vgpu:frame_rate_limiter', 'no', '0 or 1'),
            ('vgpu:gpu_policy', 'fill', 'pack or spread'),
        ):
            self.assert_fault(
                {'resources:VGPU': '1', key: value}, key, value, expected
            )

    def test_alias(self) -> None:
        """A value with which no server can be created."""
        for value in ('l40s-12q', 'l40s-12q:1:2', 'l40s-12q:one,nic:1'):
            self.assert_fault(
                {'pci_passthrough:alias': value},
                'pci_passthrough:alias',
                'refuses to create',
                'ALIAS:COUNT',
            )


class NeverTest(CheckTestCase):
    """Flavors that no host could serve."""

    def test_no_policy(self) -> None:
        """Placement refuses several groups without one."""
        for policy in ({}, {'group_policy': 'Isolate'}):
            self.assert_fault(
                {'resources1:VGPU': '1', 'resources2:VGPU': '1', **policy},
                'group_policy',
                'Placement refuses',
                'isolate',
            )

    def test_class(self) -> None:
        """A class that no GPU offers."""
        self.assert_fault(
            {'resources:CUSTOM_NVIDIA_A40_8Q': '1'},
            'resources:CUSTOM_NVIDIA_A40_8Q',
            'no GPU that offers',
            'type list',
        )
        self.assert_fault(
            {'pci_passthrough:alias': 'a40-8q:1'},
            'pci_passthrough:alias',
            'no GPU that offers CUSTOM_NVIDIA_A40_8Q',
            'type list',
        )

    def test_class_that_nova_does_not_apply(self) -> None:
        """mdev_class without device_addresses."""
        for specs_ in (
            {'resources:CUSTOM_NVIDIA_V100DX_1Q': '1'},
            {
                'resources:CUSTOM_NVIDIA_V100DX_1Q': '1',
                f'trait:{T194}': 'required',
            },
        ):
            self.assert_fault(
                specs_,
                'resources:CUSTOM_NVIDIA_V100DX_1Q',
                'such GPUs offer VGPU',
                'device_addresses',
            )

    def test_trait(self) -> None:
        """A trait that no GPU of the class has, or that all have."""
        self.assert_fault(
            {'resources:VGPU': '1', 'trait:CUSTOM_NVIDIA_207': 'required'},
            'trait:CUSTOM_NVIDIA_207',
            'no GPU has it',
            'a trait that',
        )
        self.assert_fault(
            {'resources1:VGPU': '1', 'trait1:HW_CPU_X86_AVX': 'required'},
            'trait1:HW_CPU_X86_AVX',
            'no GPU has it',
            'a trait that',
        )
        self.assert_fault(
            {
                f'resources:{GOLD}': '1',
                'trait:CUSTOM_NVIDIA_195': 'forbidden',
            },
            'trait:CUSTOM_NVIDIA_195',
            'every GPU has it',
            'some GPUs do not have',
        )

    def test_traits_of_two_types(self) -> None:
        """No GPU has both."""
        self.assert_fault(
            {
                'resources:VGPU': '1',
                f'trait:{T194}': 'required',
                f'trait:{T196}': 'required',
            },
            'resources:VGPU',
            'no GPU that has all the traits',
            'one GPU has',
        )

    def test_trait_both_ways(self) -> None:
        """Across groups it is a matter of each; in one it is refused."""
        self.assert_good(
            {
                'resources:VGPU': '1',
                f'trait:{T194}': 'required',
                'resources1:VGPU': '1',
                f'trait1:{T194}': 'forbidden',
                'group_policy': 'isolate',
            }
        )

    def test_trait_of_no_number(self) -> None:
        """A trait beside groups with numbers is asked of the host."""
        self.assert_fault(
            {
                'resources1:VGPU': '1',
                'resources2:VGPU': '1',
                'group_policy': 'isolate',
                f'trait:{T194}': 'required',
            },
            f'trait:{T194}',
            'beside no vGPU',
            f'trait1:{T194}',
        )

    def test_trait_alone(self) -> None:
        """A trait that no resources stand beside."""
        self.assert_fault(
            {f'trait:{T194}': 'required'},
            f'trait:{T194}',
            'beside no vGPU',
            'resources:VGPU=1',
        )
        self.assert_fault(
            {'resources:VGPU': '1', f'trait1:{T194}': 'required'},
            f'trait1:{T194}',
            'without resources',
            'resources1:VGPU',
        )

    def test_trait_of_the_host(self) -> None:
        """One that no host has, and one that every host has."""
        self.assert_fault(
            {
                'resources1:VGPU': '1',
                'trait:HW_CPU_X86_AMX': 'required',
            },
            'trait:HW_CPU_X86_AMX',
            'no host with GPUs has it',
            'a trait of such a host',
        )
        self.assert_fault(
            {'resources1:VGPU': '1', 'trait:HW_CPU_X86_AVX': 'forbidden'},
            'trait:HW_CPU_X86_AVX',
            'every host with GPUs has it',
            'some of them',
        )

    def test_amount(self) -> None:
        """More of one GPU, or VF, than any has."""
        self.assert_fault(
            {'resources:VGPU': '33'},
            'resources:VGPU',
            '33 vGPUs of one GPU',
            'at most 32',
        )
        self.assert_fault(
            {'resources1:VGPU': '2', 'trait1:CUSTOM_NVIDIA_35': 'required'},
            'resources1:VGPU',
            '2 vGPUs of one GPU',
            'at most 1',
        )

    def test_groups(self) -> None:
        """More different GPUs than any host has, or more vGPUs."""
        offered = offers.offers(g for h in CLOUD for g in h.gpus)
        for text, count, isolate, found, most in (
            ('nvidia-194', 3, True, '3 vGPUs of different GPUs', 2),
            ('nvidia-196', 17, False, '17 vGPUs', 16),
            ('nvidia-35', 9, None, '9 vGPUs of different GPUs', 8),
            ('L40S-12Q', 5, None, '5 vGPUs', 4),
            ('L40S-12Q', 2, True, '2 vGPUs of different GPUs', 1),
        ):
            offer = offers.find(text, offered)
            written = specs.write(offer.wish(count, isolate))
            self.assert_fault(
                written, next(iter(written)), found, f'at most {most}'
            )

    def test_sizes(self) -> None:
        """More than any host has beside the GPUs."""
        for field, key, amount in (
            ('vcpus', 'VCPU', 65),
            ('ram', 'MEMORY_MB', 262145),
            ('disk', 'DISK_GB', 2049),
        ):
            self.assert_fault(
                {'resources:VGPU': '1'},
                key,
                str(amount),
                f'at most {amount - 1}',
                **{field: amount},
            )

    def test_all_together(self) -> None:
        """Each part is there, on different hosts."""
        self.assert_fault(
            {'resources:VGPU': '1', 'pci_passthrough:alias': 'l40s-12q:1'},
            'a flavor',
            'all of it together',
            'a host',
        )

    def test_several_faults(self) -> None:
        """Each has its line."""
        found = self.findings(
            {
                'resources1:VGPU': '1',
                'trait1:CUSTOM_NVIDIA_207': 'required',
                'resources2:VGPU': '64',
                'group_policy': 'isolate',
            },
            vcpus=1000,
        )
        self.assertEqual(
            ['VCPU', 'resources2:VGPU', 'trait1:CUSTOM_NVIDIA_207'],
            sorted(f.option for f in found),
        )

    def test_cloud_without_gpus(self) -> None:
        """No GPU offers anything."""
        self.cloud = ()  # type: ignore[assignment]
        self.assert_fault(
            {'resources:VGPU': '1'}, 'resources:VGPU', 'no GPU', 'a class'
        )


class AttachmentTest(CheckTestCase):
    """Placement gives what the guest does not get."""

    def test_pci_class(self) -> None:
        """Nova attaches PCI devices by alias only."""
        self.assert_fault(
            {f'resources:{L40S}': '2'},
            f'resources:{L40S}',
            'without a GPU',
            'pci_passthrough:alias=l40s-12q:2',
        )

    def test_two_of_one_gpu(self) -> None:
        """A GPU without SR-IOV gives a guest one vGPU."""
        self.assert_fault(
            {'resources:VGPU': '2'},
            'resources:VGPU',
            '2 vGPUs of one GPU',
            'isolate',
        )

    def test_mtty_gives_several(self) -> None:
        """It is no GPU."""
        self.cloud = (host(clouds.gpu(1, address='mtty_mtty')),)  # type: ignore[assignment]
        self.assert_good({'resources:VGPU': '2'})

    def test_groups_that_may_meet(self) -> None:
        """Two groups may be served from one GPU."""
        for more in (
            {'resources2:VGPU': '1', 'group_policy': 'none'},
            {'resources:VGPU': '1', 'group_policy': 'isolate'},
        ):
            self.assert_fault(
                {'resources1:VGPU': '1', **more},
                'group_policy',
                'may serve from one GPU',
                'isolate',
                models.Severity.WARNING,
            )

    def test_groups_that_never_meet(self) -> None:
        """VFs have one vGPU each, and types are on different GPUs."""
        on_vfs = {
            'resources1:VGPU': '1',
            'trait1:CUSTOM_NVIDIA_35': 'required',
            'resources2:VGPU': '1',
            'group_policy': 'none',
        }
        self.assert_good(on_vfs | {'trait2:CUSTOM_NVIDIA_35': 'required'})
        self.assert_good(
            {
                'resources1:VGPU': '1',
                f'trait1:{T194}': 'required',
                'resources2:VGPU': '1',
                f'trait2:{T196}': 'required',
                'group_policy': 'none',
            }
        )


class AnyTest(CheckTestCase):
    """Whatever somebody wrote into a flavor."""

    def test_any_extra_specs(self) -> None:
        """Checking ends with findings, never with an error."""
        keys = st.builds(
            '{}{}:{}'.format,
            st.sampled_from(['resources', 'resource', 'trait', 'vgpu', '']),
            st.sampled_from(['', '1', '2', '_X']),
            st.sampled_from(['VGPU', T194, L40S, GOLD, 'vgpu', '', 'gpu:x']),
        )
        values = st.sampled_from(['1', '99', '0', 'required', 'forbidden', ''])
        alias = st.sampled_from(['', 'l40s-12q:2', 'l40s-12q:', ',:', 'a:1'])

        @hypothesis.settings(max_examples=300, deadline=None, database=None)
        @hypothesis.given(st.dictionaries(keys, values, max_size=6), alias)
        def ends(found: dict[str, str], alias: str) -> None:
            given = found | {'pci_passthrough:alias': alias}
            for finding in self.findings(given):
                self.assertTrue(str(finding).isprintable())

        ends()
