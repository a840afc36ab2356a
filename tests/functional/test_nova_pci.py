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
"""The [pci] options for vendor-specific VFIO, given to Nova's own code."""

from __future__ import annotations

import dataclasses
import json

from tests.functional.fixtures import nova as nova_fixture  # isort: skip

import hypothesis
from hypothesis import strategies as st
from nova import exception as nova_exception
from nova import objects
from nova.pci import request as pci_request

from nova_vgpu_ext import models
from nova_vgpu_ext.host import snapshot
from nova_vgpu_ext.plan import pci
from nova_vgpu_ext.sim import builder, description, profile
from tests import base
from tests.functional.fixtures import nova_pci

NODE = nova_fixture.NODE


class TestNovaPci(base.TestCase):
    """Nova reports from our options what our plan says that it will."""

    def setUp(self) -> None:
        super().setUp()
        objects.register_all()
        self.addCleanup(nova_fixture.reset_conf)
        described = profile.load('l40s-vendor-vfio')
        self.card = described.gpus[0]

    def _read(
        self, types: list[str | None]
    ) -> tuple[description.GpuSpec, models.Snapshot]:
        vfs = tuple(
            dataclasses.replace(vf, current_type=type_id)
            for vf, type_id in zip(self.card.vfs, types, strict=False)
        )
        card = dataclasses.replace(self.card, vfs=vfs)
        root = self.temp_dir() / 'sys'
        builder.build(description.Profile('random', (card,)), str(root))
        return card, snapshot.observe(str(root), None)

    def _nova(
        self, card: description.GpuSpec, lines: list[str]
    ) -> dict[str, tuple[str, int, set[str]]]:
        """Let Nova's translator read the options and the card's VFs."""
        nova_fixture.load_conf([self.write_conf('\n'.join(lines))])
        conf = nova_fixture.CONF
        self.assertTrue(conf.pci.report_in_placement)
        return {
            name: (rp.resource_class, rp.total, rp.traits)
            for name, rp in nova_pci.providers(NODE, card).items()
        }

    def test_random_types(self) -> None:
        """The same provider, class, total and traits."""
        offered = [t.id for t in self.card.vfs[0].types][:3]

        @hypothesis.settings(
            max_examples=60,
            deadline=None,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(
            st.sampled_from(offered), st.lists(st.booleans(), max_size=8)
        )
        def agree(type_id: str, is_set: list[bool]) -> None:
            card, seen = self._read([type_id if s else None for s in is_set])
            providers, _ = pci.plan(seen, NODE)
            expected = {
                p.name: (p.resource_class, p.total, set(p.traits))
                for p in providers
            }
            lines = list(pci.lines(providers))
            self.assertEqual(expected, self._nova(card, lines))

        agree()

    def test_mixed_types_are_refused_by_both(self) -> None:
        """Nova raises on the very lines that our plan refuses to write."""
        one, two = [t.id for t in self.card.vfs[0].types][:2]
        card, seen = self._read([one, two])
        providers, findings = pci.plan(seen, NODE)
        self.assertEqual((), providers)
        self.assertIn('one type on all', findings[0].expected)
        specs = [
            json.dumps({'address': vf.address, 'resource_class': name})
            for vf, name in zip(card.vfs, ('A', 'B'), strict=True)
        ]
        lines = ['[pci]', 'report_in_placement = true']
        lines += [f'device_spec = {spec}' for spec in specs]
        self.assertRaises(
            nova_exception.PlacementPciMixedResourceClassException,
            self._nova,
            card,
            [
                *lines[:2],
                *[s.replace('}', ', "managed": "no"}') for s in lines[2:]],
            ],
        )

    def test_alias_asks_for_the_class(self) -> None:
        """Nova takes the alias, and it names the class of the inventory."""
        _, seen = self._read(['1153', '1153'])
        providers, _ = pci.plan(seen, NODE)
        text = '\n'.join(pci.lines(providers))
        nova_fixture.load_conf([self.write_conf(text)])
        aliases = pci_request.get_alias_from_config()
        _, (spec,) = aliases['l40s-12q']
        self.assertEqual(providers[0].resource_class, spec['resource_class'])
        self.assertEqual('type-VF', spec['dev_type'])
