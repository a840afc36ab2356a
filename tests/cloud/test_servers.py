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
"""Servers with vGPUs, from Nova's API to the mdev on a simulated host."""

from __future__ import annotations

from nova_vgpu_ext.host import snapshot
from tests.cloud import base


class ServersTest(base.CloudTestCase):
    """What Nova and Placement do with vGPUs."""

    def mdevs(self, host: str) -> list[tuple[str, str | None]]:
        """List the mdevs of a host with their type: GPU and type."""
        found = snapshot.observe(self.host(host), '')
        return [
            (mdev.parent, mdev.type_id)
            for gpu in found.gpus
            for mdev in gpu.mdevs
        ]

    def test_create_and_delete(self) -> None:
        """A server gets a vGPU where Placement says; it is freed again."""
        (server,) = self.create_servers('one')
        where = self.vgpus(server.id)
        self.assertEqual([1], list(where.values()))
        (provider,) = where
        host, _, device = provider.partition('_pci_')
        self.assertEqual(server.hypervisor_hostname, host)
        parents = [
            parent.replace(':', '_').replace('.', '_')
            for parent, type_id in self.mdevs(host)
            if type_id == 'nvidia-194'
        ]
        self.assertIn(device, parents)
        self.delete_server(server)
        self.assertEqual({}, self.vgpus(server.id))
        self.assertEqual({}, self.used())

    def test_create_several(self) -> None:
        """Each server of one request holds its own vGPU."""
        servers = self.create_servers('many', count=4)
        amounts = [list(self.vgpus(s.id).values()) for s in servers]
        self.assertEqual([[1]] * 4, amounts)
        self.assertEqual(4, sum(self.used().values()))

    def test_flavor_with_a_trait(self) -> None:
        """The type's trait, which nova-vgpu report has set, can be asked."""
        asked = {'resources:VGPU': '1', 'trait:CUSTOM_NVIDIA_194': 'required'}
        self.flavor('typed', asked)
        (server,) = self.create_servers('typed', 'typed')
        self.assertEqual(1, sum(self.vgpus(server.id).values()))
        other = {'resources:VGPU': '1', 'trait:CUSTOM_NVIDIA_194': 'forbidden'}
        self.flavor('other', other)
        (failed,) = self.create_servers('none', 'other', status='ERROR')
        self.assertIn('No valid host', failed.fault['message'])

    def test_two_vgpus(self) -> None:
        """Numbered groups give a server vGPUs of two GPUs."""
        self.flavor(
            'two',
            {
                'resources1:VGPU': '1',
                'resources2:VGPU': '1',
                'group_policy': 'isolate',
            },
        )
        (server,) = self.create_servers('two', 'two')
        where = self.vgpus(server.id)
        self.assertEqual([1, 1], list(where.values()))
        hosts = {provider.partition('_')[0] for provider in where}
        self.assertEqual({server.hypervisor_hostname}, hosts)

    def test_resize(self) -> None:
        """A resize to a flavor without a vGPU gives it back."""
        plain = self.flavor('plain', {})
        (server,) = self.create_servers('resized')
        compute = self.connection.compute
        compute.resize_server(server.id, plain.id)
        server = self.await_status(server, 'VERIFY_RESIZE')
        # The old vGPU is held until then, by the migration.
        self.assertEqual(1, sum(self.used().values()))
        compute.confirm_server_resize(server.id)
        self.await_status(server, 'ACTIVE')
        base.until(lambda: not self.used(), 'the old vGPU is free')

    def test_shelve(self) -> None:
        """A shelved server leaves its vGPU, and gets one again."""
        (server,) = self.create_servers('shelved')
        compute = self.connection.compute
        compute.shelve_server(server.id)
        self.await_status(server, 'SHELVED_OFFLOADED')
        self.assertEqual({}, self.used())
        compute.unshelve_server(server.id)
        self.await_status(server, 'ACTIVE')
        self.assertEqual(1, sum(self.vgpus(server.id).values()))
