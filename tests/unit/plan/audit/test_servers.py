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
"""Servers that hold other vGPUs than their flavor asks for."""

from __future__ import annotations

from collections.abc import Mapping

from nova_vgpu_ext import models
from nova_vgpu_ext.plan import audit
from tests import base
from tests.unit.plan.audit import clouds

MDEV = clouds.gpu(1)
CUSTOM = clouds.gpu(2, {'CUSTOM_A': (8, 0)})
CARD = clouds.gpu(3, {'CUSTOM_NVIDIA_L40S_12Q': (4, 0)}, (), is_pci=True)
HOST = clouds.host(MDEV, CUSTOM, CARD)
CENSUS = audit.take([HOST])


class ServersTest(base.TestCase):
    """One server on one host."""

    def check(
        self,
        check: str | None,
        specs: Mapping[str, str],
        held: Mapping[str, Mapping[str, int]],
        server: models.Server | None = None,
        elsewhere: Mapping[str, Mapping[str, int]] | None = None,
    ) -> None:
        """Compare what is found; only doubtful servers are looked at."""
        server = server or clouds.server('a-server', extra_specs=specs)
        view = clouds.view(
            HOST,
            servers=[server],
            held={gpu: {'a-server': dict(n)} for gpu, n in held.items()},
        )
        doubtful = audit.suspects(view, CENSUS)
        self.assertEqual([], audit.check(view, CENSUS))
        if check is None and elsewhere is None:
            self.assertEqual([], doubtful)
            return
        self.assertEqual(['a-server'], doubtful)
        everything = {**held, **(elsewhere or {})}
        holds = clouds.consumer('a-server', everything) if everything else None
        found = audit.check(
            clouds.looked(view, 'a-server', consumer=holds, server=server),
            CENSUS,
        )
        self.assertEqual([check] if check else [], [f.check for f in found])
        for one in found:
            self.assertIsNone(one.repair)
            self.assertIn('a-flavor', one.found)

    def test_as_asked(self) -> None:
        """Every spelling, on one GPU or several."""
        two = {'resources1:VGPU': '1', 'resources2:VGPU': '1'}
        mixed = {'resources:VGPU': '1', 'resources_a:CUSTOM_A': '2'}
        for specs, held in (
            ({}, {}),
            ({'resources:VGPU': '0'}, {}),
            (clouds.ONE_VGPU, {MDEV.uuid: {'VGPU': 1}}),
            (two, {MDEV.uuid: {'VGPU': 2}}),
            (mixed, {MDEV.uuid: {'VGPU': 1}, CUSTOM.uuid: {'CUSTOM_A': 2}}),
        ):
            self.check(None, specs, held)

    def test_missing(self) -> None:
        """Fewer than asked for, in every spelling."""
        for specs, held in (
            (clouds.ONE_VGPU, {}),
            ({'resources1:VGPU': '1'}, {}),
            ({'resources7:CUSTOM_A': '1'}, {}),
            ({'resources:VGPU': '2'}, {MDEV.uuid: {'VGPU': 1}}),
            ({'resources:CUSTOM_A': '1'}, {MDEV.uuid: {'VGPU': 1}}),
        ):
            self.check('missing-vgpu', specs, held)

    def test_not_asked_for(self) -> None:
        """More than asked for."""
        for specs, held in (
            ({}, {MDEV.uuid: {'VGPU': 1}}),
            (clouds.ONE_VGPU, {MDEV.uuid: {'VGPU': 2}}),
            (
                clouds.ONE_VGPU,
                {MDEV.uuid: {'VGPU': 1}, CUSTOM.uuid: {'CUSTOM_A': 1}},
            ),
        ):
            self.check('unasked-vgpu', specs, held)

    def test_held_on_another_host(self) -> None:
        """That is another finding; nothing is missing."""
        self.check(None, clouds.ONE_VGPU, {}, elsewhere={'far': {'VGPU': 1}})

    def test_not_at_rest(self) -> None:
        """Servers that need not hold anything now."""
        for status, task in (
            ('BUILD', None),
            ('ERROR', None),
            ('ACTIVE', 'migrating'),
            ('RESIZE', 'resize_prep'),
            ('SOFT_DELETED', None),
        ):
            self.check(
                None,
                {},
                {},
                clouds.server('a-server', clouds.HERE, status, task),
            )

    def test_at_rest(self) -> None:
        """Servers that must."""
        for status in ('ACTIVE', 'SHUTOFF', 'SHELVED', 'VERIFY_RESIZE'):
            self.check(
                'missing-vgpu',
                {},
                {},
                clouds.server('a-server', clouds.HERE, status),
            )

    def test_alias(self) -> None:
        """What it stands for is not known; the rest is compared."""
        alias = {'pci_passthrough:alias': 'some-name:1'}
        card = {CARD.uuid: {'CUSTOM_NVIDIA_L40S_12Q': 1}}
        self.check(None, alias, card)
        for name in ('l40s-12q', 'a40-48q'):
            self.check(None, {'pci_passthrough:alias': f'{name}:1'}, {})
        self.check('unasked-vgpu', {}, card)
        self.check('missing-vgpu', {**alias, **clouds.ONE_VGPU}, card)
