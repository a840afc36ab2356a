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
"""The kernel module itself: parameters, faults, and life under load."""

from __future__ import annotations

import errno
import shlex

from nova_vgpu_ext.sim import profile
from tests.lab import base

GPU = '0000:1a:00.0'
UUIDS = [f'00000000-0000-4000-8000-{n:012d}' for n in range(8)]
PARAMETERS = '/sys/module/vgpu_sim/parameters'


def creating(uuid: str, gpu: str = GPU, type_id: str = 'nvidia-194') -> str:
    """Give the shell line that makes an mdev."""
    path = f'/sys/bus/pci/devices/{gpu}/mdev_supported_types/{type_id}'
    return f'echo {uuid} >{path}/create'


def removing(uuid: str) -> str:
    """Give the shell line that removes an mdev."""
    return f'echo 1 >/sys/bus/mdev/devices/{uuid}/remove'


class ModuleTestCase(base.LabTestCase):
    """A test of the module."""

    def set(self, name: str, value: object) -> None:
        """Set a parameter of the loaded module."""
        self.guest.run(f'echo {value} >{PARAMETERS}/{name}')

    def error(self, line: str) -> str:
        """Run a line that must fail; give the end of what it said."""
        return self.fails(line).rpartition(': ')[2]

    def mdevs(self) -> list[str]:
        """List the mdevs that there are."""
        return self.guest.run('ls /sys/bus/mdev/devices').split()


class FaultTest(ModuleTestCase):
    """Each fault happens when it is asked for, and no longer."""

    def test_create_errno(self) -> None:
        """Every creation fails with the chosen error."""
        for number, text in (
            (errno.ENOSPC, 'No space left on device'),
            (errno.EINVAL, 'Invalid argument'),
        ):
            self.set('create_errno', number)
            for uuid in UUIDS[:2]:
                self.assertEqual(text, self.error(creating(uuid)))
        self.assertEqual([], self.mdevs())
        self.forgive_log()
        self.set('create_errno', 0)
        self.guest.run(creating(UUIDS[0]))
        self.assertEqual(UUIDS[:1], self.mdevs())

    def test_nth_creation_fails(self) -> None:
        """Only that one, and nothing of it stays."""
        self.set('create_fail_nth', 3)
        made = [
            uuid
            for uuid in UUIDS[:5]
            if self.guest.try_run(creating(uuid))[0] == 0
        ]
        self.forgive_log()
        self.assertEqual([*UUIDS[:2], *UUIDS[3:5]], made)
        self.assertEqual(made, sorted(self.mdevs()))
        types = f'/sys/bus/pci/devices/{GPU}/mdev_supported_types'
        self.assertEqual(
            '28', self.guest.run(f'cat {types}/nvidia-194/available_instances')
        )

    def test_slow_creation(self) -> None:
        """It takes as long as asked for."""
        self.set('create_delay_ms', 1500)
        seconds = self.guest.run(
            f's=$(date +%s%N); {creating(UUIDS[0])}; '
            'echo $((($(date +%s%N) - s) / 1000000))'
        )
        self.assertGreaterEqual(int(seconds), 1500)
        self.assertEqual(UUIDS[:1], self.mdevs())

    def test_late_types(self) -> None:
        """The GPU is there at once, its types come later."""
        self.load('v100x8', vfs=False, types_delay_ms=600000)
        listed = self.guest.json('nova-vgpu gpu list -f json')
        self.assertEqual(
            [8, {'none'}],
            [len(listed), {gpu['framework'] for gpu in listed}],
        )
        self.load('v100x8', vfs=False, types_delay_ms=1000)
        self.guest.run(base.until(f'[ -e /sys/class/mdev_bus/{GPU} ]'))

    def test_removal_that_hangs(self) -> None:
        """An mdev stays until the fault is cleared; others come and go."""
        self.guest.run(creating(UUIDS[0]))
        self.set('hold_removal', 1)
        self.guest.run(
            f'({removing(UUIDS[0])}; touch /run/removed) >/dev/null 2>&1 &'
            ' sleep 1; [ ! -e /run/removed ]'
        )
        self.guest.run(creating(UUIDS[1]))
        self.set('hold_removal', 0)
        self.guest.run(base.until('rm /run/removed 2>/dev/null'))
        self.assertEqual(UUIDS[1:2], self.mdevs())

    def test_unloading_ends_a_held_removal(self) -> None:
        """The module goes, and takes the waiting writer with it."""
        self.guest.run(creating(UUIDS[0]))
        self.set('hold_removal', 1)
        self.guest.run(f'({removing(UUIDS[0])}) >/dev/null 2>&1 & sleep 1')
        self.guest.run('rmmod vgpu_sim', 30)


class SriovTest(ModuleTestCase):
    """Virtual functions come through sriov-manage alone."""

    profile = 'a40-sriov'

    def setUp(self) -> None:
        super().setUp()
        self.load(self.profile, vfs=False)

    def count(self) -> int:
        """Count the functions on the bus."""
        return len(self.guest.run('lspci -d 10de:').splitlines())

    def test_raw_write_is_refused(self) -> None:
        """As by NVIDIA's driver."""
        raw = 'echo 4 >/sys/bus/pci/devices/0000:41:00.0/sriov_numvfs'
        self.assertEqual('Operation not permitted', self.error(raw))
        self.assertEqual(1, self.count())
        self.set('sriov_guard', 0)
        self.guest.run(raw)
        self.assertEqual(5, self.count())

    def test_busy(self) -> None:
        """The error of a driver that starts, which a retry mends."""
        manage = '/usr/lib/nvidia/sriov-manage -e 0000:41:00.0'
        self.set('sriov_busy', 2)
        for _ in range(2):
            code, _, err = self.guest.try_run(manage)
            self.assertEqual(1, code)
            self.assertEqual(
                'Cannot obtain unbindLock for 0000:41:00.0\n', err
            )
        self.guest.run(manage)
        self.assertEqual(33, self.count())

    def test_disable_in_use(self) -> None:
        """VFs stay while one of them has a vGPU."""
        manage = '/usr/lib/nvidia/sriov-manage'
        self.guest.run(f'{manage} -e ALL')
        self.guest.run(creating(UUIDS[0], '0000:41:00.4', 'nvidia-562'))
        self.assertNotEqual(0, self.guest.try_run(f'{manage} -d ALL')[0])
        self.assertEqual(33, self.count())
        self.guest.run(removing(UUIDS[0]))
        self.guest.run(f'{manage} -d ALL')
        self.assertEqual(1, self.count())

    def test_bad_arguments(self) -> None:
        """Nothing is done for what is no address."""
        for arguments in (
            '-e',
            '-x ALL',
            '-e ../../x',
            '-e 0000:41:00.0/..',
            '-e 0000:42:00.0',
            '-e 0000:41:00.0 -e',
        ):
            line = f'/usr/lib/nvidia/sriov-manage {arguments}'
            self.fails(line)
        self.assertEqual(1, self.count())


class LoadTest(ModuleTestCase):
    """Loading and unloading."""

    def test_bad_parameters(self) -> None:
        """The log names the parameter, what was found and expected."""
        for parameter, expected in (
            ('hosts=dgx', ['dgx', 'v100x8']),
            ('gpus=v900@0000:1a:00.0', ['v900', 'v100-sxm2-32gb']),
            ('gpus=a40@1a:00', ['1a:00']),
            ('gpus=a40@0000:1a:01.0', ['0000:1a:01.0']),
            ('gpus=a40@0000:1a:00.0,a40@0000:1a:00.0', ['two', '0000:1a']),
            ('gpus=a40@0000:00:00.0', ['0000:00']),
            ('create_errno=99999', ['create_errno']),
        ):
            self.forgive_log()
            self.guest.run('rmmod vgpu_sim 2>/dev/null; true')
            name = parameter.partition('=')[0]
            # The parameter of the kernel's command line would come first.
            hosts = '' if name == 'hosts' else 'hosts='
            code = self.guest.try_run(
                f'modprobe vgpu_sim {hosts} {shlex.quote(parameter)}'
            )[0]
            self.assertNotEqual(0, code, parameter)
            log = self.guest.run('dmesg --notime')
            for word in (name, *expected):
                self.assertIn(word, log, parameter)
            self.guest.run('[ ! -e /sys/module/vgpu_sim ]')
        self.forgive_log()

    def test_chosen_gpus(self) -> None:
        """Cards and addresses of one's own, in another domain too."""
        self.guest.run('rmmod vgpu_sim')
        gpus = 'v100-sxm2-32gb@0000:65:00.0,a40@0001:17:00.0/4'
        self.guest.run(f'modprobe vgpu_sim hosts= gpus={gpus}')
        self.guest.run('/usr/lib/nvidia/sriov-manage -e ALL')
        listed = self.guest.json('nova-vgpu gpu list -f json')
        self.assertEqual(
            [('0000:65:00.0', 0), ('0001:17:00.0', 4)],
            [(gpu['address'], gpu['vfs']) for gpu in listed],
        )

    def test_reload_under_load(self) -> None:
        """Creations, removals and reads go on while the module comes and goes.

        None may hang, and the kernel has nothing to complain of.
        """
        self.guest.run(
            """\
cd /sys/bus
makers() {
    while [ ! -e /run/enough ]; do
        u=$(cat /proc/sys/kernel/random/uuid)
        for gpu in 0000:1a:00.0 0000:89:00.0; do
            echo $u >pci/devices/$gpu/mdev_supported_types/nvidia-194/create
            echo 1 >mdev/devices/$u/remove
        done
    done
}
readers() {
    while [ ! -e /run/enough ]; do
        cat pci/devices/*/mdev_supported_types/*/*
    done
}
rm -f /run/enough
(makers; makers) >/dev/null 2>&1 &
readers >/dev/null 2>&1 &
makers >/dev/null 2>&1 &
for n in 1 2 3 4 5 6; do
    sleep 1
    rmmod vgpu_sim || exit 1
    modprobe vgpu_sim hosts=v100x8 || exit 2
done
touch /run/enough
wait
rm /run/enough
""",
            180,
        )
        self.assertEqual(
            8, len(self.guest.run('ls /sys/class/mdev_bus').split())
        )

    def test_card_tables_are_those_of_the_simulation(self) -> None:
        """modinfo and the module know every profile."""
        for name in set(profile.names()) - {'mtty'}:
            self.guest.run(f'rmmod vgpu_sim; modprobe vgpu_sim hosts={name}')


class ParameterTest(ModuleTestCase):
    """nvidia/vgpu_params of an mdev."""

    def test_write_replaces(self) -> None:
        """A write replaces all, a single space clears."""
        self.guest.run(creating(UUIDS[0]))
        path = f'/sys/bus/mdev/devices/{UUIDS[0]}/nvidia/vgpu_params'
        for written, expected in (
            ('frame_rate_limiter=0,disable_vnc=1',) * 2,
            ('enable_uvm=1',) * 2,
            (' ', ''),
        ):
            self.guest.run(f'echo {shlex.quote(written)} >{path}')
            self.assertEqual(expected, self.guest.run(f'cat {path}').strip())
        self.assertEqual(
            'Invalid argument', self.error(f'printf "%04000d" 1 >{path}')
        )
