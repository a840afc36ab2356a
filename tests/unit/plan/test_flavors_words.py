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
"""What flavors ask for, in words."""

from __future__ import annotations

from nova_vgpu_ext.plan.flavors import words
from tests import base

T194 = 'CUSTOM_NVIDIA_194'


class DescribeTest(base.TestCase):
    """Number, kind and where they come from."""

    def test_words(self) -> None:
        """Each spelling."""
        for specs, expected in (
            ({'hw:cpu_policy': 'shared'}, ''),
            ({'resources:VGPU': '1'}, '1 vGPU of the class VGPU'),
            (
                {'resources:VGPU': '1', f'trait:{T194}': 'required'},
                '1 vGPU of the type nvidia-194',
            ),
            (
                {'resources:CUSTOM_GOLD': '2', f'trait:{T194}': 'forbidden'},
                f'2 vGPUs of one GPU of the class CUSTOM_GOLD without {T194}',
            ),
            (
                {
                    'resources1:VGPU': '1',
                    f'trait1:{T194}': 'required',
                    'resources2:VGPU': '1',
                    f'trait2:{T194}': 'required',
                    'group_policy': 'isolate',
                },
                '2 vGPUs of the type nvidia-194, each of another GPU',
            ),
            (
                {
                    'resources1:VGPU': '1',
                    'trait1:CUSTOM_VGPU_SERIES_Q': 'required',
                    'resources2:CUSTOM_GOLD': '1',
                    'group_policy': 'none',
                },
                '1 vGPU with CUSTOM_VGPU_SERIES_Q, and 1 vGPU of the class '
                'CUSTOM_GOLD',
            ),
            (
                {'pci_passthrough:alias': 'l40s-12q:3'},
                '3 vGPUs of the class CUSTOM_NVIDIA_L40S_12Q (PCI alias '
                'l40s-12q)',
            ),
            (
                {
                    'pci_passthrough:alias': 'l40s-12q:2',
                    'group_policy': 'isolate',
                },
                '2 vGPUs of the class CUSTOM_NVIDIA_L40S_12Q (PCI alias '
                'l40s-12q), each of another GPU',
            ),
        ):
            found = words.describe(specs, {'CUSTOM_GOLD'})
            self.assertEqual(expected, found)
