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
"""``openstack vgpu guest config``."""

from __future__ import annotations

import yaml

from tests.functional import base, osc_base
from tests.functional.test_guest_config import DRIVER

L40S = 'CUSTOM_NVIDIA_L40S_12Q'
V100D = 'CUSTOM_NVIDIA_V100DX_4C'
TYPE = {'trait:CUSTOM_NVIDIA_194': 'required'}
#: What flavors ask for of which the types are known.
KNOWN = {
    'by type': {'resources:VGPU': '1', **TYPE},
    'any': {'resources:VGPU': '1'},
    'on the root': {'resources:VGPU': '1', 'trait:CUSTOM_GOLD': 'required'},
    'by class': {'resources:CUSTOM_BIG': '1'},
    'by product': {
        'resources:VGPU': '1',
        'trait:CUSTOM_VGPU_A40_8Q': 'required',
    },
    'by alias': {'pci_passthrough:alias': 'l40s-12q:2'},
    'two': {
        'resources1:VGPU': '1',
        'resources2:VGPU': '1',
        'trait1:CUSTOM_NVIDIA_194': 'required',
        'trait2:CUSTOM_NVIDIA_194': 'required',
        'group_policy': 'isolate',
    },
}
#: Those that are refused, and words of the reason.
REFUSED = {
    'plain': ({}, 'flavor plain asks for no vGPU'),
    'two series': (
        {
            'resources1:VGPU': '1',
            'trait1:CUSTOM_NVIDIA_194': 'required',
            f'resources2:{V100D}': '1',
            'group_policy': 'isolate',
        },
        'series C and Q in one guest',
    ),
    'not offered': (
        {'resources:VGPU': '1', 'trait:CUSTOM_NVIDIA_207': 'required'},
        'no host offers nvidia-207',
    ),
    'untold': (
        {'resources:CUSTOM_UNTOLD': '1', 'trait:CUSTOM_NVIDIA_9': 'required'},
        'no trait says of which product or series nvidia-9 is; run nova-vgpu '
        'report',
    ),
}


class GuestConfigTest(osc_base.OscTestCase):
    """The type is found in the cloud."""

    def setUp(self) -> None:
        super().setUp()
        self.first, self.big = self.gpu_host('gpu01')
        self.placement.set_inventories(self.big, {'CUSTOM_BIG': 1})
        self.placement.set_traits('gpu01', {'CUSTOM_GOLD'})

    def config(self, *arguments: str, system: str = 'ubuntu') -> base.Outcome:
        """Run the command."""
        return self.run_osc(
            *('vgpu', 'guest', 'config', '--guest-os', system), *arguments
        )

    def check_refused(self, words: str, *arguments: str) -> None:
        """It fails with one reason, and nothing on standard output."""
        found = self.config(*arguments)
        self.assertEqual((1, ''), (found.code, found.out), words)
        self.assertIn(words, found.err)
        self.assertNotIn('Traceback', found.err)

    def test_flavors(self) -> None:
        """Every way of asking, and what is printed."""
        self.card('gpu01')
        token = self.temp_dir() / 'token'
        token.write_text('eyJh.payload.signature')
        token.chmod(0o600)
        for name, specs in KNOWN.items():
            flavor = self.nova.create_flavor(name, specs)
            by_name, by_id = (
                self.config('--flavor', text, '--token', str(token), *DRIVER)
                for text in (name, flavor)
            )
            self.assertEqual((0, ''), (by_name.code, by_name.err), name)
            self.assertEqual(by_name, by_id)
            config = yaml.safe_load(by_name.out)
            self.assertIn('write_files', config)
        # Series Q is not for a licence server that has none of vws.
        self.check_refused(
            'series Q needs a licence of vws',
            *('--flavor', 'any', '--token', str(token), '--edition', 'vapps'),
        )

    def test_refused_flavors(self) -> None:
        """Each with the reason."""
        self.gpu('gpu01', 2, type_=None, resource_class=V100D)
        untold = self.gpu('gpu01', 3, None, resource_class='CUSTOM_UNTOLD')
        self.placement.set_traits(untold, {'CUSTOM_NVIDIA_9'})
        for name, (specs, words) in REFUSED.items():
            self.nova.create_flavor(name, specs)
            self.check_refused(words, '--flavor', name)
        self.check_refused("no flavor 'none' here", '--flavor', 'none')

    def test_a_flavor_that_leaves_the_series_open(self) -> None:
        """It is told how to be made sure; its servers have one."""
        other = self.gpu('gpu01', 2)
        self.placement.set_traits(other, {'CUSTOM_VGPU_V100DX_4C'})
        self.nova.create_flavor('any', {'resources:VGPU': '1'})
        self.check_refused(
            'flavor any: VGPU can be any of V100DX-1Q, V100DX-4C, which are '
            'of the series C and Q',
            *('--flavor', 'any'),
        )
        self.server('q', 'any', 'gpu01', {self.first: {'VGPU': 1}})
        self.server('c', 'any', 'gpu01', {other: {'VGPU': 1}})
        licence = ('--license-server', 'lic.example.org')
        self.assertEqual(0, self.config('--server', 'q', *licence).code)
        self.check_refused('series C needs', '--server', 'c', *licence)
        compute = ('--edition', 'compute')
        found = self.config('--server', 'c', *licence, *compute)
        self.assertEqual((0, ''), (found.code, found.err))
        self.assertIn('ServerAddress=lic.example.org', found.out)

    def test_servers(self) -> None:
        """By name and ID, with and without a GPU now."""
        self.nova.create_flavor('plain', {})
        self.nova.create_flavor('typed', {'resources:VGPU': '1', **TYPE})
        name = 'a.*(b) "c"'
        uuid = self.server(name, 'typed', 'gpu01', {self.first: {'VGPU': 1}})
        self.server('a..(b) "c"', 'typed')
        self.server('big', 'plain', 'gpu01', {self.big: {'CUSTOM_BIG': 1}})
        self.server('shelved', 'typed', vm_state='shelved_offloaded')
        for text in (name, uuid, 'big', 'shelved'):
            found = self.config('--server', text)
            self.assertEqual((0, ''), (found.code, found.err), text)
            self.assertTrue(found.out.startswith('#cloud-config\n'))

    def test_refused_servers(self) -> None:
        """No such server, several of the name, one without a vGPU."""
        self.nova.create_flavor('plain', {})
        uuids = [self.server('twin', 'plain') for _ in range(2)]
        self.server('plain', 'plain', 'gpu01')
        for text, words in (
            ('nobody', "no server 'nobody' here"),
            (osc_base.new_uuid(), 'openstack server list --all-projects'),
            ('twin', "2 servers have the name 'twin'; give the ID"),
            ('twin', uuids[0]),
            ('twin', uuids[1]),
            ('plain', 'server plain asks for no vGPU'),
        ):
            self.check_refused(words, '--server', text)
