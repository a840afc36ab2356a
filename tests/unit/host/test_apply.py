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
"""Steps that change a host: done once, checked, and told apart."""

from __future__ import annotations

import errno
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping

from nova_vgpu_ext import exception
from nova_vgpu_ext.host import apply, ledger, mdevctl, snapshot, writer
from nova_vgpu_ext.models import LedgerEntry, MdevDefinition, Snapshot
from nova_vgpu_ext.plan.actions import (
    Action,
    ClearVendorType,
    CreateMdev,
    DefineMdev,
    EnableVfs,
    RemoveMdev,
    SetParameters,
    SetVendorType,
    UndefineMdev,
)
from nova_vgpu_ext.sim import kernel as sim
from nova_vgpu_ext.sim import profile as profiles
from tests import base
from tests.unit.host.hosts import (
    A40,
    A40_VF,
    HELD,
    L40S_FREE,
    L40S_VF,
    V100,
    V100_FREE,
    small_host,
)

UUID = 'd878445d-df99-4510-b467-c67a4c1a7c34'
OTHER = '0b7d9f4e-5f0b-4a52-9f61-6c1f5a3c2d10'
ON_VF = '7a1e2c3d-6b5a-4d8e-a9f0-2c4b6d8f0e13'
GUEST = '4f3c1a6e-8f57-4c7c-8d22-1f7c1b8e9a02'

Fault = OSError | writer.Timeout


class RecordingKernel:
    """Keeps every write, and fails where a test says.

    :param kernel: takes the writes that do not fail.
    """

    def __init__(self, kernel: sim.SimulatedKernel) -> None:
        self._kernel = kernel
        self.writes: list[tuple[str, str]] = []
        #: By the end of a path.
        self.faults: dict[str, Fault] = {}

    def write(self, path: str, text: str) -> None:
        """Keep a write, then fail or do it."""
        self.writes.append((os.path.relpath(path, self._kernel.root), text))
        for end, fault in self.faults.items():
            if path.endswith(end):
                raise fault
        self._kernel.write(path, text)

    def enable_vfs(self, address: str) -> None:
        """Enable the functions of a card."""
        self.writes.append(('sriov-manage', address))
        if 'sriov-manage' in self.faults:
            raise self.faults['sriov-manage']
        self._kernel.enable_vfs(address)


def error_of(number: int) -> OSError:
    """Make an error as the kernel gives it."""
    return OSError(number, os.strerror(number))


class ApplyTestCase(base.TestCase):
    """A simulated host with both frameworks, and what keeps its state."""

    vfs = True

    def setUp(self) -> None:
        super().setUp()
        self.temp = self.temp_dir()
        self.root = str(self.temp / 'sys')
        sim.build(self.profile(), self.root, vfs=self.vfs)
        self.kernel = RecordingKernel(sim.SimulatedKernel(self.root))
        self.mdevctl = mdevctl.Mdevctl(
            str(self.temp / 'mdevctl.d'),
            str(self.temp / 'aside'),
            self.root,
        )
        (self.temp / 'state').mkdir()
        self.ledger = ledger.Ledger(str(self.temp / 'state'))
        self.users: dict[str, list[str]] = {}

    def profile(self) -> profiles.Profile:
        """Give the host to build."""
        return small_host()

    def applier(self) -> apply.Applier:
        """Make what applies steps to the host."""
        return apply.Applier(
            self.kernel,
            self.root,
            self.mdevctl,
            self.ledger,
            lambda name: self.users.get(name, []),
        )

    def run_all(self, *actions: Action) -> list[Action]:
        """Apply steps as a command does.

        :returns: those that changed something.
        """
        with self.applier() as applier:
            return list(applier.run(actions))

    def refused(self, *actions: Action) -> str:
        """Apply steps that fail, and give the one line that says why."""
        error = self.assertRaises(
            exception.ActionFailed, self.run_all, *actions
        )
        self.assertNotIn('\n', str(error))
        return str(error)

    def host(self) -> Snapshot:
        """Read the host as it is now."""
        return snapshot.observe(self.root, None)

    def read(self, path: str) -> str:
        """Read a file of the host."""
        return pathlib.Path(self.root, path).read_text().strip()

    def vf(self, address: str = L40S_VF) -> str:
        """Read the type that a function has."""
        path = f'bus/pci/devices/{address}/nvidia/current_vgpu_type'
        return self.read(path)


DEFINITION = MdevDefinition(UUID, V100_FREE, 'nvidia-194', True)

#: Every kind of step, each possible on the profile.
STEPS: Mapping[str, Action] = {
    'create': CreateMdev(UUID, V100_FREE, 'nvidia-194'),
    'create on a VF': CreateMdev(ON_VF, A40_VF, 'nvidia-557'),
    'define': DefineMdev(DEFINITION),
    'undefine': UndefineMdev(
        MdevDefinition(OTHER, V100_FREE, 'nvidia-194', True), 'no room'
    ),
    'set type': SetVendorType(L40S_FREE, '1153'),
    'clear type': ClearVendorType(L40S_VF, '1148'),
    'parameters of an mdev': SetParameters(OTHER, 'disable_vnc=1'),
    'parameters of a VF': SetParameters(L40S_VF, 'disable_vnc=1,enable_uvm=1'),
    'remove': RemoveMdev(OTHER, V100_FREE, 'nvidia-194'),
}


class StepsTest(ApplyTestCase):
    """Each step, and each a second time."""

    def setUp(self) -> None:
        super().setUp()
        self.run_all(
            CreateMdev(OTHER, V100_FREE, 'nvidia-194'),
            DefineMdev(MdevDefinition(OTHER, V100_FREE, 'nvidia-194', True)),
        )
        self.kernel.writes.clear()

    def test_a_second_time_nothing_is_done(self) -> None:
        """After a crash all steps are planned and applied again."""
        for name, step in STEPS.items():
            self.assertEqual([step], self.run_all(step), name)
            before = self.host(), self.mdevctl.read(), self.ledger.read()
            self.assertEqual([], self.run_all(step), name)
            after = self.host(), self.mdevctl.read(), self.ledger.read()
            self.assertEqual(before, after, name)

    def test_create(self) -> None:
        """The mdev is where and what it shall be."""
        self.run_all(STEPS['create'], STEPS['create on a VF'])
        found = {m.uuid: (m.parent, m.type_id) for m in self.host().mdevs}
        del found[HELD], found[OTHER]
        self.assertEqual(
            {
                UUID: (V100_FREE, 'nvidia-194'),
                ON_VF: (A40_VF, 'nvidia-557'),
            },
            found,
        )

    def test_remove_takes_one(self) -> None:
        """Its neighbour stays."""
        self.run_all(STEPS['create'], STEPS['remove'])
        (left,) = self.host().device(V100_FREE).mdevs
        self.assertEqual(UUID, left.uuid)

    def test_define_and_undefine(self) -> None:
        """Through the files of mdevctl."""
        self.run_all(STEPS['define'], STEPS['undefine'])
        self.assertEqual((DEFINITION,), self.mdevctl.read())

    def test_undefine_leaves_one_that_has_changed(self) -> None:
        """What was planned on is no longer there."""
        changed = MdevDefinition(OTHER, V100_FREE, 'nvidia-196', True)
        self.mdevctl.define(changed)
        self.assertEqual([], self.run_all(STEPS['undefine']))
        self.assertEqual((changed,), self.mdevctl.read())

    def test_types_of_functions(self) -> None:
        """The number is written, and 0 takes it away."""
        self.run_all(STEPS['set type'], STEPS['clear type'])
        self.assertEqual('1153', self.vf(L40S_FREE))
        self.assertEqual('0', self.vf())
        self.run_all(SetVendorType(L40S_VF, '1153'))
        self.assertEqual('1153', self.vf())

    def test_parameters(self) -> None:
        """A write replaces all; nothing at all is one space."""
        path = f'bus/mdev/devices/{OTHER}/nvidia/vgpu_params'
        for text in ('disable_vnc=1', 'enable_uvm=1,frame_rate_limiter=0'):
            self.run_all(SetParameters(OTHER, text))
            self.assertEqual(text, self.read(path))
        self.run_all(SetParameters(OTHER, ''))
        self.assertEqual('', self.read(path))
        self.assertEqual(' ', self.kernel.writes[-1][1])

    def test_a_type_that_no_longer_fits_is_skipped(self) -> None:
        """The card has filled up; that is no error of this step."""
        path = pathlib.Path(
            self.root,
            f'bus/pci/devices/{L40S_FREE}/nvidia/creatable_vgpu_types',
        )
        path.write_text('ID    : vGPU Name\n11530 : NVIDIA L40S-X\n')
        self.assertEqual([], self.run_all(STEPS['set type']))
        self.assertEqual('0', self.vf(L40S_FREE))
        self.assertEqual([], self.kernel.writes)

    def test_the_list_of_types_without_its_header(self) -> None:
        """Some drivers leave the header away, or align in another way."""
        path = pathlib.Path(
            self.root,
            f'bus/pci/devices/{L40S_FREE}/nvidia/creatable_vgpu_types',
        )
        path.write_text('1153:NVIDIA L40S-12Q\n')
        self.assertEqual([STEPS['set type']], self.run_all(STEPS['set type']))

    def test_each_step_is_given_as_soon_as_it_is_done(self) -> None:
        """So that a person sees how far a command that hangs has come."""
        with self.applier() as applier:
            steps = applier.run([STEPS['create'], STEPS['remove']])
            self.assertEqual(STEPS['create'], next(steps))
            self.assertEqual(1, len(self.kernel.writes))

    def test_what_was_done_before_a_failure_stays(self) -> None:
        """And the next run goes on from there."""
        self.kernel.faults['/remove'] = error_of(errno.EIO)
        self.refused(STEPS['create'], STEPS['remove'], STEPS['set type'])
        self.assertEqual('0', self.vf(L40S_FREE))
        del self.kernel.faults['/remove']
        again = [STEPS['create'], STEPS['remove'], STEPS['set type']]
        self.assertEqual(again[1:], self.run_all(*again))


class VfsTest(ApplyTestCase):
    """Virtual functions after a boot."""

    vfs = False

    def test_they_are_enabled_once(self) -> None:
        """Through NVIDIA's program, which resets the card's functions."""
        step = EnableVfs(A40)
        self.assertEqual([step], self.run_all(step))
        self.assertEqual(2, len(self.host().device(A40).vfs))
        self.assertEqual([], self.run_all(step))
        self.assertEqual([('sriov-manage', A40)], self.kernel.writes)

    def test_it_fails(self) -> None:
        """What the program said is the error."""
        self.kernel.faults['sriov-manage'] = exception.ActionFailed(
            'sriov-manage', 'Cannot obtain unbindLock', 'functions', 'wait'
        )
        self.assertIn('unbindLock', self.refused(EnableVfs(A40)))

    def test_a_card_without_functions(self) -> None:
        """One line, where the simulated kernel has an error number."""
        self.assertIn(V100, self.refused(EnableVfs(V100)))


class VirtualParentTest(ApplyTestCase):
    """A parent below /sys/devices/virtual, by its libvirt name."""

    def profile(self) -> profiles.Profile:
        """Give the host of the kernel's sample driver."""
        return profiles.load('mtty')

    def test_mdevs_of_mtty(self) -> None:
        """mtty_mtty is the folder mtty in the folder mtty."""
        create = CreateMdev(UUID, 'mtty_mtty', 'mtty-2')
        self.assertEqual([create], self.run_all(create))
        self.assertEqual([], self.run_all(create))
        (mdev,) = self.host().mdevs
        self.assertEqual(('mtty_mtty', 'mtty-2'), (mdev.parent, mdev.type_id))
        remove = RemoveMdev(UUID, 'mtty_mtty', 'mtty-2')
        self.assertEqual([remove], self.run_all(remove))
        self.assertEqual([], list(self.host().mdevs))

    def test_a_name_with_several_underlines(self) -> None:
        """Libvirt joins with them, and a name may have its own."""
        folder = pathlib.Path(self.root, 'devices/virtual')
        (folder / 'a_b/c').mkdir(parents=True)
        (folder / 'mtty/mtty').rename(folder / 'a_b/c/mtty')
        self.kernel.faults['/create'] = error_of(errno.ENOSPC)
        self.refused(CreateMdev(UUID, 'a_b_c', 'mtty-2'))
        self.assertEqual(
            'devices/virtual/a_b/c/mdev_supported_types/mtty-2/create',
            self.kernel.writes[-1][0],
        )

    def test_a_parent_that_is_not_there(self) -> None:
        """It is gone, or never was."""
        self.assertIn('none', self.refused(CreateMdev(UUID, 'none', 'x-1')))


class ErrorsTest(ApplyTestCase):
    """What the kernel refuses, in words."""

    def setUp(self) -> None:
        super().setUp()
        self.run_all(CreateMdev(OTHER, V100_FREE, 'nvidia-194'))
        self.kernel.writes.clear()
        #: The steps that write one file, and which.
        self.steps = {
            '/create': STEPS['create'],
            '/remove': STEPS['remove'],
            '/current_vgpu_type': STEPS['set type'],
            '/vgpu_params': STEPS['parameters of an mdev'],
        }

    def errors(
        self, number: int, files: Iterable[str] | None = None
    ) -> dict[str, str]:
        """Let a write fail; give the line, by the file."""
        found = {}
        for file in self.steps if files is None else files:
            self.kernel.faults = {file: error_of(number)}
            line = self.refused(self.steps[file])
            path = os.path.join(self.root, self.kernel.writes[-1][0])
            self.assertTrue(path.endswith(file))
            self.assertIn(path, line)
            found[file] = line
        return found

    def test_no_permission(self) -> None:
        """A user who is not root, or a container without privilege."""
        for number in (errno.EACCES, errno.EPERM, errno.EROFS):
            for line in self.errors(number).values():
                self.assertIn(os.strerror(number).lower(), line)
                self.assertIn('root', line)
                self.assertIn('container', line)

    def test_no_room(self) -> None:
        """Somebody was faster, or the counts were wrong."""
        line = self.errors(errno.ENOSPC, ['/create'])['/create']
        self.assertIn('no room', line)
        self.assertIn('nova-vgpu type list', line)

    def test_a_device_that_vanished(self) -> None:
        """It fell off the bus, or its driver was unloaded."""
        files = ['/create', '/current_vgpu_type', '/vgpu_params']
        for number in (errno.ENODEV, errno.ENOENT, errno.ENXIO):
            for line in self.errors(number, files).values():
                self.assertIn('vanished', line)

    def test_a_device_that_is_in_use(self) -> None:
        """A guest came in between."""
        for line in self.errors(errno.EBUSY).values():
            self.assertIn('in use', line)
            self.assertIn('stop the guest', line)

    def test_anything_else(self) -> None:
        """The kernel's own word, and where it says more."""
        for number in (errno.EINVAL, errno.EIO):
            for line in self.errors(number).values():
                self.assertIn(os.strerror(number).lower(), line)
                self.assertIn('kernel log', line)

    def test_a_type_that_is_set_already(self) -> None:
        """Some drivers say so; that is no traceback."""
        self.errors(errno.EEXIST, ['/current_vgpu_type', '/vgpu_params'])

    def test_an_error_without_a_number(self) -> None:
        """The process that writes was killed."""
        self.kernel.faults['/create'] = OSError('the process has ended')
        line = self.refused(STEPS['create'])
        self.assertIn('the process has ended', line)

    def test_no_answer(self) -> None:
        """What may still happen, and where to look."""
        for file, step in self.steps.items():
            self.kernel.faults = {file: writer.Timeout()}
            line = self.refused(step)
            path = os.path.join(self.root, self.kernel.writes[-1][0])
            for part in (path, str(step), '[vgpu] write_timeout', 'may still'):
                self.assertIn(part, line)

    def test_a_removal_that_somebody_else_made(self) -> None:
        """The mdev goes between the look and the write."""
        for number in (errno.ENOENT, errno.ENODEV):
            self.kernel.faults['/remove'] = error_of(number)
            self.assertEqual([], self.run_all(STEPS['remove']))

    def test_the_uuid_is_another_gpus(self) -> None:
        """The kernel's word is the same as for one that is there as wanted."""
        for step in (
            CreateMdev(OTHER, V100_FREE, 'nvidia-196'),
            CreateMdev(HELD, V100_FREE, 'nvidia-194'),
            CreateMdev(OTHER, A40_VF, 'nvidia-557'),
        ):
            self.kernel.faults['/create'] = error_of(errno.EEXIST)
            line = self.refused(step)
            self.assertIn(step.uuid, line)
            self.assertIn('another UUID', line)

    def test_a_gpu_or_type_that_is_not_there(self) -> None:
        """Nothing is made elsewhere."""
        for step in (
            CreateMdev(UUID, '0000:77:00.0', 'nvidia-194'),
            CreateMdev(UUID, V100_FREE, 'nvidia-999'),
            SetVendorType('0000:77:00.0', '1153'),
            ClearVendorType('0000:77:00.0', '1153'),
            SetParameters(UUID, 'disable_vnc=1'),
            SetParameters('0000:77:00.0', 'disable_vnc=1'),
        ):
            self.assertIn('vanished', self.refused(step))

    def test_files_that_cannot_be_written(self) -> None:
        """A definition, on a full disk or a file system that is read-only."""
        (self.temp / 'mdevctl.d').mkdir()
        for number, words in (
            (errno.ENOSPC, 'no room'),
            (errno.EROFS, 'read-only'),
        ):
            self.patch('os.fsync', _failing(number))
            line = self.refused(STEPS['define'])
            self.assertIn(str(self.temp / 'mdevctl.d'), line)
            self.assertIn(words, line)

    def test_bytes_in_a_file_of_sysfs(self) -> None:
        """A driver that prints nonsense is no traceback."""
        path = f'bus/pci/devices/{L40S_FREE}/nvidia/current_vgpu_type'
        pathlib.Path(self.root, path).write_bytes(b'\xff\xfe')
        self.run_all(STEPS['set type'])


def _failing(number: int) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise error_of(number)

    return fail


#: Texts that are no UUID, address, type or parameters.
HOSTILE = (
    '',
    '.',
    '..',
    '../../../../etc',
    '/etc/passwd',
    'a/b',
    'a\nb',
    'a\0b',
    'a b',
    ' ',
    '\u0661\u0669\u0664',
    'x' * 10_000,
    '%s',
    '-1',
)

#: Parts of the real thing with something more.
NEARLY = (
    f'{UUID}\n',
    f' {UUID}',
    f'../{UUID}',
    f'{UUID}/../{HELD}',
    f'{V100}\n',
    f'{V100}/../{A40_VF}',
    f'{V100[:-1]}8',
    V100.replace('a', 'A'),
    'nvidia-194/..',
    'nvidia-194\n',
    'mtty_mtty/..',
    'mtty_..',
    '1153\n',
    '1153 0',
    '1153,',
    'disable_vnc=1\n',
    'disable_vnc=1\0',
    'disable_vnc=10',
    'disable_vnc= 1',
    'disable_vnc=1;enable_uvm=1',
    'DISABLE_VNC=1',
    'disable_vnc=',
    '=1',
)


class HostileTest(ApplyTestCase):
    """Texts that must not reach the kernel, in every field of a step."""

    def test_nothing_is_written(self) -> None:
        """Neither below sysfs nor in the definitions, nor remembered."""
        for text in (*HOSTILE, *NEARLY):
            for step in self._steps(text):
                self.refused(step)
                self.assertEqual([], self.kernel.writes, repr(step)[:200])
        self.assertEqual({}, self.ledger.read())
        self.assertFalse((self.temp / 'mdevctl.d').exists())

    def test_uuids_in_another_spelling(self) -> None:
        """The kernel takes some of them, and names the device otherwise."""
        for text in (
            UUID.upper(),
            UUID.replace('-', ''),
            f'{{{UUID}}}',
            f'urn:uuid:{UUID}',
        ):
            for step in (
                CreateMdev(text, V100_FREE, 'nvidia-194'),
                RemoveMdev(text, V100_FREE, 'nvidia-194'),
                SetParameters(text, 'disable_vnc=1'),
                DefineMdev(MdevDefinition(text, V100_FREE, 'nvidia-194')),
            ):
                self.refused(step)
        self.assertEqual([], self.kernel.writes)

    def test_the_line_is_short(self) -> None:
        """A terminal shows what was found, not all of it."""
        line = self.refused(CreateMdev('x' * 10_000, V100_FREE, 'nvidia-194'))
        self.assertLess(len(line), 300)

    def _steps(self, text: str) -> list[Action]:
        """Put a text into every field that can hold its kind."""
        definitions = [
            MdevDefinition(text, V100_FREE, 'nvidia-194'),
            MdevDefinition(UUID, text, 'nvidia-194'),
            MdevDefinition(UUID, V100_FREE, text),
        ]
        steps: list[Action] = [
            CreateMdev(text, V100_FREE, 'nvidia-194'),
            CreateMdev(UUID, text, 'nvidia-194'),
            CreateMdev(UUID, V100_FREE, text),
            RemoveMdev(text, V100_FREE, 'nvidia-194'),
            EnableVfs(text),
            SetVendorType(text, '1153'),
            SetVendorType(L40S_FREE, text),
            ClearVendorType(text, '1153'),
            SetParameters(text, 'disable_vnc=1'),
            *map(DefineMdev, definitions),
        ]
        # An empty text clears the parameters.
        if text:
            steps.append(SetParameters(L40S_VF, text))
        return steps


class UsersTest(ApplyTestCase):
    """Who uses a device is asked once more, right before the write."""

    def test_a_user_that_came_after_the_plan(self) -> None:
        """Nothing is written, and the line says who it is."""
        self.run_all(CreateMdev(OTHER, V100_FREE, 'nvidia-194'))
        self.kernel.writes.clear()
        self.users = {
            OTHER: ['process qemu-kvm (4711)', 'domain x (running)'],
            L40S_VF: ['domain y (defined)'],
        }
        line = self.refused(STEPS['remove'])
        for user in self.users[OTHER]:
            self.assertIn(user, line)
        self.assertIn('domain y', self.refused(STEPS['clear type']))
        self.assertEqual([], self.kernel.writes)

    def test_nobody_is_asked_for_what_is_gone(self) -> None:
        """Asking costs a connection to libvirt."""
        self.users = {UUID: ['domain x (running)']}
        step = RemoveMdev(UUID, V100_FREE, 'nvidia-194')
        self.assertEqual([], self.run_all(step))

    def test_an_error_of_libvirt_ends_the_step(self) -> None:
        """Who cannot ask must not write."""

        def fail(name: str) -> list[str]:
            raise exception.LibvirtError('qemu:///system', 'gone', 'start it')

        applier = apply.Applier(
            self.kernel, self.root, self.mdevctl, self.ledger, fail
        )
        self.assertRaises(
            exception.LibvirtError, applier.apply, STEPS['clear type']
        )
        self.assertEqual([], self.kernel.writes)


class LedgerTest(ApplyTestCase):
    """What was made is remembered, so that a reboot can make it again."""

    def test_what_is_made_is_remembered(self) -> None:
        """Where, and of which type."""
        self.run_all(STEPS['create'], STEPS['set type'])
        self.assertEqual(
            {
                UUID: LedgerEntry(UUID, V100_FREE, 'nvidia-194'),
                L40S_FREE: LedgerEntry(L40S_FREE, L40S_FREE, '1153'),
            },
            self.ledger.read(),
        )

    def test_also_when_a_later_step_fails(self) -> None:
        """The mdev is there, whatever the command says in the end."""
        self.kernel.faults['/vgpu_params'] = error_of(errno.EIO)
        self.refused(STEPS['create'], STEPS['parameters of a VF'])
        self.assertEqual({UUID}, set(self.ledger.read()))

    def test_also_when_the_kernel_does_not_answer(self) -> None:
        """It may still make it."""
        self.kernel.faults['/create'] = writer.Timeout()
        self.refused(STEPS['create'])
        self.assertEqual({UUID}, set(self.ledger.read()))

    def test_also_one_that_was_there(self) -> None:
        """A run before may have been killed before it was remembered."""
        self.run_all(STEPS['create'])
        os.unlink(self.ledger.path)
        self.run_all(STEPS['create'])
        self.assertEqual({UUID}, set(self.ledger.read()))

    def test_the_guest_stays(self) -> None:
        """Where the same vGPU comes back; another one is nobody's."""
        entries = [
            LedgerEntry(UUID, V100_FREE, 'nvidia-194', 'vm-1', GUEST),
            LedgerEntry(L40S_FREE, L40S_FREE, '1153', 'vm-2', GUEST),
        ]
        self.ledger.change(entries)
        self.run_all(STEPS['create'], STEPS['set type'])
        self.assertEqual(set(entries), set(self.ledger.read().values()))
        self.run_all(
            STEPS['remove'],
            RemoveMdev(UUID, V100_FREE, 'nvidia-194'),
            CreateMdev(UUID, V100_FREE, 'nvidia-196'),
        )
        self.assertEqual(
            LedgerEntry(UUID, V100_FREE, 'nvidia-196'),
            self.ledger.read()[UUID],
        )

    def test_a_uuid_of_another_gpu_is_not_taken_over(self) -> None:
        """After a reboot its guest would get it on the wrong GPU."""
        entry = LedgerEntry(HELD, V100, 'nvidia-196', 'vm-1', GUEST)
        self.ledger.change([entry])
        self.refused(CreateMdev(HELD, V100_FREE, 'nvidia-194'))
        self.assertEqual(entry, self.ledger.read()[HELD])

    def test_a_ledger_that_cannot_be_used(self) -> None:
        """Nothing is made that could not be remembered."""
        pathlib.Path(self.ledger.path).write_text('{')
        error = self.assertRaises(
            exception.HostError, self.run_all, STEPS['create']
        )
        self.assertIn(self.ledger.path, str(error))
        self.assertEqual([], self.kernel.writes)

    def test_a_full_disk(self) -> None:
        """It is told after the steps are done."""
        self.patch('os.fsync', _failing(errno.ENOSPC))
        error = self.assertRaises(
            exception.HostError, self.run_all, STEPS['create']
        )
        self.assertIn(self.ledger.path, str(error))
        self.assertEqual(UUID, self.host().device(V100_FREE).mdevs[0].uuid)

    def test_a_full_disk_hides_no_other_error(self) -> None:
        """The step that failed is what the user must see."""
        self.patch('os.fsync', _failing(errno.ENOSPC))
        self.kernel.faults['/vgpu_params'] = error_of(errno.EBUSY)
        line = self.refused(STEPS['create'], STEPS['parameters of a VF'])
        self.assertIn('in use', line)
        self.assertTrue(any(self.ledger.path in s for s in self.logs.lines))
