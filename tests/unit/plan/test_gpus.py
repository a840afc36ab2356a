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
"""GPUs, recognised by what Placement says of their providers."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from nova_vgpu_ext import models
from nova_vgpu_ext.plan import gpus, traits
from tests import base

HOST = 'gpu01.example.org'
ROOM = models.Capacity(32, 5)
VGPU: Mapping[str, models.Capacity] = {'VGPU': ROOM}


def recognise(
    name: str,
    capacities: Mapping[str, models.Capacity] = VGPU,
    own_traits: Collection[str] = (),
    host: str = HOST,
) -> models.CloudGpu | None:
    """Look at a child of a compute node."""
    provider = models.ReportedProvider(
        uuid='child', name=name, generation=3, parent_uuid='root'
    )
    return gpus.recognise(
        host, 'root', provider, frozenset(own_traits), capacities
    )


def gpu(
    capacities: Mapping[str, models.Capacity] = VGPU,
    own_traits: Collection[str] = (),
) -> models.CloudGpu:
    """Make a GPU."""
    found = recognise(f'{HOST}_pci_0000_1a_00_0', capacities, own_traits)
    assert found is not None  # noqa: S101
    return found


class RecogniseTest(base.TestCase):
    """Names of providers, as Nova makes them."""

    def test_gpu(self) -> None:
        self.assertEqual(
            models.CloudGpu(
                uuid='child',
                name=f'{HOST}_pci_0000_1a_00_0',
                generation=3,
                host=HOST,
                host_uuid='root',
                address='0000:1a:00.0',
                capacities=VGPU,
                traits=frozenset({'OWNER_NOVA'}),
            ),
            recognise(f'{HOST}_pci_0000_1a_00_0', VGPU, {'OWNER_NOVA'}),
        )

    def test_names(self) -> None:
        for device, address in (
            ('pci_0000_41_00_4', '0000:41:00.4'),
            ('pci_0000_41_1f_7', '0000:41:1f.7'),
            # Domains of Intel's VMD are longer.
            ('pci_10000_01_00_0', '10000:01:00.0'),
            ('mtty_mtty', 'mtty_mtty'),
        ):
            found = recognise(f'{HOST}_{device}')
            assert found is not None  # noqa: S101
            self.assertEqual((address, False), (found.address, found.is_pci))

    def test_near_misses(self) -> None:
        for device in (
            '',
            'pci_0000_1A_00_0',
            'pci_0000_1a_00_8',
            'pci_0000_1a_00',
            'pci_0000_1a_00_0_1',
            'pci_0000_1a_00_0 ',
            'pci_0000_1a_00_0\n',
            'PCI_0000_1a_00_0',
            'pci_000_1a_00_0',
            'pci_0000_1a_00_\u0660',
            'mtty',
            'mtty_mtty_1',
            'mdev_pci_0000_1a_00_0',
            'br-ex',
        ):
            self.assertIsNone(recognise(f'{HOST}_{device}'), device)
            self.assertFalse(gpus.may_be_gpu(HOST, f'{HOST}_{device}'))

    def test_other_hosts(self) -> None:
        """A name that begins or ends as the host's is not the host's."""
        for name in (
            'pci_0000_1a_00_0',
            '_pci_0000_1a_00_0',
            'gpu01_pci_0000_1a_00_0',
            f'{HOST}1_pci_0000_1a_00_0',
            f'x{HOST}_pci_0000_1a_00_0',
            f'{HOST.upper()}_pci_0000_1a_00_0',
            f'{HOST}pci_0000_1a_00_0',
            f'x{HOST}pci_0000_1a_00_0',
            f'{HOST}-pci_0000_1a_00_0',
        ):
            self.assertIsNone(recognise(name), name)

    def test_host_named_like_a_device(self) -> None:
        host = 'a_pci_0000_1a_00_0'
        found = recognise(f'{host}_pci_0000_1b_00_0', host=host)
        assert found is not None  # noqa: S101
        self.assertEqual('0000:1b:00.0', found.address)
        # The node "a" has no such GPU: a child of it is named otherwise.
        self.assertIsNone(recognise(f'{host}_pci_0000_1b_00_0', host='a'))

    def test_card_of_pci_tracking(self) -> None:
        has = {'CUSTOM_NVIDIA_L40S_12Q': models.Capacity(4, 1)}
        found = recognise(f'{HOST}_0000:3B:00.0', has)
        assert found is not None  # noqa: S101
        self.assertEqual(('0000:3b:00.0', True), (found.address, found.is_pci))
        self.assertEqual('CUSTOM_NVIDIA_L40S_12Q', gpus.resource_class(found))
        # Nova writes capitals.
        self.assertIsNone(recognise(f'{HOST}_0000:3b:00.0', has))

    def test_other_cards_of_pci_tracking(self) -> None:
        for name in (
            'CUSTOM_PCI_15B3_1017',
            'CUSTOM_NVIDIA_A100',
            'CUSTOM_NVIDIA_CONNECTX_6',
            'CUSTOM_NIC_12Q',
            'VGPU',
            'PCI_DEVICE',
        ):
            found = recognise(f'{HOST}_0000:3B:00.0', {name: ROOM})
            self.assertIsNone(found, name)
        self.assertIsNone(recognise(f'{HOST}_0000:3B:00.0', {}))

    def test_mdev_address(self) -> None:
        self.assertEqual(
            '0000:1a:00.0',
            gpus.mdev_address(HOST, f'{HOST}_pci_0000_1a_00_0'),
        )
        self.assertIsNone(gpus.mdev_address(HOST, f'{HOST}_0000:3B:00.0'))
        self.assertIsNone(gpus.mdev_address(HOST, HOST))


class CapacityTest(base.TestCase):
    """Which of a provider's classes is that of its vGPUs."""

    def test_class(self) -> None:
        for expected, names in (
            ('VGPU', {'VGPU', 'CUSTOM_A', 'CUSTOM_VGPU_V100DX_1Q'}),
            ('CUSTOM_NVIDIA_L40S_12Q', {'CUSTOM_A', 'CUSTOM_NVIDIA_L40S_12Q'}),
            ('CUSTOM_A', {'CUSTOM_B', 'CUSTOM_A', 'VCPU'}),
            (None, {'VCPU'}),
            (None, set()),
        ):
            found = gpu(dict.fromkeys(names, ROOM))
            self.assertEqual(expected, gpus.resource_class(found))

    def test_capacity(self) -> None:
        self.assertEqual(ROOM, gpus.capacity(gpu()))
        self.assertEqual(
            models.Capacity(0, 0), gpus.capacity(gpu({'VCPU': ROOM}))
        )
        self.assertEqual(0, models.Capacity(4, 6).free)


class OfferedTest(base.TestCase):
    """What traits and classes say of the type."""

    def test_all_traits_that_are_reported(self) -> None:
        for name, series in (
            ('GRID V100DX-1Q', 'Q'),
            ('GRID V100DX-2B4', 'B'),
            ('NVIDIA A100-1-5CME', 'C'),
            ('NVIDIA RTXA6000-48Q', 'Q'),
            ('NVIDIA RTX Pro 6000 Blackwell DC-96Q', 'Q'),
        ):
            vgpu_type = models.VgpuType(
                'nvidia-194', name, frame_buffer_mib=1024
            )
            reported = traits.traits_of(
                vgpu_type, ('type', 'product', 'series', 'frame_buffer')
            )
            self.assertEqual(4, len(reported))
            self.assertEqual(
                gpus.OfferedType(
                    'nvidia-194', vgpu_type.product, series, 1024
                ),
                gpus.offered(gpu(own_traits=reported)),
            )

    def test_large_letters_only(self) -> None:
        """A trait has no small letters, so a product has lost them."""
        reported = traits.traits_of(
            models.VgpuType('nvidia-1', 'NVIDIA RTX6000-Ada-12Q'),
            ('product',),
        )
        found = gpus.offered(gpu(own_traits=reported))
        self.assertEqual(
            ('RTX6000-ADA-12Q', 'Q'), (found.product, found.series)
        )

    def test_class_instead_of_traits(self) -> None:
        for name in ('CUSTOM_NVIDIA_L40S_12Q', 'CUSTOM_VGPU_L40S_12Q'):
            self.assertEqual(
                gpus.OfferedType(product='L40S-12Q', series='Q'),
                gpus.offered(gpu({name: ROOM})),
            )

    def test_nothing_is_known(self) -> None:
        for own in (
            (),
            ('OWNER_NOVA', 'HW_GPU_API_VULKAN'),
            (traits.GONE,),
            ('CUSTOM_NVIDIA_', 'CUSTOM_NVIDIA_194X', 'CUSTOM_VGPU_'),
        ):
            found = gpus.offered(gpu(own_traits=own))
            self.assertEqual(gpus.OfferedType(), found)
            self.assertEqual('', found.name)

    def test_several_types(self) -> None:
        """What traits contradict each other about is not known."""
        found = gpus.offered(
            gpu(
                own_traits=(
                    'CUSTOM_NVIDIA_194',
                    'CUSTOM_NVIDIA_196',
                    'CUSTOM_VGPU_V100DX_1Q',
                    'CUSTOM_VGPU_V100DX_4Q',
                    'CUSTOM_VGPU_SERIES_Q',
                    'CUSTOM_VGPU_FB_1024M',
                    'CUSTOM_VGPU_FB_4096M',
                )
            )
        )
        self.assertEqual(gpus.OfferedType(series='Q'), found)

    def test_answers_to(self) -> None:
        found = gpu(
            own_traits=(
                'CUSTOM_NVIDIA_194',
                'CUSTOM_NVIDIA_196',
                'CUSTOM_VGPU_V100DX_1Q',
            )
        )
        for name in (
            'nvidia-194',
            'NVIDIA-196',
            'V100DX-1Q',
            'v100dx-1q',
            'VGPU',
        ):
            self.assertTrue(gpus.answers_to(found, name), name)
        for name in ('', '194', 'nvidia-19', 'V100DX', 'CUSTOM_NVIDIA_194'):
            self.assertFalse(gpus.answers_to(found, name), name)

    def test_type_traits(self) -> None:
        names = [
            'CUSTOM_NVIDIA_196',
            'CUSTOM_MTTY_2',
            'CUSTOM_GPU_1',
            'HW_GPU',
        ]
        self.assertEqual(['mtty-2', 'nvidia-196'], gpus.type_ids(names))
        self.assertEqual(
            [True, True, False, False], [gpus.is_type_trait(n) for n in names]
        )
        self.assertTrue(gpus.is_type_trait(traits.GONE))
