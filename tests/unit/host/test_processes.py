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
"""Who holds mediated devices and virtual functions open."""

from __future__ import annotations

import os
import pathlib
import tempfile

from nova_vgpu_ext.host import processes
from tests import base

MDEV = 'd878445d-df99-4510-b467-c67a4c1a7c34'
OTHER = '0b7d9f4e-5f0b-4a52-9f61-6c1f5a3c2d10'
VF = '0000:c1:00.4'


class ProcessesTestCase(base.TestCase):
    """A sysfs with groups, and a /proc with processes."""

    def setUp(self) -> None:
        super().setUp()
        self.sysfs = self.temp_dir()
        self.proc = self.temp_dir()
        for name in ('self', 'sys', 'uptime'):
            (self.proc / name).mkdir()

    def device(
        self, name: str, group: int | None = None, *nodes: str
    ) -> tuple[str, str]:
        """Make a device with a group and character devices."""
        folder = self.sysfs / 'devices' / name
        (folder / 'vfio-dev').mkdir(parents=True)
        for node in nodes:
            (folder / 'vfio-dev' / node).mkdir()
        if group is not None:
            link = folder / 'iommu_group'
            link.symlink_to(f'../../kernel/iommu_groups/{group}')
        return name, f'devices/{name}'

    def process(
        self, pid: int, *targets: str, command: bytes = b'qemu-kvm\n'
    ) -> pathlib.Path:
        """Make a process with open files."""
        folder = self.proc / str(pid)
        (folder / 'fd').mkdir(parents=True)
        for number, target in enumerate(targets):
            (folder / 'fd' / str(number)).symlink_to(target)
        (folder / 'comm').write_bytes(command)
        return folder

    def holders(self, *devices: tuple[str, str]) -> dict[str, tuple[str, ...]]:
        """Look for the holders of devices."""
        return processes.holders(
            str(self.sysfs), dict(devices), str(self.proc)
        )


class HoldersTest(ProcessesTestCase):
    """Both ways of vfio, and everything else that is open."""

    def test_the_node_of_a_group(self) -> None:
        """As QEMU opens it; 1 and 11 are different groups."""
        one, other = self.device(MDEV, 11), self.device(OTHER, 1)
        self.process(4711, '/dev/null', 'socket:[7]', '/dev/vfio/11')
        self.assertEqual(
            {MDEV: ('qemu-kvm (4711)',)}, self.holders(one, other)
        )

    def test_the_node_of_a_device(self) -> None:
        """As QEMU with iommufd does; then the group is not open."""
        one = self.device(MDEV, 11, 'vfio3', 'power')
        other = self.device(VF, 12, 'vfio33')
        self.process(4711, '/dev/iommu', '/dev/vfio/devices/vfio3')
        self.assertEqual(
            {MDEV: ('qemu-kvm (4711)',)}, self.holders(one, other)
        )

    def test_the_container_of_groups_says_nothing(self) -> None:
        """Every user of vfio has it open."""
        one = self.device(MDEV, 11)
        self.process(4711, '/dev/vfio/vfio', '/dev/vfio/110')
        self.assertEqual({}, self.holders(one))

    def test_several_processes(self) -> None:
        """Each once, however often it has a device open."""
        one = self.device(MDEV, 11, 'vfio0')
        self.process(1, '/dev/vfio/11', '/dev/vfio/11')
        self.process(2, '/dev/vfio/devices/vfio0', command=b'a b\n')
        self.process(3, '/dev/vfio/12')
        (found,) = self.holders(one).values()
        self.assertEqual({'qemu-kvm (1)', 'a b (2)'}, set(found))

    def test_functions_of_one_group(self) -> None:
        """Without ACS a group has several; none of them is free then."""
        devices = [self.device(f'0000:c1:00.{n}', 20) for n in (4, 5)]
        self.process(4711, '/dev/vfio/20')
        self.assertEqual(
            {'0000:c1:00.4', '0000:c1:00.5'}, set(self.holders(*devices))
        )

    def test_a_node_that_is_gone_and_still_open(self) -> None:
        """Libvirt takes it out of a guest's own /dev; the guest has it."""
        one = self.device(MDEV, 11)
        self.process(4711, '/dev/vfio/11 (deleted)')
        self.assertIn(MDEV, self.holders(one))

    def test_nobody(self) -> None:
        """No entry at all, also for a device without a group."""
        devices = self.device(MDEV, 11), self.device(VF)
        self.process(4711, '/dev/kvm')
        self.assertEqual({}, self.holders(*devices))
        self.assertEqual({}, self.holders())

    def test_a_device_that_vanished(self) -> None:
        """It has no folder any more."""
        one = self.device(MDEV, 11)
        self.process(4711, '/dev/vfio/11')
        gone = (OTHER, f'bus/mdev/devices/{OTHER}')
        self.assertEqual([MDEV], list(self.holders(gone, one)))


class UnreadableTest(ProcessesTestCase):
    """Processes that end, or that this user may not look into."""

    def test_processes_that_cannot_be_read_hide_no_other(self) -> None:
        """They end between two reads, or are somebody else's."""
        one = self.device(MDEV, 11)
        (self.proc / '1').mkdir()
        (self.proc / '2').mkdir()
        (self.proc / '2' / 'fd').write_text('')
        folder = self.process(3)
        (folder / 'fd' / '0').write_text('')
        self.process(4, '/dev/vfio/11')
        self.assertEqual({MDEV: ('qemu-kvm (4)',)}, self.holders(one))

    def test_a_process_without_a_name_counts(self) -> None:
        """Its name is for people; that it holds the device is not."""
        one = self.device(MDEV, 11)
        (self.process(7, '/dev/vfio/11') / 'comm').unlink()
        self.process(8, '/dev/vfio/11', command=b'\xff\xfe')
        found = ' '.join(self.holders(one)[MDEV])
        self.assertIn('(7)', found)
        self.assertIn('(8)', found)


class RealProcTest(ProcessesTestCase):
    """The /proc of this machine."""

    def test_this_process_is_found(self) -> None:
        """A file that is open here stands for the node of a group."""
        one = self.device(MDEV, 11)
        with tempfile.NamedTemporaryFile() as opened:
            folder, name = os.path.split(opened.name)
            self.patch('nova_vgpu_ext.host.processes._VFIO', f'{folder}/')
            link = self.sysfs / one[1] / 'iommu_group'
            link.unlink()
            link.symlink_to(f'../../kernel/iommu_groups/{name}')
            (found,) = processes.holders(str(self.sysfs), dict([one]))[MDEV]
            self.assertIn(f'({os.getpid()})', found)
        self.assertEqual({}, processes.holders(str(self.sysfs), dict([one])))
