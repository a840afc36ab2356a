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
"""Who holds something of a GPU without being a server on its host."""

from __future__ import annotations

from typing import Any

from nova_vgpu_ext import models
from nova_vgpu_ext.plan import audit
from tests import base
from tests.unit.plan.audit import clouds

GPU = clouds.gpu(1, {'VGPU': (32, 1)})
HELD = clouds.consumer(
    'a-consumer',
    {GPU.uuid: {'VGPU': 1}, clouds.NODES[clouds.HERE]: clouds.CPU},
)
DOUBLE = clouds.consumer(
    'a-consumer',
    {**HELD.resources, clouds.NODES[clouds.THERE]: clouds.CPU},
)
OWN = clouds.consumer('a-server', {clouds.NODES[clouds.THERE]: {**clouds.CPU}})


class AllocationsTest(base.TestCase):
    """One consumer on one GPU."""

    def seen(self, **fields: Any) -> audit.HostView:
        """Make a host whose GPU somebody uses."""
        return clouds.view(
            clouds.host(GPU),
            held=clouds.holding(GPU, a_consumer={'VGPU': 1}),
            **fields,
        )

    def check(
        self, line: str | None, fields: dict[str, Any], **seen: Any
    ) -> list[audit.Finding]:
        """Look at the consumer; compare what is found."""
        view = self.seen(**seen)
        census = audit.take([view.host])
        self.assertEqual(['a-consumer'], audit.suspects(view, census))
        self.assertEqual([], audit.check(view, census))
        found = audit.check(
            clouds.looked(view, 'a-consumer', **fields), census
        )
        self.assertEqual([line] if line else [], clouds.lines(found))
        return found

    def of_server(
        self,
        line: str | None,
        server: models.Server,
        consumer: models.Consumer = DOUBLE,
        **fields: Any,
    ) -> list[audit.Finding]:
        """Look at a consumer that is a server."""
        return self.check(
            line, {'consumer': consumer, 'server': server, **fields}
        )

    def of_move(
        self,
        line: str | None,
        move: models.Migration,
        server: models.Server | None,
        own: models.Consumer | None = OWN,
    ) -> list[audit.Finding]:
        """Look at a consumer that is a move."""
        return self.check(
            line,
            {'consumer': HELD, 'move': move, 'server': server, 'own': own},
        )

    def test_of_no_interest(self) -> None:
        """Servers of the host and moves in progress need no look."""
        for fields in (
            {'servers': [clouds.server('a-consumer')]},
            {'moving': frozenset({'a-consumer'})},
        ):
            view = self.seen(**fields)
            census = audit.take([view.host])
            self.assertEqual([], audit.suspects(view, census))
            self.assertEqual([], audit.check(view, census))

    def test_leaked(self) -> None:
        """It is neither a server nor a move."""
        (found,) = self.check(
            'leaked-allocation error a-consumer: delete all allocations of '
            'a-consumer',
            {'consumer': HELD},
        )
        self.assertEqual(audit.Release(HELD), found.repair)
        self.assertIn('1 VGPU on 0000:01:00.0', found.found)
        self.assertIn('a-project', found.found)

    def test_gone_meanwhile(self) -> None:
        """It holds nothing any more, or nothing here."""
        self.check(None, {'consumer': None})
        self.check(None, {'consumer': OWN})

    def test_server_that_came(self) -> None:
        """It is on this host by now."""
        self.of_server(None, clouds.server('a-consumer'))

    def test_server_elsewhere(self) -> None:
        """What it holds there stays, what it holds here may go."""
        (found,) = self.of_server(
            'wrong-host error a-consumer: delete the allocations of '
            f'a-consumer on {clouds.HERE}',
            clouds.server('a-consumer', clouds.THERE),
        )
        assert found.repair is not None  # noqa: S101
        self.assertTrue(found.repair.of_server)
        self.assertIn(f'--provider {GPU.uuid}', found.remedy)

    def test_server_that_holds_nothing_else(self) -> None:
        """Its only allocation is not taken away."""
        self.of_server(
            'wrong-host error a-consumer: None',
            clouds.server('a-consumer', clouds.THERE),
            HELD,
        )

    def test_server_in_motion(self) -> None:
        """A task, or a status that is none of rest."""
        for state in (
            {'task_state': 'migrating', 'status': 'MIGRATING'},
            {'task_state': 'resize_migrating', 'status': 'RESIZE'},
            {'status': 'BUILD', 'node': None},
            {'status': 'SHELVED_OFFLOADED', 'node': None, 'task_state': 'x'},
        ):
            fields: dict[str, Any] = {'node': clouds.THERE, **state}
            self.of_server(None, clouds.server('a-consumer', **fields))

    def test_server_with_a_move(self) -> None:
        """In progress, in a status of tomorrow, or an evacuation from here."""
        there = clouds.server('a-consumer', clouds.THERE)
        line = (
            'wrong-host error a-consumer: delete the allocations of '
            f'a-consumer on {clouds.HERE}'
        )
        for kind, status, source, expected in (
            ('live-migration', 'running', clouds.HERE, None),
            ('migration', 'a-new-status', clouds.HERE, None),
            ('evacuation', 'done', clouds.HERE, None),
            ('evacuation', 'done', clouds.THERE, line),
            ('evacuation', 'completed', clouds.HERE, line),
            ('live-migration', 'completed', clouds.HERE, line),
        ):
            past = clouds.move('m', 'a-consumer', status, kind, source)
            self.of_server(expected, there, moves=(past,))

    def test_evacuated_from_a_host_that_never_comes_back(self) -> None:
        """Nobody but the administrator can end that."""
        past = clouds.move('m', 'a-consumer', 'done', 'evacuation')
        there = clouds.server('a-consumer', clouds.THERE)
        view = clouds.looked(
            self.seen(in_nova=False),
            'a-consumer',
            consumer=DOUBLE,
            server=there,
            moves=(past,),
        )
        found = audit.check(view, audit.take([view.host]))
        self.assertEqual(['gone-host', 'wrong-host'], [f.check for f in found])

    def test_server_on_no_host(self) -> None:
        """Shelved and offloaded, or failed: it should hold nothing."""
        for status in ('SHELVED_OFFLOADED', 'ERROR'):
            (found,) = self.of_server(
                'wrong-host error a-consumer: delete all allocations of '
                'a-consumer',
                clouds.server('a-consumer', None, status),
            )
            self.assertEqual(audit.Release(DOUBLE, True), found.repair)

    def test_server_in_error_elsewhere(self) -> None:
        """Nobody can tell what it still uses."""
        self.of_server(
            'wrong-host error a-consumer: None',
            clouds.server('a-consumer', clouds.THERE, 'ERROR'),
        )

    def test_moves_among_all(self) -> None:
        """One to another cell has two records, and has ended if both have."""
        ended = clouds.move('m', 'a-server', 'confirmed')
        runs = clouds.move('m', 'a-server', 'finished')
        other = clouds.move('n', 'a-server', 'finished')
        for moves, expected in (
            ((ended, other), ended),
            ((runs, ended), runs),
            ((ended, runs), runs),
        ):
            self.assertEqual(
                {'m': expected}, audit.find_moves(moves, {'m', 'x'})
            )

    def test_move_in_progress(self) -> None:
        """Also one that waits to be confirmed."""
        there = clouds.server('a-server', clouds.THERE, 'VERIFY_RESIZE')
        for status in ('finished', 'confirming', 'a-new-status'):
            self.of_move(
                None, clouds.move('a-consumer', 'a-server', status), there
            )

    def test_move_that_arrived(self) -> None:
        """What the server had before is nobody's."""
        for status in ('completed', 'confirmed', 'done'):
            (found,) = self.of_move(
                'finished-move error a-consumer: delete all allocations of '
                'a-consumer',
                clouds.move('a-consumer', 'a-server', status),
                clouds.server('a-server', clouds.THERE),
            )
            self.assertEqual(audit.Release(HELD), found.repair)
            self.assertIn('a-server', found.found)

    def test_move_of_a_server_that_is_gone(self) -> None:
        """However it ended."""
        (found,) = self.of_move(
            'finished-move error a-consumer: delete all allocations of '
            'a-consumer',
            clouds.move('a-consumer', 'a-server', 'error'),
            None,
        )
        self.assertEqual(audit.Release(HELD), found.repair)

    def test_move_on_one_host(self) -> None:
        """Of a server that is here, only the flag takes something away."""
        own = clouds.consumer(
            'a-server', {clouds.NODES[clouds.HERE]: clouds.CPU}
        )
        (found,) = self.of_move(
            'finished-move error a-consumer: delete all allocations of '
            'a-consumer',
            clouds.move('a-consumer', 'a-server', 'confirmed', 'resize'),
            clouds.server('a-server'),
            own,
        )
        self.assertEqual(audit.Release(HELD, of_server=True), found.repair)

    def test_move_that_failed(self) -> None:
        """The server may use what the move holds: by flag, or never."""
        here = clouds.server('a-server')
        failed = clouds.move('a-consumer', 'a-server', 'error')
        own = clouds.consumer(
            'a-server', {clouds.NODES[clouds.HERE]: clouds.CPU}
        )
        line = 'finished-move error a-consumer: '
        release = 'delete all allocations of a-consumer'
        for server, holds, repair in (
            (here, own, audit.Release(HELD, of_server=True)),
            (here, None, None),
            (here, OWN, None),
            (clouds.server('a-server', clouds.HERE, 'ERROR'), own, None),
            (clouds.server('a-server', None, 'ERROR'), own, None),
        ):
            (found,) = self.of_move(
                line + (release if repair else 'None'), failed, server, holds
            )
            self.assertEqual(repair, found.repair)
