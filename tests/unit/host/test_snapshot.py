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
import errno
import os
import shutil
from unittest import mock

from nova_vgpu_ext import exception, models
from nova_vgpu_ext.host import snapshot
from nova_vgpu_ext.sim import profile as profiles
from tests.unit.host import base, expected

_GPU = '0000:1a:00.0'
_TYPE = f'{_GPU}/mdev_supported_types/nvidia-194'


def gone(number=errno.ENOENT):
    return OSError(number, os.strerror(number))


class TestProfiles(base.HostTestCase):
    """Every bundled host is read back to the last value."""

    def check(self, name):
        profile = self.build(name)
        wanted = expected.snapshot(profile)
        found = snapshot.observe(self.root, self.catalog)
        self.assertEqual((), found.problems)
        self.assertEqual(wanted.pci_devices, found.pci_devices)
        self.assertEqual(len(wanted.gpus), len(found.gpus))
        for one, other in zip(wanted.gpus, found.gpus, strict=True):
            self.assertEqual(one, other)
        self.assertEqual(wanted, found)
        return found

    def test_v100x8(self):
        found = self.check('v100x8')
        self.assertEqual(8, len(found.gpus))
        self.assertEqual(
            [32, 16, 8, 4, 2, 1] * 2 + [32, 16, 16],
            [t.available for t in found.gpus[0].types],
        )
        self.assertEqual([0] * 4 + [1] * 4, [g.numa_node for g in found.gpus])

    def test_v100x8_without_catalog(self):
        profile = self.build('v100x8')
        found = snapshot.observe(self.root, None)
        self.assertEqual(expected.snapshot(profile), found)

    def test_v100x8_busy(self):
        found = self.check('v100x8-busy')
        mdev = next(m for m in found.mdevs if m.guest == 'instance-0000031d')
        self.assertEqual('d878445d-df99-4510-b467-c67a4c1a7c34', mdev.uuid)
        self.assertEqual('0000:89:00.0', mdev.parent)
        device = found.device(mdev.parent)
        self.assertEqual(30, device.type('nvidia-194').available)
        self.assertEqual(0, device.type('nvidia-195').available)

    def test_a40_sriov(self):
        found = self.check('a40-sriov')
        self.assertEqual((), found.gpus[0].types)
        self.assertEqual(32, found.gpus[0].total_vfs)
        self.assertEqual(
            31, found.gpus[0].offered_types['nvidia-562'].available
        )

    def test_l40s_vendor_vfio(self):
        found = self.check('l40s-vendor-vfio')
        self.assertEqual(
            3, sum(v.current_type == '1153' for v in found.gpus[0].vfs)
        )
        self.assertIsNone(found.gpus[0].offered_types.get('1156'))
        self.assertFalse(os.path.exists(f'{self.root}/class/mdev_bus'))

    def test_l40s_without_catalog(self):
        self.build('l40s-vendor-vfio')
        vf = snapshot.observe(self.root, None).gpus[0].vfs[0]
        known = vf.type('1153')
        self.assertEqual('NVIDIA L40S-12Q', known.name)
        self.assertIsNone(known.frame_buffer_mib)

    def test_large(self):
        found = self.check('large')
        self.assertEqual([64] * 8, [len(g.vfs) for g in found.gpus])

    def test_mtty(self):
        found = self.check('mtty')
        self.assertEqual([24, 12], [t.available for t in found.gpus[0].types])

    def test_mixed(self):
        found = self.check('mixed')
        self.assertEqual(
            [
                models.Framework.MDEV,
                models.Framework.MDEV,
                models.Framework.MDEV,
                models.Framework.VENDOR_VFIO,
                models.Framework.NONE,
            ],
            [g.framework for g in found.gpus],
        )

    def test_every_profile_is_tested(self):
        tested = {
            name.removeprefix('test_').replace('_', '-') for name in dir(self)
        }
        self.assertEqual(set(), set(profiles.names()) - tested)

    def test_moved_directory(self):
        profile = self.build('mixed')
        shutil.move(self.root, self.root + '2')
        found = snapshot.observe(self.root + '2', self.catalog)
        self.assertEqual(expected.snapshot(profile), found)


class TestFaults(base.HostTestCase):
    def setUp(self):
        super().setUp()
        self.profile = self.build('v100x8-busy')
        self.whole = self.observe()

    def test_no_sysfs(self):
        e = self.assertRaises(
            exception.HostError, snapshot.observe, self.temp, None
        )
        self.assertIn('[vgpu] sysfs_root', str(e))
        self.assertIn('--sysfs-root', str(e))
        self.assertIn(self.temp, str(e))

    def test_gpu_vanishes(self):
        for number in (errno.ENOENT, errno.ENODEV):
            found = self.observe(
                {
                    f'{_GPU}/{name}': gone(number)
                    for name in ('uevent', 'vendor', 'device', 'class')
                }
            )
            self.assertEqual((), found.problems)
            self.assertEqual(self.whole.gpus[1:], found.gpus)
            self.assertNotIn(_GPU, found.pci_devices)

    def test_type_vanishes(self):
        found = self.observe({f'{_TYPE}/available_instances': gone()})
        self.assertIsNone(found.gpus[0].type('nvidia-194'))
        self.assertEqual(14, len(found.gpus[0].types))
        self.assertEqual((), found.problems)

    def test_types_vanish(self):
        found = self.observe({f'{_GPU}/mdev_supported_types': gone()})
        self.assertEqual((), found.gpus[0].types)
        self.assertEqual((), found.problems)

    def test_name_and_description_vanish(self):
        found = self.observe(
            {f'{_TYPE}/name': gone(), f'{_TYPE}/description': gone()}
        )
        known = found.gpus[0].type('nvidia-194')
        self.assertEqual((None, None), (known.name, known.heads))
        self.assertEqual((), found.problems)

    def test_mdev_vanishes(self):
        uuid = self.profile.gpus[0].mdevs[0].uuid
        found = self.observe({f'bus/mdev/devices/{uuid}': gone()})
        self.assertEqual(1, len(found.gpus[0].mdevs))
        self.assertEqual((), found.problems)

    def test_mdev_vanishes_later(self):
        uuid = self.profile.gpus[0].mdevs[0].uuid
        found = self.observe(
            {
                f'{uuid}/{name}': gone()
                for name in ('mdev_type', 'nvidia/vm_name')
            }
        )
        mdev = next(m for m in found.mdevs if m.uuid == uuid)
        self.assertIsNone(mdev.type_id)
        self.assertIsNone(mdev.guest)
        self.assertEqual((), found.problems)

    def test_available_is_garbage(self):
        for text in (b'abc\n', b'', b'-1', b'1.5', b'9' * 30, '३'.encode()):
            found = self.observe({f'{_TYPE}/available_instances': text})
            known = found.gpus[0].type('nvidia-194')
            self.assertEqual((0, False), (known.available, known.is_counted))
            self.assert_problem(
                found,
                f'{_GPU}/mdev_supported_types/nvidia-194/available_instances',
                repr(text.decode().strip())[:30],
            )

    def test_description_is_garbage(self):
        found = self.observe(
            {f'{_TYPE}/description': b'num_heads=x, framebuffer=1024M'}
        )
        known = found.gpus[0].type('nvidia-194')
        self.assertEqual((None, 1024), (known.heads, known.frame_buffer_mib))
        self.assert_problem(found, 'description', 'num_heads=x')

    def test_description_of_another_vendor(self):
        found = self.observe({f'{_TYPE}/description': b'low_gm_size: 1\nx'})
        self.assertIsNone(found.gpus[0].type('nvidia-194').heads)
        self.assertEqual((), found.problems)

    def test_undecodable(self):
        found = self.observe({f'{_TYPE}/name': b'\xff\xfe'})
        self.assertIsNone(found.gpus[0].type('nvidia-194').name)
        self.assert_problem(found, 'nvidia-194/name', 'UTF-8')

    def test_nul(self):
        found = self.observe({f'{_TYPE}/name': b'a\0b'})
        self.assert_problem(found, 'nvidia-194/name', 'control')

    def test_too_large(self):
        self.write(f'bus/pci/devices/{_TYPE}/name', 'x' * 70000)
        found = self.observe()
        self.assertIsNone(found.gpus[0].type('nvidia-194').name)
        self.assert_problem(found, 'nvidia-194/name', 'larger')

    def test_permission_denied(self):
        for number in (errno.EACCES, errno.EPERM):
            found = self.observe(
                {f'{_TYPE}/available_instances': gone(number)}
            )
            known = found.gpus[0].type('nvidia-194')
            self.assertEqual((0, False), (known.available, known.is_counted))
            self.assert_problem(
                found, 'available_instances', 'permission denied'
            )

    def test_directory_denied(self):
        found = self.observe(
            {f'{_GPU}/mdev_supported_types': gone(errno.EACCES)}
        )
        self.assertEqual((), found.gpus[0].types)
        self.assert_problem(found, 'mdev_supported_types', 'denied')

    def test_input_output_error(self):
        found = self.observe({f'{_GPU}/numa_node': gone(errno.EIO)})
        self.assertIsNone(found.gpus[0].numa_node)
        self.assert_problem(found, 'numa_node', 'Input/output error')

    def test_uevent_denied(self):
        found = self.observe({f'{_GPU}/uevent': gone(errno.EACCES)})
        self.assertEqual(self.whole.gpus, found.gpus)
        self.assertEqual(self.whole.pci_devices, found.pci_devices)
        self.assert_problem(found, 'uevent', 'denied')

    def test_uevent_is_garbage(self):
        for text in (b'', b'PCI_ID=zz\nPCI_CLASS=30200\nDRIVER=nvidia'):
            found = self.observe({f'{_GPU}/uevent': text})
            self.assertEqual('1db5', found.gpus[0].device_id)
            self.assertEqual('030200', found.pci_devices[_GPU].class_id)

    def test_ids_are_garbage(self):
        found = self.observe(
            {f'{_GPU}/uevent': b'', f'{_GPU}/vendor': b'10de'}
        )
        self.assertNotIn(_GPU, found.pci_devices)
        self.assert_problem(found, f'{_GPU}/vendor', "'10de'")

    def test_link_leaves_root(self):
        os.unlink(f'{self.root}/class/mdev_bus/{_GPU}')
        os.symlink('/', f'{self.root}/class/mdev_bus/{_GPU}')
        found = self.observe()
        self.assert_problem(found, f'mdev_bus/{_GPU}', 'a link to /')

    def test_directory_leaves_root(self):
        outside = f'{self.temp}/outside'
        os.mkdir(outside)
        with open(f'{outside}/vm_name', 'w') as stream:
            stream.write('secret')
        mdev = self.profile.gpus[0].mdevs[0].uuid
        path = os.path.realpath(f'{self.root}/bus/mdev/devices/{mdev}/nvidia')
        shutil.rmtree(path)
        os.symlink(outside, path)
        found = self.observe()
        self.assertIn(mdev, [m.uuid for m in found.mdevs])
        self.assertNotIn('secret', [m.guest for m in found.mdevs])
        self.assert_problem(found, f'{mdev}/nvidia', 'a link to')

    def test_file_is_a_link(self):
        with open(f'{self.temp}/outside', 'w') as stream:
            stream.write('secret')
        path = f'{self.root}/bus/pci/devices/{_TYPE}/name'
        os.unlink(path)
        os.symlink(f'{self.temp}/outside', path)
        found = self.observe()
        self.assertIsNone(found.gpus[0].type('nvidia-194').name)
        self.assertEqual(1, len(found.problems))

    def test_fault_is_noted_once(self):
        sysfs = base.FaultySysfs(self.root, {'/x': gone(errno.EACCES)})
        self.assertIsNone(sysfs.text('class/x'))
        self.assertIsNone(sysfs.number('class/x'))
        self.assertEqual([], sysfs.names('class/x'))
        self.assertIsNone(sysfs.link_name('class/x'))
        self.assertTrue(sysfs.noted('class/x'))
        self.assertEqual(1, len(sysfs.problems))

    def test_strange_entries(self):
        os.mkdir(f'{self.root}/bus/pci/devices/strange')
        os.mkdir(f'{self.root}/devices/css0')
        os.symlink('../../devices/css0', f'{self.root}/class/mdev_bus/css0')
        self.assertEqual(self.whole, self.observe())


class TestSriov(base.HostTestCase):
    def test_static_data_is_read_once_per_gpu(self):
        self.build('a40-sriov')
        sysfs = base.FaultySysfs(self.root, {})
        reads = []
        real = sysfs._read
        sysfs._read = lambda path: reads.append(path) or real(path)
        snapshot.observe_sysfs(sysfs, None)
        for name, count in (
            ('name', 12),
            ('description', 12),
            ('device_api', 12),
            ('available_instances', 32 * 12),
            ('uevent', 34),
            ('vendor', 0),
        ):
            found = [p for p in reads if p.endswith(f'/{name}')]
            self.assertEqual(count, len(found), name)

    def test_name_of_the_first_vf_vanishes(self):
        self.build('a40-sriov')
        found = self.observe(
            {'0000:41:00.4/mdev_supported_types/nvidia-557/name': gone()}
        )
        vfs = found.gpus[0].vfs
        self.assertEqual(
            [None, 'NVIDIA A40-1B'],
            [v.type('nvidia-557').name for v in vfs[:2]],
        )

    def test_vfs_without_types(self):
        self.build('a40-sriov')
        os.unlink(f'{self.root}/class/mdev_bus/0000:41:00.5')
        vfs = self.observe().gpus[0].vfs
        self.assertEqual(32, len(vfs))
        self.assertEqual(((), 12), (vfs[1].types, len(vfs[2].types)))


class TestVendorVfio(base.HostTestCase):
    _VF = '0000:c1:00.7/nvidia'

    def setUp(self):
        super().setUp()
        self.build('l40s-vendor-vfio')

    def vf(self, found, number=3):
        return found.gpus[0].vfs[number]

    def test_no_header(self):
        whole = self.observe()
        text = b'1145  : NVIDIA L40S-1B\n1146  : NVIDIA L40S-2B\n'
        found = self.observe({f'{self._VF}/creatable_vgpu_types': text})
        self.assertEqual(self.vf(whole).types[:2], self.vf(found).types)
        self.assertEqual((), found.problems)

    def test_list_is_garbage(self):
        text = b'ID    : vGPU Name\nhello\n1145  : NVIDIA L40S-1B\n'
        found = self.observe({f'{self._VF}/creatable_vgpu_types': text})
        self.assertEqual(['1145'], [t.id for t in self.vf(found).types])
        self.assert_problem(found, 'creatable_vgpu_types', 'hello')

    def test_current_is_garbage(self):
        found = self.observe({f'{self._VF}/current_vgpu_type': b'-'})
        vf = self.vf(found)
        self.assertIsNone(vf.current_type)
        self.assertEqual({0}, {t.available for t in vf.types})
        self.assert_problem(found, 'current_vgpu_type', "'-'")

    def test_folder_vanishes(self):
        found = self.observe(
            {
                f'{self._VF}/{name}': gone()
                for name in ('current_vgpu_type', 'creatable_vgpu_types')
            }
        )
        self.assertEqual((), self.vf(found).types)
        self.assertEqual(32, len(found.gpus[0].vfs))
        self.assertEqual((), found.problems)

    def test_denied(self):
        found = self.observe(
            {
                f'{self._VF}/{name}': gone(errno.EACCES)
                for name in ('current_vgpu_type', 'creatable_vgpu_types')
            }
        )
        self.assertEqual((), self.vf(found).types)
        self.assertEqual(2, len(found.problems))

    def test_set_type_is_not_creatable(self):
        found = self.observe(
            {'0000:c1:00.4/nvidia/current_vgpu_type': b'1156\n'}, self.catalog
        )
        vf = self.vf(found, 0)
        self.assertEqual('1156', vf.current_type)
        self.assertEqual('NVIDIA L40S-48Q', vf.type('1156').name)
        self.assertEqual(49152, vf.type('1156').frame_buffer_mib)
        self.assertEqual(0, vf.type('1156').available)


class TestBackends(base.HostTestCase):
    def test_broken_backend(self):
        self.build('mtty')
        with mock.patch(
            'nova_vgpu_ext.host.backends.mdev.MdevBackend.__init__',
            side_effect=RuntimeError('boom'),
        ):
            e = self.assertRaises(exception.HostError, self.observe)
        self.assertIn('boom', str(e))

    def test_no_backend(self):
        self.build('mtty')
        with mock.patch(
            'stevedore.extension.ExtensionManager', return_value=[]
        ):
            self.assertRaises(exception.HostError, self.observe)
