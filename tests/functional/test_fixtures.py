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
"""The services and the simulated hosts that the functional tests stand on."""

from __future__ import annotations

import concurrent.futures
import os
import pathlib
import random
import sys
import threading
import time
from typing import Any
from unittest import mock

import fixtures
import openstack.connection
import requests
import testtools
from keystoneauth1 import exceptions as ksa_exceptions
from keystoneauth1 import loading
from keystoneauth1 import session as ksa_session
from oslo_config import cfg

from nova_vgpu_ext import models
from nova_vgpu_ext.sim import description, profile
from tests.functional.fixtures import child
from tests.functional.fixtures import keystone as keystone_fixture
from tests.functional.fixtures import nova as nova_fixture
from tests.functional.fixtures import nova_report as report_fixture
from tests.functional.fixtures import placement as placement_fixture

UUIDS = [f'5d2e7c1a-94b3-4f60-8e1d-a0c9b8d7e6{n:02x}' for n in range(8)]


def session_for(server: placement_fixture.PlacementServer) -> Any:
    """Make a session whose requests Placement takes."""
    session = requests.Session()
    session.headers['X-Auth-Token'] = placement_fixture.TOKEN
    session.headers['OpenStack-API-Version'] = 'placement 1.39'
    return session


def adapter_for(text: str, folder: str) -> Any:
    """Make keystoneauth's adapter from the text of a configuration."""
    path = pathlib.Path(folder, 'client.conf')
    path.write_text(text)
    conf = cfg.ConfigOpts()
    for register in (
        loading.register_auth_conf_options,
        loading.register_session_conf_options,
        loading.register_adapter_conf_options,
    ):
        register(conf, 'placement')
    conf(['--config-file', str(path)], project='test')
    auth = loading.load_auth_from_conf_options(conf, 'placement')
    session = loading.load_session_from_conf_options(
        conf, 'placement', auth=auth
    )
    adapter = loading.load_adapter_from_conf_options(
        conf, 'placement', session=session, auth=auth
    )
    adapter.service_type = 'placement'
    return adapter


class PlacementServerTest(testtools.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.server = self.useFixture(placement_fixture.PlacementServer())
        self.session = session_for(self.server)
        self.addCleanup(self.session.close)
        self.root = self.server.create_provider('node')
        self.gpu = self.server.create_provider('node_gpu', self.root)

    def get(self, path: str, **kwargs: Any) -> requests.Response:
        return self.session.get(self.server.url + path, timeout=5, **kwargs)

    def put_traits(self, generation: int) -> requests.Response:
        return self.session.put(
            f'{self.server.url}/resource_providers/{self.gpu}/traits',
            json={
                'resource_provider_generation': generation,
                'traits': ['HW_CPU_X86_AVX'],
            },
            timeout=5,
        )

    def test_helpers_go_through_the_real_api(self) -> None:
        self.server.set_inventories('node_gpu', {'VGPU': 4, 'CUSTOM_X': 1})
        self.server.set_traits('node_gpu', ['CUSTOM_T'])
        consumer = self.server.allocate({'node_gpu': {'VGPU': 3}})
        found = self.server.provider('node_gpu')
        self.assertEqual({'VGPU': 4, 'CUSTOM_X': 1}, found.totals)
        self.assertEqual({'CUSTOM_T'}, found.traits)
        self.assertEqual({'VGPU': 3}, found.usages)
        self.assertEqual(self.root, found.parent_uuid)
        self.assertEqual(
            {'node', 'node_gpu'}, set(self.server.providers('node'))
        )
        error = self.assertRaises(
            placement_fixture.PlacementError,
            self.server.delete_provider,
            'node_gpu',
        )
        self.assertEqual(409, error.status)
        self.server.release(consumer)
        self.server.delete_provider('node_gpu')
        self.assertRaises(LookupError, self.server.provider, 'node_gpu')
        self.assertEqual([], self.server.requests)

    def test_records_what_clients_ask(self) -> None:
        with self.server.counting() as seen:
            self.get(f'/resource_providers?in_tree={self.root}')
            self.get('/resource_providers/nonsense')
            self.put_traits(0)
        self.assertEqual(
            [
                ('GET', f'/resource_providers?in_tree={self.root}', 200),
                ('GET', '/resource_providers/nonsense', 404),
                ('PUT', f'/resource_providers/{self.gpu}/traits', 200),
            ],
            [(r.method, r.path, r.status) for r in seen],
        )
        self.assertEqual([False, False, True], [r.is_write for r in seen])

    def test_clients_at_the_same_time(self) -> None:
        app, inside, most = self.server.app, [], []

        def watched(*args: Any) -> Any:
            inside.append(args)
            most.append(len(inside))
            try:
                return app(*args)
            finally:
                inside.pop()

        self.server.app = watched

        def work(number: int) -> set[int]:
            session = session_for(self.server)
            with session:
                return {
                    session.put(
                        f'{self.server.url}/traits/CUSTOM_{number}_{n}',
                        timeout=30,
                    ).status_code
                    for n in range(8)
                } | {
                    session.get(
                        f'{self.server.url}/resource_providers', timeout=30
                    ).status_code
                }

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            self.assertEqual(
                {200, 201}, set().union(*pool.map(work, range(8)))
            )
        self.assertEqual(1, max(most))
        traits = self.server.api('GET', '/traits?name=startswith:CUSTOM_')
        self.assertEqual(64, len(traits['traits']))

    def test_connection_is_kept(self) -> None:
        for _ in range(3):
            self.get('/resource_providers')
        self.assertEqual(1, self.server.connections)

    def test_faults(self) -> None:
        for status in (500, 503, 409):
            self.server.fault_status(status, path='/resource_providers')
            self.assertEqual(
                status, self.get('/resource_providers').status_code
            )
        self.server.fault_login_page(method='GET')
        page = self.get('/resource_providers')
        self.assertEqual(200, page.status_code)
        self.assertEqual('text/html', page.headers['Content-Type'])
        self.server.fault_truncate()
        self.assertRaises(
            requests.exceptions.ChunkedEncodingError,
            self.get,
            '/resource_providers',
        )
        self.server.fault_close()
        self.assertRaises(
            requests.exceptions.ConnectionError,
            self.get,
            '/resource_providers',
        )
        self.assertEqual(0, self.server.requests[-1].status)
        self.server.fault_slow(0.2)
        start = time.monotonic()
        self.assertTrue(self.get('/resource_providers').ok)
        self.assertGreaterEqual(time.monotonic() - start, 0.2)
        self.assertTrue(self.get('/resource_providers').json())

    def test_fault_hits_what_it_names_only(self) -> None:
        self.server.fault_status(500, method='PUT', path='/traits', times=2)
        self.server.fault_status(503, path='/usages', skip=1)
        self.assertTrue(self.get('/traits').ok)
        url = f'{self.server.url}/traits/CUSTOM_X'
        statuses = [
            self.session.put(url, timeout=5).status_code for _ in range(3)
        ]
        self.assertEqual([500, 500, 201], statuses)
        path = '/usages?project_id=x'
        statuses = [self.get(path).status_code for _ in range(3)]
        self.assertEqual([200, 503, 200], statuses)

    def test_write_is_done_but_never_answered(self) -> None:
        self.server.fault_close(after=True, method='PUT')
        self.assertRaises(
            requests.exceptions.ConnectionError, self.put_traits, 0
        )
        found = self.server.provider('node_gpu')
        self.assertEqual({'HW_CPU_X86_AVX'}, found.traits)

    def test_another_writer_comes_first(self) -> None:
        self.server.before(
            'PUT', '/traits$', lambda: self.server.touch('node_gpu')
        )
        answer = self.put_traits(0)
        self.assertEqual(409, answer.status_code)
        self.assertEqual(
            'placement.concurrent_update', answer.json()['errors'][0]['code']
        )
        self.assertEqual(200, self.put_traits(1).status_code)

    def test_stop_and_start_again(self) -> None:
        self.get('/resource_providers')
        self.server.stop()
        self.assertRaises(
            requests.exceptions.ConnectionError,
            self.get,
            '/resource_providers',
        )
        self.server.start_again()
        self.assertTrue(self.get('/resource_providers').ok)

    def test_stops_in_the_middle_of_a_slow_answer(self) -> None:
        self.server.fault_slow(60)
        thread = threading.Thread(target=self._ask_in_vain)
        thread.start()
        # The request has arrived once it has taken the fault.
        placement_fixture.http_server.wait_until(
            lambda: self.server._faults[0].times == 0
        )
        start = time.monotonic()
        self.server.stop()
        thread.join()
        self.assertLess(time.monotonic() - start, 10)

    def _ask_in_vain(self) -> None:
        try:
            self.get('/resource_providers')
        except requests.exceptions.RequestException:
            return

    def test_only_one_at_a_time(self) -> None:
        error = self.assertRaises(
            testtools.MultipleExceptions,
            placement_fixture.PlacementServer().setUp,
        )
        self.assertIs(RuntimeError, error.args[0][0])
        # The one that runs is unharmed.
        self.assertTrue(self.get('/resource_providers').ok)

    def test_config_text_works(self) -> None:
        folder = self.useFixture(fixtures.TempDir()).path
        text = self.server.config_text()
        answer = adapter_for(text, folder).get('/resource_providers')
        self.assertEqual(2, len(answer.json()['resource_providers']))
        self.assertNotIn('token =', self.server.config_text(token=None))
        auth = loading.get_plugin_loader('admin_token').load_from_options(
            endpoint=self.server.url, token=placement_fixture.TOKEN
        )
        cloud = openstack.connection.Connection(
            session=ksa_session.Session(auth=auth),
            placement_endpoint_override=self.server.url,
        )
        self.addCleanup(cloud.close)
        names = {p.name for p in cloud.placement.resource_providers()}
        self.assertEqual({'node', 'node_gpu'}, names)


class PlacementLifeTest(testtools.TestCase):
    def test_empty_each_time_and_leaves_nothing(self) -> None:
        threads = set(threading.enumerate())
        for _ in range(2):
            with placement_fixture.PlacementServer() as server:
                with session_for(server) as session:
                    url = f'{server.url}/resource_providers'
                    answer = session.get(url, timeout=5)
                self.assertEqual({'resource_providers': []}, answer.json())
                server.create_provider('node')
            self.assertFalse(server.database.exists())
            self.assertEqual(threads, set(threading.enumerate()))

    def test_callback_that_fails_is_heard_of(self) -> None:
        server = placement_fixture.PlacementServer()
        server.setUp()
        server.before('GET', '/traits', lambda: 1 / 0)
        with session_for(server) as session:
            self.assertRaises(
                requests.exceptions.ConnectionError,
                session.get,
                f'{server.url}/traits',
                timeout=5,
            )
        self.assertRaises(ZeroDivisionError, server.cleanUp)


class ReshaperTest(testtools.TestCase):
    def reshape(self, reshaper: bool) -> int:
        with placement_fixture.PlacementServer(reshaper=reshaper) as server:
            root = server.create_provider('node')
            inventories = {
                root: {
                    'inventories': {'VGPU': {'total': 2}},
                    'resource_provider_generation': 0,
                }
            }
            with session_for(server) as session:
                answer = session.post(
                    f'{server.url}/reshaper',
                    json={'inventories': inventories, 'allocations': {}},
                    timeout=5,
                )
            expected = {'VGPU': 2} if answer.ok else {}
            self.assertEqual(expected, server.provider('node').totals)
            return answer.status_code

    def test_placement_itself_decides(self) -> None:
        self.assertEqual(204, self.reshape(True))
        self.assertEqual(403, self.reshape(False))


class KeystoneServerTest(testtools.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = self.useFixture(fixtures.TempDir()).path
        self.keystone = self.useFixture(keystone_fixture.KeystoneServer())
        self.server = self.useFixture(
            placement_fixture.PlacementServer(
                reshaper=False, keystone=self.keystone
            )
        )
        self.root = self.server.create_provider('node')

    def ask(self, method: str = 'GET', body: Any = None, **opts: Any) -> int:
        adapter = adapter_for(self.server.config_text(**opts), self.folder)
        path = '/resource_providers' if body is None else '/reshaper'
        answer = adapter.request(
            path,
            method,
            json=body,
            raise_exc=False,
            microversion='1.39',
            headers={'Accept': 'application/json'},
        )
        status: int = answer.status_code
        return status

    def test_catalogue_and_password(self) -> None:
        self.assertEqual(200, self.ask())
        self.assertRaises(
            ksa_exceptions.Unauthorized,
            self.ask,
            password='wrong',  # noqa: S106
        )
        self.assertRaises(
            ksa_exceptions.EndpointNotFound, self.ask, region_name='Nowhere'
        )

    def test_roles(self) -> None:
        body = {
            'inventories': {
                self.root: {
                    'inventories': {},
                    'resource_provider_generation': 0,
                }
            },
            'allocations': {},
        }
        for username, read, reshape in (
            ('weak', 403, 403),
            ('operator', 200, 403),
            ('nova', 200, 204),
        ):
            self.assertEqual(read, self.ask(username=username), username)
            self.assertEqual(
                reshape, self.ask('POST', body, username=username), username
            )

    def test_other_region_has_an_endpoint_of_its_own(self) -> None:
        self.keystone.set_endpoint('http://127.0.0.1:9', region='Elsewhere')
        self.assertEqual(200, self.ask())
        self.assertRaises(
            ksa_exceptions.ConnectFailure, self.ask, region_name='Elsewhere'
        )


class KeystoneFailureTest(testtools.TestCase):
    def test_without_keystone_it_fails_loudly(self) -> None:
        folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        (folder / 'keystone').mkdir()
        (folder / 'keystone' / '__init__.py').write_text(
            'raise ImportError("no keystone here")\n'
        )
        paths = os.pathsep.join([str(folder), *filter(None, sys.path)])
        self.useFixture(fixtures.EnvironmentVariable('PYTHONPATH', paths))
        with mock.patch.object(keystone_fixture, '_process', None):
            error = self.assertRaises(
                testtools.MultipleExceptions,
                keystone_fixture.KeystoneServer().setUp,
            )
        self.assertIs(child.ChildError, error.args[0][0])
        self.assertIn('no keystone here', str(error.args[0][1]))


def conf(*types: str, **sections: str) -> str:
    """Write a nova.conf; a section's name has _ for - and no ``mdev_``."""
    lines = ['[devices]', f'enabled_mdev_types = {", ".join(types)}']
    for name, body in sections.items():
        lines += [f'[mdev_{name.replace("_", "-")}]', body]
    return '\n'.join([*lines, ''])


def totals(
    result: tuple[nova_fixture.Providers, Exception | None],
) -> dict[str, dict[str, int]]:
    """Give the totals by the libvirt name of the GPU."""
    providers, error = result
    if error is not None:
        raise error
    prefix = f'{nova_fixture.NODE}_'
    return {
        name.removeprefix(prefix): {c: r['total'] for c, r in classes.items()}
        for name, classes in providers.items()
    }


class NovaHostTest(testtools.TestCase):
    types = (
        description.TypeSpec('nvidia-35', 'GRID X-1Q', 1024, maximum=8),
        description.TypeSpec('nvidia-36', 'GRID X-2Q', 2048, maximum=4),
    )

    def gpu(self, address: str, *mdevs: str) -> description.GpuSpec:
        first = int(address[5:7], 16) % 4
        return description.GpuSpec(
            address,
            self.types,
            tuple(
                description.MdevSpec(UUIDS[first + n], t)
                for n, t in enumerate(mdevs)
            ),
        )

    def host(self, *gpus: description.GpuSpec) -> description.Profile:
        return description.Profile('test', gpus)

    def test_reference_host(self) -> None:
        providers, error = nova_fixture.nova_result(
            profile.load('v100x8'), None, conf('nvidia-194')
        )
        self.assertIsNone(error)
        self.assertEqual(8, len(providers))
        self.assertEqual(
            {
                'VGPU': {
                    'total': 32,
                    'max_unit': 32,
                    'min_unit': 1,
                    'step_size': 1,
                    'reserved': 0,
                    'allocation_ratio': 1.0,
                }
            },
            providers['gpu01.example.org_pci_0000_1a_00_0'],
        )

    def test_mdevs_count_and_other_types_use_a_gpu_up(self) -> None:
        host = self.host(
            self.gpu('0000:84:00.0', 'nvidia-35'),
            self.gpu('0000:85:00.0', 'nvidia-36'),
        )
        result = nova_fixture.nova_result(host, None, conf('nvidia-35'))
        self.assertEqual({'pci_0000_84_00_0': {'VGPU': 8}}, totals(result))

    def test_order_decides_who_is_over_the_limit(self) -> None:
        host = self.host(self.gpu('0000:84:00.0'), self.gpu('0000:85:00.0'))
        text = conf('nvidia-35', nvidia_35='max_instances = 15')
        for order, winner in (
            (None, '84'),
            (['0000:85:00.0'], '85'),
            (['0000:84:00.0', '0000:85:00.0'], '84'),
        ):
            result = nova_fixture.nova_result(host, order, text)
            self.assertEqual([f'pci_0000_{winner}_00_0'], [*totals(result)])

    def test_nothing_is_left_of_an_earlier_configuration(self) -> None:
        host = self.host(self.gpu('0000:84:00.0'), self.gpu('0000:85:00.0'))
        body = 'device_addresses = 0000:84:00.0\nmdev_class = CUSTOM_X'
        with nova_fixture.NovaHost(host) as nova_host:
            for _ in range(2):
                self.assertEqual(
                    {'pci_0000_84_00_0': {'CUSTOM_X': 8}},
                    totals(
                        nova_host.result(conf('nvidia-35', nvidia_35=body))
                    ),
                )
                self.assertEqual(
                    {
                        'pci_0000_84_00_0': {'VGPU': 8},
                        'pci_0000_85_00_0': {'VGPU': 8},
                    },
                    totals(nova_host.result(conf('nvidia-35'))),
                )
                self.assertEqual(({}, None), nova_host.result(''))
        self.assertEqual([], nova_fixture.CONF.devices.enabled_mdev_types)

    def test_later_files_win(self) -> None:
        host = self.host(self.gpu('0000:84:00.0'))
        with nova_fixture.NovaHost(host) as nova_host:
            result = nova_host.result(conf('nvidia-35'), conf('nvidia-36'))
        self.assertEqual({'pci_0000_84_00_0': {'VGPU': 4}}, totals(result))

    def test_what_stops_nova_comes_out(self) -> None:
        host = self.host(self.gpu('0000:84:00.0'))
        for body, name in (
            ('device_addresses = 0000:84', 'InvalidLibvirtMdevConfig'),
            ('device_addresses = mtty_mtty', 'InvalidLibvirtMdevConfig'),
            ('mdev_class = PCPU', 'ConfigFileValueError'),
            ('max_instances = 0', 'ConfigFileValueError'),
            ('nonsense', 'ConfigFileParseError'),
        ):
            providers, error = nova_fixture.nova_result(
                host, None, conf('nvidia-35', nvidia_35=body)
            )
            self.assertEqual({}, providers)
            self.assertEqual(name, type(error).__name__, body)

    @testtools.skipUnless(
        nova_fixture.KNOWS_VIRTUAL, 'Nova before 34 knows no virtual parents'
    )
    def test_virtual_parent(self) -> None:
        spec = description.GpuSpec(
            'mtty_mtty',
            (description.TypeSpec('mtty-2', 'Dual port serial', maximum=12),),
            (description.MdevSpec(UUIDS[0], 'mtty-2'),),
            driver='mtty',
        )
        host = self.host(spec)
        listed = conf('mtty-2', mtty_2='device_addresses = mtty_mtty')
        with nova_fixture.NovaHost(host) as nova_host:
            self.assertEqual(
                {'mtty_mtty': {'VGPU': 12}}, totals(nova_host.result(listed))
            )
            driver = nova_host.driver(listed)
            (mdev,) = driver._get_mediated_devices()
            name = f'mdev_{UUIDS[0].replace("-", "_")}_mtty'
            self.assertEqual(name, mdev['dev_id'])
            # Nova asks by the UUID alone where it knows no more.
            self.assertEqual(
                UUIDS[0],
                driver._get_mediated_device_information(
                    name.removesuffix('_mtty')
                )['uuid'],
            )
            _, error = nova_host.result(conf('mtty-2'))
            self.assertIsInstance(error, AttributeError)

    def test_functions_and_frameworks(self) -> None:
        a40 = profile.load('a40-sriov')
        with nova_fixture.NovaHost(a40) as nova_host:
            driver = nova_host.driver('')
            capable = driver._get_mdev_capable_devices()
            expected = {
                models.libvirt_name(vf.address)
                for gpu in a40.gpus
                for vf in gpu.vfs
            }
            self.assertEqual(expected, {d['dev_id'] for d in capable})
            nova_host.show(profile.load('l40s-vendor-vfio'))
            self.assertEqual([], driver._get_mdev_capable_devices())

    def test_provider_of_a_full_host_goes(self) -> None:
        host = self.host(self.gpu('0000:84:00.0', 'nvidia-36'))
        name = f'{nova_fixture.NODE}_pci_0000_84_00_0'
        gone = f'{nova_fixture.NODE}_pci_0000_99_00_0'
        old = {'VGPU': {'total': 8}}
        providers, error = nova_fixture.nova_result(
            host, None, conf('nvidia-35'), existing={name: old, gone: old}
        )
        self.assertIsNone(error)
        self.assertEqual([gone], [*providers])

    def test_all_of_the_order_is_kept(self) -> None:
        host = profile.load('v100x8-busy')
        addresses = [g.address for g in host.gpus]
        random.Random(7).shuffle(addresses)  # noqa: S311
        with nova_fixture.NovaHost(host, addresses) as nova_host:
            names = nova_host.connection.listDevices('mdev_types')
            mdevs = nova_host.connection.listDevices('mdev')
        self.assertEqual([models.libvirt_name(a) for a in addresses], names)
        self.assertEqual(sum(len(g.mdevs) for g in host.gpus), len(mdevs))


class NovaReporterTest(testtools.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.server = self.useFixture(
            placement_fixture.PlacementServer(reshaper=False)
        )
        self.host = self.useFixture(
            nova_fixture.NovaHost(profile.load('v100x8'))
        )
        self.nova = self.useFixture(
            report_fixture.NovaReporter(
                self.host, self.server, conf('nvidia-194')
            )
        )
        self.gpu = f'{nova_fixture.NODE}_pci_0000_1a_00_0'

    def test_reports_and_then_keeps_quiet(self) -> None:
        self.assertTrue(any(r.is_write for r in self.nova.start()))
        providers = self.server.providers(nova_fixture.NODE)
        self.assertEqual(9, len(providers))
        self.assertEqual({'VGPU': 32}, providers[self.gpu].totals)
        self.assertEqual(nova_fixture.OWN_TRAITS, providers[self.gpu].traits)
        root = providers[nova_fixture.NODE]
        self.assertEqual(self.nova.root_uuid, root.uuid)
        self.assertIn('VCPU', root.totals)
        quiet = self.nova.periodic()
        stale = self.nova.periodic(stale=True)
        again = self.nova.start()
        self.assertEqual([], [r for r in quiet + stale + again if r.is_write])
        # Three lists of each provider.
        self.assertGreaterEqual(len(stale) - len(quiet), 3 * 9)
        self.assertEqual(
            {name: p.generation for name, p in providers.items()},
            {n: p.generation for n, p in self.server.providers().items()},
        )

    def test_foreign_traits_stay(self) -> None:
        self.nova.start()
        self.server.add_traits(self.gpu, 'CUSTOM_NVIDIA_194')
        self.nova.periodic(stale=True)
        self.nova.start(conf('nvidia-195'))
        found = self.server.provider(self.gpu)
        self.assertEqual({'VGPU': 16}, found.totals)
        self.assertEqual(
            nova_fixture.OWN_TRAITS | {'CUSTOM_NVIDIA_194'}, found.traits
        )

    def test_does_nothing_once_no_type_is_enabled(self) -> None:
        self.nova.start()
        self.nova.start('')
        self.assertEqual(9, len(self.server.providers()))
