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
"""``openstack vgpu server list`` and ``usage show``."""

from __future__ import annotations

from tests.functional import osc_base

OTHER = 'b0b1c2d3e4f5a0b1c2d3e4f5a0b1c2d3'
L40S = 'CUSTOM_NVIDIA_L40S_12Q'


class _Cloud(osc_base.OscTestCase):
    """A cloud with two hosts, and a flavor."""

    def setUp(self) -> None:
        super().setUp()
        self.first, self.second = self.gpu_host('gpu01')
        self.third, self.fourth = self.gpu_host('gpu02')
        self.nova.create_flavor('vgpu_1', {'resources:VGPU': '1'})

    def servers(self, *arguments: str) -> list[tuple[object, ...]]:
        """List servers: name, host, GPU, class, count."""
        shown = ('name', 'host', 'gpu', 'class', 'count')
        return [
            tuple(row[name] for name in shown)
            for row in self.osc_json('vgpu', 'server', 'list', *arguments)
        ]


class ServerListTest(_Cloud):
    """Consumers of GPUs, with what Nova knows of them."""

    def test_rows(self) -> None:
        name = 'a "b" \'c\''
        uuid = self.server(name, 'vgpu_1', 'gpu01', {self.first: {'VGPU': 1}})
        self.server('plain', 'vgpu_1', 'gpu01')
        outcome = self.run_osc('vgpu', 'server', 'list', '-f', 'json')
        self.assertEqual((0, ''), (outcome.code, outcome.err))
        self.assertEqual(
            [
                {
                    'server': uuid,
                    'name': name,
                    'project': osc_base.PROJECT,
                    'flavor': 'vgpu_1',
                    'host': 'gpu01',
                    'gpu': '0000:01:00.0',
                    'class': 'VGPU',
                    'count': 1,
                    'migration': None,
                }
            ],
            self.osc_json('vgpu', 'server', 'list'),
        )

    def test_nobody_uses_a_gpu(self) -> None:
        """Then Nova need not be asked."""
        self.server('plain', 'vgpu_1', 'gpu01')
        with self.nova.counting() as requests:
            self.assertEqual([], self.servers())
        self.assertEqual([], requests)

    def test_several_of_one_server(self) -> None:
        self.host('gpu03')
        card = self.card('gpu03')
        self.server(
            'both',
            'vgpu_1',
            'gpu01',
            {self.first: {'VGPU': 1}, self.second: {'VGPU': 2}},
        )
        self.server('card', 'vgpu_1', 'gpu03', {card: {L40S: 1}})
        self.assertEqual(
            [
                ('both', 'gpu01', '0000:01:00.0', 'VGPU', 1),
                ('both', 'gpu01', '0000:01:00.1', 'VGPU', 2),
                ('card', 'gpu03', '0000:3b:00.0', L40S, 1),
            ],
            self.servers(),
        )

    def test_one_host(self) -> None:
        self.server('one', 'vgpu_1', 'gpu01', {self.first: {'VGPU': 1}})
        self.server('two', 'vgpu_1', 'gpu02', {self.third: {'VGPU': 1}})
        self.assertEqual(
            [('two', 'gpu02', '0000:01:00.0', 'VGPU', 1)],
            self.servers('--host', 'gpu02'),
        )

    def test_service_with_another_name_than_its_node(self) -> None:
        self.host('node.example.org', host='controller-1')
        gpu = self.gpu('node.example.org')
        uuid = self.server(
            'one', 'vgpu_1', 'node.example.org', {gpu: {'VGPU': 1}}
        )
        with self.nova.counting() as requests:
            (row,) = self.servers('--host', 'node.example.org')
        self.assertEqual('one', row[0])
        # It was in the list of its host.
        self.assertEqual([], [r for r in requests if uuid in r.path])

    def test_states(self) -> None:
        """All that hold something are shown, also those Nova does not list."""
        for state in ('stopped', 'resized', 'soft-delete', 'error'):
            self.server(
                state,
                'vgpu_1',
                'gpu01',
                {self.first: {'VGPU': 1}},
                vm_state=state,
            )
        self.assertEqual(
            {'stopped', 'resized', 'soft-delete', 'error'},
            {row[0] for row in self.servers()},
        )

    def test_unconfirmed_resize(self) -> None:
        """The move holds what the server had on its first host."""
        uuid = self.server('moves', 'vgpu_1', 'gpu02')
        self.placement.release(uuid)
        move = self.nova.call(
            'create_migration',
            server=uuid,
            source='gpu01',
            target='gpu02',
            kind='resize',
            status='finished',
        )
        self.placement.allocate({self.first: {'VGPU': 1}}, move)
        self.placement.allocate({self.third: {'VGPU': 2}}, uuid)
        shown = ('server', 'name', 'host', 'count', 'migration')
        self.assertEqual(
            [
                (uuid, 'moves', 'gpu01', 1, move),
                (uuid, 'moves', 'gpu02', 2, None),
            ],
            [
                tuple(row[name] for name in shown)
                for row in self.osc_json('vgpu', 'server', 'list')
            ],
        )

    def test_live_migration(self) -> None:
        """The server holds the target's GPU before Nova has it there."""
        uuid = self.server('moves', 'vgpu_1', 'gpu01')
        self.placement.release(uuid)
        move = self.nova.call(
            'create_migration',
            server=uuid,
            source='gpu01',
            target='gpu02',
            kind='live-migration',
            status='running',
        )
        self.placement.allocate({self.first: {'VGPU': 1}}, move)
        self.placement.allocate({self.third: {'VGPU': 1}}, uuid)
        outcome = self.run_osc('vgpu', 'server', 'list', '-f', 'json')
        self.assertEqual('', outcome.err)
        self.assertEqual(
            [('moves', 'gpu01'), ('moves', 'gpu02')],
            [row[:2] for row in self.servers()],
        )

    def test_consumers_that_nova_does_not_know(self) -> None:
        ended = self.server('ended', 'vgpu_1', 'gpu02')
        move = self.nova.call(
            'create_migration',
            server=ended,
            source='gpu01',
            target='gpu02',
            status='confirmed',
        )
        deleted = self.server(
            'deleted', 'vgpu_1', 'gpu01', {self.first: {'VGPU': 1}}
        )
        self.nova.call('delete_server', uuid=deleted)
        lost = osc_base.new_uuid()
        for uuid in (move, lost):
            self.placement.allocate({self.first: {'VGPU': 1}}, uuid, OTHER)
        outcome = self.run_osc('vgpu', 'server', 'list', '-f', 'json')
        self.assertEqual(0, outcome.code)
        self.assertEqual(
            [
                'Nova does not know these consumers: 3; see openstack vgpu '
                'audit'
            ],
            outcome.errors,
        )
        rows = self.osc_json('vgpu', 'server', 'list')
        self.assertEqual(
            {
                (deleted, None, osc_base.PROJECT),
                (move, None, OTHER),
                (lost, None, OTHER),
            },
            {(row['server'], row['name'], row['project']) for row in rows},
        )

    def test_allocation_that_ends_meanwhile(self) -> None:
        """A server that is deleted between two reads is no leak."""
        uuid = self.server(
            'goes', 'vgpu_1', 'gpu01', {self.first: {'VGPU': 1}}
        )
        self.nova.call('delete_server', uuid=uuid)

        def release() -> None:
            self.placement.release(uuid)

        self.placement.before('GET', f'^/allocations/{uuid}', release)
        outcome = self.run_osc('vgpu', 'server', 'list', '-f', 'value')
        self.assertEqual((0, '', ''), outcome)

    def test_host_that_nova_has_not(self) -> None:
        """Each of its consumers is looked at by itself."""
        self.placement.create_provider('gpu09')
        self.placement.set_inventories('gpu09', osc_base.HOST_TOTALS)
        gpu = self.gpu('gpu09')
        self.server('one', 'vgpu_1', gpus={gpu: {'VGPU': 1}})
        self.assertEqual(
            [('one', 'gpu09', '0000:01:00.0', 'VGPU', 1)], self.servers()
        )

    def test_requests(self) -> None:
        """They do not grow with vGPUs or servers."""
        gpus = (self.first, self.second, self.third, self.fourth)

        def count() -> tuple[int, int]:
            with (
                self.placement.counting() as asked,
                self.nova.counting() as nova,
            ):
                self.osc_json('vgpu', 'server', 'list')
            return len(asked), len(nova)

        def add(number: int) -> None:
            for gpu in gpus:
                node = gpu.partition('_')[0]
                self.server(f's{number}', 'vgpu_1', node, {gpu: {'VGPU': 1}})

        add(0)
        few = count()
        for number in range(1, 5):
            add(number)
        # The list of providers, one for each host and GPU; and of Nova the
        # compute nodes and the servers of each host, each with a page behind
        # it that is empty.
        self.assertEqual(((7, 6), (7, 6)), (few, count()))


class UsageShowTest(_Cloud):
    """Sums."""

    def setUp(self) -> None:
        super().setUp()
        self.host('gpu03')
        card = self.card('gpu03')
        self.host('plain')
        for name, node, gpus, project in (
            ('one', 'gpu01', {self.first: {'VGPU': 1}}, osc_base.PROJECT),
            (
                'two',
                'gpu01',
                {self.first: {'VGPU': 1}, self.second: {'VGPU': 1}},
                OTHER,
            ),
            ('three', 'gpu03', {card: {L40S: 1}}, OTHER),
        ):
            self.server(name, 'vgpu_1', node, gpus, project)

    def test_by_host(self) -> None:
        expected = [
            self._row(host='gpu01', gpus=2, total=64, used=3),
            self._row(host='gpu02', gpus=2, total=64, used=0),
            self._row(host='gpu03', gpus=1, total=4, used=1),
        ]
        for by in ((), ('--by', 'host')):
            found = self.osc_json('vgpu', 'usage', 'show', *by)
            self.assertEqual(expected, found)

    def test_by_type(self) -> None:
        self.assertEqual(
            [
                {
                    'type': 'nvidia-194',
                    'product': 'V100DX-1Q',
                    'class': 'VGPU',
                    **self._row(gpus=4, total=128, used=3),
                },
                {
                    'type': None,
                    'product': 'L40S-12Q',
                    'class': L40S,
                    **self._row(gpus=1, total=4, used=1),
                },
            ],
            self.osc_json('vgpu', 'usage', 'show', '--by', 'type'),
        )

    def test_by_project(self) -> None:
        self.assertEqual(
            [
                {'project': OTHER, 'servers': 2, 'used': 3},
                {'project': osc_base.PROJECT, 'servers': 1, 'used': 1},
            ],
            self.osc_json('vgpu', 'usage', 'show', '--by', 'project'),
        )

    def test_by_project_with_unknown_consumers(self) -> None:
        """They count for the project that Placement has for them."""
        self.placement.allocate({self.third: {'VGPU': 4}}, project='third')
        outcome = self.run_osc(
            *('vgpu', 'usage', 'show', '--by', 'project', '-f', 'value')
        )
        self.assertIn('third 1 4', outcome.out.splitlines())
        self.assertIn('openstack vgpu audit', outcome.err)

    def test_by_something_else(self) -> None:
        outcome = self.run_osc('vgpu', 'usage', 'show', '--by', 'flavor')
        self.assertEqual(2, outcome.code)
        self.assertIn("'host', 'project', 'type'", outcome.err)

    def _row(self, **values: object) -> dict[str, object]:
        total, used = values['total'], values['used']
        assert isinstance(total, int)  # noqa: S101
        assert isinstance(used, int)  # noqa: S101
        return {**values, 'free': total - used}


class EmptyCloudTest(osc_base.OscTestCase):
    """Nothing is there, and that is no error."""

    def test_lists(self) -> None:
        self.host('plain')
        for arguments in (
            ('server', 'list'),
            ('server', 'list', '--host', 'plain'),
            ('usage', 'show', '--by', 'host'),
            ('usage', 'show', '--by', 'type'),
            ('usage', 'show', '--by', 'project'),
            ('type', 'list'),
        ):
            self.assertEqual([], self.osc_json('vgpu', *arguments))
