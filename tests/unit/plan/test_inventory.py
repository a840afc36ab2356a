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
"""How much each GPU offers, and under which name, class and traits."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any

from nova_vgpu_ext import models
from nova_vgpu_ext.plan import inventory, traits
from tests import base
from tests.unit.plan import hosts
from tests.unit.plan.hosts import CARD, GPU_1, GPU_2, GPU_3, NODE, at


def totals(
    config: models.DevicesConfig,
    snapshot: models.Snapshot,
    reported: Collection[str] = (),
) -> dict[str, int]:
    """Plan, and give the totals by the device's libvirt name."""
    plan = inventory.plan(config, snapshot, NODE, hosts.ALL_TRAITS, reported)
    return {
        p.name.removeprefix(f'{NODE}_'): p.inventory.total
        for p in plan.providers
    }


class PlanTest(base.TestCase):
    """Providers and their inventories."""

    def test_a_provider(self) -> None:
        """Name, class, the whole record and the traits of one GPU."""
        one = hosts.gpu()
        one = dataclasses.replace(
            one,
            types=(
                models.VgpuType('nvidia-194', 'GRID V100DX-1Q', 32, 32, 1024),
                models.VgpuType('nvidia-35', 'GRID V100DX-2A', 16, 16, 2048),
            ),
        )
        (provider,) = inventory.plan(
            hosts.config(['nvidia-194']),
            hosts.host(one),
            NODE,
            hosts.ALL_TRAITS,
        ).providers
        self.assertEqual(
            models.DesiredProvider(
                name='node.example.org_pci_0000_1a_00_0',
                resource_class='VGPU',
                inventory=models.InventoryRecord(
                    total=32,
                    max_unit=32,
                    min_unit=1,
                    step_size=1,
                    reserved=0,
                    allocation_ratio=1.0,
                ),
                traits=frozenset(
                    {
                        'CUSTOM_NVIDIA_194',
                        'CUSTOM_VGPU_V100DX_1Q',
                        'CUSTOM_VGPU_SERIES_Q',
                        'CUSTOM_VGPU_FB_1024M',
                    }
                ),
                owned_traits=frozenset(
                    {'CUSTOM_NVIDIA_194', 'CUSTOM_NVIDIA_35'}
                ),
            ),
            provider,
        )

    def test_existing_mdevs_count(self) -> None:
        """The total is what is made and what can still be made."""
        snapshot = hosts.host(
            hosts.gpu(offers={'nvidia-194': 29}, held=['nvidia-194'] * 3)
        )
        self.assertEqual(
            {'pci_0000_1a_00_0': 32},
            totals(hosts.config(['nvidia-194']), snapshot),
        )

    def test_mdevs_of_another_type_do_not(self) -> None:
        """They take the GPU away: nothing is reported for it."""
        snapshot = hosts.host(
            hosts.gpu(offers={'nvidia-194': 0}, held=['nvidia-196'] * 2),
            hosts.gpu(GPU_2),
        )
        self.assertEqual(
            {'pci_0000_1b_00_0': 32},
            totals(hosts.config(['nvidia-194']), snapshot),
        )

    def test_mdevs_of_a_type_that_is_no_longer_offered(self) -> None:
        """What exists counts although no more can be made."""
        snapshot = hosts.host(
            hosts.gpu(offers={'nvidia-1': 3}, held=['nvidia-194'] * 2)
        )
        self.assertEqual(
            {'pci_0000_1a_00_0': 2},
            totals(hosts.config(['nvidia-194']), snapshot),
        )

    def test_virtual_functions(self) -> None:
        """Each function is a provider; the card itself is none."""
        found = totals(
            hosts.config(['nvidia-557']), hosts.host(hosts.sriov(3))
        )
        self.assertEqual({f'pci_0000_41_01_{n}': 1 for n in range(3)}, found)

    def test_a_virtual_parent(self) -> None:
        """mtty is reported under its own name."""
        config = hosts.config({'mtty-2': at('mtty_mtty')})
        self.assertEqual(
            {'mtty_mtty': 12}, totals(config, hosts.host(hosts.mtty()))
        )

    def test_nothing_enabled(self) -> None:
        """No type, no provider."""
        self.assertEqual(
            {}, totals(models.DevicesConfig(), hosts.host(hosts.gpu()))
        )


class CapTest(base.TestCase):
    """``max_instances``."""

    def test_it_counts_over_all_gpus(self) -> None:
        """GPUs are taken in order until one would pass the limit."""
        config = hosts.config({'nvidia-194': {'max_instances': 70}})
        snapshot = hosts.host(hosts.gpu(), hosts.gpu(GPU_2), hosts.gpu(GPU_3))
        self.assertEqual(
            {'pci_0000_1a_00_0': 32, 'pci_0000_1b_00_0': 32},
            totals(config, snapshot),
        )

    def test_a_smaller_gpu_may_still_fit(self) -> None:
        """Only the GPU that would pass the limit is left out."""
        config = hosts.config({'nvidia-194': {'max_instances': 20}})
        snapshot = hosts.host(
            hosts.gpu(), hosts.gpu(GPU_2, {'nvidia-194': 16})
        )
        self.assertEqual({'pci_0000_1b_00_0': 16}, totals(config, snapshot))

    def test_what_is_reported_comes_first(self) -> None:
        """A choice that Nova made, in libvirt's order, stays."""
        config = hosts.config({'nvidia-194': {'max_instances': 32}})
        snapshot = hosts.host(hosts.gpu(), hosts.gpu(GPU_2))
        self.assertEqual({'pci_0000_1a_00_0': 32}, totals(config, snapshot))
        reported = [f'{NODE}_pci_0000_1b_00_0']
        self.assertEqual(
            {'pci_0000_1b_00_0': 32}, totals(config, snapshot, reported)
        )

    def test_mdevs_anywhere_count_before_any_gpu(self) -> None:
        """What exists on a later GPU leaves less for the first one."""
        config = hosts.config({'nvidia-194': {'max_instances': 33}})
        snapshot = hosts.host(
            hosts.gpu(),
            hosts.gpu(GPU_2, {'nvidia-194': 0}, ['nvidia-194'] * 2),
        )
        self.assertEqual({'pci_0000_1b_00_0': 2}, totals(config, snapshot))

    def test_each_type_has_its_own(self) -> None:
        """A limit is for one type."""
        config = hosts.config(
            {
                'a': at(GPU_1, max_instances=4),
                'b': at(GPU_2, max_instances=4),
            }
        )
        snapshot = hosts.host(
            hosts.gpu(GPU_1, {'a': 4}), hosts.gpu(GPU_2, {'b': 4})
        )
        self.assertEqual(
            {'pci_0000_1a_00_0': 4, 'pci_0000_1b_00_0': 4},
            totals(config, snapshot),
        )


class FatalTest(base.TestCase):
    """What Nova refuses."""

    def test_fatal_findings_do_not_hide_the_others(self) -> None:
        """One look shows all that is to be mended."""
        plan = inventory.plan(
            hosts.config(
                {
                    'nvidia-194': at(GPU_1, GPU_1),
                    'nvidia-999': at('0000:07:00.0'),
                }
            ),
            hosts.host(hosts.gpu()),
            NODE,
            (),
        )
        self.assertTrue(plan.is_fatal)
        self.assertEqual((), plan.providers)
        self.assertEqual(
            ['fatal', 'error', 'error'],
            [f.severity.value for f in plan.findings],
        )


class HeldTest(base.TestCase):
    """Providers to leave alone while the host is not ready."""

    def test_a_count_that_cannot_be_read(self) -> None:
        """A permission fault takes no GPU away, nor lowers its total."""
        card = hosts.gpu(held=['nvidia-194'] * 2)
        unread = dataclasses.replace(
            card,
            types=tuple(
                dataclasses.replace(t, available=0, is_counted=False)
                for t in card.types
            ),
        )
        plan = inventory.plan(
            hosts.config(['nvidia-194']),
            hosts.host(unread, hosts.gpu(GPU_2)),
            NODE,
            (),
        )
        self.assertEqual(
            [inventory.provider_name(NODE, GPU_2)],
            [p.name for p in plan.providers],
        )
        self.assertEqual(
            (inventory.provider_name(NODE, card.address),), plan.held
        )

    def held(self, *gpus: models.Gpu) -> tuple[str, ...]:
        """Plan, and name them."""
        return inventory.plan(
            hosts.config(['nvidia-194']), hosts.host(*gpus), NODE, ()
        ).held

    def test_not_configured(self) -> None:
        """A GPU that no type is for holds nothing."""
        for card in (hosts.no_types(), hosts.no_types(None, total_vfs=4)):
            plan = inventory.plan(hosts.config([]), hosts.host(card), NODE, ())
            self.assertEqual((), plan.held)

    def test_functions_that_come_one_after_another(self) -> None:
        """A function that is there but offers nothing yet keeps its own."""
        card = hosts.sriov(4)
        first, *others = card.vfs
        waiting = [dataclasses.replace(vf, types=()) for vf in others]
        card = dataclasses.replace(card, vfs=(first, *waiting))
        plan = inventory.plan(
            hosts.config(['nvidia-557']), hosts.host(card), NODE, ()
        )
        self.assertEqual(1, len(plan.providers))
        self.assertEqual(
            tuple(inventory.provider_name(NODE, vf.address) for vf in waiting),
            plan.held,
        )

    def test_what_could_not_be_read(self) -> None:
        """A GPU that is hidden in part is left as it is."""
        path = f'/sys/devices/pci0000:1a/{GPU_1}/mdev_supported_types'
        problem = models.ReadProblem(path, 'permission denied', 'x', True)
        plan = inventory.plan(
            hosts.config(['nvidia-194']),
            hosts.host(
                hosts.gpu(offers={}), hosts.gpu(GPU_2), problems=(problem,)
            ),
            NODE,
            (),
        )
        self.assertEqual(
            [inventory.provider_name(NODE, GPU_2)],
            [p.name for p in plan.providers],
        )
        self.assertEqual((inventory.provider_name(NODE, GPU_1),), plan.held)

    def test_lists_that_could_not_be_read(self) -> None:
        """Nothing is wanted and nothing goes; the finding is an error."""
        for name in ('bus/pci/devices', 'class/mdev_bus', 'bus/mdev/devices'):
            problem = models.ReadProblem(
                f'/sys/{name}', 'permission denied', 'a directory', True
            )
            plan = inventory.plan(
                hosts.config(['nvidia-194']),
                hosts.host(hosts.gpu(), problems=(problem,)),
                NODE,
                (),
            )
            self.assertEqual((), plan.providers)
            self.assertEqual((f'{NODE}_',), plan.held)
            self.assertIn('only in part', plan.findings[-1].found)

    def test_ready(self) -> None:
        """Nothing is held on a host on which all GPUs offer something."""
        self.assertEqual((), self.held(hosts.gpu(), hosts.sriov()))

    def test_driver_not_loaded(self) -> None:
        """The provider of the GPU itself stays, and no other one."""
        self.assertEqual(
            (f'{NODE}_pci_0000_1a_00_0',),
            self.held(hosts.no_types(), hosts.gpu(GPU_2)),
        )

    def test_functions_not_enabled_yet(self) -> None:
        """All providers on the card's bus stay: its functions were there."""
        held = self.held(hosts.no_types('nvidia', total_vfs=32, address=CARD))
        for name, stays in (
            ('pci_0000_41_00_4', True),
            ('pci_0000_41_02_7', True),
            ('pci_0000_42_00_0', False),
            ('pci_0001_41_00_4', False),
        ):
            self.assertEqual(stays, f'{NODE}_{name}'.startswith(held), name)


class TraitsTest(base.TestCase):
    """Names of traits."""

    def named(self, kinds: Collection[str], **fields: Any) -> set[str]:
        """Name the traits of a type."""
        return set(
            traits.traits_of(models.VgpuType('nvidia-219', **fields), kinds)
        )

    def test_each_kind_alone(self) -> None:
        """[vgpu] traits chooses."""
        known = {'name': 'GRID V100DX-2B4', 'frame_buffer_mib': 2048}
        for kind, trait in (
            ('type', 'CUSTOM_NVIDIA_219'),
            ('product', 'CUSTOM_VGPU_V100DX_2B4'),
            ('series', 'CUSTOM_VGPU_SERIES_B'),
            ('frame_buffer', 'CUSTOM_VGPU_FB_2048M'),
        ):
            self.assertEqual({trait}, self.named([kind], **known))
        self.assertEqual(set(), self.named([], **known))

    def test_what_is_not_known_gives_none(self) -> None:
        """Neither a made-up product nor a frame buffer of 0."""
        self.assertEqual({'CUSTOM_NVIDIA_219'}, self.named(hosts.ALL_TRAITS))

    def test_products(self) -> None:
        """Newer names and MIG's keep their letter."""
        for name, product, series in (
            ('NVIDIA A40-2Q', 'CUSTOM_VGPU_A40_2Q', 'Q'),
            ('GRID A100-1-5CME', 'CUSTOM_VGPU_A100_1_5CME', 'C'),
            ('NVIDIA RTX6000-Ada-4A', 'CUSTOM_VGPU_RTX6000_ADA_4A', 'A'),
        ):
            self.assertEqual(
                {product, f'CUSTOM_VGPU_SERIES_{series}'},
                self.named(['product', 'series'], name=name),
            )
