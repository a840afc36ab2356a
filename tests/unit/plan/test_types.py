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
"""Which type each device gets."""

from __future__ import annotations

from nova_vgpu_ext import models
from nova_vgpu_ext.plan import types
from tests import base
from tests.unit.plan import hosts
from tests.unit.plan.hosts import GPU_1, GPU_2, GPU_3, at


class ResolveTest(base.TestCase):
    """Nova's rules for types and addresses."""

    def resolve(
        self, config: models.DevicesConfig, *gpus: models.Gpu
    ) -> types.TypeMap:
        """Resolve a configuration that has nothing wrong."""
        type_map, findings = types.resolve(config, hosts.host(*gpus))
        self.assertEqual([], findings)
        return type_map

    def test_one_type_is_for_every_gpu(self) -> None:
        """Without addresses the only type is the default."""
        type_map = self.resolve(hosts.config(['nvidia-194']))
        for address in (GPU_1, GPU_2):
            self.assertEqual('nvidia-194', type_map.type_of(address).id)

    def test_addresses_come_first(self) -> None:
        """A section takes its GPUs away from the default, wherever it is."""
        type_map = self.resolve(
            hosts.config(
                {'a': at(GPU_1), 'b': {}, 'c': at(GPU_3)},
            )
        )
        self.assertEqual(
            ['a', 'b', 'c'],
            [type_map.type_of(a).id for a in (GPU_1, GPU_2, GPU_3)],
        )
        self.assertEqual({'a', 'b', 'c'}, type_map.enabled)

    def test_without_a_default_others_get_none(self) -> None:
        """A GPU that no section names has no type then."""
        type_map = self.resolve(hosts.config({'a': at(GPU_1)}))
        self.assertIsNone(type_map.type_of(GPU_2))

    def test_an_empty_type_leaves_its_gpus_to_the_default(self) -> None:
        """As in "nvidia-194, , b": Nova takes the empty name for none."""
        type_map = self.resolve(hosts.config({'': at(GPU_1), 'b': {}}))
        self.assertEqual('b', type_map.type_of(GPU_1).id)

    def test_virtual_parents_need_a_section(self) -> None:
        """The default is for PCI devices only."""
        type_map = self.resolve(hosts.config(['a']), hosts.mtty())
        self.assertIsNone(type_map.type_of('mtty_mtty'))
        type_map = self.resolve(
            hosts.config({'a': at('mtty_mtty')}), hosts.mtty()
        )
        self.assertEqual('a', type_map.type_of('mtty_mtty').id)

    def test_the_class_counts_with_addresses_only(self) -> None:
        """Nova reports VGPU for the default, whatever its class."""
        type_map = self.resolve(
            hosts.config(
                {
                    'a': at(GPU_1, mdev_class='CUSTOM_A'),
                    'b': {'mdev_class': 'CUSTOM_B'},
                }
            )
        )
        self.assertEqual('CUSTOM_A', type_map.class_of(GPU_1))
        self.assertEqual('VGPU', type_map.class_of(GPU_2))
