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
"""What holds for every state of a cloud."""

from __future__ import annotations

import dataclasses
from typing import Any

import hypothesis
from hypothesis import strategies as st

from nova_vgpu_ext import models
from nova_vgpu_ext.plan import audit
from tests import base
from tests.unit.plan.audit import clouds

SERVERS = ('server-1', 'server-2')
MOVES = ('move-1', 'move-2')
CONSUMERS = (*SERVERS, *MOVES, 'nobody')
OURS = tuple(sorted(clouds.TYPE_194 | clouds.TYPE_196 | {'CUSTOM_VGPU_GONE'}))
FOREIGN = ('OWNER_NOVA', 'CUSTOM_RACK_7', 'COMPUTE_NODE', 'CUSTOM_NVIDIA')
STATUSES = (
    'ACTIVE',
    'BUILD',
    'ERROR',
    'MIGRATING',
    'SHELVED_OFFLOADED',
    'SHUTOFF',
    'SOFT_DELETED',
    'VERIFY_RESIZE',
    'A_NEW_STATUS',
)
ENDED = ('completed', 'confirmed', 'done', 'error', 'reverted')
MOVE_STATUSES = (*audit.IN_PROGRESS, *ENDED, 'a-new-status')

_traits = st.one_of(
    st.sampled_from((clouds.TYPE_194, clouds.TYPE_196)),
    st.frozensets(st.sampled_from(OURS), max_size=5),
)
_capacities = st.dictionaries(
    st.sampled_from(('VGPU', 'CUSTOM_A', 'CUSTOM_NVIDIA_L40S_12Q')),
    st.tuples(st.integers(0, 9), st.sampled_from((0, 0, 3, 12))),
    max_size=2,
)
_nodes = st.sampled_from((clouds.HERE, clouds.THERE, None))


@st.composite
def _hosts(draw: Any, name: str) -> models.CloudHost:
    gpus = [
        clouds.gpu(
            number,
            draw(_capacities),
            draw(_traits) | draw(st.frozensets(st.sampled_from(FOREIGN))),
            name,
            is_pci=draw(st.sampled_from((False, False, True))),
        )
        for number in range(draw(st.integers(1, 5)))
    ]
    on_root = draw(st.sampled_from((frozenset(), frozenset(OURS[:6]))))
    return clouds.host(*gpus, name=name, traits=on_root | set(FOREIGN))


@st.composite
def _servers(draw: Any, uuid: str) -> models.Server:
    return clouds.server(
        uuid,
        draw(_nodes),
        draw(st.sampled_from(STATUSES)),
        draw(st.sampled_from((None, None, 'migrating'))),
        draw(st.sampled_from(({}, clouds.ONE_VGPU))),
    )


@st.composite
def _moves(draw: Any, uuid: str) -> models.Migration:
    return clouds.move(
        uuid,
        draw(st.sampled_from(SERVERS)),
        draw(st.sampled_from(MOVE_STATUSES)),
        draw(st.sampled_from(('evacuation', 'live-migration', 'resize'))),
    )


@dataclasses.dataclass(frozen=True)
class Cloud:
    """What there is, whatever an audit has seen of it."""

    here: models.CloudHost
    there: models.CloudHost
    servers: dict[str, models.Server]
    moves: dict[str, models.Migration]
    consumers: dict[str, models.Consumer]
    in_nova: bool

    def view(self) -> audit.HostView:
        """Read the first host as the command does."""
        held = {
            gpu.uuid: {
                c.uuid: dict(c.resources[gpu.uuid])
                for c in self.consumers.values()
                if gpu.uuid in c.resources
            }
            for gpu in self.here.gpus
        }
        return clouds.view(
            self.here,
            in_nova=self.in_nova,
            held=held,
            servers=[
                s for s in self.servers.values() if s.node == clouds.HERE
            ],
            moving=frozenset(
                m.uuid
                for m in self.moves.values()
                if m.status in audit.IN_PROGRESS
            ),
        )

    def suspect(self, uuid: str) -> audit.Suspect:
        """Look at one consumer as the command does."""
        move = self.moves.get(uuid)
        server = self.servers.get(move.server_uuid if move else uuid)
        return audit.Suspect(
            consumer=self.consumers.get(uuid),
            server=server,
            move=move,
            moves=tuple(
                m
                for m in self.moves.values()
                if server and m.server_uuid == server.uuid
            ),
            own=self.consumers.get(server.uuid) if server and move else None,
        )


@st.composite
def _clouds(draw: Any) -> Cloud:
    here, there = draw(_hosts(clouds.HERE)), draw(_hosts(clouds.THERE))
    places = [g.uuid for g in (*here.gpus, *there.gpus)]
    places += clouds.NODES.values()
    consumers = {}
    for uuid in sorted(draw(st.sets(st.sampled_from(CONSUMERS)))):
        at = draw(st.sets(st.sampled_from(places), min_size=1, max_size=4))
        consumers[uuid] = clouds.consumer(
            uuid,
            {place: {'VGPU': draw(st.integers(1, 2))} for place in sorted(at)},
        )
    alive = draw(st.sets(st.sampled_from(SERVERS)))
    known = draw(st.sets(st.sampled_from(MOVES)))
    return Cloud(
        here,
        there,
        {uuid: draw(_servers(uuid)) for uuid in sorted(alive)},
        {uuid: draw(_moves(uuid)) for uuid in sorted(known)},
        consumers,
        draw(st.sampled_from((True, True, False))),
    )


def _look(cloud: Cloud) -> tuple[audit.HostView, audit.Census]:
    census = audit.take([cloud.here, cloud.there])
    view = cloud.view()
    for uuid in audit.suspects(view, census):
        suspect = cloud.suspect(uuid)
        view = clouds.looked(view, uuid, **vars(suspect))
    return view, census


def _is_ours(name: str) -> bool:
    return name.startswith(('CUSTOM_VGPU_', 'CUSTOM_NVIDIA_1'))


class AnyCloudTest(base.TestCase):
    """Repairs take nothing away that somebody may need."""

    @hypothesis.settings(max_examples=600, deadline=None)
    @hypothesis.given(_clouds())
    def test_repairs(self, cloud: Cloud) -> None:
        """Whatever the cloud is like."""
        view, census = _look(cloud)
        for finding in audit.check(view, census):
            repair = finding.repair
            if isinstance(repair, audit.Release):
                self._check_release(cloud, repair)
            elif isinstance(repair, audit.LeaveHost):
                self._check_leave(cloud, repair)
            elif isinstance(repair, audit.SetTraits):
                self._check_traits(cloud, repair)
            elif isinstance(repair, audit.DeleteProvider):
                self.assertEqual(
                    [], [c for c in repair.gpu.capacities.values() if c.used]
                )
                self.assertIn(repair.gpu, cloud.here.gpus)

    def _check_release(self, cloud: Cloud, repair: audit.Release) -> None:
        uuid = repair.consumer.uuid
        move = cloud.moves.get(uuid)
        if move is not None:
            self.assertIn(move.status, ENDED)
        if repair.of_server:
            return
        self.assertNotIn(uuid, cloud.servers)
        if move is not None and move.server_uuid in cloud.servers:
            self.assertEqual(
                clouds.THERE, cloud.servers[move.server_uuid].node
            )

    def _check_leave(self, cloud: Cloud, repair: audit.LeaveHost) -> None:
        """What is kept is on the host where the server is, and rests."""
        self.assertTrue(repair.of_server)
        server = cloud.servers[repair.consumer.uuid]
        self.assertEqual(clouds.HERE, repair.host)
        self.assertEqual(clouds.THERE, server.node)
        self.assertIsNone(server.task_state)
        self.assertIn(clouds.NODES[clouds.THERE], repair.consumer.resources)
        for move in cloud.moves.values():
            if move.server_uuid == server.uuid:
                self.assertIn(move.status, ENDED)

    def _check_traits(self, cloud: Cloud, repair: audit.SetTraits) -> None:
        changed = repair.add | repair.remove
        self.assertNotEqual(frozenset(), changed)
        self.assertEqual([], [t for t in changed if not _is_ours(t)])
        before = {g.uuid: g.traits for g in cloud.here.gpus}
        before[cloud.here.uuid] = cloud.here.traits
        self.assertEqual(before[repair.uuid], repair.before)
        self.assertEqual(
            {t for t in repair.before if not _is_ours(t)},
            {t for t in repair.after if not _is_ours(t)},
        )
        self.assertNotIn('CUSTOM_VGPU_GONE', repair.add)
        if repair.uuid != cloud.here.uuid:
            # Nothing is written that no other GPU has just so.
            others = [
                {t for t in g.traits if _is_ours(t)}
                for g in (*cloud.here.gpus, *cloud.there.gpus)
                if g.uuid != repair.uuid
            ]
            self.assertIn({t for t in repair.after if _is_ours(t)}, others)

    @hypothesis.settings(max_examples=100, deadline=None)
    @hypothesis.given(_clouds(), st.randoms())
    def test_order(self, cloud: Cloud, random: Any) -> None:
        """The same findings in the same order, however it was read."""
        view, census = _look(cloud)
        gpus = list(cloud.here.gpus)
        random.shuffle(gpus)
        here = dataclasses.replace(cloud.here, gpus=tuple(gpus))
        again, _ = _look(dataclasses.replace(cloud, here=here))
        self.assertEqual(audit.check(view, census), audit.check(again, census))

    @hypothesis.settings(max_examples=100, deadline=None)
    @hypothesis.given(_clouds())
    def test_names(self, cloud: Cloud) -> None:
        """Every finding has a name that is listed."""
        for finding in audit.check(*_look(cloud)):
            self.assertIn(finding.check, audit.CHECKS)
