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
"""``openstack vgpu gpu list`` and ``type list``."""

from __future__ import annotations

import csv
import io
import json

import yaml

from nova_vgpu_ext.plan import traits
from nova_vgpu_ext.sim import builder, profile
from tests.functional import base, osc_base
from tests.functional.test_cli import PROFILES


class GpuListTest(osc_base.OscTestCase):
    """The providers of GPUs, as Placement has them."""

    def test_rows(self) -> None:
        first, second = self.gpu_host('gpu02')
        self.gpu_host('gpu01', gpus=1, type_=196, total=8)
        self.placement.allocate({first: {'VGPU': 3}})
        rows = self.osc_json('vgpu', 'gpu', 'list')
        self.assertEqual(
            [
                {
                    'provider': self.placement.provider(name).uuid,
                    'host': host,
                    'address': address,
                    'type': type_,
                    'product': product,
                    'total': total,
                    'used': used,
                    'free': total - used,
                    'traits': sorted(
                        {'OWNER_NOVA', *osc_base.gpu_traits(int(type_[7:]))}
                    ),
                }
                for name, host, address, type_, product, total, used in (
                    (
                        'gpu01_pci_0000_01_00_0',
                        'gpu01',
                        '0000:01:00.0',
                        'nvidia-196',
                        'V100DX-4Q',
                        8,
                        0,
                    ),
                    (
                        first,
                        'gpu02',
                        '0000:01:00.0',
                        'nvidia-194',
                        'V100DX-1Q',
                        32,
                        3,
                    ),
                    (
                        second,
                        'gpu02',
                        '0000:01:00.1',
                        'nvidia-194',
                        'V100DX-1Q',
                        32,
                        0,
                    ),
                )
            ],
            rows,
        )

    def test_formats(self) -> None:
        self.gpu_host('gpu01', gpus=1, type_=None)
        provider = self.placement.provider('gpu01_pci_0000_01_00_0').uuid
        columns = ('-c', 'provider', '-c', 'type', '-c', 'free')
        outputs = {
            name: self.run_osc('vgpu', 'gpu', 'list', '-f', name, *columns).out
            for name in ('table', 'json', 'yaml', 'csv', 'value')
        }
        self.assertEqual(
            [{'provider': provider, 'type': None, 'free': 32}],
            yaml.safe_load(outputs['yaml']),
        )
        self.assertEqual(
            [{'provider': provider, 'type': 'None', 'free': '32'}],
            list(csv.DictReader(io.StringIO(outputs['csv']))),
        )
        self.assertEqual(f'{provider} None 32\n', outputs['value'])
        self.assertIn(f'| {provider} |      |   32 |', outputs['table'])

    def test_one_host(self) -> None:
        for name in ('gpu01', 'gpu01.example.org', 'plain'):
            self.host(name)
        hosts = ('gpu01', 'gpu01.example.org')
        names = [self.gpu(host) for host in hosts]
        for host, name in zip(hosts, names, strict=True):
            found = self.osc_json('vgpu', 'gpu', 'list', '--host', host)
            self.assertEqual(
                [self.placement.provider(name).uuid],
                [row['provider'] for row in found],
            )
        # It has no GPU, and that is no error.
        self.assertEqual(
            [], self.osc_json('vgpu', 'gpu', 'list', '--host', 'plain')
        )

    def test_unknown_host(self) -> None:
        (name,) = self.gpu_host('gpu01', gpus=1)
        for wrong in ('gpu1', 'gpu', '', 'a b"\'', name):
            outcome = self.run_osc('vgpu', 'gpu', 'list', '--host', wrong)
            self.assertEqual(1, outcome.code)
            self.assertEqual('', outcome.out)
            (line,) = outcome.errors
            self.assertIn(f'no provider for the node {wrong!r}', line)
            self.assertIn('openstack hypervisor list', line)
            self.assertNotIn('--node', line)

    def test_type(self) -> None:
        self.gpu_host('gpu01', gpus=1)
        self.gpu_host('gpu02', gpus=1, type_=196, total=8)
        self.host('gpu03')
        self.card('gpu03')
        for name, hosts in (
            ('nvidia-194', ['gpu01']),
            ('V100DX-4Q', ['gpu02']),
            ('v100dx-4q', ['gpu02']),
            ('L40S-12Q', ['gpu03']),
            ('CUSTOM_NVIDIA_L40S_12Q', ['gpu03']),
            ('VGPU', ['gpu01', 'gpu02']),
        ):
            found = self.osc_json('vgpu', 'gpu', 'list', '--type', name)
            self.assertEqual(hosts, [row['host'] for row in found], name)

    def test_unknown_type(self) -> None:
        self.gpu_host('gpu01', gpus=1)
        self.host('gpu03')
        self.card('gpu03')
        for wrong in ('194', 'nvidia-19', 'V100DX-2Q', ''):
            outcome = self.run_osc('vgpu', 'gpu', 'list', '--type', wrong)
            self.assertEqual(1, outcome.code)
            self.assertEqual(
                [
                    f'no vGPU type {wrong!r} here; there are: '
                    'L40S-12Q (CUSTOM_NVIDIA_L40S_12Q), '
                    'nvidia-194 (V100DX-1Q, VGPU)'
                ],
                outcome.errors,
            )

    def test_empty_cloud(self) -> None:
        self.assertEqual([], self.osc_json('vgpu', 'gpu', 'list'))
        outcome = self.run_osc('vgpu', 'gpu', 'list', '--type', 'nvidia-194')
        self.assertEqual(
            ["no vGPU type 'nvidia-194' here; there are: none"],
            outcome.errors,
        )

    def test_what_is_no_gpu(self) -> None:
        root = self.host('gpu01')
        for name in (
            'gpu01_0000:18:00.0',  # A network card that Nova tracks.
            'gpu01_br-ex',
            'gpu01:NIC Switch agent:enp1s0',
            'gpu010_pci_0000_01_00_0',
            'pci_0000_01_00_0',
        ):
            self.placement.create_provider(name, root)
            self.placement.set_inventories(name, {'CUSTOM_PCI_8086_1563': 4})
        # A GPU that is given to guests as a whole.
        self.card('gpu01', '0000:3B:00.0', 'CUSTOM_NVIDIA_A100', 1)
        self.card('gpu01', '0000:3C:00.0', 'CUSTOM_NVIDIA_A100_40C', 1)
        found = self.osc_json('vgpu', 'gpu', 'list')
        self.assertEqual(['0000:3c:00.0'], [row['address'] for row in found])

    def test_gpus_without_inventory_or_free_room(self) -> None:
        names = self.gpu_host('gpu01', gpus=3, total=2)
        self.placement.set_inventories(names[0], {})
        self.placement.allocate({n: {'VGPU': 2} for n in names[1:]})
        expected = [('0', '0'), ('2', '0'), ('2', '0')]
        columns = ('-c', 'total', '-c', 'free', '-f', 'value')
        first = self.run_osc('vgpu', 'gpu', 'list', *columns)
        self.assertEqual(
            expected, [tuple(row.split()) for row in first.out.splitlines()]
        )
        # Nothing at all is left on the host.
        self.placement.allocate({'gpu01': osc_base.HOST_TOTALS})
        second = self.run_osc('vgpu', 'gpu', 'list', *columns)
        self.assertEqual(first.out, second.out)

    def test_vendor_specific_vfio(self) -> None:
        self.host('gpu01')
        card = self.card('gpu01', total=4)
        self.placement.allocate({card: {'CUSTOM_NVIDIA_L40S_12Q': 1}})
        (row,) = self.osc_json('vgpu', 'gpu', 'list')
        del row['provider'], row['traits']
        self.assertEqual(
            {
                'host': 'gpu01',
                'address': '0000:3b:00.0',
                'type': None,
                'product': 'L40S-12Q',
                'total': 4,
                'used': 1,
                'free': 3,
            },
            row,
        )

    def test_virtual_functions(self) -> None:
        self.gpu_host('gpu01', gpus=16, total=1)
        found = self.osc_json('vgpu', 'gpu', 'list')
        self.assertEqual(16, len(found))
        self.assertEqual({1}, {row['total'] for row in found})

    def test_requests(self) -> None:
        hosts = [f'gpu0{n}' for n in range(5)]
        gpus = [name for host in hosts for name in self.gpu_host(host, 8)]

        def count() -> int:
            with self.placement.counting() as requests:
                self.osc_json('vgpu', 'gpu', 'list')
            self.assertEqual([], [r for r in requests if r.status != 200])
            return len(requests)

        empty = count()
        for gpu in gpus:
            self.placement.allocate({gpu: {'VGPU': 2}})
            self.placement.allocate({gpu: {'VGPU': 1}})
        # The list of providers, and one for each host.
        self.assertEqual((6, 6), (empty, count()))

    def test_sorting_is_left_to_the_client(self) -> None:
        self.gpu_host('gpu01', gpus=1)
        self.gpu_host('gpu02', gpus=1)
        found = self.osc_json(
            *('vgpu', 'gpu', 'list', '--sort-column', 'host'),
            '--sort-descending',
        )
        self.assertEqual(['gpu02', 'gpu01'], [row['host'] for row in found])


class TypeListTest(osc_base.OscTestCase):
    """What the GPUs of a cloud offer, summed."""

    def test_sums(self) -> None:
        first, *_ = self.gpu_host('gpu01')
        self.gpu_host('gpu02', gpus=1)
        self.gpu_host('gpu03', gpus=1, type_=196, total=8)
        self.gpu_host('gpu04', gpus=1, type_=None)
        self.card('gpu04')
        self.placement.allocate({first: {'VGPU': 5}})
        self.assertEqual(
            [
                self._row('nvidia-194', 'V100DX-1Q', 1024, 3, 96, 5),
                self._row('nvidia-196', 'V100DX-4Q', 4096, 1, 8, 0),
                self._row(None, None, None, 1, 32, 0, series=None),
                self._row(
                    *(None, 'L40S-12Q', None, 1, 4, 0),
                    class_='CUSTOM_NVIDIA_L40S_12Q',
                ),
            ],
            self.osc_json('vgpu', 'type', 'list'),
        )

    def test_gpu_that_is_gone(self) -> None:
        (name,) = self.gpu_host('gpu01', gpus=1)
        self.placement.set_traits(name, {traits.GONE, 'OWNER_NOVA'})
        (row,) = self.osc_json('vgpu', 'type', 'list')
        self.assertIsNone(row['type'])

    def _row(
        self,
        type_: str | None,
        product: str | None,
        frame_buffer: int | None,
        gpus: int,
        total: int,
        used: int,
        series: str | None = 'Q',
        class_: str = 'VGPU',
    ) -> dict[str, object]:
        return {
            'type': type_,
            'product': product,
            'series': series,
            'frame_buffer_mib': frame_buffer,
            'class': class_,
            'gpus': gpus,
            'total': total,
            'used': used,
            'free': total - used,
        }


class ReportedTest(osc_base.OscTestCase):
    """What ``nova-vgpu report`` writes is what the cloud's side reads."""

    def test_hosts(self) -> None:
        for name, count in (
            ('v100x8-busy', 8),
            ('a40-sriov', 32),
            ('mtty', 1),
        ):
            self.host(name)
            folder = str(self.temp_dir() / name)
            builder.build(profile.load(name), folder)
            conf = self.write_conf(
                f'[devices]\n{PROFILES[name]}\n{self.placement.config_text()}'
            )
            arguments = (
                f'--config-file={conf}',
                f'--sysfs-root={folder}',
                f'--node={name}',
            )
            outcome = base.run_cli(*arguments, 'report')
            self.assertEqual(0, outcome.code, outcome.err)
            outcome = base.run_cli(
                *arguments, 'inventory', 'list', '-f', 'json'
            )
            expected = {
                (
                    self.placement.provider(row['provider']).uuid,
                    row['total'],
                    tuple(row['traits']),
                )
                for row in json.loads(outcome.out)
            }
            found = self.osc_json('vgpu', 'gpu', 'list', '--host', name)
            self.assertEqual(count, len(found))
            self.assertEqual(
                expected,
                {
                    (row['provider'], row['total'], tuple(row['traits']))
                    for row in found
                },
            )
            self.assertNotIn(None, {row['type'] for row in found})
        found = self.osc_json('vgpu', 'type', 'list')
        self.assertEqual(
            [
                ('mtty-2', None, 1, 12),
                ('nvidia-194', 'V100DX-1Q', 7, 224),
                ('nvidia-197', 'V100DX-8Q', 1, 4),
                ('nvidia-562', 'A40-4Q', 32, 32),
            ],
            [
                (row['type'], row['product'], row['gpus'], row['total'])
                for row in found
            ],
        )
