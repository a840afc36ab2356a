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
"""Traits that are missing, contradict others, or are misplaced."""

from __future__ import annotations

from collections.abc import Iterable

from nova_vgpu_ext import models
from nova_vgpu_ext.plan import audit
from tests import base
from tests.unit.plan.audit import clouds

ONE_ONLY = frozenset({'CUSTOM_NVIDIA_194'})


def with_traits(
    *sets: Iterable[str], on: str = clouds.HERE
) -> list[models.CloudGpu]:
    """Make a GPU for each set of traits, beside those of others."""
    return [
        clouds.gpu(n, traits=frozenset(names) | clouds.FOREIGN, host=on)
        for n, names in enumerate(sets, 1)
    ]


class LabelsTest(base.TestCase):
    """One host, in a cloud with another one."""

    def check(
        self,
        *lines: str,
        gpus: list[models.CloudGpu],
        others: Iterable[Iterable[str]] = (
            *[clouds.TYPE_194] * 8,
            *[clouds.TYPE_196] * 8,
        ),
        traits: Iterable[str] = (),
    ) -> list[audit.Finding]:
        """Compare what is found on the first host."""
        here = clouds.host(*gpus, traits=frozenset(traits))
        there = clouds.host(
            *with_traits(*others, on=clouds.THERE), name=clouds.THERE
        )
        census = audit.take([here, there])
        self.assertEqual([], audit.check(clouds.view(there), census))
        found = audit.check(clouds.view(here), census)
        self.assertEqual(list(lines), clouds.lines(found))
        return found

    def set(self, number: int, change: str) -> str:
        """Write what heals a GPU."""
        name = clouds.gpu(number).name
        return f'set traits of {name}: {change}'

    def test_incomplete(self) -> None:
        """The rest is added where another GPU of the host has it."""
        found = self.check(
            'missing-traits warning 0000:02:00.0: '
            + self.set(
                2,
                'add CUSTOM_VGPU_FB_1024M, CUSTOM_VGPU_SERIES_Q, '
                'CUSTOM_VGPU_V100DX_1Q',
            ),
            gpus=with_traits(clouds.TYPE_194, ONE_ONLY),
        )
        repair = found[0].repair
        assert isinstance(repair, audit.SetTraits)  # noqa: S101
        self.assertEqual(clouds.TYPE_194 | clouds.FOREIGN, repair.after)

    def test_host_that_may_want_fewer(self) -> None:
        """Its [vgpu] traits may leave them out: report decides."""
        (found, _) = self.check(
            'missing-traits warning 0000:01:00.0: None',
            'missing-traits warning 0000:02:00.0: None',
            gpus=with_traits(ONE_ONLY, ONE_ONLY),
        )
        self.assertIn('nova-vgpu report', found.remedy)

    def test_no_type(self) -> None:
        """What is left may tell it, or not."""
        self.check(
            'missing-traits warning 0000:02:00.0: '
            + self.set(2, 'add CUSTOM_NVIDIA_196'),
            'missing-traits warning 0000:03:00.0: None',
            'missing-traits warning 0000:04:00.0: None',
            gpus=with_traits(
                clouds.TYPE_196,
                clouds.TYPE_196 - {'CUSTOM_NVIDIA_196'},
                {'CUSTOM_VGPU_SERIES_Q'},
                (),
            ),
        )

    def test_only_type(self) -> None:
        """A series does not tell a type, even if there is only one."""
        self.check(
            'missing-traits warning 0000:02:00.0: None',
            gpus=with_traits(clouds.TYPE_194, {'CUSTOM_VGPU_SERIES_Q'}),
            others=[clouds.TYPE_194] * 8,
        )

    def test_moved(self) -> None:
        """One GPU lost its type, another has it too."""
        self.check(
            'missing-traits warning 0000:03:00.0: '
            + self.set(3, 'add CUSTOM_NVIDIA_196'),
            'stale-traits error 0000:04:00.0: '
            + self.set(4, 'remove CUSTOM_NVIDIA_196'),
            gpus=with_traits(
                clouds.TYPE_194,
                clouds.TYPE_196,
                clouds.TYPE_196 - {'CUSTOM_NVIDIA_196'},
                clouds.TYPE_194 | {'CUSTOM_NVIDIA_196'},
            ),
        )

    def test_two_whole_sets(self) -> None:
        """Nobody can tell which one is right."""
        self.check(
            'stale-traits error 0000:03:00.0: None',
            gpus=with_traits(
                clouds.TYPE_194,
                clouds.TYPE_196,
                clouds.TYPE_194 | clouds.TYPE_196,
            ),
        )

    def test_contradiction(self) -> None:
        """An extra product goes; an only one that is wrong does not."""
        wrong = clouds.TYPE_194 - {'CUSTOM_VGPU_V100DX_1Q'}
        self.check(
            'stale-traits error 0000:02:00.0: '
            + self.set(2, 'remove CUSTOM_VGPU_V100DX_4Q'),
            gpus=with_traits(
                clouds.TYPE_194,
                clouds.TYPE_194 | {'CUSTOM_VGPU_V100DX_4Q'},
            ),
        )
        self.check(
            'stale-traits error 0000:02:00.0: None',
            gpus=with_traits(
                clouds.TYPE_194, wrong | {'CUSTOM_VGPU_V100DX_4Q'}
            ),
        )

    def test_others_contradict(self) -> None:
        """Nothing is written that not all others stand for."""
        odd = clouds.TYPE_194 | {'CUSTOM_VGPU_V100DX_2Q'}
        here = clouds.host(*with_traits(clouds.TYPE_194, ONE_ONLY, odd))
        there = clouds.host(
            *with_traits(*[clouds.TYPE_194] * 8, on=clouds.THERE),
            name=clouds.THERE,
        )
        found = audit.check(clouds.view(here), audit.take([here, there]))
        self.assertEqual(
            [
                'missing-traits warning 0000:02:00.0: None',
                'stale-traits error 0000:03:00.0: '
                + self.set(3, 'remove CUSTOM_VGPU_V100DX_2Q'),
            ],
            clouds.lines(found),
        )

    def test_no_traits_anywhere(self) -> None:
        """A cloud where only Nova reports is healthy."""
        self.check(gpus=with_traits((), ()), others=[()])

    def test_class_of_its_own(self) -> None:
        """It tells what a GPU offers, so that no trait is missed."""
        self.check(gpus=[clouds.gpu(1, {'CUSTOM_A': (4, 0)}, clouds.FOREIGN)])
        self.check(
            'missing-traits warning 0000:01:00.0: None',
            gpus=[
                clouds.gpu(1, {'CUSTOM_A': (4, 0)}, clouds.FOREIGN),
                clouds.gpu(2, {'CUSTOM_A': (4, 0)}),
            ],
        )

    def test_cards_of_pci_tracking(self) -> None:
        """Their traits are those of device_spec."""
        self.check(
            gpus=[
                clouds.gpu(
                    1, {'CUSTOM_NVIDIA_L40S_12Q': (4, 0)}, (), is_pci=True
                )
            ]
        )

    def test_on_the_host(self) -> None:
        """Ours go; a type that an operator wrote there stays."""
        (found,) = self.check(
            f'host-traits warning uuid-{clouds.HERE}: set traits of '
            f'{clouds.HERE}: remove CUSTOM_VGPU_SERIES_Q',
            gpus=[clouds.gpu(1)],
            traits={'CUSTOM_VGPU_SERIES_Q', 'CUSTOM_NVIDIA_194', 'HW_CPU'},
        )
        repair = found.repair
        assert isinstance(repair, audit.SetTraits)  # noqa: S101
        self.assertEqual({'CUSTOM_NVIDIA_194', 'HW_CPU'}, repair.after)
