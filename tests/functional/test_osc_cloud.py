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
"""The cloud that the tests of ``openstack vgpu`` run in."""

from __future__ import annotations

import logging

from tests.functional import osc_base


class CloudTest(osc_base.OscTestCase):
    """The services are real, know each other, and are empty at first."""

    def test_services_are_found_through_the_catalogue(self) -> None:
        self.gpu_host('gpu01', gpus=1)
        for command, name in (
            ('resource provider list', 'gpu01_pci_0000_01_00_0'),
            ('compute service list', 'gpu01'),
        ):
            found = self.osc_json(*command.split())
            self.assertIn(name, str(found))

    def test_user_without_rights(self) -> None:
        for command in ('resource provider list', 'compute service list'):
            outcome = self.run_osc(*command.split(), user='weak')
            self.assertEqual(1, outcome.code)
            self.assertIn('403', outcome.err)

    def test_servers_as_nova_shows_them(self) -> None:
        gpus = self.gpu_host('gpu01')
        self.host('gpu02')
        self.nova.create_flavor('vgpu_1', {'resources:VGPU': '1'})
        active = self.server('a b', 'vgpu_1', 'gpu01', {gpus[0]: {'VGPU': 1}})
        states = {'failed': 'error', 'shelved': 'shelved_offloaded'}
        for name, state in states.items():
            cell = 'cell0' if name == 'failed' else 'cell1'
            self.server(name, 'vgpu_1', vm_state=state, cell=cell)
        self.nova.call(
            'create_build_request',
            name='new',
            flavor='vgpu_1',
            project_id=osc_base.PROJECT,
        )
        gone = self.server('gone', 'vgpu_1', vm_state='soft-delete')
        listed = self.osc_json('server', 'list', '--all-projects', '--long')
        self.assertEqual(
            {
                'a b': 'ACTIVE',
                'failed': 'ERROR',
                'shelved': 'SHELVED_OFFLOADED',
                'new': 'BUILD',
            },
            {s['Name']: s['Status'] for s in listed},
        )
        shown = self.osc_json('server', 'show', gone)
        self.assertEqual('SOFT_DELETED', shown['status'])
        shown = self.osc_json('server', 'show', active)
        self.assertEqual('gpu01', shown['OS-EXT-SRV-ATTR:hypervisor_hostname'])
        self.nova.call('delete_server', uuid=active)
        self.assertEqual(1, self.run_osc('server', 'show', active).code)

    def test_servers_move(self) -> None:
        for name in ('gpu01', 'gpu02'):
            self.host(name)
        self.nova.create_flavor('vgpu_1', {})
        self.nova.create_flavor('vgpu_2', {})
        uuid = self.server(
            'one', 'vgpu_1', 'gpu01', new_flavor='vgpu_2', vm_state='active'
        )
        move = self.nova.call(
            'create_migration', server=uuid, source='gpu01', target='gpu02'
        )
        self.nova.call('update_migration', uuid=move, status='finished')
        self.nova.call(
            'update_server', uuid=uuid, node='gpu02', vm_state='resized'
        )
        found = self.osc_json('server', 'migration', 'list')
        self.assertEqual([move], [m['UUID'] for m in found])
        self.assertEqual('finished', found[0]['Status'])
        shown = self.osc_json('server', 'show', uuid)
        self.assertEqual('VERIFY_RESIZE', shown['status'])
        self.assertEqual('gpu02', shown['OS-EXT-SRV-ATTR:hypervisor_hostname'])

    def test_next_test_begins_with_an_empty_cloud(self) -> None:
        for command in (
            'flavor list --all',
            'server list --all-projects',
            'compute service list',
            'resource provider list',
        ):
            self.assertEqual([], self.osc_json(*command.split()), command)

    def test_faults_of_nova(self) -> None:
        self.nova.fault(status=406, path='/v2.1/os-services')
        with self.nova.counting() as requests:
            self.assertEqual(
                1, self.run_osc('compute', 'service', 'list').code
            )
        self.assertIn(406, [r.status for r in requests])
        self.assertEqual([], self.osc_json('compute', 'service', 'list'))

    def test_shell_leaves_the_process_as_it_was(self) -> None:
        root = logging.getLogger()
        before = (list(root.handlers), root.level)
        self.run_osc('compute', 'service', 'list', '--debug')
        self.assertEqual(before, (list(root.handlers), root.level))


class HelpTest(osc_base.OscTestCase):
    """Help texts, for those who have not got credentials either."""

    def test_paragraphs_and_examples(self) -> None:
        for command in ('gpu list', 'type list', 'server list', 'usage show'):
            outcome = self.run_osc('help', 'vgpu', *command.split())
            self.assertEqual((0, ''), (outcome.code, outcome.err))
            lines = outcome.out.splitlines()
            example = f'  openstack vgpu {command}'
            self.assertTrue(
                any(line.startswith(example) for line in lines), outcome.out
            )
            begin = lines.index('options:')
            self.assertIn('', lines[begin - 12 : begin - 1])
