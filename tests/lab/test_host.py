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
"""What the project does on a host, with a real kernel, libvirt and QEMU."""

from __future__ import annotations

import json

from tests.functional.fixtures import placement
from tests.lab import base, test_guests, test_module, test_vendor_vfio
from tests.lab.test_guests import GPU, GUEST, MDEV, OTHER

NOVA_GPU = 'pci_0000_89_00_0'
THIRD = '11111111-2222-4333-8444-555555555555'
PARAMETERS = f'/sys/bus/mdev/devices/{MDEV}/nvidia/vgpu_params'
UNITS = '/opt/nova-vgpu-ext/etc/systemd'

CONF = """
[devices]
enabled_mdev_types = nvidia-194
"""

METADATA = """\
<metadata>
  <nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1">
    <nova:flavor name="vgpu" id="1">
      <nova:extraSpecs>
        {specs}
      </nova:extraSpecs>
    </nova:flavor>
  </nova:instance>
</metadata>"""


class HostTestCase(test_guests.MdevTestCase):
    """A test with a nova.conf."""

    def setUp(self) -> None:
        super().setUp()
        self.configure(CONF)

    def configure(self, text: str) -> None:
        """Write nova.conf in the guest."""
        self.guest.run(
            'mkdir -p /etc/nova && cat >/etc/nova/nova.conf', stdin=text
        )

    def install_hook(self) -> None:
        """Install the libvirt hook; libvirt sees it after a restart."""
        self.guest.run('nova-vgpu hook install && systemctl restart libvirtd')
        self.addCleanup(
            self.guest.run,
            'nova-vgpu hook remove; systemctl restart libvirtd',
        )

    def with_placement(self) -> placement.PlacementServer:
        """And name it in nova.conf."""
        server = super().with_placement()
        self.configure(CONF + server.config_text())
        return server

    def lines(self, command: str) -> list[str]:
        """Run a command that must succeed; give what it printed."""
        return self.guest.run(command).splitlines()

    def definitions(self) -> list[str]:
        """Name the persistent mdevs, as mdevctl has them."""
        listed = self.guest.run('mdevctl list -d').split('\n')
        return sorted(line.split()[0] for line in listed if line)


class MdevCommandTest(HostTestCase):
    """nova-vgpu mdev, against libvirt and mdevctl."""

    def test_create_and_remove(self) -> None:
        """libvirt and mdevctl know what is made, and forget what goes."""
        self.guest.run(
            f'nova-vgpu mdev create --gpu {GPU} --type V100DX-1Q '
            f'--uuid {MDEV} --persist'
        )
        self.guest.run(
            f'nova-vgpu mdev create --gpu {GPU} --type nvidia-194 --count 2'
        )
        self.assertEqual([MDEV], self.definitions())
        self.assertEqual(3, len(self.mdevs()))
        self.guest.run('udevadm settle')
        self.assertEqual(3, len(self.lines('virsh nodedev-list --cap mdev')))
        removed = ' '.join(self.mdevs())
        self.guest.run(f'nova-vgpu mdev remove {removed}')
        self.assertEqual({}, self.mdevs())
        self.assertEqual([], self.definitions())

    def test_persistent_ones_are_those_that_libvirt_defines(self) -> None:
        """The same file as of virsh nodedev-define."""
        self.guest.run(
            f'nova-vgpu mdev create --gpu {GPU} --type nvidia-194 '
            f'--uuid {MDEV} --persist'
        )
        self.guest.run(
            'virsh nodedev-define /dev/stdin',
            stdin=test_guests.NODE_DEVICE.format(mdev=OTHER),
        )
        node = self.guest.run('virsh nodedev-list --inactive --cap mdev')
        self.guest.run(f'virsh nodedev-autostart {node.strip()}')
        ours, theirs = (
            json.loads(self.guest.run(f'cat /etc/mdevctl.d/{GPU}/{uuid}'))
            for uuid in (MDEV, OTHER)
        )
        self.assertEqual(theirs, ours)

    def test_used_ones_are_refused(self) -> None:
        """Whether the domain runs, is defined, or QEMU runs without one."""
        self.create()
        self.define()
        remove = f'nova-vgpu mdev remove {MDEV}'
        self.assertIn(f'domain {GUEST} (defined)', self.fails(remove))
        self.guest.run(f'virsh start {GUEST}')
        refused = self.fails(remove)
        self.assertIn(f'domain {GUEST} (running)', refused)
        self.assertIn('process qemu-system-x86', refused)
        self.assertIn(f'guest {GUEST}, by the driver', refused)
        self.assertEqual(
            [GUEST],
            self.guest.json(f'nova-vgpu mdev show {MDEV} -f json')['domains'],
        )
        self.guest.run('nova-vgpu mdev clean --grace 0')
        self.assertEqual({MDEV: GUEST}, self.mdevs())
        self.guest.run(f'virsh destroy {GUEST}; virsh undefine {GUEST}')
        self.guest.run(remove)
        self.assertEqual({}, self.mdevs())

    def test_qemu_without_libvirt(self) -> None:
        """The process that holds it is found, and QEMU takes --qemu's."""
        self.create()
        arguments = self.guest.run(f'nova-vgpu mdev xml --qemu {MDEV}')
        self.guest.run(
            'qemu-system-x86_64 -nodefaults -display none -m 64 -daemonize '
            f'-machine pc,accel=tcg -pidfile /run/own.pid {arguments}'
        )
        refused = self.fails(f'nova-vgpu mdev remove {MDEV}')
        pid = self.guest.run('cat /run/own.pid')
        self.assertIn(f'process qemu-system-x86 ({pid})', refused)
        self.guest.run(f'kill -KILL {pid}')
        self.guest.run(base.until(f'nova-vgpu mdev remove {MDEV} 2>/dev/null'))

    def test_xml_is_what_libvirt_takes(self) -> None:
        """Attached to a domain, it gives it the mdev."""
        self.create()
        self.define_domain(GUEST, '')
        self.guest.run(
            f'nova-vgpu mdev xml {MDEV} >/run/mdev.xml && '
            f'virsh attach-device {GUEST} /run/mdev.xml --config'
        )
        self.guest.run(f'virsh start {GUEST}')
        self.assertEqual({MDEV: GUEST}, self.mdevs())

    def test_full_card(self) -> None:
        """One line says what is there, and what takes the room."""
        self.guest.run(
            f'nova-vgpu mdev create --gpu {GPU} --type nvidia-197 --count 4'
        )
        create = f'nova-vgpu mdev create --gpu {GPU} --type'
        self.assertIn(
            'found room for 0 of nvidia-197',
            self.fails(f'{create} nvidia-197'),
        )
        self.assertIn(
            'mdevs of nvidia-197 take its room',
            self.fails(f'{create} nvidia-194'),
        )

    def test_driver_that_refuses(self) -> None:
        """An error of the driver is one line, and nothing is left over."""
        self.guest.run(f'echo 22 >{test_module.PARAMETERS}/create_errno')
        error = self.fails(
            f'nova-vgpu mdev create --gpu {GPU} --type nvidia-194'
        )
        self.assertEqual(1, len(error.splitlines()), error)
        self.assertIn('invalid argument', error)
        self.assertEqual({}, self.mdevs())
        self.forgive_log()

    def test_removal_that_hangs(self) -> None:
        """The program ends with an error, not with the kernel."""
        self.configure(f'{CONF}[vgpu]\nwrite_timeout = 3\n')
        self.create()
        self.guest.run(f'echo 1 >{test_module.PARAMETERS}/hold_removal')
        error = self.fails(f'nova-vgpu mdev remove {MDEV}')
        self.assertIn('no answer within [vgpu] write_timeout', error)
        # The lock is free again.
        self.guest.run(
            f'nova-vgpu mdev create --gpu {GPU} --type nvidia-194 '
            f'--uuid {OTHER}'
        )
        self.guest.run(f'echo 0 >{test_module.PARAMETERS}/hold_removal')
        self.guest.run(base.until(f'[ ! -e /sys/bus/mdev/devices/{MDEV} ]'))
        self.assertEqual({OTHER: ''}, self.mdevs())

    def test_killed_while_the_driver_is_slow(self) -> None:
        """The command given again ends what the killed one began."""
        self.guest.run(f'echo 700 >{test_module.PARAMETERS}/create_delay_ms')
        create = (
            f'nova-vgpu mdev create --gpu {GPU} --type nvidia-194 --persist '
            '--uuid'
        )
        for seconds in ('0.7', '1.1', '1.5', '1.9'):
            self.guest.try_run(f'timeout -s KILL {seconds} {create} {MDEV}')
        self.guest.run(f'{create} {MDEV}')
        self.assertEqual({MDEV: ''}, self.mdevs())
        self.assertEqual([MDEV], self.definitions())
        self.assertIn(
            MDEV, self.guest.run('cat /var/lib/nova-vgpu-ext/ledger.json')
        )

    def test_retype(self) -> None:
        """From 194 to 196, Placement included."""
        server = self.with_placement()
        self.create()
        self.define()
        self.guest.run('nova-vgpu report')
        name = f'{base.NODE}_pci_0000_89_00_0'
        self.assertEqual({'VGPU': 32}, server.provider(name).totals)
        retype = f'nova-vgpu gpu retype {GPU} V100DX-4Q'
        self.assertIn(f'domain {GUEST} (defined)', self.fails(retype))
        self.guest.run(f'virsh undefine {GUEST}')
        _, out, err = self.guest.try_run(retype)
        self.assertIn(f'remove mdev {MDEV} of nvidia-194 on {GPU}', out)
        lines = [line[2:] for line in err.splitlines() if line[:2] == '  ']
        self.configure('\n'.join(lines) + '\n' + server.config_text())
        self.guest.run('nova-vgpu report')
        self.assertEqual({'VGPU': 8}, server.provider(name).totals)
        self.assertEqual(
            {'VGPU': 32},
            server.provider(f'{base.NODE}_pci_0000_88_00_0').totals,
        )


class ParallelTest(HostTestCase):
    """Orphans go while guests come and go, and while Nova allocates."""

    def setUp(self) -> None:
        super().setUp()
        self.server = self.with_placement()
        self.guest.run('nova-vgpu report && rm -f /run/enough')
        self.guest.run(
            '(while [ ! -e /run/enough ]; do nova-vgpu mdev clean --grace 0; '
            'done; touch /run/cleaned) >/run/clean.log 2>&1 &'
        )

    def stop_cleaning(self) -> str:
        """End the cleaning; give what it printed."""
        self.guest.run(
            f'touch /run/enough; {base.until("rm /run/cleaned 2>/dev/null")}'
        )
        return self.guest.run('cat /run/clean.log')

    def test_guests(self) -> None:
        """No start fails, and an orphan that nobody names goes."""
        names = {GUEST: MDEV, 'second': OTHER}
        for name, mdev in names.items():
            self.create_defined(name, mdev)
        self.create(THIRD)
        for _ in range(4):
            for name in names:
                self.guest.run(f'virsh start {name}')
            for name in names:
                self.guest.run(f'virsh destroy {name}')
        self.guest.run(base.until(f'[ ! -e /sys/bus/mdev/devices/{THIRD} ]'))
        self.assertIn(f'remove mdev {THIRD}', self.stop_cleaning())
        self.assertEqual(dict.fromkeys(names.values(), ''), self.mdevs())

    def create_defined(self, name: str, mdev: str) -> None:
        """Make an mdev that a domain names from its first moment."""
        self.define(name, mdev)
        self.create(mdev)

    def test_nova_allocates(self) -> None:
        """What Nova has chosen is there when it defines the domain."""
        gone = self.guest.inside(
            'nova_allocations', '/etc/nova/nova.conf', base.NODE, NOVA_GPU, '6'
        )
        self.assertEqual([], gone)
        # The cleaning has had something to do.
        self.assertIn('remove mdev', self.stop_cleaning())


class RebootTest(HostTestCase):
    """What a reboot takes, nova-vgpu-prepare and the hook bring back."""

    def setUp(self) -> None:
        super().setUp()
        self.install_hook()
        self.guest.run(
            f'cp {UNITS}/nova-vgpu-prepare.service /etc/systemd/system/ && '
            'systemctl daemon-reload && '
            'systemctl enable --quiet nova-vgpu-prepare.service'
        )
        self.addCleanup(
            self.guest.run,
            'systemctl disable --quiet --now nova-vgpu-prepare.service; '
            'rm /etc/systemd/system/nova-vgpu-prepare.service; '
            'systemctl daemon-reload',
        )
        self.domains = {GUEST: MDEV, 'second': OTHER, 'autostart': THIRD}

    def check_reboot(self, crash: bool = False) -> None:
        """Every mdev comes back, and every domain starts."""
        for name, mdev in self.domains.items():
            self.define(name, mdev)
            self.guest.run(f'virsh start {name}')
        self.guest.run('virsh autostart autostart && sync')
        self.reboot(crash=crash)
        self.guest.run(
            base.until('[ "$(virsh domstate autostart)" = running ]')
        )
        self.assertEqual(
            {MDEV: '', OTHER: '', THIRD: 'autostart'}, self.mdevs()
        )
        for name in (GUEST, 'second'):
            self.guest.run(f'virsh start {name}')
        guests = {mdev: name for name, mdev in self.domains.items()}
        self.assertEqual(guests, self.mdevs())
        self.assertEqual(
            'active',
            self.guest.run('systemctl is-active nova-vgpu-prepare.service'),
        )

    def test_without_persistence(self) -> None:
        """The ledger alone, as in containers that lose /etc/mdevctl.d."""
        for mdev in self.domains.values():
            self.create(mdev)
        self.check_reboot(crash=True)

    def test_with_persistence(self) -> None:
        """The definitions of Nova; a stale one is put aside."""
        for mdev in self.domains.values():
            self.guest.run(
                'virsh nodedev-define /dev/stdin',
                stdin=test_guests.NODE_DEVICE.format(mdev=mdev),
            )
        for node in self.lines('virsh nodedev-list --inactive --cap mdev'):
            self.guest.run(
                f'virsh nodedev-autostart {node} && virsh nodedev-start {node}'
            )
        stale = '99999999-2222-4333-8444-555555555555'
        self.guest.run(
            'mkdir -p /etc/mdevctl.d/0000:1a:00.0 && '
            f'cp /etc/mdevctl.d/{GPU}/{MDEV} '
            f'/etc/mdevctl.d/0000:1a:00.0/{stale} && '
            f'sed -i s/194/999/ /etc/mdevctl.d/0000:1a:00.0/{stale}'
        )
        self.check_reboot()
        self.assertEqual(sorted(self.domains.values()), self.definitions())
        self.guest.run(
            f'ls /var/lib/nova-vgpu-ext/put-aside/0000:1a:00.0/{stale}'
        )


class HookTest(HostTestCase):
    """The libvirt hook."""

    def setUp(self) -> None:
        super().setUp()
        self.install_hook()

    def parameters(self) -> str:
        """Give the mdev's parameters as the kernel has them."""
        return self.guest.run(f'cat {PARAMETERS}').strip()

    def test_parameters_of_the_flavor(self) -> None:
        """They are there before QEMU opens the device, and go afterwards."""
        self.create()
        specs = ''.join(
            f'<nova:extraSpec name="vgpu:{key}">{value}</nova:extraSpec>'
            for key, value in (
                ('disable_vnc', '1'),
                ('frame_rate_limiter', '0'),
                ('enable_uvm', '7'),
                ('unknown', '1,disable_vnc=0'),
            )
        )
        self.define_domain(
            GUEST,
            test_guests.HOSTDEV.format(mdev=MDEV),
            METADATA.format(specs=specs),
        )
        self.guest.run(f'virsh start {GUEST}')
        self.assertEqual(
            'disable_vnc=1,frame_rate_limiter=0', self.parameters()
        )
        self.guest.run(f'virsh destroy {GUEST}')
        self.assertEqual('', self.parameters())

    def test_crash_of_the_guest(self) -> None:
        """The next tenant finds no parameters."""
        self.create()
        spec = '<nova:extraSpec name="vgpu:enable_uvm">1</nova:extraSpec>'
        self.define_domain(
            GUEST,
            test_guests.HOSTDEV.format(mdev=MDEV),
            METADATA.format(specs=spec),
        )
        self.guest.run(f'virsh start {GUEST}')
        self.assertEqual('enable_uvm=1', self.parameters())
        self.guest.run(f'kill -KILL $(cat /run/libvirt/qemu/{GUEST}.pid)')
        self.guest.run(base.until(f'[ -z "$(cat {PARAMETERS})" ]'))

    def test_mdev_that_the_host_forgot(self) -> None:
        """It is made again from the ledger; one that nobody knows is not."""
        self.create()
        self.define()
        self.guest.run(f'virsh start {GUEST}; virsh destroy {GUEST}')
        self.guest.run(f'echo 1 >/sys/bus/mdev/devices/{MDEV}/remove')
        self.assertEqual({}, self.mdevs())
        self.guest.run(f'virsh start {GUEST}')
        self.assertEqual({MDEV: GUEST}, self.mdevs())
        self.define('second', OTHER)
        self.assertIn(OTHER, self.fails('virsh start second'))

    def test_libvirt_answers_while_the_hook_waits(self) -> None:
        """A driver that is slow holds one guest up, not libvirt."""
        self.create()
        self.define()
        self.guest.run(f'virsh start {GUEST}; virsh destroy {GUEST}')
        self.guest.run(
            f'echo 1 >/sys/bus/mdev/devices/{MDEV}/remove; '
            f'echo 12000 >{test_module.PARAMETERS}/create_delay_ms'
        )
        self.guest.run(
            f'virsh start {GUEST} >/run/started 2>&1 & '
            'sleep 1; virsh list --all; ! grep started /run/started'
        )
        self.guest.run(base.until('grep started /run/started'))


class PrepareTest(HostTestCase):
    """nova-vgpu prepare, where functions and types are lost."""

    def test_virtual_functions(self) -> None:
        """They are enabled, although the driver is busy at first."""
        self.load('a40-sriov', vfs=False, sriov_busy=2)
        self.assertEqual(
            ['enable virtual functions of 0000:41:00.0'],
            self.lines('nova-vgpu prepare'),
        )
        self.assertEqual(33, len(self.lines('lspci -d 10de:')))
        self.assertEqual([], self.lines('nova-vgpu prepare'))

    def test_vendor_types(self) -> None:
        """Set until the card is full, and cleared by a retype."""
        self.load('l40s-vendor-vfio', vfs=False)
        self.configure('[vgpu]\nvf_types = L40S-12Q\n')
        steps = self.lines('nova-vgpu prepare')
        self.assertEqual('enable virtual functions of 0000:c1:00.0', steps[0])
        self.assertEqual(4, len(steps) - 1, steps)
        self.assertEqual([], self.lines('nova-vgpu prepare'))
        self.guest.run('nova-vgpu gpu retype 0000:c1:00.0 L40S-24Q')
        path = '/sys/bus/pci/devices/0000:c1:*/nvidia/current_vgpu_type'
        types = self.lines(f'cat {path}')
        self.assertEqual({'0', '1155'}, set(types))
        self.assertEqual(2, types.count('1155'))

    def test_late_types(self) -> None:
        """It waits for the driver."""
        self.load('v100x8', vfs=False, types_delay_ms=4000)
        self.guest.run(
            'mkdir -p /var/lib/nova-vgpu-ext && '
            'cat >/var/lib/nova-vgpu-ext/ledger.json',
            stdin=json.dumps(
                {
                    'version': 1,
                    'entries': {
                        MDEV: {
                            'parent': GPU,
                            'type': 'nvidia-194',
                            'domain': None,
                            'domain_uuid': None,
                        }
                    },
                }
            ),
        )
        self.define()
        self.guest.run('nova-vgpu prepare')
        self.assertEqual({MDEV: ''}, self.mdevs())


class VendorHookTest(test_vendor_vfio.VendorTestCase):
    """Functions with vendor-specific VFIO, in use."""

    def test_a_used_function_keeps_its_type(self) -> None:
        """It is named with its process, and left alone."""
        self.assertEqual((0, ''), self.set_type(test_vendor_vfio.TYPE))
        self.start_qemu()
        self.guest.run('mkdir -p /etc/nova; echo >/etc/nova/nova.conf')
        refused = self.fails('nova-vgpu gpu retype 0000:c1:00.0 L40S-48Q')
        self.assertIn('process qemu-system-x86', refused)
        self.assertEqual(test_vendor_vfio.TYPE, self.current_type())
