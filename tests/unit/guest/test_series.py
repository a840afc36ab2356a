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
"""Which vGPUs go with which system and licence."""

from __future__ import annotations

import itertools

from nova_vgpu_ext import exception
from nova_vgpu_ext.guest import series
from nova_vgpu_ext.guest.settings import Edition, Settings, System
from tests import base
from tests.unit.guest.values import TOKEN


class SeriesTest(base.TestCase):
    """Series, systems and licences."""

    def test_all(self) -> None:
        """Every series with every system and every single edition."""
        allowed = {
            ('Q', 'vws'),
            ('B', 'vws'),
            ('B', 'vpc'),
            ('A', 'vapps'),
            ('C', 'compute'),
        }
        for letter, system, edition in itertools.product(
            'QBAC', System, Edition
        ):
            settings = Settings(token=TOKEN, editions=frozenset({edition}))
            works = (letter, edition.value) in allowed and (
                letter != 'A' or system is System.WINDOWS
            )
            vgpus = [(f'X-1{letter}', letter)]
            if works:
                self.assertEqual(letter, series.check(vgpus, system, settings))
            else:
                self.assertRaises(
                    exception.Refused, series.check, vgpus, system, settings
                )

    def test_reasons(self) -> None:
        """All of them at once, each with what to do."""
        error = self.assertRaises(
            exception.Refused,
            series.check,
            [('X-1A', 'A'), ('X-4C', 'C'), ('mtty-1', None)],
            System.UBUNTU,
            Settings(token=TOKEN),
        )
        for words in (
            'mtty-1: no series',
            'series A and C in one guest',
            'series A on ubuntu',
            'series C needs a licence of compute',
        ):
            self.assertIn(words, str(error))

    def test_no_vgpu(self) -> None:
        """There is nothing to set up."""
        self.assertRaises(
            exception.Refused, series.check, [], System.DEBIAN, Settings()
        )

    def test_unlicensed(self) -> None:
        """Without a licence server, its editions do not matter."""
        self.assertEqual(
            'C', series.check([('X-4C', 'C')], System.ROCKY, Settings())
        )
