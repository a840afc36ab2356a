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
"""What vGPUs extra specs ask for, spelling by spelling."""

from __future__ import annotations

from nova_vgpu_ext.plan.flavors import request
from nova_vgpu_ext.plan.flavors.request import Group
from tests import base

L40S = 'CUSTOM_NVIDIA_L40S_12Q'


class VgpuGroupsTest(base.TestCase):
    """Every spelling is seen, and nothing else."""

    def assert_groups(self, specs: dict[str, str], *expected: Group) -> None:
        """Compare what some extra specs ask for."""
        self.assertEqual(expected, request.vgpu_groups(specs, {'CUSTOM_GOLD'}))

    def test_one(self) -> None:
        """The plain form, with its trait."""
        self.assert_groups(
            {
                'resources:VGPU': '1',
                'trait:CUSTOM_NVIDIA_194': 'required',
                'trait:HW_CPU_X86_AVX': 'forbidden',
                'hw:cpu_policy': 'dedicated',
            },
            Group(
                resources={'VGPU': 1},
                required=frozenset({'CUSTOM_NVIDIA_194'}),
                forbidden=frozenset({'HW_CPU_X86_AVX'}),
            ),
        )

    def test_numbered(self) -> None:
        """Each group has its own traits; names are numbers as well."""
        self.assert_groups(
            {
                'resources1:VGPU': '1',
                'trait1:CUSTOM_NVIDIA_194': 'required',
                'resources_big:VGPU': '2',
                'trait_other:CUSTOM_NVIDIA_196': 'required',
                'group_policy': 'isolate',
            },
            Group('1', {'VGPU': 1}, required=frozenset({'CUSTOM_NVIDIA_194'})),
            Group('_big', {'VGPU': 2}),
        )

    def test_classes(self) -> None:
        """Custom classes count if they are a vGPU's, or the cloud's."""
        self.assert_groups(
            {
                'resources:CUSTOM_GOLD': '2',
                f'resources:{L40S}': '1',
                'resources:CUSTOM_NVIDIA_LICENCE': '1',
                'resources:VCPU': '4',
                'resources:VGPU_DISPLAY_HEAD': '1',
            },
            Group(resources={'CUSTOM_GOLD': 2, L40S: 1}),
        )

    def test_alias(self) -> None:
        """PCI aliases are vGPUs where the class of their name is one."""
        self.assert_groups(
            {'pci_passthrough:alias': 'l40s-12q:2, nic:1,gold:1'},
            Group(resources={L40S: 2}, alias='l40s-12q'),
        )

    def test_what_nova_passes_over(self) -> None:
        """Near misses ask for nothing."""
        self.assert_groups(
            {
                'resource:VGPU': '1',
                'resources:vgpu': '1',
                'Resources:VGPU': '1',
                'resources.1:VGPU': '1',
                'resources1:VGPU': '0',
                'resources2:VGPU': 'one',
                'resources3:VGPU': '-1',
                'pci_passthrough:alias': 'l40s-12q',
            }
        )

    def test_trait_of_another_value(self) -> None:
        """Only two values mean something."""
        self.assert_groups(
            {'resources:VGPU': '1', 'trait:CUSTOM_NVIDIA_194': 'Required'},
            Group(resources={'VGPU': 1}),
        )


class ReadTest(base.TestCase):
    """Everything else of a request."""

    def test_policy(self) -> None:
        """Only two policies are known."""
        for value, expected in (
            ('none', 'none'),
            ('isolate', 'isolate'),
            ('Isolate', None),
            ('', None),
        ):
            found = request.read({'group_policy': value})
            self.assertEqual(expected, found.policy)
        self.assertIsNone(request.read({}).policy)

    def test_numbered(self) -> None:
        """A group of traits alone is one as well."""
        found = request.read(
            {
                'resources:VGPU': '1',
                'trait7:CUSTOM_NVIDIA_194': 'required',
                'resources8:VGPU': '0',
            }
        )
        self.assertEqual(['7'], [g.suffix for g in found.numbered])
