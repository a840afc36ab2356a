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
"""What the hook does to the host."""

from __future__ import annotations

import errno
import json
import os

from nova_vgpu_ext.hook import qemu
from tests.unit.hook import base
from tests.unit.hook.base import (
    GPU,
    HELD,
    NEW,
    NIC,
    PLAIN,
    SET,
    VF,
    VF_FREE,
    VF_SET,
    domain,
    instance,
)

CREATE = (
    'devices/pci0000:89/0000:89:00.0/mdev_supported_types/nvidia-194/create'
)


def fault(number: int) -> OSError:
    """Make what the kernel answers."""
    return OSError(number, os.strerror(number), 'path')


class RestoreTest(base.HookTestCase):
    """A mediated device that the host forgot."""

    def define(self, parent: str, text: str | None = None) -> None:
        """Write a definition, as mdevctl does."""
        folder = self.mdevctl / parent
        folder.mkdir(parents=True, exist_ok=True)
        if text is None:
            text = json.dumps({'mdev_type': 'nvidia-194', 'start': 'auto'})
        (folder / NEW).write_text(text)

    def assert_made(self) -> None:
        """Assert that it is made, and nothing else."""
        self.assert_ready(domain([NEW]))
        self.assertEqual([(CREATE, NEW)], self.kernel.writes)
        self.assertEqual(GPU, self.entries()[NEW]['parent'])
        self.assertEqual('nvidia-194', self.entries()[NEW]['type'])
        self.assert_logged(qemu.INFO, 'made', NEW)

    def test_from_the_ledger(self) -> None:
        """With its type, on its GPU."""
        self.remember(NEW, GPU, 'nvidia-194')
        self.assert_made()
        self.assert_quiet()

    def test_from_a_definition(self) -> None:
        """Where the ledger is lost."""
        self.define(GPU)
        self.assert_made()

    def test_the_ledger_comes_first(self) -> None:
        """A definition may be an old one."""
        self.remember(NEW, GPU, 'nvidia-194')
        self.define('0000:1a:00.0')
        self.assert_made()

    def test_bad_definitions_are_passed_over(self) -> None:
        """As are files that are none."""
        self.mdevctl.mkdir()
        (self.mdevctl / 'a-file').write_text('x')
        for number, text in enumerate(
            (
                '',
                '[]',
                '{"mdev_type": 194}',
                '{"mdev_type": "../../x"}',
                '{"mdev_type": ".."}',
                '{}',
                '[' * 100000,
                ' ' * (qemu.DEFINITION_LIMIT + 1),
            )
        ):
            self.define(f'0000:0{number}:00.0', text)
        self.define('.hidden')
        self.define('a b')
        (self.mdevctl / '0000:10:00.0').mkdir()
        (self.mdevctl / '0000:10:00.0' / NEW).symlink_to('/etc/passwd')
        self.assert_refused(domain([NEW]), 'does not exist')
        self.define(GPU)
        self.assert_made()

    def test_nothing_knows_it(self) -> None:
        """libvirt would refuse it as well, with less to go by."""
        self.assert_refused(
            domain([NEW]),
            f'mdev {NEW} does not exist',
            str(self.ledger_path),
            str(self.mdevctl),
        )
        self.assertEqual([], self.kernel.writes)
        self.assertFalse(self.state.exists())

    def test_gpu_or_type_is_gone(self) -> None:
        """The line names it."""
        self.remember(NEW, '0000:99:00.0', 'nvidia-194')
        self.assert_refused(domain([NEW]), '0000:99:00.0', 'no such type')
        self.remember(NEW, GPU, 'nvidia-999')
        self.assert_refused(domain([NEW]), 'nvidia-999', 'no such type')
        self.assertEqual([], self.kernel.writes)

    def test_no_room(self) -> None:
        """What the kernel says is passed on."""
        self.remember(NEW, GPU, 'nvidia-194')
        self.kernel.faults['/create'] = fault(errno.ENOSPC)
        self.assert_refused(
            domain([NEW]), NEW, 'nvidia-194', GPU, 'No space left'
        )

    def test_read_only_sysfs(self) -> None:
        """A container without privilege."""
        self.remember(NEW, GPU, 'nvidia-194')
        self.kernel.faults['/create'] = fault(errno.EROFS)
        self.assert_refused(domain([NEW]), 'Read-only file system')

    def test_another_program_was_faster(self) -> None:
        """Then it is there."""
        self.remember(NEW, GPU, 'nvidia-194')

        def create(path: str, text: str, seconds: float) -> None:
            self.kernel.write(path, text, seconds)
            raise FileExistsError(errno.EEXIST, 'File exists', path)

        self.patch('nova_vgpu_ext.hook.qemu.write', create)
        self.assert_made()

    def test_made_and_gone(self) -> None:
        """A driver that takes it and does nothing, or another program."""
        self.remember(NEW, GPU, 'nvidia-194')
        self.patch('nova_vgpu_ext.hook.qemu.write', lambda *_: None)
        self.assert_refused(domain([NEW]), NEW, 'is gone')

    def test_one_of_two(self) -> None:
        """What is there is set and remembered, though the guest is not."""
        self.assert_refused(
            domain([PLAIN, NEW], specs={'vgpu:enable_uvm': '1'}), NEW
        )
        self.assertEqual({PLAIN}, set(self.entries()))
        self.assertEqual('enable_uvm=1', self.parameters(PLAIN))

    def test_all_writes_share_the_time(self) -> None:
        """Many devices do not make a guest wait many times."""
        uuids = [f'{NEW[:-1]}{n}' for n in range(4)]
        self.state.mkdir()
        entry: qemu.Entry = {
            'parent': GPU,
            'type': 'nvidia-194',
            'domain': None,
            'domain_uuid': None,
        }
        qemu.write_ledger(str(self.ledger_path), dict.fromkeys(uuids, entry))
        clock = iter(range(100, 200))
        self.patch('time.monotonic', lambda: float(next(clock)))
        self.assert_ready(domain(uuids))
        self.assertEqual([20.0, 19.0, 18.0, 17.0], self.kernel.seconds)

    def test_link_out_of_sysfs(self) -> None:
        """Nothing outside is written, whatever the tree says."""
        outside = self.temp_dir()
        types = outside / 'mdev_supported_types/nvidia-194'
        types.mkdir(parents=True)
        (types / 'create').write_text('')
        (self.root / 'class/mdev_bus/0000:77:00.0').symlink_to(outside)
        self.remember(NEW, '0000:77:00.0', 'nvidia-194')
        self.assert_refused(domain([NEW]), '0000:77:00.0')
        (self.root / 'bus/mdev/devices' / NEW).symlink_to(outside)
        self.assert_refused(domain([NEW]), NEW)
        self.assertEqual([], self.kernel.writes)


class VirtualParentTest(base.HookTestCase):
    """Devices that are not on the PCI bus."""

    profile = 'mtty'

    def test_names(self) -> None:
        """libvirt's name, and mdevctl's."""
        self.remember(NEW, 'mtty_mtty', 'mtty-2')
        self.assert_ready(domain([NEW]))
        self.assertEqual('mtty_mtty', self.entries()[NEW]['parent'])
        other = NEW.replace('1', '3')
        folder = self.mdevctl / 'mtty'
        folder.mkdir(parents=True)
        (folder / other).write_text('{"mdev_type": "mtty-2"}')
        self.assert_ready(domain([other]))
        self.assertEqual('mtty_mtty', self.entries()[other]['parent'])
        self.assert_quiet()

    def test_no_parameters(self) -> None:
        """What has none is not refused for it."""
        self.remember(NEW, 'mtty_mtty', 'mtty-2')
        self.assert_ready(domain([NEW], specs={}))
        (self.root / 'bus/mdev/devices' / NEW / 'nvidia/vgpu_params').unlink()
        self.assert_ready(domain([NEW], specs={}))
        self.assert_quiet()
        self.assert_ready(domain([NEW], specs={'vgpu:enable_uvm': '1'}))
        self.assert_logged(qemu.WARNING, NEW, 'enable_uvm=1', 'driver')
        self.assertEqual([], self.release(domain([NEW], specs={})))


class ParametersTest(base.HookTestCase):
    """Plugin parameters are what the flavor says."""

    def test_set(self) -> None:
        """In the order of the keys, in one write."""
        self.assert_ready(
            domain(
                [PLAIN],
                specs={
                    'vgpu:frame_rate_limiter': '0',
                    'vgpu:disable_vnc': '1',
                },
            )
        )
        self.assertEqual(
            'disable_vnc=1,frame_rate_limiter=0', self.parameters(PLAIN)
        )
        self.assertEqual(1, len(self.kernel.writes))
        self.assert_logged(qemu.INFO, PLAIN, 'disable_vnc=1')
        self.assert_quiet()

    def test_nothing_to_write(self) -> None:
        """Not when it is set, in any order, nor when nothing is wanted."""
        self.assert_ready(domain([SET], specs={'vgpu:disable_vnc': '1'}))
        self.assert_ready(domain([PLAIN], specs={}))
        path = self.root / 'bus/mdev/devices' / SET / 'nvidia/vgpu_params'
        for text in (
            'enable_uvm=1,disable_vnc=1',
            'disable_vnc=1 enable_uvm=1\n',
            ' enable_uvm=1, disable_vnc=1 \n',
        ):
            path.write_text(text)
            self.assert_ready(
                domain(
                    [SET],
                    specs={
                        'vgpu:enable_uvm': '1',
                        'vgpu:disable_vnc': '1',
                    },
                )
            )
        self.assertEqual([], self.kernel.writes)

    def test_what_another_guest_left_goes(self) -> None:
        """A flavor that asks for nothing gets nothing."""
        self.assert_ready(domain([SET], specs={}))
        self.assertEqual(' ', self.kernel.writes[0][1])
        self.assertEqual('', self.parameters(SET))
        self.assert_logged(qemu.INFO, SET, 'none')

    def test_replaced(self) -> None:
        """Nothing of the old ones stays."""
        self.assert_ready(domain([SET], specs={'vgpu:enable_uvm': '1'}))
        self.assertEqual('enable_uvm=1', self.parameters(SET))

    def test_what_an_operator_set_stays(self) -> None:
        """Where nobody knows the flavor."""
        self.assert_ready(domain([SET]))
        self.assert_ready(domain([SET], metadata=instance('')))
        self.assertEqual('disable_vnc=1', self.parameters(SET))
        self.assertEqual([], self.kernel.writes)

    def test_ignored(self) -> None:
        """One line says what, however much it is."""
        specs = {f'vgpu:x{n}': 'y' * 10240 for n in range(9)}
        self.assert_ready(domain([PLAIN], specs=specs))
        self.assertEqual('', self.parameters(PLAIN))
        self.assertEqual(1, len(self.lines))
        self.assert_logged(qemu.WARNING, 'vgpu:x0=yyy', 'and 4 more')
        self.assertLess(len(self.lines[0][1]), 1000)

    def test_each_device(self) -> None:
        """All devices of a guest get the same."""
        self.assert_ready(domain([PLAIN, SET], specs={'vgpu:enable_uvm': '1'}))
        for uuid in (PLAIN, SET):
            self.assertEqual('enable_uvm=1', self.parameters(uuid))

    def test_cannot_be_set(self) -> None:
        """The tenant would get something else than is paid for."""
        for number in (errno.EPERM, errno.EROFS, errno.EIO):
            self.kernel.faults['vgpu_params'] = fault(number)
            self.assert_refused(
                domain([PLAIN], specs={'vgpu:enable_uvm': '1'}),
                PLAIN,
                'enable_uvm=1',
                os.strerror(number),
            )
        # Another tenant's would stay.
        self.assert_refused(domain([SET], specs={}), SET, 'none')

    def test_no_answer(self) -> None:
        """The hook ends, and says why."""
        self.kernel.faults['vgpu_params'] = TimeoutError(
            errno.ETIMEDOUT, 'no answer'
        )
        self.assert_refused(
            domain([PLAIN], specs={'vgpu:enable_uvm': '1'}), 'no answer'
        )

    def test_cannot_be_read(self) -> None:
        """Then they are written."""
        path = self.root / 'bus/mdev/devices' / PLAIN / 'nvidia/vgpu_params'
        path.write_bytes(b'\xff')
        self.assert_ready(domain([PLAIN], specs={}))
        self.assertEqual(1, len(self.kernel.writes))

    def test_set_before_it_is_remembered(self) -> None:
        """A ledger that fails does not matter to the guest."""
        with base.Fault('fsync', errno.ENOSPC):
            self.assert_ready(domain([SET], specs={}))
        self.assertEqual('', self.parameters(SET))


class ReleaseTest(base.HookTestCase):
    """The next tenant finds nothing."""

    def test_cleared(self) -> None:
        """Those that are set."""
        self.assertEqual([], self.release(domain([PLAIN, SET], specs={})))
        self.assertEqual(1, len(self.kernel.writes))
        self.assertEqual('', self.parameters(SET))
        self.assert_logged(qemu.INFO, 'cleared', SET)
        self.assertFalse(self.state.exists())

    def test_nova_before_32(self) -> None:
        """Its devices change hands as well."""
        self.release(domain([SET], metadata=instance('')))
        self.assertEqual('', self.parameters(SET))

    def test_guests_of_others(self) -> None:
        """Nobody gives their devices away."""
        self.release(domain([SET]))
        self.assertEqual('disable_vnc=1', self.parameters(SET))

    def test_other_devices_stay(self) -> None:
        """Only those of the guest."""
        self.release(domain([PLAIN], specs={}))
        self.assertEqual('frame_rate_limiter=0', self.parameters(HELD))

    def test_never_fails(self) -> None:
        """A device that is gone, or a kernel that refuses."""
        self.kernel.faults['vgpu_params'] = fault(errno.EPERM)
        self.assertEqual([], self.release(domain([NEW, SET], specs={})))
        self.assert_logged(qemu.WARNING, SET, 'not cleared', 'not permitted')

    def test_nothing_is_made(self) -> None:
        """Also where the ledger knows it."""
        self.remember(NEW, GPU, 'nvidia-194')
        self.release(domain([NEW], specs={'vgpu:enable_uvm': '1'}))
        self.assertEqual([], self.kernel.writes)


class VendorTest(base.HookTestCase):
    """Virtual functions with vendor-specific VFIO."""

    profile = 'l40s-vendor-vfio'

    def current(self, address: str) -> str:
        """Read the type that is set."""
        path = self.root / 'bus/pci/devices' / address / 'nvidia'
        return (path / 'current_vgpu_type').read_text().strip()

    def test_parameters(self) -> None:
        """They go the same way."""
        self.assert_ready(
            domain([], [VF, VF_SET], specs={'vgpu:enable_uvm': '1'})
        )
        for address in (VF, VF_SET):
            self.assertEqual('enable_uvm=1', self.parameters(address))
            self.assertEqual(
                (address, '1153'),
                (
                    self.entries()[address]['parent'],
                    self.entries()[address]['type'],
                ),
            )
        self.release(domain([], [VF, VF_SET], specs={}))
        self.assertEqual('', self.parameters(VF_SET))
        self.assert_quiet()

    def test_type_is_set_again(self) -> None:
        """After a reboot every function has none."""
        self.remember(VF_FREE, VF_FREE, '1155')
        self.assert_ready(
            domain([], [VF_FREE], specs={'vgpu:enable_uvm': '1'})
        )
        self.assertEqual('1155', self.current(VF_FREE))
        # A type that is set anew comes without parameters.
        self.assertEqual(
            ['current_vgpu_type', 'vgpu_params'],
            [os.path.basename(path) for path, _ in self.kernel.writes],
        )
        self.assertEqual('1155', self.entries()[VF_FREE]['type'])
        self.assert_quiet()

    def test_type_that_is_set_stays(self) -> None:
        """The ledger follows."""
        self.remember(VF, VF, '1155')
        self.assert_ready(domain([], [VF]))
        self.assertEqual('1153', self.current(VF))
        self.assertEqual('1153', self.entries()[VF]['type'])

    def test_type_is_refused(self) -> None:
        """As by a card that is full."""
        self.remember(VF_FREE, VF_FREE, '1155')
        self.kernel.faults['current_vgpu_type'] = fault(errno.ENOSPC)
        self.assert_refused(
            domain([], [VF_FREE]), VF_FREE, '1155', 'No space left'
        )

    def test_type_is_unknown(self) -> None:
        """What comes of it is for the driver to say."""
        self.assert_ready(domain([], [VF_FREE]))
        self.assert_logged(qemu.WARNING, VF_FREE, 'no vGPU type')
        self.assertEqual([], self.kernel.writes)
        self.assertFalse(self.ledger_path.exists())

    def test_odd_type(self) -> None:
        """It is left, and not remembered."""
        path = self.root / 'bus/pci/devices' / VF / 'nvidia/current_vgpu_type'
        path.write_text('what?')
        self.assert_ready(domain([], [VF]))
        self.assertEqual([], self.kernel.writes)
        self.assertFalse(self.ledger_path.exists())
        self.assert_ready(domain([], [VF, VF_SET]))
        data = json.loads(self.ledger_path.read_text())
        self.assertEqual([VF_SET], list(data['entries']))

    def test_other_functions_are_none_of_ours(self) -> None:
        """Not even the ledger is read."""
        self.state.write_text('no folder')
        self.assert_ready(
            domain(
                [],
                [NIC, '0000:c1:00.0', '0000:99:00.0'],
                specs={'vgpu:enable_uvm': '1', 'vgpu:x': '1'},
            )
        )
        self.release(domain([], [NIC, '0000:99:00.0'], specs={}))
        self.assertEqual([], self.lines)
        self.assertEqual([], self.kernel.writes)
