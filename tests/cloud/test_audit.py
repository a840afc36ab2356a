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
"""``openstack vgpu audit``, in a cloud that works and in a broken one."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import threading
import uuid
from typing import Any

from tests.cloud import base
from tools.minicloud import CloudError

#: The exit status where findings are left.
_LEFT = 2


class AuditTest(base.CloudTestCase):
    """Faults are made by hand, past this project."""

    def audit(self, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
        """Run an audit."""
        found: list[dict[str, Any]] = self.rows(
            'vgpu', 'audit', *arguments, code=code
        )
        return found

    def checks(self, *arguments: str, code: int = _LEFT) -> list[str]:
        """Run an audit, and give the names of what it found."""
        return [row['check'] for row in self.audit(*arguments, code=code)]

    def leak(self, provider: str) -> str:
        """Allocate a vGPU to a consumer that is neither server nor move."""
        consumer = str(uuid.uuid4())
        self.placement(
            'PUT',
            f'/allocations/{consumer}',
            {
                'allocations': {
                    self.providers()[provider]: {'resources': {'VGPU': 1}}
                },
                'project_id': 'gone',
                'user_id': 'gone',
                'consumer_generation': None,
                'consumer_type': 'INSTANCE',
            },
        )
        return consumer

    def part(self, provider: str, what: str) -> tuple[str, dict[str, Any]]:
        """Read inventories or traits of a provider: the path, and they."""
        path = f'/resource_providers/{self.providers()[provider]}/{what}'
        return path, self.placement('GET', path)

    def test_busy_cloud_has_no_finding(self) -> None:
        """Servers come, go, and move meanwhile."""
        (resized,) = self.create_servers('resized')
        plain = self.flavor('plain', {})
        self.connection.compute.resize_server(resized.id, plain.id)
        self.await_status(resized, 'VERIFY_RESIZE')
        (shelved,) = self.create_servers('shelved')
        self.connection.compute.shelve_server(shelved.id)
        done = threading.Event()

        def keep_busy() -> int:
            rounds = 0
            while not done.is_set():
                for server in self.create_servers('busy', count=2):
                    self.delete_server(server)
                rounds += 1
            return rounds

        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            busy = pool.submit(keep_busy)
            try:
                for _ in range(3):
                    self.assertEqual([], self.audit())
            finally:
                done.set()
            self.assertGreater(busy.result(), 0)

    def test_leaked_allocation(self) -> None:
        """It is found, named, and healed; the server beside it is not."""
        (server,) = self.create_servers('alive', host='gpu01')
        consumer = self.leak(next(iter(self.vgpus(server.id))))
        (row,) = self.audit(code=_LEFT)
        self.assertEqual(
            ('leaked-allocation', 'gpu01', consumer),
            (row['check'], row['host'], row['object']),
        )
        self.assertIn(consumer, row['remedy'])
        (row,) = self.audit('--heal', '--dry-run', code=_LEFT)
        self.assertEqual({consumer: 1}, self.held(consumer))
        (row,) = self.audit('--heal')
        self.assertEqual('repaired', row['state'])
        self.assertEqual({}, self.held(consumer))
        self.assertEqual(1, sum(self.vgpus(server.id).values()))
        self.assertEqual([], self.audit())

    def held(self, consumer: str) -> dict[str, int]:
        """Tell how many vGPUs a consumer holds, if any."""
        amount = sum(self.vgpus(consumer).values())
        return {consumer: amount} if amount else {}

    def test_two_administrators(self) -> None:
        """Both heal at once: no error, and nothing is left."""
        leaked = [
            self.leak(f'gpu02_pci_0000_{bus}_00_0')
            for bus in ('1a', '1b', '3d')
            for _ in range(2)
        ]
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            both = [pool.submit(self.audit, '--heal') for _ in range(2)]
            rows = [row for one in both for row in one.result()]
        states = {row['state'] for row in rows}
        self.assertIn('repaired', states)
        self.assertNotIn('left', states)
        self.assertEqual({}, {c: 1 for c in leaked if self.held(c)})
        self.assertEqual([], self.audit())

    def test_moved_trait(self) -> None:
        """A type's trait that is gone from a GPU is put back."""
        path, found = self.part('gpu01_pci_0000_3d_00_0', 'traits')
        self.addCleanup(self.cloud.report, 'gpu01')
        rest = [t for t in found['traits'] if t != 'CUSTOM_NVIDIA_194']
        self.placement('PUT', path, found | {'traits': rest})
        self.assertEqual(['missing-traits'], self.checks())
        self.audit('--heal')
        now = self.placement('GET', path)['traits']
        self.assertEqual(sorted(found['traits']), sorted(now))
        self.assertEqual([], self.audit())

    def test_lowered_total(self) -> None:
        """A total unlike all others is found; the host's report mends it."""
        path, found = self.part('gpu02_pci_0000_88_00_0', 'inventories')
        self.addCleanup(self.cloud.report, 'gpu02')
        found['inventories']['VGPU'] |= {'total': 4, 'max_unit': 4}
        self.placement('PUT', path, found)
        (row,) = self.audit('--heal', code=_LEFT)
        self.assertEqual(('odd-total', 'left'), (row['check'], row['state']))
        self.assertIn('nova-vgpu', row['remedy'])
        self.cloud.report('gpu02')
        self.assertEqual([], self.audit())

    def test_vanished_gpu(self) -> None:
        """A GPU that is no longer configured keeps its servers' allocations.

        The host's report marks it; once they are gone it can be healed.
        """
        (server,) = self.create_servers('stays', host='gpu01')
        (provider,) = self.vgpus(server.id)
        before = self.cloud.settings.compute('gpu01')
        # In the end, when the host is as it was.
        self.addCleanup(self.cloud.report, 'gpu01')
        left = [
            name.partition('_pci_')[2]
            for name in self.providers()
            if name.startswith('gpu01_pci_') and name != provider
        ]
        addresses = ','.join(
            '{}:{}:{}.{}'.format(*name.split('_')) for name in left
        )
        self.change_compute(
            dataclasses.replace(
                before,
                devices=f'{before.devices}[mdev_nvidia-194]\n'
                f'device_addresses = {addresses}\n',
            )
        )
        # It says that something is allocated still.
        self.assertRaises(CloudError, self.cloud.report, 'gpu01')
        (row,) = self.audit('--heal', code=_LEFT)
        self.assertEqual(('gone-gpu', 'left'), (row['check'], row['state']))
        self.assertIn(server.id, row['found'])
        self.assertEqual({provider: 1}, self.vgpus(server.id))
        self.delete_server(server)
        (row,) = self.audit('--heal')
        self.assertEqual('repaired', row['state'])
        self.assertNotIn(provider, self.providers())
        self.assertEqual([], self.audit())
