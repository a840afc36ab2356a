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
"""Where guests land, with Nova's API, conductor, scheduler and Placement.

The computes are Nova's fake ones. Their GPUs are providers in Placement, named
and filled as the libvirt driver and this project do it.
"""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Mapping
from typing import Any

from nova.tests.functional import integrated_helpers

from tests.functional.inside_nova import plugins

_TRAIT = 'CUSTOM_NVIDIA_194'


class PolicyTestCase(
    plugins.WithPlugins, integrated_helpers.ProviderUsageBaseTestCase
):
    """Three computes, and GPUs as each test wants them."""

    compute_driver = 'fake.MediumFakeDriver'
    HOSTS = ('host1', 'host2', 'host3')

    def setUp(self) -> None:
        super().setUp()
        self.names: dict[str, str] = {}
        self.guests = 0
        for host in self.HOSTS:
            self._start_compute(host)
        self.vgpu = self._create_flavor(
            vcpu=1, memory_mb=64, disk=1, extra_spec={'resources:VGPU': '1'}
        )
        self.plain = self._create_flavor(vcpu=1, memory_mb=64, disk=1)

    def placement_call(self, method: str, url: str, body: Any) -> Any:
        """Write to Placement."""
        response = getattr(self.placement, method)(url, body, version='1.38')
        self.assertIn(response.status, (200, 201, 204), response.body)
        return response

    def add_gpu(
        self,
        host: str,
        device: str,
        total: int = 8,
        used: int = 0,
        resource_class: str = 'VGPU',
    ) -> str:
        """Make the provider of a GPU, with guests that nobody else knows.

        :param device: such as ``1a_00_0``.
        :returns: the short name that :meth:`gpus_of` gives.
        """
        gpu = str(uuid.uuid4())
        self.placement_call(
            'post',
            '/resource_providers',
            {
                'uuid': gpu,
                'name': f'{host}_pci_0000_{device}',
                'parent_provider_uuid': self._get_provider_uuid_by_name(host),
            },
        )
        self.placement_call(
            'put',
            f'/resource_providers/{gpu}/inventories',
            {
                'resource_provider_generation': 0,
                'inventories': {
                    resource_class: {'total': total, 'max_unit': total}
                },
            },
        )
        self.placement.put(f'/traits/{_TRAIT}', {}, version='1.6')
        self._set_provider_traits(gpu, [_TRAIT])
        self.names[gpu] = f'{host} {device[:2]}'
        if used:
            self.use(gpu, used, resource_class)
        return self.names[gpu]

    def use(self, gpu: str, amount: int, resource_class: str = 'VGPU') -> None:
        """Let a guest that nobody else knows take vGPUs."""
        self.placement_call(
            'put',
            f'/allocations/{uuid.uuid4()}',
            {
                'allocations': {gpu: {'resources': {resource_class: amount}}},
                'consumer_generation': None,
                'project_id': 'a-project',
                'user_id': 'a-user',
                'consumer_type': 'INSTANCE',
            },
        )

    def boot(self, flavor: str, **kwargs: Any) -> Any:
        """Create a server; it must become active."""
        return self._create_server(flavor_id=flavor, networks='none', **kwargs)

    def gpus_of(self, server: Mapping[str, Any]) -> list[str]:
        """Name the GPUs that a server has vGPUs of, each as often."""
        found = []
        allocated = self._get_allocations_by_server_uuid(server['id'])
        for provider, taken in allocated.items():
            for name, amount in taken['resources'].items():
                if name == 'VGPU' or name.startswith('CUSTOM_'):
                    found += [self.names[provider]] * amount
        return sorted(found)

    def host_of(self, server: Mapping[str, Any]) -> str:
        """Name the host of a server."""
        host: str = self._show_server(server)['OS-EXT-SRV-ATTR:host']
        return host

    def candidates_asked_for(self) -> int:
        """Tell how often Placement was asked how full GPUs are."""
        return sum(
            path == '/allocation_candidates'
            for path, _ in self.plugins.questions
        )


class PackTest(PolicyTestCase):
    """Guests fill the fullest GPU of the cloud."""

    def test_guests_fill_one_gpu_after_the_other(self) -> None:
        """The fullest first; no GPU is begun before it must be."""
        self.add_gpu('host1', '1a_00_0')
        self.add_gpu('host1', '1b_00_0', used=5)
        self.add_gpu('host2', '1a_00_0', used=6)
        self.add_gpu('host2', '1b_00_0')
        self.add_gpu('host2', '3d_00_0', used=8)
        self.add_gpu('host3', '1a_00_0')
        found = [self.gpus_of(self.boot(self.vgpu)) for _ in range(6)]
        self.assertEqual([['host2 1a']] * 2 + [['host1 1b']] * 3, found[:5])
        # On the host with fewer vGPUs free all GPUs but one are begun.
        self.assertIn(found[5], (['host1 1a'], ['host2 1b'], ['host3 1a']))
        self.assertEqual(6, self.plugins.calls['VgpuPolicyFilter'])
        self.assertEqual(6, self.plugins.calls['VgpuPolicyWeigher'])
        self.assertEqual(6, self.candidates_asked_for())

    def test_several_servers_of_one_request(self) -> None:
        """Each is placed on what the ones before have left."""
        self.add_gpu('host1', '1a_00_0')
        self.add_gpu('host1', '1b_00_0', used=6)
        self.add_gpu('host2', '1a_00_0', used=4)
        self.add_gpu('host2', '1b_00_0', used=7)
        servers = self.boot_several(self.vgpu, 8)
        self.assertEqual(
            ['host1 1a'] + ['host1 1b'] * 2 + ['host2 1a'] * 4 + ['host2 1b'],
            sorted(gpu for s in servers for gpu in self.gpus_of(s)),
        )
        # One pass for each, and one for the alternates.
        self.assertEqual(9, self.plugins.calls['VgpuPolicyFilter'])
        self.assertEqual(9, self.candidates_asked_for())

    def boot_several(self, flavor: str, number: int) -> list[Any]:
        """Create servers with one request."""
        body = self._build_server(flavor_id=flavor, networks='none')
        body.update(
            min_count=number, max_count=number, return_reservation_id=True
        )
        reservation = self.api.post_server({'server': body})['reservation_id']
        servers = self.api.get_servers(
            search_opts={'reservation_id': reservation}
        )
        self.assertEqual(number, len(servers))
        return [self._wait_for_state_change(s, 'ACTIVE') for s in servers]

    def test_the_flavor_goes_first(self) -> None:
        """Its policy counts, not the one of nova.conf."""
        flavor = self._create_flavor(
            vcpu=1,
            memory_mb=64,
            disk=1,
            extra_spec={'resources:VGPU': '1', 'vgpu:gpu_policy': 'spread'},
        )
        self.add_gpu('host1', '1a_00_0', used=3)
        self.add_gpu('host1', '1b_00_0', used=1)
        self.add_gpu('host2', '1a_00_0', used=2)
        self.assertEqual(['host1 1b'], self.gpus_of(self.boot(flavor)))
        self.assertEqual(['host1 1a'], self.gpus_of(self.boot(self.vgpu)))

    def test_several_vgpus_of_one_guest(self) -> None:
        """Numbered groups, on one GPU or on several."""
        for host in ('host1', 'host2'):
            self.add_gpu(host, '1a_00_0', used=2)
            self.add_gpu(host, '1b_00_0')
            self.add_gpu(host, '3d_00_0', used=7)
        groups = {'resources1:VGPU': '1', 'resources2:VGPU': '1'}
        together = self._create_flavor(
            vcpu=1,
            memory_mb=64,
            disk=1,
            extra_spec={**groups, 'group_policy': 'none'},
        )
        apart = self._create_flavor(
            vcpu=1,
            memory_mb=64,
            disk=1,
            extra_spec={**groups, 'group_policy': 'isolate'},
        )
        found = self.gpus_of(self.boot(apart))
        self.assertEqual(['1a', '3d'], [gpu[-2:] for gpu in found])
        host = found[0][:5]
        self.assertEqual(
            [f'{host} 1a'] * 2, self.gpus_of(self.boot(together, host=host))
        )
        self.assertEqual(
            [f'{host} 1a', f'{host} 1b'],
            self.gpus_of(self.boot(apart, host=host)),
        )

    def test_a_custom_class_and_a_type(self) -> None:
        """A class that is named after a product, a trait that is a type's."""
        name = 'CUSTOM_NVIDIA_A40_2Q'
        self.placement_call('put', f'/resource_classes/{name}', None)
        for host, used in (('host1', 1), ('host2', 2), ('host3', 0)):
            self.add_gpu(host, '1a_00_0', used=used, resource_class=name)
            self.add_gpu(host, '1b_00_0', resource_class=name)
        flavor = self._create_flavor(
            vcpu=1,
            memory_mb=64,
            disk=1,
            extra_spec={
                f'resources:{name}': '1',
                f'trait:{_TRAIT}': 'required',
            },
        )
        self.assertEqual(['host2 1a'], self.gpus_of(self.boot(flavor)))
        self.assertEqual(
            [
                (
                    '/allocation_candidates',
                    {'resources': f'{name}:1', 'required': _TRAIT},
                )
            ],
            self.plugins.questions,
        )

    def test_vfs_of_a_card(self) -> None:
        """The card with the most VFs in use is filled first."""
        for host, busy in (('host1', 1), ('host2', 0)):
            for function in range(4, 8):
                used = int(function < 4 + busy)
                self.add_gpu(host, f'41_00_{function}', total=1, used=used)
                self.add_gpu(host, f'42_00_{function}', total=1)
        # A guest without a vGPU waits for the names, which tell the cards.
        self.boot(self.plain)
        found = [self.gpus_of(self.boot(self.vgpu)) for _ in range(4)]
        self.assertEqual([['host1 41']] * 3 + [['host1 42']], found)


class MoveTest(PolicyTestCase):
    """Servers that are on a host already."""

    def setUp(self) -> None:
        super().setUp()
        for host, used in (('host1', 6), ('host2', 4), ('host3', 2)):
            self.add_gpu(host, '1a_00_0')
            self.add_gpu(host, '1b_00_0', used=used)
            self.add_gpu(host, '3d_00_0', used=1)
        self.server = self.boot(self.vgpu)
        self.assertEqual(['host1 1b'], self.gpus_of(self.server))

    def test_migrate(self) -> None:
        """The fullest GPU of the other hosts."""
        self._migrate_server(self.server)
        self.assertEqual(['host2 1b'], self.gpus_of(self.server))
        self._confirm_resize(self.server)

    def test_migrate_to_a_host_that_was_chosen(self) -> None:
        """The fullest GPU there; Placement is asked about it alone."""
        self._migrate_server(self.server, host='host3')
        self.assertEqual(['host3 1b'], self.gpus_of(self.server))
        _, query = self.plugins.questions[-1]
        self.assertEqual(
            self._get_provider_uuid_by_name('host3'), query['in_tree']
        )

    def test_resize(self) -> None:
        """More vGPUs than the fullest GPU has."""
        flavor = self._create_flavor(
            vcpu=1, memory_mb=64, disk=1, extra_spec={'resources:VGPU': '4'}
        )
        self._resize_server(self.server, flavor)
        self.assertEqual(['host2 1b'] * 4, self.gpus_of(self.server))

    def test_live_migrate(self) -> None:
        """As any other move."""
        self._live_migrate(self.server)
        self.assertEqual(['host2 1b'], self.gpus_of(self.server))

    def test_evacuate(self) -> None:
        """From a host that is down."""
        self.computes['host1'].stop()
        self.api.put_service(
            self.computes['host1'].service_ref.uuid, {'forced_down': True}
        )
        self.api.post_server_action(self.server['id'], {'evacuate': {}})
        self._wait_for_server_parameter(
            self.server,
            {'OS-EXT-SRV-ATTR:host': 'host2', 'OS-EXT-STS:task_state': None},
        )
        self.assertIn('host2 1b', self.gpus_of(self.server))

    def test_rebuild(self) -> None:
        """There are no candidates, and nothing to do."""
        before = len(self.plugins.questions)
        self._rebuild_server(
            self.server, 'a2459075-d96c-40d5-893e-577ff92e721c'
        )
        self.assertEqual(['host1 1b'], self.gpus_of(self.server))
        self.assertEqual(before, len(self.plugins.questions))

    def test_unshelve(self) -> None:
        """Placed anew."""
        self.flags(shelved_offload_time=0)
        self._shelve_server(self.server)
        self.assertEqual(
            {}, self._get_allocations_by_server_uuid(self.server['id'])
        )
        self._unshelve_server(self.server)
        self.assertEqual(['host1 1b'], self.gpus_of(self.server))

    def test_a_forced_host(self) -> None:
        """Nova asks no filter then; the server starts all the same."""
        server = self.boot(self.vgpu, az='nova:host3')
        self.assertEqual('host3', self.host_of(server))
        self.assertEqual(1, len(self.gpus_of(server)))


class SpreadTest(PolicyTestCase):
    """Guests get the least loaded GPU."""

    OPTIONS = 'gpu_policy = spread'

    def test_guests_are_spread(self) -> None:
        """Over hosts and their GPUs, until all are as full."""
        self.add_gpu('host1', '1a_00_0')
        self.add_gpu('host1', '1b_00_0', used=1)
        self.add_gpu('host2', '1a_00_0', used=2)
        self.add_gpu('host2', '1b_00_0', used=8)
        found = [self.gpus_of(self.boot(self.vgpu))[0] for _ in range(6)]
        self.assertEqual('host1 1a', found[0])
        self.assertEqual({'host1 1a', 'host1 1b'}, set(found[1:3]))
        self.assertEqual({'host1 1a', 'host1 1b', 'host2 1a'}, set(found[3:6]))


class GpuHostTest(PolicyTestCase):
    """Guests without a vGPU, with nothing configured."""

    OPTIONS = ''
    HOSTS = ('host1', 'host2')

    def test_hosts_with_gpus_are_spared(self) -> None:
        """While another host has room, and not longer."""
        self.add_gpu('host1', '1a_00_0', used=8)
        # Each host has room for three: 1028 GB.
        large = self._create_flavor(vcpu=1, memory_mb=64, disk=300)
        found = [self.host_of(self.boot(large)) for _ in range(4)]
        self.assertEqual(['host2'] * 3 + ['host1'], found)
        self.assertEqual([('/resource_providers', {})], self.plugins.questions)

    def test_a_vgpu_is_not_kept_from_them(self) -> None:
        """Without a policy Nova chooses, and Placement is not asked."""
        self.add_gpu('host1', '1a_00_0')
        self.add_gpu('host2', '1a_00_0')
        self.assertEqual(1, len(self.gpus_of(self.boot(self.vgpu))))
        self.assertEqual([], self.plugins.questions)


class DownTest(PolicyTestCase):
    """A Placement that the plugins do not reach, though Nova does."""

    OPTIONS = 'gpu_policy = pack\ngpu_policy_timeout = 1'

    def setUp(self) -> None:
        super().setUp()
        for device in ('1a_00_0', '1b_00_0'):
            self.add_gpu('host1', device, used=3)
            self.add_gpu('host2', device)

    def endpoint(self) -> str:
        """Name a port at which nobody listens."""
        with socket.socket() as found:
            found.bind(('127.0.0.1', 0))
            return f'http://127.0.0.1:{found.getsockname()[1]}'

    def test_guests_start_all_the_same(self) -> None:
        """One line of the log says why no policy was followed."""
        began = time.monotonic()
        for _ in range(2):
            self.assertEqual(1, len(self.gpus_of(self.boot(self.vgpu))))
            self.boot(self.plain)
        self.assertLess(time.monotonic() - began, 20)
        lines = [
            line
            for line in self.stdlog.logger.output.splitlines()
            if 'without a GPU policy' in line
        ]
        self.assertEqual(1, len(lines), lines)
        self.assertNotIn('Traceback', self.stdlog.logger.output)


class SilentTest(DownTest):
    """A Placement that takes connections, and never answers."""

    def endpoint(self) -> str:
        """Name a port whose listener says nothing."""
        listener = socket.socket()
        self.addCleanup(listener.close)
        listener.bind(('127.0.0.1', 0))
        listener.listen(64)
        return f'http://127.0.0.1:{listener.getsockname()[1]}'
