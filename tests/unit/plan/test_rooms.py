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
"""What fits, against the driver of a simulated host."""

from __future__ import annotations

import tempfile
import uuid

import hypothesis
from hypothesis import strategies as st

from nova_vgpu_ext import exception
from nova_vgpu_ext.plan import mdevs
from tests import base
from tests.unit.sim import hosts
from tests.unit.sim.hosts import A40, A40_TYPES, V100, V100_TYPES, VFS

_PLACES = [
    *((V100, t.id) for t in V100_TYPES),
    *((vf, t.id) for vf in VFS for t in A40_TYPES),
    *(('mtty_mtty', t) for t in ('mtty-1', 'mtty-2')),
]
_CARDS = [
    *((V100, t.id) for t in V100_TYPES),
    *((A40, t.id) for t in A40_TYPES),
    *((VFS[0], t.id) for t in A40_TYPES),
    *(('mtty_mtty', t) for t in ('mtty-1', 'mtty-2')),
]


def made(host: hosts.Host, address: str, type_id: str) -> bool:
    """Make one more mdev of a type, wherever on a card the driver lets it."""
    places = VFS if address == A40 else [address]
    return any(
        host.create(place, type_id, str(uuid.uuid4())) == 0 for place in places
    )


class RoomsTest(base.TestCase):
    """A plan promises what the driver gives, all of it and no more."""

    def test_create(self) -> None:
        """On a host that holds anything."""
        outcomes = {True: 0, False: 0}

        @hypothesis.settings(
            max_examples=60,
            deadline=None,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(
            st.lists(st.sampled_from(_PLACES), max_size=4),
            st.sampled_from(_CARDS),
            st.integers(1, 4),
        )
        def check(
            held: list[tuple[str, str]], place: tuple[str, str], count: int
        ) -> None:
            with tempfile.TemporaryDirectory() as folder:
                host = hosts.Host(folder, hosts.host())
                for one in held:
                    host.create(*one, str(uuid.uuid4()))
                names = [str(uuid.uuid4()) for _ in range(count)]
                try:
                    plan = mdevs.create(host.observe(), *place, names)
                except exception.Refused:
                    outcomes[False] += 1
                    fitting = [made(host, *place) for _ in range(count)]
                    self.assertIn(False, fitting, (held, place))
                    return
                outcomes[True] += 1
                self.assertEqual(count, len(plan.actions))
                for step in plan.actions:
                    found = host.create(step.parent, step.type_id, step.uuid)
                    self.assertEqual(0, found, (held, plan))

        check()
        self.assertGreater(min(outcomes.values()), 5, outcomes)
