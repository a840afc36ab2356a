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
"""What a simulated host looks like in detail, and what is refused."""

import dataclasses
import os
import subprocess
import sys

from nova_vgpu_ext import exception, models
from nova_vgpu_ext.sim import builder
from nova_vgpu_ext.sim import profile as profiles
from tests import base

_UUID = '0b7d9f4e-5f0b-4a52-9f61-6c1f5a3c2d10'
_TYPE = profiles.TypeSpec('nvidia-194', 'GRID V100DX-1Q', 1024, maximum=32)
_GPU = profiles.GpuSpec('0000:1a:00.0', (_TYPE,))
_NIC = profiles.PciSpec('0000:5e:00.0', '8086', '1572', '020000')
_NIC_VF = profiles.PciSpec(
    '0000:5e:02.0', '8086', '154c', '020000', None, None, '0000:5e:00.0'
)

#: Ten names for one list each, eight levels deep: 10**8 items as text.
_ALIASES = (
    'cards:\n  a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n'
    + ''.join(
        f'  a{n}: &a{n} [{", ".join([f"*a{n - 1}"] * 10)}]\n'
        for n in range(1, 9)
    )
    + '%s\n'
)
_LOAD = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
from nova_vgpu_ext import exception
from nova_vgpu_ext.sim import profile
try:
    profile.load(sys.argv[1])
except exception.ConfigError as e:
    print(len(str(e)), e)
"""


class AliasTest(base.TestCase):
    """What is huge is neither built as text nor printed."""

    def refuse(self, line: str, key: str) -> None:
        path = self.temp_dir() / 'mine.yaml'
        path.write_text(_ALIASES % line)
        out = subprocess.run(  # noqa: S603
            [sys.executable, '-W', 'ignore', '-c', _LOAD, str(path)],
            capture_output=True,
            text=True,
            timeout=60,
        )
        self.assertIn(key, out.stdout, out.stderr[-500:])
        self.assertLess(int(out.stdout.split()[0]), 400)

    def test_mapping(self) -> None:
        self.refuse('gpus: [*a8]', 'gpus[0]')

    def test_text(self) -> None:
        self.refuse('description: *a8', 'description')

    def test_long_text(self) -> None:
        long = 'y' * 5000
        self.refuse(
            f'gpus: [{{address: 0000:01:00.0, framework: {long}}}]',
            'framework',
        )

    def test_list(self) -> None:
        self.refuse('gpus: {x: *a8}', 'gpus')


class CheckTest(base.TestCase):
    """Rules that a loaded file cannot break, but a program can."""

    def refuse(self, word: str, *gpus, pci=()) -> None:
        e = self.assertRaises(
            exception.ConfigError,
            profiles.check,
            profiles.Profile('p', gpus, pci),
        )
        self.assertIn(word, str(e))

    def test_good(self) -> None:
        profiles.check(profiles.Profile('p', (_GPU,), (_NIC, _NIC_VF)))

    def test_single_values(self) -> None:
        def gpu(**changes):
            return dataclasses.replace(_GPU, **changes)

        def one(**changes):
            return gpu(types=(dataclasses.replace(_TYPE, **changes),))

        mdev = profiles.MdevSpec(_UUID, 'nvidia-194')
        for word, spec in (
            ('available', gpu(available={'nvidia-194': -1})),
            ('numa_node', gpu(numa_node=-1)),
            ('name', one(name='two\nlines')),
            ('description', one(description='')),
            ('MiB', one(frame_buffer_mib=-1)),
            (
                'guest',
                gpu(mdevs=(dataclasses.replace(mdev, guest='a\n'),)),
            ),
            (
                'parameters',
                gpu(mdevs=(dataclasses.replace(mdev, parameters='\0'),)),
            ),
        ):
            self.refuse(word, spec)

    def test_maximum_that_does_not_divide(self) -> None:
        """Four of a type with maximum 3 are too many beside one with 5."""
        types = (
            profiles.TypeSpec('a-1', 'A', maximum=5),
            profiles.TypeSpec('a-2', 'B', maximum=3),
        )
        mdevs = tuple(
            profiles.MdevSpec(f'{_UUID[:-1]}{n}', 'a-2') for n in range(4)
        )
        gpu = dataclasses.replace(_GPU, types=types, mdevs=mdevs)
        self.refuse('4 of a-2', gpu)

    def test_physical_function_of_a_nic(self) -> None:
        self.refuse('physical_function', pci=(_NIC_VF,))
        below = dataclasses.replace(
            _NIC_VF, address='0000:5e:02.1', physical_function='0000:5e:02.0'
        )
        self.refuse('physical_function', pci=(_NIC, _NIC_VF, below))

    def test_many_vfs(self) -> None:
        path = self.temp_dir() / 'mine.yaml'
        path.write_text(
            'gpus: [{card: a40, address: 0000:01:00.0, vfs: 999999999}]'
        )
        e = self.assertRaises(exception.ConfigError, profiles.load, str(path))
        self.assertIn('256 at most', str(e))


class RoomTest(base.TestCase):
    """The VFs of a card share the maximum of each type."""

    def test_maximum_is_shared(self) -> None:
        one = profiles.TypeSpec('1', 'NVIDIA X-1Q', 1, maximum=1)
        taken = profiles.VfSpec('0000:01:00.4', (one,), current_type='1')
        free = profiles.VfSpec('0000:01:00.5', (one,))
        gpu = profiles.GpuSpec(
            '0000:01:00.0',
            framework=models.Framework.VENDOR_VFIO,
            vfs=(taken, free),
            total_vfs=2,
            frame_buffer_mib=100,
        )
        self.assertEqual(0, profiles.available(gpu, free, one))
        self.assertEqual((), profiles.creatable(gpu, free))


class TreeTest(base.TestCase):
    """Files and links that the reader does not need, but others do."""

    def setUp(self) -> None:
        super().setUp()
        self.temp = self.temp_dir()
        self.root = self.temp / 'in' / 'sys'

    def build(self, profile) -> None:
        if isinstance(profile, str):
            profile = profiles.load(profile)
        builder.build(profile, str(self.root))

    def test_mdev(self) -> None:
        self.build('v100x8-busy')
        uuid = 'd878445d-df99-4510-b467-c67a4c1a7c34'
        mdev = self.root / 'bus/mdev/devices' / uuid
        self.assertEqual('', (mdev / 'remove').read_text())
        self.assertEqual(
            'instance-0000031d\n', (mdev / 'nvidia/vm_name').read_text()
        )
        kind = mdev / 'mdev_type'
        self.assertEqual('nvidia-194', kind.resolve().name)
        self.assertEqual('', (kind / 'create').read_text())
        self.assertTrue((kind / 'devices' / uuid).samefile(mdev))
        self.assertTrue((mdev / 'subsystem/devices' / uuid).samefile(mdev))
        self.assertTrue((mdev / 'iommu_group/devices' / uuid).samefile(mdev))

    def test_mtty(self) -> None:
        self.build('mtty')
        parent = self.root / 'class/mdev_bus/mtty'
        self.assertEqual(
            self.root.resolve() / 'devices/virtual/mtty/mtty',
            parent.resolve(),
        )
        kind = parent / 'mdev_supported_types/mtty-2'
        self.assertEqual(
            ['available_instances', 'create', 'device_api', 'devices', 'name'],
            sorted(os.listdir(kind)),
        )
        self.assertEqual('12\n', (kind / 'available_instances').read_text())
        self.assertEqual('vfio-pci\n', (kind / 'device_api').read_text())

    def test_vendor_vfio(self) -> None:
        self.build('l40s-vendor-vfio')
        nvidia = self.root / 'bus/pci/devices/0000:c1:00.4/nvidia'
        lines = (nvidia / 'creatable_vgpu_types').read_text().splitlines()
        self.assertEqual('ID    : vGPU Name', lines[0])
        self.assertEqual('1145  : NVIDIA L40S-1B', lines[1])
        self.assertEqual('1153\n', (nvidia / 'current_vgpu_type').read_text())
        self.assertEqual(
            'disable_vnc=1\n', (nvidia / 'vgpu_params').read_text()
        )
        other = nvidia.parent.parent / '0000:c1:00.7/nvidia'
        self.assertEqual('0\n', (other / 'current_vgpu_type').read_text())
        self.assertFalse((nvidia.parent / 'physfn/nvidia').exists())

    def test_sriov(self) -> None:
        self.build('mixed')
        pci = self.root / 'bus/pci/devices'
        for address, total, first, last in (
            ('0000:41:00.0', 32, '0000:41:00.4', '0000:41:04.3'),
            ('0000:5e:00.0', 2, '0000:5e:02.0', '0000:5e:02.1'),
        ):
            card = pci / address
            for name in ('sriov_totalvfs', 'sriov_numvfs'):
                self.assertEqual(f'{total}\n', (card / name).read_text())
            for number, vf in ((0, first), (total - 1, last)):
                link = card / f'virtfn{number}'
                self.assertTrue(link.samefile(pci / vf))
                self.assertTrue((link / 'physfn').samefile(card))
            self.assertFalse((card / f'virtfn{total}').is_symlink())

    def test_numa_node_is_not_told(self) -> None:
        self.build(profiles.Profile('p', (_GPU,)))
        path = self.root / 'bus/pci/devices/0000:1a:00.0/numa_node'
        self.assertEqual('-1\n', path.read_text())

    def test_nothing_is_written_elsewhere(self) -> None:
        up = '../../../../../../evil'
        for profile in (
            profiles.Profile('p', (dataclasses.replace(_GPU, address=up),)),
            profiles.Profile(
                'p', (), (dataclasses.replace(_NIC, address=up),)
            ),
            profiles.Profile('p', (), (dataclasses.replace(_NIC, driver=up),)),
            profiles.Profile(
                'p',
                (
                    dataclasses.replace(
                        _GPU, types=(dataclasses.replace(_TYPE, id=up),)
                    ),
                ),
            ),
            profiles.Profile(
                'p',
                (
                    dataclasses.replace(
                        _GPU, mdevs=(profiles.MdevSpec(up, 'nvidia-194'),)
                    ),
                ),
            ),
        ):
            self.root = self.temp_dir() / 'in' / 'sys'
            e = self.assertRaises(exception.VgpuError, self.build, profile)
            self.assertIn('..', str(e))
            self.assertIn('expected names of files', str(e))
            top = self.root.parent.parent
            self.assertEqual(['in'], os.listdir(top))
            self.assertEqual(['sys'], os.listdir(top / 'in'))

    def test_twice(self) -> None:
        e = self.assertRaises(
            exception.VgpuError,
            self.build,
            profiles.Profile('p', (_GPU, _GPU)),
        )
        self.assertIn('0000:1a:00.0', str(e))
        self.assertIn('twice', str(e))

    def test_a_file_is_in_the_way(self) -> None:
        self.root.parent.mkdir()
        self.root.write_text('mine')
        e = self.assertRaises(exception.VgpuError, self.build, 'mtty')
        self.assertNotIn('twice', str(e))
        self.assertEqual('mine', self.root.read_text())
