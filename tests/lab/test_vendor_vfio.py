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
"""Virtual functions with vendor-specific VFIO."""

from __future__ import annotations

from tests.lab import base

VF = '0000:c1:00.4'
DEVICE = f'/sys/bus/pci/devices/{VF}'
VENDOR = f'{DEVICE}/nvidia'
GUEST = 'instance-00000042'
TYPE = '1148'

HOSTDEV = """\
<hostdev mode='subsystem' type='pci' managed='no'>
  <source>
    <address domain='0x0000' bus='0xc1' slot='0x00' function='0x4'/>
  </source>
</hostdev>"""
QEMU = (
    'qemu-system-x86_64 -nodefaults -no-user-config -display none -m 64'
    f' -machine pc,accel=tcg -name guest={GUEST} -daemonize'
    f' -pidfile /run/vf.pid -device vfio-pci,host={VF}'
)


class VendorTestCase(base.LabTestCase):
    """A test with one VF that has a type."""

    profile = 'l40s-vendor-vfio'

    def set_type(self, type_id: str) -> tuple[int, str]:
        """Write a VF's type; give the status and the end of the error."""
        code, _, err = self.guest.try_run(
            f'LC_ALL=C; echo {type_id} >{VENDOR}/current_vgpu_type'
        )
        return code, err.strip().rpartition(': ')[2]

    def current_type(self) -> str | None:
        """Give the VF's type as nova-vgpu shows it."""
        shown = self.guest.json(f'nova-vgpu gpu show {VF} -f json')
        current = shown['current_type']
        return None if current is None else str(current)

    def start_qemu(self) -> None:
        """Start QEMU, without libvirt, with the VF."""
        self.guest.run(QEMU)
        self.addCleanup(
            self.guest.run,
            '[ ! -e /run/vf.pid ] || kill -KILL $(cat /run/vf.pid); '
            'rm -f /run/vf.pid',
        )


class TypeTest(VendorTestCase):
    """current_vgpu_type, as facts of NVIDIA's driver have it."""

    def test_set_and_clear(self) -> None:
        """A type is set once, and cleared with 0."""
        self.assertIsNone(self.current_type())
        self.assertEqual((0, ''), self.set_type(TYPE))
        self.assertEqual(TYPE, self.current_type())
        self.assertEqual((1, 'File exists'), self.set_type('1149'))
        self.assertEqual((0, ''), self.set_type('0'))
        self.assertIsNone(self.current_type())

    def test_bad_values(self) -> None:
        """What is no type of the card is refused."""
        for value in ('7', 'x', '-1', '1148x', '99999999999999999999'):
            self.assertEqual((1, 'Invalid argument'), self.set_type(value))

    def test_list_shrinks(self) -> None:
        """A neighbour's vGPU takes memory from all."""
        self.assertEqual((0, ''), self.set_type('1155'))
        listed = self.guest.run(
            'cat /sys/bus/pci/devices/0000:c1:00.5/nvidia/creatable_vgpu_types'
        ).splitlines()
        self.assertEqual('ID    : vGPU Name', listed[0])
        self.assertIn('1155  : NVIDIA L40S-24Q', listed)
        self.assertNotIn('1156  : NVIDIA L40S-48Q', listed)

    def test_no_mediated_devices(self) -> None:
        """Neither the card nor its VFs offer them."""
        self.assertEqual('', self.guest.run('ls /sys/class/mdev_bus'))
        card = '/sys/bus/pci/devices/0000:c1:00.0'
        self.fails(f'ls {card}/nvidia')


class QemuTest(VendorTestCase):
    """QEMU opens a VF that stays with its driver."""

    def test_type_in_use(self) -> None:
        """The type stays while the guest runs, and can go afterwards."""
        self.assertEqual((0, ''), self.set_type(TYPE))
        self.guest.run(f'echo disable_vnc=1 >{VENDOR}/vgpu_params')
        self.start_qemu()
        self.assertEqual((1, 'Device or resource busy'), self.set_type('0'))
        self.fails(f'echo disable_vnc=0 >{VENDOR}/vgpu_params')
        self.assertEqual(
            'disable_vnc=1', self.guest.run(f'cat {VENDOR}/vgpu_params')
        )
        # A module that a guest holds cannot go either.
        self.fails('rmmod vgpu_sim')
        self.guest.run('kill -KILL $(cat /run/vf.pid); rm /run/vf.pid')
        clear = f'echo 0 2>/dev/null >{VENDOR}/current_vgpu_type'
        self.guest.run(base.until(clear))
        self.assertIsNone(self.current_type())


class OldLibvirtTest(VendorTestCase):
    """libvirt 9.0 wants a VF to be bound to vfio-pci."""

    def test_libvirt_refuses(self) -> None:
        """The guest does not start, and the VF is as before."""
        self.assertEqual((0, ''), self.set_type(TYPE))
        self.define_domain(GUEST, HOSTDEV)
        self.assertIn(
            'must be manually detached from the host',
            self.fails(f'virsh start {GUEST}'),
        )
        self.assertEqual(TYPE, self.current_type())
