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
"""Providers of hosts and GPUs that are gone."""

from __future__ import annotations

from nova_vgpu_ext import models
from nova_vgpu_ext.plan import audit
from tests import base
from tests.unit.plan.audit import clouds

GONE = frozenset({'CUSTOM_VGPU_GONE', 'CUSTOM_NVIDIA_194', 'OWNER_NOVA'})


class ProvidersTest(base.TestCase):
    """One provider at a time."""

    def check(self, seen: audit.HostView, *lines: str) -> list[audit.Finding]:
        """Compare what is found."""
        found = audit.check(seen, audit.take([seen.host]))
        self.assertEqual(list(lines), clouds.lines(found))
        return found

    def test_healthy(self) -> None:
        """A host as it should be gives nothing."""
        self.check(clouds.view(clouds.host(clouds.gpu(1), clouds.gpu(2))))

    def test_host_that_nova_has_not(self) -> None:
        """One line for the host, and none for each of its GPUs' labels."""
        (found,) = self.check(
            clouds.view(
                clouds.host(clouds.gpu(1), clouds.gpu(2, traits=())),
                in_nova=False,
            ),
            f'gone-host error uuid-{clouds.HERE}: None',
        )
        self.assertIn('2 GPUs', found.found)
        self.assertIn('discover_hosts', found.remedy)

    def test_empty(self) -> None:
        """It goes if all of it is Nova's or ours."""
        empty = clouds.gpu(2, {}, clouds.TYPE_194 | {'OWNER_NOVA'})
        (found,) = self.check(
            clouds.view(clouds.host(clouds.gpu(1), empty)),
            f'empty-provider warning 0000:02:00.0: delete provider '
            f'{empty.name}',
        )
        self.assertIn(empty.uuid, found.remedy)

    def test_empty_with_traits_of_others(self) -> None:
        """Somebody may want them again."""
        (found,) = self.check(
            clouds.view(clouds.host(clouds.gpu(2, {}))),
            'empty-provider warning 0000:02:00.0: None',
        )
        self.assertIn('CUSTOM_RACK_7', found.found)

    def test_gone_and_used(self) -> None:
        """It is said who is on it; nothing is done."""
        gone = clouds.gpu(2, {'VGPU': (1, 1)}, GONE)
        (found,) = self.check(
            clouds.view(
                clouds.host(clouds.gpu(1), gone),
                held=clouds.holding(gone, a_server={'VGPU': 1}),
                servers=[clouds.server('a-server')],
            ),
            'gone-gpu error 0000:02:00.0: None',
        )
        self.assertIn('a-server', found.found)

    def test_gone_and_free(self) -> None:
        """The next report would delete it; so may we."""
        gone = clouds.gpu(2, {'VGPU': (1, 0)}, GONE)
        self.check(
            clouds.view(clouds.host(clouds.gpu(1), gone)),
            f'gone-gpu warning 0000:02:00.0: delete provider {gone.name}',
        )

    def test_gone_is_no_product(self) -> None:
        """What marks a GPU as gone is not taken for what it offers."""
        self.assertEqual(
            audit.take([clouds.host(clouds.gpu(1, traits=GONE))]).trait_sets,
            {},
        )

    def test_root(self) -> None:
        """VGPU on the compute node itself."""
        (found,) = self.check(
            clouds.view(
                clouds.host(
                    clouds.gpu(1), capacities={'VGPU': models.Capacity(8, 0)}
                )
            ),
            f'root-vgpu error uuid-{clouds.HERE}: None',
        )
        self.assertIn('nova-compute', found.remedy)
