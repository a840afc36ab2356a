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
"""What kinds of vGPUs GPUs offer, and finding one by its name."""

from __future__ import annotations

from nova_vgpu_ext import exception
from nova_vgpu_ext.plan.flavors import offers
from nova_vgpu_ext.plan.flavors.specs import Wish
from tests import base
from tests.unit.plan.audit import clouds

L40S = 'CUSTOM_NVIDIA_L40S_12Q'
V100 = 'CUSTOM_NVIDIA_V100DX_1Q'
CARD = clouds.gpu(9, {L40S: (4, 0)}, (), is_pci=True)


def wish(text: str, *gpus: object, count: int = 1) -> Wish:
    """Find a type among GPUs and ask for it."""
    offered = offers.offers(gpus)  # type: ignore[arg-type]
    return offers.find(text, offered).wish(count, None)


class FindTest(base.TestCase):
    """A type, a product or a class."""

    def test_mdev(self) -> None:
        """The trait of the type stands beside the standard class."""
        expected = Wish('VGPU', required=frozenset({'CUSTOM_NVIDIA_194'}))
        gpus = clouds.gpu(1), clouds.gpu(2, traits=clouds.TYPE_196)
        for text in ('nvidia-194', 'V100DX-1Q', 'v100dx-1q'):
            self.assertEqual(expected, wish(text, *gpus))
        self.assertEqual(Wish('VGPU'), wish('VGPU', *gpus))

    def test_class(self) -> None:
        """A class that says the type needs no trait; another one does."""
        named = clouds.gpu(1, {V100: (32, 0)})
        gold = clouds.gpu(1, {'CUSTOM_GOLD': (32, 0)})
        self.assertEqual(Wish(V100), wish('nvidia-194', named))
        self.assertEqual(
            Wish('CUSTOM_GOLD', required=frozenset({'CUSTOM_NVIDIA_194'})),
            wish('nvidia-194', gold),
        )
        self.assertEqual(Wish('CUSTOM_GOLD'), wish('CUSTOM_GOLD', gold))

    def test_pci(self) -> None:
        """PCI devices are asked for by alias, and may be of one card."""
        for text in ('L40S-12Q', L40S):
            self.assertEqual(
                Wish(L40S, 2, alias='l40s-12q'), wish(text, CARD, count=2)
            )

    def test_pci_class_of_another_name(self) -> None:
        """No alias is made up."""
        card = clouds.gpu(9, {'CUSTOM_VGPU_L40S_12Q': (4, 0)}, (), is_pci=True)
        error = self.assertRaises(
            exception.Refused, wish, 'CUSTOM_VGPU_L40S_12Q', card
        )
        self.assertIn('pci_passthrough:alias', str(error))

    def test_several_come_from_different_gpus(self) -> None:
        """That is right with and without SR-IOV."""
        self.assertTrue(wish('nvidia-194', clouds.gpu(1), count=2).isolate)
        offer = offers.find('nvidia-194', offers.offers([clouds.gpu(1)]))
        self.assertFalse(offer.wish(2, False).isolate)

    def test_unknown(self) -> None:
        """The error lists what there is."""
        error = self.assertRaises(
            exception.NotFound, wish, "x' \n1", clouds.gpu(1), CARD
        )
        self.assertIn('nvidia-194 (V100DX-1Q, VGPU)', str(error))
        self.assertIn(f'L40S-12Q ({L40S})', str(error))
        self.assertNotIn('\n', str(error))

    def test_two_classes(self) -> None:
        """A flavor can ask for one class only."""
        gpus = clouds.gpu(1), clouds.gpu(2, {'CUSTOM_GOLD': (32, 0)})
        error = self.assertRaises(exception.Refused, wish, 'nvidia-194', *gpus)
        self.assertIn('CUSTOM_GOLD and as VGPU', str(error))

    def test_two_numbers_of_a_product(self) -> None:
        """The product's trait stands for both."""
        other = clouds.TYPE_194 - {'CUSTOM_NVIDIA_194'}
        gpus = (
            clouds.gpu(1),
            clouds.gpu(2, traits=other | {'CUSTOM_NVIDIA_294'}),
        )
        product = frozenset({'CUSTOM_VGPU_V100DX_1Q'})
        self.assertEqual(
            Wish('VGPU', required=product), wish('V100DX-1Q', *gpus)
        )
        self.assertEqual(
            Wish('VGPU', required=frozenset({'CUSTOM_NVIDIA_294'})),
            wish('nvidia-294', *gpus),
        )

    def test_gpu_without_traits(self) -> None:
        """Only its class can be asked for."""
        plain = clouds.gpu(1, traits=())
        self.assertEqual(Wish('VGPU'), wish('VGPU', plain))
        self.assertEqual(['VGPU'], [str(o) for o in offers.offers([plain])])

    def test_gpu_that_offers_nothing(self) -> None:
        """It is not there."""
        self.assertEqual([], offers.offers([clouds.gpu(1, {})]))

    def test_traits_of(self) -> None:
        """What the GPUs of a type may be found by."""
        for text, expected in (
            ('nvidia-194', 'CUSTOM_NVIDIA_194'),
            ('V100DX-1Q', 'CUSTOM_VGPU_V100DX_1Q'),
        ):
            self.assertIn(expected, list(offers.traits_of(text)))
