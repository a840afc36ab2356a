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
"""Hosts that no bundled profile shows."""

import dataclasses
import errno
import os
import shutil
from unittest import mock

from nova_vgpu_ext import models
from nova_vgpu_ext.host import snapshot
from nova_vgpu_ext.host import sysfs as files
from nova_vgpu_ext.sim import profile as profiles
from tests.unit.host import base, expected

_UUID = '0b7d9f4e-5f0b-4a52-9f61-6c1f5a3c2d10'
_ADDRESS = '0000:1a:00.0'


def vgpu_type(type_id, name='GRID V100DX-1Q'):
    spec = profiles.TypeSpec(type_id, name, 1024, 4, '5120x2880', 32)
    return dataclasses.replace(spec, description=profiles.describe(spec))


_TYPE = vgpu_type('nvidia-194')
_GPU = profiles.GpuSpec(_ADDRESS, (_TYPE,))
_MOVING = 'd878445d-df99-4510-b467-c67a4c1a7c34'


class TestBoundary(base.HostTestCase):
    def test_the_first_note_stays(self):
        self.build('mtty')
        sysfs = base.FaultySysfs(self.root, {})
        sysfs.note('x', 'first', 'a number')
        sysfs.note('x', 'second', 'a number')
        self.assertEqual(['first'], [p.found for p in sysfs.problems])

    def test_names_are_in_order(self):
        self.build('mtty')
        sysfs = base.FaultySysfs(self.root, {})
        with mock.patch('os.listdir', return_value=['b', 'a', 'c']):
            self.assertEqual(['a', 'b', 'c'], sysfs.names('bus'))


class TestHosts(base.HostTestCase):
    def check(self, *gpus, pci=()):
        """Read a host back, and compare it to the last value."""
        profile = profiles.Profile('p', gpus, pci)
        self.build(profile)
        found = snapshot.observe(self.root, self.catalog)
        self.assertEqual(expected.snapshot(profile), found)
        return found

    def test_numa_node_is_not_told(self):
        found = self.check(_GPU)
        self.assertIsNone(found.gpus[0].numa_node)

    def test_console_is_no_gpu(self):
        """The board's own display controller offers no vGPU."""
        found = self.check(
            pci=(profiles.PciSpec('0000:03:00.0', '1a03', '2000', '030000'),)
        )
        self.assertEqual((), found.gpus)
        self.assertTrue(found.pci_devices['0000:03:00.0'].is_display)

    def test_types_are_in_the_order_of_their_numbers(self):
        types = [vgpu_type(f'nvidia-{n}') for n in (1000, 99, 194)]
        found = self.check(dataclasses.replace(_GPU, types=tuple(types)))
        self.assertEqual(
            ['nvidia-99', 'nvidia-194', 'nvidia-1000'],
            [t.id for t in found.gpus[0].types],
        )

    def test_vendor_types_are_in_the_order_of_their_numbers(self):
        types = tuple(vgpu_type(str(n)) for n in (1145, 99))
        vf = profiles.VfSpec('0000:1a:00.4', types)
        found = self.check(
            profiles.GpuSpec(
                _ADDRESS,
                framework=models.Framework.VENDOR_VFIO,
                vfs=(vf,),
                total_vfs=1,
            )
        )
        self.assertEqual(
            ['99', '1145'], [t.id for t in found.gpus[0].vfs[0].types]
        )

    def test_accelerator_with_vfs_that_is_no_display(self):
        vf = profiles.VfSpec('0000:1a:00.4', (_TYPE,))
        found = self.check(
            profiles.GpuSpec(
                _ADDRESS, class_id='0b4000', vfs=(vf,), total_vfs=1
            )
        )
        self.assertEqual([_ADDRESS], [g.address for g in found.gpus])

    def test_catalog_completes_mdev_types(self):
        bare = dataclasses.replace(_TYPE, description=None)
        self.check(dataclasses.replace(_GPU, types=(bare,)))
        without = snapshot.observe(self.root, None).gpus[0].types[0]
        self.assertEqual(
            (None, None, None, None),
            (
                without.heads,
                without.maximum,
                without.resolution,
                without.frame_buffer_mib,
            ),
        )

    def test_mdev_without_its_parent_on_the_bus(self):
        """The class link may be gone already while the mdev is not."""
        mdev = profiles.MdevSpec(_UUID, 'nvidia-194', 'instance-00000001')
        self.build(
            profiles.Profile('p', (dataclasses.replace(_GPU, mdevs=(mdev,)),))
        )
        os.unlink(f'{self.root}/class/mdev_bus/{_ADDRESS}')
        found = self.observe()
        self.assertEqual([_UUID], [m.uuid for m in found.mdevs])
        self.assertIs(models.Framework.MDEV, found.gpus[0].framework)


class TestFrameworks(base.HostTestCase):
    def test_two_on_one_card(self):
        """The first one is used, and the other one is said to be left."""
        self.build('l40s-vendor-vfio')
        card = '0000:c1:00.0'
        folder = f'bus/pci/devices/{card}/mdev_supported_types/nvidia-1'
        os.makedirs(f'{self.root}/{folder}')
        self.write(f'{folder}/available_instances', '1')
        os.makedirs(f'{self.root}/class/mdev_bus')
        os.symlink(
            os.path.relpath(
                os.path.realpath(f'{self.root}/bus/pci/devices/{card}'),
                f'{self.root}/class/mdev_bus',
            ),
            f'{self.root}/class/mdev_bus/{card}',
        )
        with self.assertLogs('nova_vgpu_ext.host.snapshot', 'WARNING'):
            found = self.observe()
        self.assertEqual(1, len(found.gpus))
        gpu = found.gpus[0]
        self.assertIs(models.Framework.MDEV, gpu.framework)
        self.assertEqual({()}, {vf.types for vf in gpu.vfs})

    def test_nothing_of_vendor_vfio_can_be_read(self):
        """A card that hides its files is still one with the framework."""
        self.build('l40s-vendor-vfio')
        denied = OSError(errno.EACCES, os.strerror(errno.EACCES))
        found = self.observe(
            {
                'nvidia/current_vgpu_type': denied,
                'nvidia/creatable_vgpu_types': denied,
            }
        )
        self.assertIs(models.Framework.VENDOR_VFIO, found.gpus[0].framework)
        self.assertEqual(64, len(found.problems))


class _GoingSysfs(files.Sysfs):
    """Lets an mdev go right after it was read."""

    def _read(self, path):
        data = super()._read(path)
        if path.endswith(f'{_MOVING}/nvidia/vm_name'):
            folder = os.path.join(self.root, os.path.dirname(path), '..')
            gpu = os.path.realpath(os.path.join(folder, '..'))
            os.unlink(f'{self.root}/bus/mdev/devices/{_MOVING}')
            shutil.rmtree(os.path.realpath(folder))
            types = f'{gpu}/mdev_supported_types'
            with open(f'{types}/nvidia-194/available_instances', 'w') as file:
                file.write('31\n')
        return data


class TestMoving(base.HostTestCase):
    def test_mdev_that_goes_while_counts_are_read(self):
        """It is counted neither as made nor twice."""
        self.build('v100x8-busy')
        found = snapshot.observe_sysfs(_GoingSysfs(self.root), None)
        gpu = found.device('0000:89:00.0')
        self.assertNotIn(_MOVING, [m.uuid for m in gpu.mdevs])
        self.assertEqual(32, len(gpu.mdevs) + gpu.type('nvidia-194').available)
