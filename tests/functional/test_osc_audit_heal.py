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
"""What ``openstack vgpu audit --heal`` repairs, and what it leaves alone."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from tests.functional import audit_base
from tests.functional.audit_base import VGPU_1, on
from tests.functional.fixtures import http_server

GPU_0, GPU_1 = '0000:01:00.0', '0000:01:00.1'

_PROGRAM = (
    'import sys; from nova_vgpu_ext.osc import auditor; auditor.SETTLE = 0; '
    'from openstackclient import shell; sys.exit(shell.main(sys.argv[1:]))'
)
_TIMEOUT = 120.0


class HealTestCase(audit_base.AuditTestCase):
    """Faults, and what becomes of them."""

    def leak(self, number: int = 0) -> str:
        """Let a consumer that nobody knows hold a vGPU of the first host."""
        return self.placement.allocate(on('gpu01', self.here[number]))

    def double(self, name: str = 's', **kwargs: Any) -> str:
        """Make a server on the second host that holds the first one too."""
        server = self.server(name, 'vgpu_1', **kwargs)
        self.nova.call('update_server', uuid=server, node='gpu02')
        self.placement.allocate(
            on('gpu01', self.here[0]) | on('gpu02', self.there[0]), server
        )
        return server

    def states(self, *arguments: str, code: int) -> dict[str, str]:
        """Run it; give what became of each object."""
        rows = self.audit(*arguments, code=code)
        return {row['object']: row['state'] for row in rows}

    def heal(self, *arguments: str, code: int = 0) -> dict[str, str]:
        """Run it with --heal; give what became of each object."""
        return self.states('--heal', *arguments, code=code)

    def writes(self) -> list[str]:
        """Give the writes to Placement so far."""
        return [
            f'{r.method} {r.path}'
            for r in self.placement.requests
            if r.is_write
        ]


class HealTest(HealTestCase):
    """One administrator at work."""

    def test_leaked_allocation(self) -> None:
        """All that the consumer holds goes, on every host."""
        leaked = self.placement.allocate(
            on('gpu01', self.here[0]) | on('gpu02', self.there[1])
        )
        kept = self.vgpu_server('kept')
        rows = self.audit('--heal', code=0)
        self.assertEqual(
            [('gpu01', 'repaired'), ('gpu02', 'already repaired')],
            [(r['host'], r['state']) for r in rows],
        )
        self.assertIn(
            f'repaired: delete all allocations of {leaked}\n', self.last.err
        )
        self.assertEqual({}, self.held_by(leaked))
        self.assertEqual(on('gpu01', self.here[0]), self.held_by(kept))
        self.found()

    def test_finished_move(self) -> None:
        """What a move has left goes; what the server holds stays."""
        server = self.server('s', 'vgpu_1', 'gpu02', {self.there[0]: VGPU_1})
        for status in ('completed', 'error'):
            move = self.nova.call(
                'create_migration',
                server=server,
                source='gpu01',
                target='gpu02',
                kind='live-migration',
                status=status,
            )
            self.placement.allocate(on('gpu01', self.here[0]), move)
            self.assertEqual({move: 'repaired'}, self.heal())
            self.assertEqual({}, self.held_by(move))
        self.assertEqual(on('gpu02', self.there[0]), self.held_by(server))

    def test_failed_move(self) -> None:
        """The server may use what the move holds: nothing is touched."""
        server = self.server('s', 'vgpu_1')
        self.nova.call('update_server', uuid=server, node='gpu01')
        move = self.nova.call(
            'create_migration',
            server=server,
            source='gpu01',
            target='gpu02',
            status='error',
        )
        self.placement.allocate(on('gpu01', self.here[0]), move)
        for arguments in ((), ('--include-servers',)):
            self.assertEqual(
                {move: 'left', server: 'left'}, self.heal(*arguments, code=2)
            )
        self.assertEqual([], self.writes())

    def test_providers(self) -> None:
        """Empty ones, and those whose host says that the GPU is gone."""
        self.placement.set_inventories(self.here[1], {})
        self.placement.set_traits(
            self.there[1], {'CUSTOM_VGPU_GONE', 'OWNER_NOVA'}
        )
        rows = self.audit('--heal', code=0)
        self.assertEqual(
            ['empty-provider', 'gone-gpu'], [r['check'] for r in rows]
        )
        for name in (self.here[1], self.there[1]):
            self.assertIsNone(self.placement.find(name))
        self.found()

    def test_provider_in_use(self) -> None:
        """It stays as it is."""
        self.vgpu_server('s', 1)
        self.placement.set_traits(self.here[1], {'CUSTOM_VGPU_GONE'})
        self.assertEqual({GPU_1: 'left'}, self.heal(code=2))
        self.assertEqual([], self.writes())

    def test_traits(self) -> None:
        """A trait that was moved from one GPU to another."""
        other = self.gpu('gpu01', 8, 196, 8)
        self.gpu('gpu02', 8, 196, 8)
        for number in (16, 24):
            self.gpu('gpu01', number)
        self.placement.add_traits(other, 'CUSTOM_RACK_7')
        before = {
            name: self.placement.provider(name).traits
            for name in (*self.here, other, 'gpu01')
        }
        self.placement.add_traits(self.here[0], 'CUSTOM_NVIDIA_196')
        self.placement.set_traits(
            self.here[1], {'CUSTOM_NVIDIA_194', 'OWNER_NOVA'}
        )
        self.placement.add_traits('gpu01', 'CUSTOM_VGPU_SERIES_Q')
        self.assertEqual(
            {
                GPU_0: 'repaired',
                GPU_1: 'repaired',
                self.uuid_of('gpu01'): 'repaired',
            },
            self.heal(),
        )
        self.assertEqual(
            before,
            {name: self.placement.provider(name).traits for name in before},
        )

    def test_traits_on_a_busy_gpu(self) -> None:
        """Allocations move the generation: that hinders nobody."""
        self.placement.add_traits(self.here[0], 'CUSTOM_NVIDIA_196')
        uuid = self.uuid_of(self.here[0])
        path = f'/resource_providers/{uuid}/traits'
        self.placement.before('GET', path, lambda: self.vgpu_server('one'))
        self.assertEqual({GPU_0: 'repaired'}, self.heal())
        self.placement.add_traits(self.here[0], 'CUSTOM_NVIDIA_196')
        self.placement.before('PUT', path, lambda: self.vgpu_server('two'))
        self.assertEqual({GPU_0: 'repaired'}, self.heal())

    def test_dry_run(self) -> None:
        """It says what would be done, and writes nothing."""
        leaked, double = self.leak(), self.double()
        self.placement.set_inventories(self.here[1], {})
        plan = {
            GPU_1: f'would delete provider {self.here[1]}',
            leaked: f'would delete all allocations of {leaked}',
            double: 'left',
        }
        for arguments in (('--dry-run',), ('--heal', '--dry-run')):
            self.assertEqual(plan, self.states(*arguments, code=2))
        plan[double] = f'would delete the allocations of {double} on gpu01'
        self.assertEqual(
            plan, self.states('--dry-run', '--include-servers', code=2)
        )
        self.assertEqual([], self.writes())
        self.assertEqual(
            dict.fromkeys(plan, 'repaired'), self.heal('--include-servers')
        )
        self.found()

    def test_servers_by_flag_only(self) -> None:
        """The wrong host's part goes, the right one's stays."""
        server = self.double()
        self.assertEqual({server: 'left'}, self.heal(code=2))
        self.assertEqual([], self.writes())
        self.assertEqual({server: 'repaired'}, self.heal('--include-servers'))
        self.assertEqual(on('gpu02', self.there[0]), self.held_by(server))
        self.found()

    def test_server_whose_only_allocation_is_wrong(self) -> None:
        """Not even the flag takes it away."""
        server = self.server('s', 'vgpu_1')
        self.nova.call('update_server', uuid=server, node='gpu02')
        self.placement.allocate(on('gpu01', self.here[0]), server)
        self.assertEqual(
            {server: 'left'}, self.heal('--include-servers', code=2)
        )
        self.assertEqual([], self.writes())

    def test_shelved_server(self) -> None:
        """Offloaded, it should hold nothing: by flag."""
        server = self.server('s', 'vgpu_1', vm_state='shelved_offloaded')
        self.placement.allocate(on('gpu01', self.here[0]), server)
        self.assertEqual({server: 'left'}, self.heal(code=2))
        self.assertEqual({server: 'repaired'}, self.heal('--include-servers'))
        self.assertEqual({}, self.held_by(server))

    def test_failure_stops_no_other(self) -> None:
        """Each is tried; what failed is left, and said."""
        leaks = sorted(self.leak(n % 2) for n in range(3))
        path = f'/allocations/{leaks[1]}'
        self.placement.fault_status(503, method='PUT', path=path, times=99)
        states = self.heal(code=2)
        self.assertEqual(
            ['repaired', 'repaired'], [states[leaks[0]], states[leaks[2]]]
        )
        self.assertIn('failed: ', states[leaks[1]])
        self.assertIn('503', states[leaks[1]])
        self.assertNotIn('Traceback', self.last.err)
        self.placement.clear_faults()
        self.assertEqual({leaks[1]: 'repaired'}, self.heal())

    def test_answer_that_is_lost(self) -> None:
        """It was done: looking again tells."""
        leaked = self.leak()
        self.placement.fault_close(
            after=True, method='PUT', path='/allocations'
        )
        self.assertEqual({leaked: 'already repaired'}, self.heal())

    def test_placement_that_goes_down(self) -> None:
        """Every repair says so; the next run goes on."""
        for _ in range(3):
            self.leak()
        self.placement.before('PUT', '/allocations', self._fail_all)
        first, *others = self.heal(code=2).values()
        self.assertEqual('repaired', first)
        self.assertEqual(2, len(others))
        for state in others:
            self.assertIn('failed: ', state)
            self.assertIn('503', state)
        self.placement.clear_faults()
        self.assertEqual({'repaired'}, set(self.heal().values()))

    def _fail_all(self) -> None:
        self.placement.fault_status(503, times=999)


class TogetherTest(HealTestCase):
    """Others write at the same time."""

    def test_repaired_meanwhile(self) -> None:
        """Somebody was faster, whatever was to be done."""
        leaked = self.leak()
        self.placement.set_inventories(self.here[1], {})
        self.placement.add_traits('gpu02', 'CUSTOM_VGPU_SERIES_Q')
        root = self.placement.provider('gpu02')
        self.placement.before(
            'PUT',
            f'/allocations/{leaked}',
            lambda: self.placement.release(leaked),
        )
        self.placement.before(
            'PUT',
            f'/resource_providers/{root.uuid}/traits',
            lambda: self.placement.set_traits('gpu02', ()),
        )
        self.placement.before(
            'GET',
            f'in_tree={self.uuid_of(self.here[1])}',
            lambda: self.placement.delete_provider(self.here[1]),
        )
        self.assertEqual(
            dict.fromkeys((leaked, GPU_1, root.uuid), 'already repaired'),
            self.heal(),
        )

    def test_leak_that_changes(self) -> None:
        """It is looked at again, and repaired as it is then."""
        leaked = self.leak()

        def change() -> None:
            self.placement.release(leaked)
            self.placement.allocate({self.here[0]: {'VGPU': 2}}, leaked)

        self.placement.before('PUT', f'/allocations/{leaked}', change)
        self.assertEqual({leaked: 'repaired'}, self.heal())
        self.assertEqual({}, self.held_by(leaked))

    def test_server_that_begins_to_move(self) -> None:
        """What Nova has taken in hand is not touched any more."""
        server = self.double()
        moved = on('gpu01', self.here[1])

        def move() -> None:
            # As Nova does: the generation is then the same as before.
            self.nova.call(
                'update_server', uuid=server, task_state='migrating'
            )
            self.placement.release(server)
            self.placement.allocate(moved, server)

        # Two looks ask for it, and so does the repair itself.
        self.before_last(3, f'/allocations/{server}', move)
        self.assertEqual(
            {server: 'already repaired'}, self.heal('--include-servers')
        )
        self.assertEqual(moved, self.held_by(server))

    def test_provider_that_is_filled(self) -> None:
        """A GPU that came back stays."""
        self.placement.set_inventories(self.here[1], {})
        self.placement.before(
            'GET',
            f'in_tree={self.uuid_of(self.here[1])}',
            lambda: self.placement.set_inventories(self.here[1], {'VGPU': 32}),
        )
        self.heal()
        self.assertEqual(
            {'VGPU': 32}, self.placement.provider(self.here[1]).totals
        )

    def test_provider_that_is_taken(self) -> None:
        """Placement itself refuses to delete what is in use."""
        self.placement.set_traits(self.here[1], {'CUSTOM_VGPU_GONE'})
        self.placement.before(
            'DELETE',
            '/resource_providers',
            lambda: self.vgpu_server('s', 1),
        )
        self.assertEqual({GPU_1: 'left'}, self.heal(code=2))
        self.assertIsNotNone(self.placement.find(self.here[1]))

    def test_traits_that_are_written_all_the_time(self) -> None:
        """After some attempts it gives up, and says so."""
        self.placement.add_traits('gpu02', 'CUSTOM_VGPU_SERIES_Q')
        path = f'/resource_providers/{self.uuid_of("gpu02")}/traits'

        def touch() -> None:
            self.placement.touch('gpu02')
            self.placement.before('PUT', path, touch)

        self.placement.before('PUT', path, touch)
        (state,) = self.heal(code=2).values()
        self.assertIn('failed: ', state)
        self.assertIn('409', state)

    def before_last(self, number: int, path: str, callback: Any) -> None:
        """Call back before the last of some reads."""

        def wait() -> None:
            if number == 1:
                callback()
            else:
                self.before_last(number - 1, path, callback)

        self.placement.before('GET', path, wait)

    # -- in processes of their own ------------------------------------------

    @contextlib.contextmanager
    def program(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Run the command in a process."""
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, '-c', _PROGRAM, 'vgpu', 'audit', *arguments],
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def test_two_at_once(self) -> None:
        """All is repaired once, and both say so."""
        leaks = [self.leak(n % 2) for n in range(12)]
        self.placement.set_inventories(self.there[1], {})
        with self.program('--heal') as one, self.program('--heal') as two:
            outcomes = [
                (*p.communicate(timeout=_TIMEOUT), p) for p in (one, two)
            ]
        for out, err, process in outcomes:
            self.assertEqual(0, process.returncode, err + out)
            self.assertNotIn('Traceback', err)
            self.assertNotIn('failed', out)
        for leaked in leaks:
            self.assertEqual({}, self.held_by(leaked))
        self.assertIsNone(self.placement.find(self.there[1]))
        self.found()

    def test_interrupt(self) -> None:
        """What was done is said, the rest is left whole, and can go on."""
        leaks = sorted(self.leak(n % 2) for n in range(4))
        slow = self.placement.fault_slow(
            60.0, method='PUT', path='/allocations', skip=2
        )
        with self.program('--heal') as process:
            http_server.wait_until(lambda: slow.times == 0, _TIMEOUT)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=_TIMEOUT)
        self.placement.stopping.set()
        self.assertEqual(130, process.returncode, err)
        self.assertEqual('', out)
        self.assertEqual(
            [
                *(
                    f'repaired: delete all allocations of {uuid}'
                    for uuid in leaks[:2]
                ),
                'interrupted after 2 of 4 repairs; run it again',
            ],
            err.splitlines()[-3:],
        )
        self.assertNotIn('Traceback', err)
        states = self.heal()
        self.assertLessEqual(set(states), set(leaks[2:]))
        self.found()

    def test_interrupt_before_anything(self) -> None:
        """While it still looks, nothing has been changed."""
        self.leak()
        slow = self.placement.fault_slow(
            60.0, method='GET', path='/allocation_candidates'
        )
        with self.program('--heal') as process:
            http_server.wait_until(lambda: slow.times == 0, _TIMEOUT)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=_TIMEOUT)
        self.placement.stopping.set()
        self.assertEqual(130, process.returncode, err)
        self.assertIn('interrupted; nothing was changed', err)
        self.assertNotIn('Traceback', err)
        self.assertEqual([], self.writes())
