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
import dataclasses
import os
from unittest import mock

import fixtures
import testtools

from nova_vgpu_ext import exception, models
from nova_vgpu_ext.host import snapshot
from nova_vgpu_ext.sim import builder
from nova_vgpu_ext.sim import profile as profiles
from tests.unit.host import expected

_UUID = '0b7d9f4e-5f0b-4a52-9f61-6c1f5a3c2d10'
_NIC = profiles.PciSpec('0000:5e:00.0', '8086', '1572', '020000')


def mdev(number, type_id):
    return profiles.MdevSpec(f'{_UUID[:-2]}{number:02x}', type_id)


class TestLoad(testtools.TestCase):
    def setUp(self):
        super().setUp()
        self.temp = self.useFixture(fixtures.TempDir()).path
        self.path = os.path.join(self.temp, 'mine.yaml')

    def load(self, text):
        with open(self.path, 'wb') as stream:
            stream.write(text if isinstance(text, bytes) else text.encode())
        return profiles.load(self.path)

    def refuse(self, text, *words):
        e = self.assertRaises(exception.ConfigError, self.load, text)
        self.assertNotIn('\n', str(e))
        for word in (self.path, *words):
            self.assertIn(word, str(e))

    def test_names(self):
        self.assertEqual(
            [
                'a40-sriov',
                'l40s-vendor-vfio',
                'large',
                'mixed',
                'mtty',
                'v100x8',
                'v100x8-busy',
            ],
            profiles.names(),
        )
        for name in profiles.names():
            self.assertTrue(profiles.load(name).description)

    def test_reference_host(self):
        gpu = profiles.load('v100x8').gpus[5]
        self.assertEqual('0000:89:00.0', gpu.address)
        first = gpu.types[0]
        self.assertEqual(
            'num_heads=4, frl_config=60, framebuffer=1024M, '
            'max_resolution=5120x2880, max_instance=32',
            first.description,
        )

    def test_unknown_name(self):
        e = self.assertRaises(exception.NotFound, profiles.load, 'v100')
        self.assertIn('v100x8', str(e))

    def test_own_file(self):
        found = self.load(
            'gpus: [{address: "0000:18:00.0", card: v100-sxm2-32gb,'
            ' available: {nvidia-194: 7}}]'
        )
        self.assertEqual('mine', found.name)
        gpu = found.gpus[0]
        self.assertEqual(7, profiles.available(gpu, gpu, gpu.types[0]))

    def test_addresses_are_no_numbers(self):
        found = self.load(
            'pci_devices: [{address: 0000:17:00.0, vendor_id: 8086,'
            ' device_id: 0010, class_id: 020000}]'
        )
        self.assertEqual('0000:17:00.0', found.pci_devices[0].address)
        self.assertEqual('0010', found.pci_devices[0].device_id)

    def test_own_cards(self):
        found = self.load(
            'cards: {mine: {framework: none, device_id: abcd}}\n'
            'gpus: [{card: mine, address: 0000:01:00.0}]'
        )
        self.assertEqual('abcd', found.gpus[0].device_id)

    def test_empty(self):
        self.assertEqual((), self.load('').gpus)

    def test_unusable_files(self):
        self.assertRaises(
            exception.ConfigError, profiles.load, f'{self.temp}/no.yaml'
        )
        self.refuse(b'\xff', 'UTF-8')
        self.refuse('a: [', 'YAML')
        self.refuse('- a', 'profile')
        self.refuse('[' * 5000, 'nesting')
        self.refuse('gpus: []\ngpus: []', 'twice')
        self.refuse('x' * (1 << 20) + 'x', '1 MiB')
        self.refuse('gpus: &a [*a]', 'YAML')

    def test_wrong_keys(self):
        gpu = 'gpus: [{card: v100-sxm2-32gb, address: 0000:01:00.0, %s}]'
        for text, *words in (
            ('gpu: []', "'gpu'"),
            ('gpus: x', 'gpus', 'a list'),
            ('gpus: [x]', 'gpus[0]'),
            ('gpus: [{card: x, address: 0000:01:00.0}]', 'gpus[0].card'),
            ('gpus: [{card: mtty}]', 'gpus[0].address', 'nothing'),
            ('gpus: [{address: "1:1:1"}]', 'gpus[0].address', "'1:1:1'"),
            (gpu % 'x: 1', "'x'"),
            (gpu % 'numa_node: -1', 'numa_node', "'-1'"),
            (gpu % 'framework: y', 'framework', "'y'"),
            (gpu % 'device_id: 1db', 'device_id'),
            (gpu % 'driver: ../x', 'driver'),
            (gpu % 'vfs: 2', 'vfs'),
            (gpu % 'vfs: 999', 'vfs'),
            (gpu % 'available: {x: 1}', 'available'),
            (gpu % 'mdevs: [{uuid: x, type: nvidia-194}]', 'uuid'.upper()),
            (gpu % f'mdevs: [{{uuid: {_UUID}, type: x}}]', 'type x'),
            (gpu % 'vf_settings: {0000:01:00.4: {}}', 'vf_settings'),
            (gpu % 'types: [{id: ../x, name: x}]', "'../x'"),
            (gpu % 'types: [{id: x, name: x, maximum: 0}]', 'maximum'),
            (gpu % 'types: [{id: x, name: x, resolution: x}]', 'resolution'),
            (
                gpu % 'types: [{id: x, name: x}, {id: x, name: x}]',
                'x twice',
            ),
        ):
            self.refuse(text, *words)


class TestRules(testtools.TestCase):
    def setUp(self):
        super().setUp()
        self.v100 = profiles.load('v100x8').gpus[0]
        self.a40 = profiles.load('a40-sriov').gpus[0]
        self.l40s = profiles.load('l40s-vendor-vfio').gpus[0]
        self.mtty = profiles.load('mtty').gpus[0]

    def refuse(self, word, *gpus, pci=()):
        e = self.assertRaises(
            exception.ConfigError,
            profiles.check,
            profiles.Profile('p', gpus, pci),
        )
        self.assertIn(word, str(e))

    def with_vf(self, gpu, **changes):
        vfs = list(gpu.vfs)
        for name, value in changes.items():
            number = int(name.rpartition('_')[2])
            field = name.rpartition('_')[0]
            vfs[number] = dataclasses.replace(vfs[number], **{field: value})
        return dataclasses.replace(gpu, vfs=tuple(vfs))

    def test_duplicates(self):
        self.refuse('twice', self.v100, self.v100)
        self.refuse('twice', pci=(_NIC, _NIC))
        one = dataclasses.replace(
            self.v100, mdevs=(mdev(1, 'nvidia-194'), mdev(1, 'nvidia-194'))
        )
        self.refuse('twice', one)

    def test_more_mdevs_than_fit(self):
        many = tuple(mdev(n, 'nvidia-197') for n in range(5))
        self.refuse(
            'gpus[0].mdevs', dataclasses.replace(self.v100, mdevs=many)
        )
        two = (mdev(1, 'nvidia-194'), mdev(2, 'nvidia-195'))
        self.refuse('one type', dataclasses.replace(self.v100, mdevs=two))
        both = tuple(mdev(n, 'mtty-2') for n in range(12))
        both += (mdev(99, 'mtty-1'),)
        self.refuse('13 mdevs', dataclasses.replace(self.mtty, mdevs=both))

    def test_more_than_a_vf_or_the_card_holds(self):
        two = (mdev(1, 'nvidia-559'), mdev(2, 'nvidia-559'))
        self.refuse('one per VF', self.with_vf(self.a40, mdevs_5=two))
        self.refuse(
            'at most 1',
            self.with_vf(
                self.l40s, current_type_8='1156', current_type_9='1156'
            ),
        )
        self.refuse('MiB', self.with_vf(self.l40s, current_type_9='1155'))

    def test_frameworks(self):
        none = models.Framework.NONE
        self.refuse('none', dataclasses.replace(self.v100, framework=none))
        self.refuse(
            'vendor-vfio', self.with_vf(self.a40, current_type_9='nvidia-559')
        )
        self.refuse(
            'framework mdev', self.with_vf(self.l40s, mdevs_9=(mdev(1, '1'),))
        )

    def test_available_without_sriov(self):
        gpu = dataclasses.replace(
            self.v100, mdevs=(mdev(1, 'nvidia-195'), mdev(2, 'nvidia-195'))
        )
        found = [profiles.available(gpu, gpu, t) for t in gpu.types]
        self.assertEqual([0, 14] + [0] * 13, found)

    def test_available_on_vfs(self):
        big = (mdev(1, 'nvidia-567'),)
        gpu = self.with_vf(self.a40, mdevs_0=big)
        free = gpu.vfs[1]
        by_id = {t.id: profiles.available(gpu, free, t) for t in free.types}
        self.assertEqual(1, by_id['nvidia-567'])
        self.assertEqual(0, by_id['nvidia-568'])
        self.assertEqual(
            {0},
            {profiles.available(gpu, gpu.vfs[0], t) for t in free.types},
        )

    def test_creatable_shrinks(self):
        ids = [t.id for t in profiles.creatable(self.l40s, self.l40s.vfs[9])]
        self.assertIn('1153', ids)
        self.assertNotIn('1154', ids)
        empty = self.with_vf(
            self.l40s,
            current_type_0=None,
            current_type_1=None,
            current_type_2=None,
        )
        self.assertEqual(12, len(profiles.creatable(empty, empty.vfs[9])))

    def test_available_of_ports(self):
        gpu = dataclasses.replace(
            self.mtty, mdevs=(mdev(1, 'mtty-1'), mdev(2, 'mtty-2'))
        )
        self.assertEqual(
            [21, 10], [profiles.available(gpu, gpu, t) for t in gpu.types]
        )

    def test_vf_addresses(self):
        found = profiles.vf_addresses('0000:41:00.0', 32)
        self.assertEqual('0000:41:00.4', found[0])
        self.assertEqual('0000:41:04.3', found[-1])
        self.assertEqual(
            '0000:42:00.3', profiles.vf_addresses('0000:41:00.0', 256)[-1]
        )


class TestBuild(testtools.TestCase):
    def setUp(self):
        super().setUp()
        self.temp = self.useFixture(fixtures.TempDir()).path
        self.root = os.path.join(self.temp, 'a', 'sys')

    def test_links(self):
        builder.build(profiles.load('mixed'), self.root)
        count = 0
        for folder, names, files in os.walk(self.root):
            for name in names + files:
                path = os.path.join(folder, name)
                if os.path.islink(path):
                    count += 1
                    self.assertFalse(os.path.isabs(os.readlink(path)))
                    self.assertTrue(os.path.exists(path), path)
        self.assertGreater(count, 400)

    def test_files(self):
        builder.build(profiles.load('a40-sriov'), self.root)
        pf = f'{self.root}/bus/pci/devices/0000:41:00.0'
        for path, text in (
            ('vendor', '0x10de\n'),
            ('class', '0x030200\n'),
            ('sriov_totalvfs', '32\n'),
            ('sriov_numvfs', '32\n'),
            ('virtfn0/physfn/device', '0x2235\n'),
            ('subsystem/devices/0000:21:00.0/numa_node', '1\n'),
            ('driver/0000:41:00.0/subsystem_vendor', '0x10de\n'),
            (
                'uevent',
                'DRIVER=nvidia\nPCI_CLASS=30200\nPCI_ID=10DE:2235\n'
                'PCI_SUBSYS_ID=10DE:1249\nPCI_SLOT_NAME=0000:41:00.0\n'
                'MODALIAS=pci:v000010DEd00002235sv000010DEsd00001249'
                'bc03sc02i00\n',
            ),
        ):
            with open(f'{pf}/{path}') as stream:
                self.assertEqual(text, stream.read(), path)
        self.assertEqual(
            ['0000:41:00.0'], os.listdir(f'{pf}/iommu_group/devices')
        )

    def test_existing_directory(self):
        os.makedirs(self.root)
        builder.build(profiles.load('mtty'), self.root)
        e = self.assertRaises(
            exception.VgpuError,
            builder.build,
            profiles.load('mtty'),
            self.root,
        )
        self.assertIn(self.root, str(e))
        self.assertIn('empty', str(e))

    def test_unwritable(self):
        blocked = os.path.join(self.temp, 'file')
        open(blocked, 'w').close()
        for path in (blocked, os.path.join(blocked, 'sys')):
            e = self.assertRaises(
                exception.VgpuError,
                builder.build,
                profiles.load('mtty'),
                path,
            )
            self.assertIn(path, str(e))
        with mock.patch('os.mkdir', side_effect=PermissionError(13, 'no')):
            self.assertRaises(
                exception.VgpuError,
                builder.build,
                profiles.load('mtty'),
                self.root,
            )
        self.assertRaises(
            exception.VgpuError,
            builder.write_catalog,
            profiles.load('v100x8'),
            os.path.join(blocked, 'x'),
        )

    def test_a_program_may_describe_the_impossible(self):
        gpu = dataclasses.replace(
            profiles.load('v100x8').gpus[0],
            mdevs=(mdev(1, 'nvidia-194'), mdev(2, 'nvidia-195')),
        )
        profile = profiles.Profile('p', (gpu,))
        self.assertRaises(exception.ConfigError, profiles.check, profile)
        builder.build(profile, self.root)
        found = snapshot.observe(self.root, None)
        self.assertEqual(expected.snapshot(profile), found)

    def test_overrides(self):
        gpu = profiles.load('v100x8').gpus[0]
        gpu = dataclasses.replace(gpu, available={'nvidia-194': 5})
        profile = profiles.Profile('p', (gpu,), (_NIC,))
        builder.build(profile, self.root)
        found = snapshot.observe(self.root, None)
        self.assertEqual(expected.snapshot(profile), found)
        self.assertEqual(5, found.gpus[0].types[0].available)

    def test_vfs_not_enabled(self):
        gpu = profiles.load('a40-sriov').gpus[0]
        gpu = dataclasses.replace(gpu, vfs=())
        builder.build(profiles.Profile('p', (gpu,)), self.root)
        found = snapshot.observe(self.root, None).gpus[0]
        self.assertIs(models.Framework.NONE, found.framework)
        self.assertEqual((32, ()), (found.total_vfs, found.vfs))
