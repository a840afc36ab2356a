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
"""What flavors ask for, answered by a real Placement."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib import parse

from tests.functional.fixtures import nova_scheduler  # isort: skip

import hypothesis
from hypothesis import strategies as st
from nova.api.validation.extra_specs import validators

from nova_vgpu_ext import exception, models
from nova_vgpu_ext.placement import candidates, client
from nova_vgpu_ext.placement import cloud as placement_cloud
from nova_vgpu_ext.plan.flavors import check, never, offers, request, room
from nova_vgpu_ext.plan.flavors import specs as flavor_specs
from tests import base
from tests.functional import base as functional_base
from tests.functional import gpu_clouds
from tests.functional.fixtures import placement

L40S = 'CUSTOM_NVIDIA_L40S_12Q'
ALIAS = json.dumps(
    {'name': 'l40s-12q', 'resource_class': L40S, 'device_type': 'type-VF'}
)

#: Random extra specs, not all of which make sense together.
EXTRA_SPECS = st.builds(
    lambda *parts: {k: v for part in parts for k, v in part.items()},
    st.dictionaries(
        st.sampled_from(
            [
                f'resources{suffix}:{name}'
                for suffix in ('', '1', '2', '3')
                for name in ('VGPU', 'VGPU', 'CUSTOM_BIG')
            ]
        ),
        st.sampled_from(['1', '1', '1', '2', '9', '33']),
        max_size=3,
    ),
    st.dictionaries(
        st.sampled_from(
            [
                f'trait{suffix}:{name}'
                for suffix in ('', '1', '2', '3')
                for name in (
                    'CUSTOM_NVIDIA_194',
                    'CUSTOM_NVIDIA_196',
                    'CUSTOM_NVIDIA_558',
                    'CUSTOM_HOST',
                )
            ]
        ),
        st.sampled_from(['required', 'required', 'forbidden']),
        max_size=2,
    ),
    st.sampled_from([{}, {'pci_passthrough:alias': 'l40s-12q:2'}, {}, {}]),
    st.sampled_from([{'group_policy': p} for p in ('none', 'isolate', '')]),
)


def flavor(specs: dict[str, str], **sizes: int) -> models.Flavor:
    """Make a flavor of a modest size."""
    values = {'vcpus': 1, 'ram': 1024, 'disk': 1} | sizes
    return models.Flavor('id', 'a flavor', **values, extra_specs=specs)


def _is_plentiful(wish: flavor_specs.Wish) -> bool:
    """Tell whether there are more than is worth the time to claim."""
    return wish.resource_class == 'VGPU' and (
        not wish.required or 'CUSTOM_NVIDIA_194' in wish.required
    )


class PlacementFlavorsTest(base.TestCase):
    """A cloud of several profiles."""

    def setUp(self) -> None:
        super().setUp()
        self.server = self.useFixture(placement.PlacementServer())
        path = self.write_conf(
            f'[pci]\nalias = {ALIAS}\n'
            '[filter_scheduler]\npci_in_placement = true\n'
        )
        self.scheduler = self.useFixture(nova_scheduler.NovaScheduler(path))
        for node in gpu_clouds.HOSTS:
            gpu_clouds.report(self.server, self.temp_dir(), node)
        self.server.add_traits('gpu01', 'CUSTOM_HOST')
        process = functional_base.Process(
            self.write_conf(self.server.config_text())
        )
        self.client: client.PlacementClient = process.client
        self.reader = placement_cloud.CloudReader(self.client, 2)
        self.names = {
            provider.uuid: name
            for name, provider in self.server.providers().items()
        }

    def hosts(self) -> list[models.CloudHost]:
        """Read the cloud."""
        return list(self.reader.hosts(self.reader.trees()))

    def answer(self, asked: models.Flavor) -> list[dict[str, Any]] | None:
        """Ask Placement as nova-scheduler does; None if it refuses."""
        query = parse.urlencode(self.scheduler.query(asked))
        try:
            found = self.server.api(
                'GET',
                f'/allocation_candidates?{query}',
                microversion=nova_scheduler.MICROVERSION,
            )
        except placement.PlacementError as error:
            self.assertEqual(400, error.status)
            return None
        return [c['allocations'] for c in found['allocation_requests']]

    def ours(self, asked: models.Flavor) -> list[dict[str, Any]] | None:
        """Ask in this project's way."""
        query = candidates.query(request.asked(asked), 1000)
        try:
            return self.client.candidates(query)
        except exception.QueryRefused:
            return None

    def written(self) -> Iterator[tuple[models.Flavor, flavor_specs.Wish]]:
        """Write a flavor of each kind, number and policy."""
        found = offers.offers(gpu for h in self.hosts() for gpu in h.gpus)
        self.assertEqual(
            [
                f'L40S-12Q ({L40S})',
                'mtty-1 (VGPU)',
                'nvidia-194 (V100DX-1Q, VGPU)',
                'nvidia-196 (V100DX-4Q, VGPU)',
                'nvidia-199 (V100DX-32Q, CUSTOM_BIG)',
                'nvidia-558 (A40-2B, VGPU)',
            ],
            [str(offer) for offer in found],
        )
        for offer in found:
            for count in (1, 2, 3):
                for isolate in (None, True, False):
                    wish = offer.wish(count, isolate)
                    yield flavor(flavor_specs.write(wish)), wish

    def test_written_flavors(self) -> None:
        """Nova takes each, and Placement gives the vGPUs asked for."""
        shapes = {room.shape(host) for host in self.hosts()}
        fitting = 0
        for asked, wish in self.written():
            for key, value in asked.extra_specs.items():
                validators.validate(key, value)
            found = self.answer(asked)
            assert found is not None  # noqa: S101
            faults = [
                f
                for f in check.check(asked, shapes)
                if f.severity is not models.Severity.WARNING
            ]
            self.assertEqual(bool(found), not faults, (wish, faults))
            fitting += bool(found)
            for candidate in found:
                amounts = [
                    given['resources'].get(wish.resource_class, 0)
                    for given in candidate.values()
                ]
                self.assertEqual(wish.count, sum(amounts), asked)
                if wish.isolate:
                    self.assertEqual(1, max(amounts), asked)
        self.assertGreater(fitting, 30)

    def test_defaults_have_no_fault(self) -> None:
        """Not even a warning, where one host has as many GPUs."""
        hosts = self.hosts()
        shapes = {room.shape(host) for host in hosts}
        for offer in offers.offers(gpu for h in hosts for gpu in h.gpus):
            for count in (1, 2):
                if (count, offer.name) == (2, 'mtty-1'):
                    continue
                asked = flavor(flavor_specs.write(offer.wish(count, None)))
                self.assertEqual([], check.check(asked, shapes))

    def test_random_flavors(self) -> None:
        """Our count of room agrees with Placement, as full as it may be."""
        self.fill()
        hosts = self.hosts()
        vgpus = room.classes(room.shape(host) for host in hosts)
        free = [room.shape(host, free=True) for host in hosts]
        seen = {'fits': 0, 'full': 0, 'refused': 0}

        @hypothesis.settings(
            max_examples=150,
            deadline=None,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(EXTRA_SPECS, st.sampled_from([1, 1, 1, 30, 65]))
        def agree(specs: dict[str, str], vcpus: int) -> None:
            asked = flavor(specs, vcpus=vcpus)
            wanted = request.asked(asked)
            refused = list(never.refused(wanted))
            theirs, ours = self.answer(asked), self.ours(asked)
            self.assertEqual(theirs is None, ours is None, specs)
            self.assertEqual(theirs is None, bool(refused), specs)
            if theirs is None or ours is None:
                seen['refused'] += 1
                return
            self.assertEqual(bool(theirs), bool(ours), specs)
            counted = sum(room.guests(shape, wanted, vgpus) for shape in free)
            groups = request.vgpu_groups(specs, vgpus)
            parts = sum(len(group.resources) for group in groups)
            if theirs or parts < 2:
                self.assertEqual(bool(theirs), counted > 0, specs)
            seen['fits' if theirs else 'full'] += 1

        agree()
        self.assertGreater(min(seen.values()), 9, seen)

    def test_number_of_guests(self) -> None:
        """As many fit as are counted, and not one more."""
        self.fill()
        hosts = self.hosts()
        vgpus = room.classes(room.shape(host) for host in hosts)
        free = [room.shape(host, free=True) for host in hosts]
        numbers = []
        for asked, wish in self.written():
            if wish.count == 3 or _is_plentiful(wish):
                continue
            wanted = request.asked(asked)
            expected = sum(room.guests(s, wanted, vgpus) for s in free)
            consumers = []
            while consumer := self.claim(asked):
                consumers.append(consumer)
            self.assertEqual(expected, len(consumers), asked)
            numbers.append(expected)
            for consumer in consumers:
                self.server.release(consumer)
        self.assertGreater(len(set(numbers)), 3, numbers)

    def claim(self, asked: models.Flavor) -> str | None:
        """Serve a flavor from the emptiest GPUs that Placement offers."""
        query = parse.urlencode(self.scheduler.query(asked))
        found = self.server.api('GET', f'/allocation_candidates?{query}')
        summaries = found['provider_summaries']

        def free(candidate: dict[str, Any]) -> list[int]:
            return sorted(
                has['capacity'] - has['used']
                for uuid, given in candidate['allocations'].items()
                for name, has in summaries[uuid]['resources'].items()
                if name in given['resources'] and name not in gpu_clouds.SIZE
            )

        best = max(found['allocation_requests'], key=free, default=None)
        if best is None:
            return None
        return self.server.allocate(
            {
                self.names[uuid]: given['resources']
                for uuid, given in best['allocations'].items()
            }
        )

    def fill(self) -> None:
        """Let a few guests use some of it."""
        numbers = {'VGPU': 30, 'CUSTOM_BIG': 1, L40S: 1}
        gpus = [gpu for host in self.hosts() for gpu in host.gpus][::2]
        for gpu in gpus:
            for name, has in gpu.capacities.items():
                amount = min(has.total, numbers[name])
                self.server.allocate({gpu.name: {name: amount}})
