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
"""What ``openstack vgpu audit`` finds, and what it does not."""

from __future__ import annotations

import csv
import io
import json
from unittest import mock

from tests.functional import audit_base, osc_base
from tests.functional.audit_base import VGPU_1, on

GPU_0, GPU_1 = '0000:01:00.0', '0000:01:00.1'
PCI_CLASS = 'CUSTOM_NVIDIA_L40S_12Q'


class HealthyTest(audit_base.AuditTestCase):
    """States that look like faults, and are none."""

    def move(
        self, name: str, kind: str, status: str, **kwargs: str
    ) -> tuple[str, str]:
        """Make a server that moves from the first host to the second.

        :returns: the UUIDs of the server and of the move.
        """
        server = self.server(name, 'vgpu_1', **kwargs)
        move = self.nova.call(
            'create_migration',
            server=server,
            source='gpu01',
            target='gpu02',
            kind=kind,
            status=status,
        )
        return server, move

    def place(self, server: str, node: str) -> None:
        """Put a server onto a host in Nova alone."""
        self.nova.call('update_server', uuid=server, node=node)

    def test_nothing_at_all(self) -> None:
        """An idle cloud is read without one question about a server."""
        self.found()
        self.assertEqual('no findings\n', self.last.err)

    def test_servers_at_rest(self) -> None:
        """In all the states in which a server keeps its vGPU, or has none."""
        for state in ('active', 'stopped', 'paused', 'shelved'):
            self.vgpu_server(state, vm_state=state)
        self.server('plain', 'plain', 'gpu01')
        self.server('offloaded', 'vgpu_1', vm_state='shelved_offloaded')
        self.server('failed', 'vgpu_1', vm_state='error', cell='cell0')
        self.vgpu_server('deleted', vm_state='soft-delete')
        self.vgpu_server('broken', vm_state='error')
        self.found()

    def test_servers_of_every_spelling(self) -> None:
        """Numbered groups, custom classes, aliases, old flavors."""
        big = self.gpu('gpu01', 8, 196, 8, 'CUSTOM_BIG')
        card = self.card('gpu02', resource_class=PCI_CLASS)
        for name, specs, gpus in (
            ('two', {'resources1:VGPU': '1', 'resources2:VGPU': '1'}, None),
            ('big', {'resources:CUSTOM_BIG': '2'}, {big: {'CUSTOM_BIG': 2}}),
            (
                'alias',
                {'pci_passthrough:alias': 'any-name:1'},
                {card: {PCI_CLASS: 1}},
            ),
        ):
            self.server(
                name,
                'plain',
                'gpu02' if name == 'alias' else 'gpu01',
                gpus or dict.fromkeys(self.here, VGPU_1),
                extra_specs=specs,
            )
        self.found()

    def test_server_that_is_made(self) -> None:
        """The scheduler allocates before there is a server in a cell."""
        new = self.nova.call(
            'create_build_request',
            name='new',
            flavor='vgpu_1',
            project_id=osc_base.PROJECT,
        )
        self.placement.allocate(on('gpu01', self.here[0]), new)
        building = self.server('b', 'vgpu_1', vm_state='building')
        self.placement.allocate(on('gpu01', self.here[1]), building)
        self.found()

    def test_resize_that_waits(self) -> None:
        """The move holds what the server had."""
        server, move = self.move(
            'r', 'resize', 'finished', vm_state='resized', node='gpu02'
        )
        self.placement.release(server)
        self.placement.allocate(on('gpu02', self.there[0]), server)
        self.placement.allocate(on('gpu01', self.here[0]), move)
        with self.nova.counting() as seen:
            self.found()
        asked = [r.path for r in seen if '/os-migrations' in r.path]
        # Only moves in progress are read: there may be very many.
        self.assertEqual([], [path for path in asked if 'status=' not in path])

    def test_resize_on_one_host(self) -> None:
        """Both hold something of the same host."""
        server, move = self.move('r', 'resize', 'finished', vm_state='resized')
        self.place(server, 'gpu01')
        self.placement.allocate(on('gpu01', self.here[0]), server)
        self.placement.allocate(on('gpu01', self.here[1]), move)
        self.found()

    def test_live_migration(self) -> None:
        """The server is here, what it holds is there already."""
        server, move = self.move(
            'l', 'live-migration', 'running', task_state='migrating'
        )
        self.place(server, 'gpu01')
        self.placement.allocate(on('gpu02', self.there[0]), server)
        self.placement.allocate(on('gpu01', self.here[0]), move)
        self.found()

    def test_status_of_a_later_nova(self) -> None:
        """A move is in progress unless it is known to be over."""
        server, move = self.move('l', 'live-migration', 'a-new-status')
        self.place(server, 'gpu01')
        self.placement.allocate(on('gpu01', self.here[0]), server)
        self.placement.allocate(on('gpu02', self.there[0]), move)
        self.found()

    def test_evacuation(self) -> None:
        """Until the source is back, the server holds both."""
        server, _ = self.move('e', 'evacuation', 'done')
        self.place(server, 'gpu02')
        self.placement.allocate(
            on('gpu01', self.here[0]) | on('gpu02', self.there[0]), server
        )
        self.found()

    def test_server_that_goes_between_two_reads(self) -> None:
        """It is in the list of allocations and nowhere any more."""
        server = self.vgpu_server('s')
        uuid = self.uuid_of(self.here[0])
        self.placement.before(
            'GET',
            f'/resource_providers/{uuid}/allocations',
            lambda: self.nova.call('delete_server', uuid=server),
        )
        self.placement.before(
            'GET',
            f'/allocations/{server}',
            lambda: self.placement.release(server),
        )
        self.found()

    def test_what_nova_does_in_two_steps(self) -> None:
        """A finding that a second look does not find is none."""
        server = self.vgpu_server('s')
        self.nova.call('delete_server', uuid=server)
        waiting = mock.Mock()
        waiting.sleep.side_effect = lambda _: self.placement.release(server)
        self.patch('nova_vgpu_ext.osc.auditor.time', waiting)
        self.found()

    def test_provider_that_goes_between_two_reads(self) -> None:
        """It is in the list and nowhere any more."""
        self.placement.before(
            'GET',
            '/allocation_candidates',
            lambda: self.placement.delete_provider(self.here[1]),
        )
        self.found()
        server = self.vgpu_server('s')
        uuid = self.uuid_of(self.here[0])

        def delete() -> None:
            self.placement.release(server)
            self.nova.call('delete_server', uuid=server)
            self.placement.delete_provider(self.here[0])

        self.placement.before(
            'GET', f'/resource_providers/{uuid}/allocations', delete
        )
        self.found()

    def test_host_that_goes_between_two_looks(self) -> None:
        """What was found on it is nobody's any more."""
        leaked = self.placement.allocate(on('gpu02', self.there[0]))

        def remove(_: float) -> None:
            self.placement.release(leaked)
            self.nova.call('delete_compute_node', node='gpu02')
            for name in (*self.there, 'gpu02'):
                self.placement.delete_provider(name)

        waiting = mock.Mock()
        waiting.sleep.side_effect = remove
        self.patch('nova_vgpu_ext.osc.auditor.time', waiting)
        self.found()
        self.assertIsNone(self.placement.find('gpu02'))

    def test_odd_provider_that_goes_between_two_reads(self) -> None:
        """Its inventory is asked for, and there is none."""
        self.placement.set_inventories(self.here[1], {'VGPU': 8})
        uuid = self.uuid_of(self.here[1])
        self.placement.before(
            'GET',
            f'/resource_providers/{uuid}/inventories',
            lambda: self.placement.delete_provider(self.here[1]),
        )
        self.found()
        self.assertIsNone(self.placement.find(self.here[1]))

    def test_cloud_without_our_traits(self) -> None:
        """Where only Nova reports, nothing is missed."""
        for name in (*self.here, *self.there):
            self.placement.set_traits(name, {'OWNER_NOVA'})
        self.found()


class FaultsTest(audit_base.AuditTestCase):
    """Each check, with a fault made by hand."""

    def test_leaked_allocation(self) -> None:
        """Of a server that is gone."""
        server = self.vgpu_server('s')
        self.nova.call('delete_server', uuid=server)
        (row,) = self.found(('leaked-allocation', 'gpu01', server))
        self.assertEqual('error', row['severity'])
        self.assertIn(f'1 VGPU on {GPU_0}', row['found'])
        self.assertIn(osc_base.PROJECT, row['found'])
        self.assertIn(f'allocation delete {server}', row['remedy'])

    def test_finished_move(self) -> None:
        """It holds what nobody uses, and is found among all moves."""
        server = self.server('s', 'vgpu_1', 'gpu02', {self.there[0]: VGPU_1})
        move = self.nova.call(
            'create_migration',
            server=server,
            source='gpu01',
            target='gpu02',
            status='confirmed',
        )
        self.placement.allocate(on('gpu01', self.here[0]), move)
        (row,) = self.found(('finished-move', 'gpu01', move))
        self.assertIn(server, row['found'])
        self.assertIn('confirmed', row['found'])

    def test_wrong_host(self) -> None:
        """A server holds something of two hosts."""
        server = self.server('s', 'vgpu_1')
        self.nova.call('update_server', uuid=server, node='gpu02')
        self.placement.allocate(
            on('gpu01', self.here[0]) | on('gpu02', self.there[0]), server
        )
        (row,) = self.found(('wrong-host', 'gpu01', server))
        self.assertIn('gpu02', row['found'])
        for provider in ('gpu01', self.here[0]):
            self.assertIn(
                f'--provider {self.uuid_of(provider)}', row['remedy']
            )
        # The remedy is a command that works as it is.
        self.run_remedy(row['remedy'])
        self.assertEqual(on('gpu02', self.there[0]), self.held_by(server))
        self.found()

    def run_remedy(self, remedy: str) -> None:
        """Type what a finding says."""
        outcome = self.run_osc(*remedy.split()[1:])
        self.assertEqual(0, outcome.code, outcome.err)

    def test_remedy_of_a_leak(self) -> None:
        """It works as it is, too."""
        server = self.vgpu_server('s')
        self.nova.call('delete_server', uuid=server)
        (row,) = self.audit()
        self.run_remedy(row['remedy'])
        self.found()

    def test_missing_vgpu(self) -> None:
        """In every spelling, and nothing for those that need none."""
        self.gpu('gpu01', 8, 196, 8, 'CUSTOM_BIG')
        servers = [
            self.server(f's{n}', 'plain', 'gpu01', extra_specs=specs)
            for n, specs in enumerate(
                (
                    {'resources:VGPU': '1'},
                    {'resources1:VGPU': '1', 'resources2:VGPU': '1'},
                    {'resources_x:CUSTOM_BIG': '1'},
                )
            )
        ]
        for state in ('error', 'building'):
            self.server(state, 'vgpu_1', 'gpu01', vm_state=state)
        rows = self.found(
            *(('missing-vgpu', 'gpu01', uuid) for uuid in sorted(servers))
        )
        self.assertIn(f'server migrate {rows[0]["object"]}', rows[0]['remedy'])

    def test_missing_vgpu_without_gpus(self) -> None:
        """On a host that has none, also if it is asked for by name."""
        self.host('plain01', 'service-3')
        server = self.server('s', 'vgpu_1', 'plain01')
        self.server('other', 'plain', 'plain01')
        self.server('offloaded', 'vgpu_1', vm_state='shelved_offloaded')
        expected = [('missing-vgpu', 'plain01', server)]
        self.found(*expected)
        rows = self.audit('--host', 'plain01')
        self.assertEqual(
            expected, [(r['check'], r['host'], r['object']) for r in rows]
        )

    def test_unasked_vgpu(self) -> None:
        """More than the flavor asks for."""
        server = self.server('s', 'plain', 'gpu01', {self.here[0]: VGPU_1})
        (row,) = self.found(('unasked-vgpu', 'gpu01', server))
        self.assertEqual('warning', row['severity'])

    def test_gone_host(self) -> None:
        """A compute node that was deleted in Nova only."""
        self.nova.call('delete_compute_node', node='gpu02')
        (row,) = self.found(('gone-host', 'gpu02', self.uuid_of('gpu02')))
        self.assertIn('2 GPUs', row['found'])

    def test_empty_provider(self) -> None:
        """A GPU without an inventory."""
        self.placement.set_inventories(self.here[1], {})
        (row,) = self.found(('empty-provider', 'gpu01', GPU_1))
        self.run_remedy(row['remedy'])
        self.found()

    def test_gone_gpu(self) -> None:
        """What the host's own report leaves of a GPU that is in use."""
        server = self.vgpu_server('s')
        self.report_without_first_gpu()
        (row,) = self.found(('gone-gpu', 'gpu01', GPU_0))
        self.assertIn(server, row['found'])

    def report_without_first_gpu(self) -> None:
        """Run the host's report with one GPU only."""
        self.placement.policy_rules.clear()
        conf = self.write_conf(self.placement.config_text())
        process = osc_base.functional_base.Process(conf, 'gpu01')
        process.run(
            [
                osc_base.functional_base.gpu(
                    1, traits=osc_base.gpu_traits(194), node='gpu01'
                )
            ]
        )

    def test_root_vgpu(self) -> None:
        """On a host with GPUs, and on one without."""
        self.host('gpu03')
        for host in ('gpu01', 'gpu03'):
            self.placement.set_inventories(
                host, {**osc_base.HOST_TOTALS, 'VGPU': 4}
            )
        self.found(
            *(
                ('root-vgpu', host, self.uuid_of(host))
                for host in ('gpu01', 'gpu03')
            )
        )
        (row,) = self.audit('--host', 'gpu03')
        self.assertEqual('gpu03', row['host'])

    def test_overcommitted(self) -> None:
        """A total that somebody has lowered below what is used."""
        for number in range(2):
            self.vgpu_server(f's{number}')
        self.placement.set_inventories(self.here[0], {'VGPU': 1})
        rows = self.audit()
        self.assertIn(
            ('overcommitted', GPU_0), [(r['check'], r['object']) for r in rows]
        )

    def test_odd_total(self) -> None:
        """One GPU has less room than the others."""
        record = {
            'total': 32,
            'max_unit': 32,
            'min_unit': 1,
            'step_size': 1,
            'reserved': 24,
            'allocation_ratio': 1.0,
        }
        self.placement.set_inventories(self.here[1], {'VGPU': record})
        (row,) = self.found(('odd-total', 'gpu01', GPU_1))
        self.assertIn('room for 8 VGPU', row['found'])
        self.assertIn('reserved 24', row['found'])

    def test_missing_traits(self) -> None:
        """Some of them, or all."""
        self.placement.set_traits(
            self.here[0], {'CUSTOM_NVIDIA_194', 'OWNER_NOVA'}
        )
        self.placement.set_traits(self.there[0], {'OWNER_NOVA'})
        self.found(
            ('missing-traits', 'gpu01', GPU_0),
            ('missing-traits', 'gpu02', GPU_0),
        )

    def test_stale_traits(self) -> None:
        """Those of another type beside its own."""
        self.placement.add_traits(self.here[0], 'CUSTOM_NVIDIA_196')
        self.found(('stale-traits', 'gpu01', GPU_0))

    def test_host_traits(self) -> None:
        """Ours on the compute node."""
        self.placement.add_traits('gpu02', 'CUSTOM_VGPU_SERIES_Q')
        self.found(('host-traits', 'gpu02', self.uuid_of('gpu02')))

    def test_mixed_classes(self) -> None:
        """Two on one GPU; two on the functions of one card."""
        self.gpu('gpu02', 8, 194, 32, 'CUSTOM_BIG')
        self.placement.set_inventories(
            self.here[0], {'VGPU': 32, 'CUSTOM_BIG': 4}
        )
        self.gpu('gpu02', 9, 194, 32)
        self.found(
            ('mixed-classes', 'gpu01', GPU_0),
            ('mixed-classes', 'gpu02', '0000:02'),
        )

    def test_full_host(self) -> None:
        """Where nothing at all is free, everything is found as well."""
        for host in ('gpu01', 'gpu02'):
            self.placement.set_inventories(
                host, dict.fromkeys(osc_base.HOST_TOTALS, 1)
            )
        everything = {name: {'VGPU': 32} for name in self.here}
        leaked = self.placement.allocate(
            {'gpu01': dict.fromkeys(osc_base.HOST_TOTALS, 1), **everything}
        )
        (row,) = self.found(('leaked-allocation', 'gpu01', leaked))
        self.assertIn(f'32 VGPU on {GPU_1}', row['found'])


class OutputTest(audit_base.AuditTestCase):
    """Order, formats, options and errors."""

    def make_faults(self) -> None:
        """Make some, on both hosts."""
        self.placement.add_traits(self.there[0], 'CUSTOM_NVIDIA_196')
        self.placement.set_inventories(self.here[1], {})
        for number in range(3):
            self.placement.allocate({self.here[0]: VGPU_1})
            self.placement.allocate({self.there[number % 2]: VGPU_1})

    def test_same_twice(self) -> None:
        """Two runs can be compared line by line."""
        self.make_faults()
        first, second = self.audit(), self.audit()
        self.assertEqual(first, second)
        self.assertEqual(8, len(first))
        keys = [(r['host'], r['check'], r['object']) for r in first]
        self.assertEqual(sorted(keys), keys)

    def test_one_host(self) -> None:
        """Only its findings; the others are not even read."""
        self.make_faults()
        rows = self.audit('--host', 'gpu02')
        self.assertEqual({'gpu02'}, {r['host'] for r in rows})
        self.assertEqual(4, len(rows))
        other = self.uuid_of('gpu01')
        with self.placement.counting() as seen:
            self.audit('--host', 'gpu02')
        self.assertEqual([], [r for r in seen if other in r.path])

    def test_unknown_host(self) -> None:
        """It is named."""
        outcome = self.run_osc('vgpu', 'audit', '--host', 'nowhere')
        self.assertEqual(1, outcome.code)
        self.assertIn("'nowhere'", outcome.err)
        self.assertNotIn('Traceback', outcome.err)

    def test_skip(self) -> None:
        """A check that is not wanted does not count."""
        self.placement.set_inventories(self.here[1], {})
        self.assertEqual([], self.audit('--skip', 'empty-provider'))
        outcome = self.run_osc('vgpu', 'audit', '--skip', 'no-such-check')
        self.assertEqual(2, outcome.code)
        self.assertIn('empty-provider', outcome.err)

    def test_formats(self) -> None:
        """Every one of OSC's."""
        self.make_faults()
        rows = self.audit()
        text = self.run_osc('vgpu', 'audit', '-f', 'csv').out
        self.assertEqual(rows, list(csv.DictReader(io.StringIO(text))))
        for format_ in ('table', 'value', 'yaml'):
            outcome = self.run_osc('vgpu', 'audit', '-f', format_)
            self.assertEqual(2, outcome.code)
            self.assertIn(rows[0]['object'], outcome.out)

    def test_services_down(self) -> None:
        """One line, no traceback; a busy Placement is asked again."""
        self.vgpu_server('s')
        self.placement.fault_status(503, path='/resource_providers', times=2)
        self.found()
        for prefix in ('/resource_providers', '/allocation_candidates'):
            self.placement.fault_status(503, path=prefix, times=99)
            self.check_error('503')
            self.placement.clear_faults()
        self.placement.fault_login_page(path='/resource_providers', times=9)
        self.check_error('text/html')
        self.placement.clear_faults()
        # Compute nodes cannot be read where a cell does not answer.
        for path in (
            '/v2.1/servers',
            '/v2.1/os-migrations',
            '/v2.1/os-hypervisors',
        ):
            self.nova.fault(status=500, body='{}', path=path)
            self.check_error('500')

    def test_slow_placement(self) -> None:
        """It is given up after the time that the user has set."""
        self.placement.fault_slow(20.0, path='/resource_providers', times=99)
        self.addCleanup(self.placement.clear_faults)
        environment = {**self.environment(), 'OS_API_TIMEOUT': '1'}
        outcome = self.run_osc('vgpu', 'audit', environment=environment)
        self.assertEqual(1, outcome.code)
        self.assertIn('no answer', outcome.err)
        self.assertNotIn('Traceback', outcome.err)

    def test_user_without_rights(self) -> None:
        """Who may not read says so."""
        outcome = self.run_osc('vgpu', 'audit', user='weak')
        self.assertEqual(1, outcome.code)
        self.assertIn('403', outcome.err)
        self.assertIn('role admin', outcome.err)

    def check_error(self, text: str) -> None:
        """Run it; it must fail with one line."""
        outcome = self.run_osc('vgpu', 'audit')
        self.assertEqual(1, outcome.code, outcome.out)
        self.assertIn(text, outcome.err)
        self.assertNotIn('Traceback', outcome.err)

    def test_requests(self) -> None:
        """They grow with the hosts and the GPUs in use, not with servers."""

        def asked() -> tuple[int, int]:
            with (
                self.placement.counting() as placement,
                self.nova.counting() as nova,
            ):
                self.found()
            return len(placement), len(nova)

        for number in range(5):
            self.vgpu_server(f'first{number}')
        before = asked()
        for number in range(10):
            self.vgpu_server(f's{number}')
        self.assertEqual(before, asked())

    def test_json_is_whole(self) -> None:
        """Without a finding it is an empty list."""
        outcome = self.run_osc('vgpu', 'audit', '-f', 'json')
        self.assertEqual([], json.loads(outcome.out))
