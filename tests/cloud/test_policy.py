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
"""Where guests land: this project's plugins in the real scheduler."""

from __future__ import annotations

import collections

from tests.cloud import base


class PolicyTest(base.CloudTestCase):
    """Policies are measured by the GPUs that guests got."""

    def policy_flavor(self, policy: str) -> str:
        """Make a flavor with one vGPU and a policy."""
        name = f'vgpu_{policy}'
        specs = {'resources:VGPU': '1', 'vgpu:gpu_policy': policy}
        self.flavor(name, specs)
        return name

    def test_pack_fills_one_gpu(self) -> None:
        """Guests of one request and of the next share a GPU."""
        flavor = self.policy_flavor('pack')
        self.create_servers('first', flavor, count=3)
        self.assertEqual([3], list(self.used().values()))
        self.create_servers('second', flavor)
        self.assertEqual([4], list(self.used().values()))

    def test_spread_takes_the_least_loaded(self) -> None:
        """Each guest has a GPU of its own while there is one."""
        flavor = self.policy_flavor('spread')
        self.create_servers('first', flavor, count=5)
        self.create_servers('second', flavor)
        self.assertEqual([1] * 6, list(self.used().values()))

    def test_both_side_by_side(self) -> None:
        """A guest that is packed goes where others are already."""
        self.create_servers('spread', self.policy_flavor('spread'), count=2)
        self.create_servers('pack', self.policy_flavor('pack'))
        self.assertEqual([1, 2], sorted(self.used().values()))

    def test_two_vgpus_are_packed(self) -> None:
        """Numbered groups follow the policy, too, on different GPUs."""
        self.create_servers('one', self.policy_flavor('pack'))
        self.flavor(
            'two',
            {
                'resources1:VGPU': '1',
                'resources2:VGPU': '1',
                'group_policy': 'isolate',
                'vgpu:gpu_policy': 'pack',
            },
        )
        self.create_servers('two', 'two')
        self.create_servers('again', 'two')
        self.assertEqual([2, 3], sorted(self.used().values()))

    def test_plain_guests_stay_off_gpu_hosts(self) -> None:
        """Guests without a vGPU go elsewhere while there is room."""
        self.flavor('plain', {})
        servers = self.create_servers('plain', 'plain', count=3)
        hosts = collections.Counter(s.hypervisor_hostname for s in servers)
        self.assertEqual({'cpu01': 3}, hosts)

    def test_wrong_values_are_refused(self) -> None:
        """nova-api names the key, or the values that it takes."""
        compute = self.connection.compute
        flavor = self.flavor('wrong', {})
        for specs, words in (
            ({'vgpu:gpu_policy': 'packed'}, ('packed', 'pack', 'spread')),
            ({'vgpu:gpu_polizy': 'pack'}, ('vgpu:gpu_polizy',)),
            ({'vgpu:frame_rate_limiter': '2'}, ('2', '0, 1')),
        ):
            # From this microversion on Nova asks the validators.
            answer = compute.post(
                f'/flavors/{flavor.id}/os-extra_specs',
                json={'extra_specs': specs},
                microversion='2.86',
            )
            self.assertEqual(400, answer.status_code)
            for word in words:
                self.assertIn(word, answer.text)
        found = compute.fetch_flavor_extra_specs(flavor)
        self.assertEqual({}, found.extra_specs)
