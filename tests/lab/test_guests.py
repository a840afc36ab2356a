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
"""What guests do to mediated devices, in libvirt, QEMU and the kernel.

What is asserted here is no wish: it is how the parts behave, and what the
allocation and the cleanup of vGPUs have to build on.
"""

from __future__ import annotations

from tests.lab import base

GPU = '0000:89:00.0'
MDEV = 'd878445d-df99-4510-b467-c67a4c1a7c34'
OTHER = 'e2f1d0c9-b8a7-4655-8443-3221100f9e8d'
GUEST = 'instance-0000031d'
TYPES = f'/sys/bus/pci/devices/{GPU}/mdev_supported_types'

HOSTDEV = """\
<hostdev mode='subsystem' type='mdev' model='vfio-pci'>
  <source><address uuid='{mdev}'/></source>
</hostdev>"""

NODE_DEVICE = f"""\
<device>
  <parent>pci_{GPU.replace(':', '_').replace('.', '_')}</parent>
  <capability type='mdev'>
    <type id='nvidia-194'/>
    <uuid>{{mdev}}</uuid>
  </capability>
</device>
"""


class MdevTestCase(base.LabTestCase):
    """A test with domains and mediated devices."""

    def create(self, mdev: str = MDEV) -> None:
        """Make an mdev as an administrator does, through sysfs."""
        self.guest.run(f'echo {mdev} >{TYPES}/nvidia-194/create')
        self.guest.run('udevadm settle')

    def define(self, name: str = GUEST, mdev: str = MDEV) -> None:
        """Define a domain that wants an mdev."""
        self.define_domain(name, HOSTDEV.format(mdev=mdev))

    def mdevs(self) -> dict[str, str]:
        """Give the guest of each mdev, as nova-vgpu lists them."""
        rows = self.guest.json('nova-vgpu mdev list -f json')
        return {row['uuid']: row['guest'] or '' for row in rows}

    def state(self, name: str = GUEST) -> str:
        """Give a domain's state, as virsh has it."""
        return self.guest.run(f'virsh domstate {name}').strip()


class StartTest(MdevTestCase):
    """A guest's start and stop."""

    def test_start_and_stop(self) -> None:
        """The guest's name shows while it runs, and the mdev stays."""
        self.create()
        self.define()
        self.assertEqual({MDEV: ''}, self.mdevs())
        self.guest.run(f'virsh start {GUEST}')
        self.assertEqual({MDEV: GUEST}, self.mdevs())
        self.guest.run(f'virsh destroy {GUEST}')
        self.assertEqual({MDEV: ''}, self.mdevs())


class GuestTest(MdevTestCase):
    """What may happen to a guest."""

    def test_second_guest_is_refused(self) -> None:
        """By libvirt, which names the first."""
        self.create()
        for name in (GUEST, 'second'):
            self.define(name)
        self.guest.run(f'virsh start {GUEST}')
        refused = self.fails('virsh start second')
        self.assertIn(f'is in use by driver QEMU, domain {GUEST}', refused)
        self.assertEqual({MDEV: GUEST}, self.mdevs())

    def test_crash_of_a_guest(self) -> None:
        """The mdev stays, is free at once, and serves the next start."""
        self.create()
        self.define()
        self.guest.run(f'virsh start {GUEST}')
        self.guest.run(f'kill -KILL $(cat /run/libvirt/qemu/{GUEST}.pid)')
        self.guest.run(
            base.until(f'[ "$(virsh domstate {GUEST})" = "shut off" ]')
        )
        self.assertEqual({MDEV: ''}, self.mdevs())
        self.guest.run(f'virsh start {GUEST}')
        self.assertEqual({MDEV: GUEST}, self.mdevs())

    def test_a_guest_without_its_mdev_does_not_start(self) -> None:
        """It is not made on demand."""
        self.define()
        refused = self.fails(f'virsh start {GUEST}')
        self.assertIn(MDEV, refused)
        self.assertEqual({}, self.mdevs())

    def test_removal_in_use(self) -> None:
        """libvirt refuses; the kernel waits for the guest to let go."""
        self.create()
        self.define()
        self.guest.run(f'virsh start {GUEST}')
        name = self.guest.run('virsh nodedev-list --cap mdev').strip()
        self.fails(f'virsh nodedev-destroy {name}')
        self.assertEqual({MDEV: GUEST}, self.mdevs())
        remove = f'/sys/bus/mdev/devices/{MDEV}/remove'
        self.guest.run(
            f'(echo 1 >{remove}; touch /run/removed) >/dev/null 2>&1 &'
        )
        # Gone from the bus, but the writer hangs.
        self.guest.run(base.until(f'[ ! -e {remove} ]'))
        self.fails('ls /run/removed')
        self.guest.run(f'virsh destroy {GUEST}')
        self.guest.run(base.until('rm /run/removed 2>/dev/null'))
        self.assertEqual({}, self.mdevs())

    def test_host_reboot(self) -> None:
        """Only a persistent mdev with autostart comes back."""
        self.create()
        self.define()
        self.define('kept', OTHER)
        self.guest.run(
            'virsh nodedev-define /dev/stdin',
            stdin=NODE_DEVICE.format(mdev=OTHER),
        )
        name = self.guest.run(
            'virsh nodedev-list --inactive --cap mdev'
        ).strip()
        self.guest.run(
            f'virsh nodedev-autostart {name} && virsh nodedev-start {name}'
        )
        for guest in (GUEST, 'kept'):
            self.guest.run(f'virsh start {guest}')
        self.assertEqual({MDEV: GUEST, OTHER: 'kept'}, self.mdevs())

        self.reboot()
        self.assertEqual({OTHER: ''}, self.mdevs())
        self.assertEqual(['shut off'] * 2, [self.state(), self.state('kept')])
        self.assertIn(MDEV, self.fails(f'virsh start {GUEST}'))
        self.guest.run('virsh start kept')
        self.assertEqual({OTHER: 'kept'}, self.mdevs())

        self.reboot(crash=True)
        self.assertEqual({OTHER: ''}, self.mdevs())
