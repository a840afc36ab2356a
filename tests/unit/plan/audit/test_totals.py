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
"""Totals and classes that do not fit."""

from __future__ import annotations

from collections.abc import Mapping

from nova_vgpu_ext import models
from nova_vgpu_ext.plan import audit
from tests import base
from tests.unit.plan.audit import clouds


def many(
    *totals: int, traits: frozenset[str] = clouds.TYPE_194
) -> list[models.CloudGpu]:
    """Make a GPU for each total."""
    return [
        clouds.gpu(n, {'VGPU': (total, 0)}, traits)
        for n, total in enumerate(totals, 1)
    ]


class TotalsTest(base.TestCase):
    """GPUs of one host."""

    def check(
        self,
        *lines: str,
        gpus: list[models.CloudGpu],
        records: Mapping[str, Mapping[str, models.InventoryRecord]]
        | None = None,
    ) -> list[audit.Finding]:
        """Compare what is found."""
        seen = clouds.view(clouds.host(*gpus), records=records or {})
        found = audit.check(seen, audit.take([seen.host]))
        self.assertEqual(list(lines), clouds.lines(found))
        return found

    def test_more_used_than_there_is(self) -> None:
        """Also where all of it is."""
        full = clouds.gpu(1, {'VGPU': (4, 4)})
        (found,) = self.check(
            'overcommitted error 0000:02:00.0: None',
            gpus=[full, clouds.gpu(2, {'VGPU': (4, 5)})],
        )
        self.assertIn('5 of 4 VGPU', found.found)

    def test_another_total(self) -> None:
        """One that differs from nearly all is worth a word."""
        (found,) = self.check(
            'odd-total warning 0000:03:00.0: None',
            gpus=many(32, 32, 8, 32, 32),
            records={
                f'{clouds.HERE}-gpu-3': {
                    'VGPU': models.InventoryRecord(10, 8, reserved=2)
                }
            },
        )
        self.assertIn('room for 8 VGPU', found.found)
        self.assertIn('reserved 2', found.found)

    def test_no_clear_total(self) -> None:
        """Two halves, few GPUs, other types: nothing to compare with."""
        self.check(gpus=many(32, 32, 16, 16))
        self.check(gpus=many(32, 32, 8))
        self.check(
            gpus=[
                *many(32, 32, 32, 32),
                clouds.gpu(9, {'VGPU': (8, 0)}, clouds.TYPE_196),
            ]
        )
        self.check(
            gpus=[*many(32, 32, 32), clouds.gpu(4, {'CUSTOM_A': (8, 0)})]
        )

    def test_two_classes(self) -> None:
        """A class without room is none; that of others is none of vGPUs."""
        (found,) = self.check(
            'mixed-classes error 0000:02:00.0: None',
            gpus=[
                clouds.gpu(1, {'CUSTOM_A': (4, 0)}),
                clouds.gpu(2, {'VGPU': (4, 0), 'CUSTOM_A': (4, 0)}),
                clouds.gpu(3, {'VGPU': (4, 0), 'CUSTOM_LICENCE': (9, 0)}),
                clouds.gpu(4, {'VGPU': (4, 0), 'CUSTOM_A': (0, 0)}),
            ],
        )
        self.assertIn('CUSTOM_A, VGPU', found.found)

    def test_classes_of_one_card(self) -> None:
        """VFs of one card; two cards may differ."""
        (found,) = self.check(
            'mixed-classes warning 0000:41: None',
            gpus=[
                clouds.gpu(1, {'VGPU': (1, 0)}, address='0000:41:00.4'),
                clouds.gpu(2, {'CUSTOM_A': (1, 0)}, address='0000:41:00.5'),
                clouds.gpu(3, {'VGPU': (1, 0)}, address='0000:42:00.4'),
                clouds.gpu(4, {'VGPU': (1, 0)}, address='mtty_mtty'),
            ],
        )
        self.assertIn('VGPU on 0000:41:00.4', found.found)
