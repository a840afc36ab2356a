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
"""A simulated host that takes writes, against its own rules."""

from __future__ import annotations

import errno
import json
import os
import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any

import hypothesis
from hypothesis import strategies as st

from nova_vgpu_ext import exception
from nova_vgpu_ext.host import snapshot
from nova_vgpu_ext.sim import builder, kernel, state
from nova_vgpu_ext.sim import profile as profiles
from tests import base
from tests.unit.host import expected
from tests.unit.sim.hosts import (
    A40,
    A40_TYPES,
    GUEST_UUID,
    L40S,
    UUIDS,
    V100,
    V100_TYPES,
    VENDOR_VFS,
    VFS,
    Host,
    host,
)


def dump(root: str) -> dict[str, str]:
    """Give everything of a tree by path, groups by what is in them."""
    groups: dict[str, str] = {}
    folder = os.path.join(root, 'kernel/iommu_groups')
    for number in os.listdir(folder):
        (device,) = os.listdir(os.path.join(folder, number, 'devices'))
        groups[number] = device
    found = {}
    for path, text in _walk(root, ''):
        parts = path.split('/')
        if parts[:2] == ['kernel', 'iommu_groups'] and len(parts) > 2:
            parts[2] = groups[parts[2]]
        if parts[-1] == 'iommu_group':
            text = text.replace(
                os.path.basename(text), groups[os.path.basename(text)]
            )
        found['/'.join(parts)] = text
    return found


def _walk(root: str, below: str) -> Iterator[tuple[str, str]]:
    for entry in os.scandir(os.path.join(root, below)):
        path = os.path.join(below, entry.name)
        if path == kernel.FOLDER:
            continue
        if entry.is_symlink():
            yield path, f'-> {os.readlink(entry.path)}'
        elif entry.is_dir():
            yield path, 'folder'
            yield from _walk(root, path)
        else:
            yield path, pathlib.Path(entry.path).read_text()


class KernelTestCase(base.TestCase):
    """The small host, with every virtual function."""

    def setUp(self) -> None:
        super().setUp()
        self.host = Host(str(self.temp_dir()), host())

    def whole(self, at: Host | None = None) -> None:
        """Check that a tree is the one that its description would give."""
        at = at or self.host
        with at.kernel.locked() as profile:
            pass
        with tempfile.TemporaryDirectory() as folder:
            fresh = os.path.join(folder, 'sys')
            builder.build(profile, fresh)
            self.assertEqual(dump(fresh), dump(at.root))


class MdevTest(KernelTestCase):
    """Making and removing mdevs."""

    def test_one_type_at_a_time(self) -> None:
        """As on a V100: the others fall to none, and come back."""
        self.assertEqual(2, self.host.available(V100, 'nvidia-194'))
        self.assertEqual(0, self.host.available(V100, 'nvidia-196'))
        self.assertEqual(
            errno.ENOSPC, self.host.create(V100, 'nvidia-196', UUIDS[0])
        )
        for uuid in UUIDS[:2]:
            self.assertEqual(0, self.host.create(V100, 'nvidia-194', uuid))
        self.assertEqual(0, self.host.available(V100, 'nvidia-194'))
        self.assertEqual(
            errno.ENOSPC, self.host.create(V100, 'nvidia-194', UUIDS[2])
        )
        self.whole()

    def test_functions_share_the_card(self) -> None:
        """One on each; a large one leaves less to the others."""
        self.assertEqual(0, self.host.create(VFS[0], 'nvidia-558', UUIDS[0]))
        self.assertEqual(0, self.host.available(VFS[0], 'nvidia-557'))
        self.assertEqual(1, self.host.available(VFS[1], 'nvidia-558'))
        self.assertEqual(0, self.host.create(VFS[1], 'nvidia-557', UUIDS[1]))
        self.assertEqual(0, self.host.available(VFS[2], 'nvidia-558'))
        self.assertEqual(1, self.host.available(VFS[2], 'nvidia-557'))
        self.whole()

    def test_the_kernels_errors(self) -> None:
        """The numbers of mdev in the kernel (drivers/vfio/mdev)."""
        self.assertEqual(0, self.host.create(V100, 'nvidia-194', UUIDS[0]))
        for address, type_id, uuid, number in (
            (V100, 'nvidia-194', UUIDS[0], errno.EEXIST),
            (VFS[0], 'nvidia-557', UUIDS[0], errno.EEXIST),
            (V100, 'nvidia-194', 'x', errno.EINVAL),
            (V100, 'nvidia-194', '', errno.EINVAL),
            (V100, 'nvidia-194', UUIDS[1] + 'a', errno.EINVAL),
            (V100, 'nvidia-194', f' {UUIDS[1]}', errno.EINVAL),
            (V100, 'nvidia-194', f'{{{UUIDS[1]}}}', errno.EINVAL),
            (V100, 'nvidia-194', UUIDS[1].replace('-', ''), errno.EINVAL),
            (V100, 'nvidia-999', UUIDS[1], errno.ENOENT),
            ('0000:77:00.0', 'nvidia-194', UUIDS[1], errno.ENOENT),
        ):
            found = self.host.create(address, type_id, uuid)
            self.assertEqual(number, found, (address, type_id, uuid))
        self.whole()

    def test_the_end_of_the_line_and_the_case(self) -> None:
        """ "echo" adds the one; the kernel prints lower case."""
        uuid = '0B7D9F4E-5F0B-4A52-9F61-6C1F5A3C2D10'
        self.assertEqual(0, self.host.create(V100, 'nvidia-194', f'{uuid}\n'))
        names = {m.uuid for m in self.host.observe().mdevs}
        self.assertEqual({GUEST_UUID, uuid.lower()}, names)

    def test_remove(self) -> None:
        """What it took is free again, and no trace is left."""
        before = dump(self.host.root)
        self.assertEqual(0, self.host.create(VFS[0], 'nvidia-557', UUIDS[0]))
        self.assertNotEqual(before, dump(self.host.root))
        self.assertEqual(0, self.host.remove(UUIDS[0]))
        self.assertEqual(before, dump(self.host.root))
        self.assertEqual(errno.ENOENT, self.host.remove(UUIDS[0]))

    def test_what_is_written_to_remove(self) -> None:
        """0 does nothing, and what is no number is refused."""
        path = f'bus/mdev/devices/{UUIDS[0]}/remove'
        self.host.create(VFS[0], 'nvidia-557', UUIDS[0])
        self.assertEqual(0, self.host.write(path, '0'))
        self.assertEqual(errno.EINVAL, self.host.write(path, 'yes'))
        self.whole()
        self.assertEqual(0, self.host.write(path, '1\n'))

    def test_a_guest_keeps_its_mdev(self) -> None:
        """A real kernel would wait until the guest ends."""
        self.assertEqual(errno.EBUSY, self.host.remove(GUEST_UUID))
        self.whole()

    def test_what_takes_no_write(self) -> None:
        """Files that only tell, folders, and what is outside."""
        outside = pathlib.Path(self.host.root).parent / 'vgpu_params'
        outside.write_text('x')
        for path, number in (
            (f'bus/pci/devices/{V100}/vendor', errno.EACCES),
            (f'{self.host.type_folder(V100, "nvidia-194")}/name', 13),
            (f'bus/pci/devices/{V100}', errno.ENOENT),
            ('create', errno.ENOENT),
            ('../vgpu_params', errno.ENOENT),
            ('/etc/hostname', errno.ENOENT),
        ):
            self.assertEqual(number, self.host.write(path, '1'), path)
        self.assertEqual('x', outside.read_text())
        self.whole()


class VendorTest(KernelTestCase):
    """Types of functions, and plugin parameters."""

    def test_functions_share_the_card(self) -> None:
        """The list shrinks as neighbours fill."""
        self.assertEqual({'1148', '1153'}, self.host.creatable(VENDOR_VFS[2]))
        for vf in VENDOR_VFS[:2]:
            self.assertEqual(0, self.host.set_type(vf, '1153'))
        self.assertEqual(set(), self.host.creatable(VENDOR_VFS[2]))
        self.assertEqual(
            errno.ENOSPC, self.host.set_type(VENDOR_VFS[2], '1148')
        )
        self.assertEqual(0, self.host.set_type(VENDOR_VFS[0], '0'))
        self.assertEqual(0, self.host.set_type(VENDOR_VFS[2], '1148'))
        self.whole()

    def test_the_drivers_errors(self) -> None:
        """A type must be known, free, and set where none is."""
        self.host.set_type(VENDOR_VFS[0], '1148')
        for vf, text, number in (
            (VENDOR_VFS[1], 'x', errno.EINVAL),
            (VENDOR_VFS[1], '', errno.EINVAL),
            (VENDOR_VFS[1], '-1', errno.EINVAL),
            (VENDOR_VFS[1], '9999', errno.EINVAL),
            (VENDOR_VFS[0], '1153', errno.EEXIST),
            (VFS[0], '1153', errno.ENOENT),
            (L40S, '1153', errno.ENOENT),
        ):
            self.assertEqual(number, self.host.set_type(vf, text), (vf, text))
        self.assertEqual(0, self.host.set_type(VENDOR_VFS[1], '0'))
        self.whole()

    def test_parameters(self) -> None:
        """A write replaces all, a space clears; both frameworks."""
        self.host.create(VFS[0], 'nvidia-557', UUIDS[0])
        for folder in (
            f'bus/mdev/devices/{UUIDS[0]}/nvidia',
            f'bus/pci/devices/{VENDOR_VFS[0]}/nvidia',
        ):
            path = f'{folder}/vgpu_params'
            for text in ('disable_vnc=1\n', 'enable_uvm=1,disable_vnc=0'):
                self.assertEqual(0, self.host.write(path, text))
                self.assertEqual(text.strip(), self.host.read(path))
                self.whole()
            for text in ('x' * 2000, 'a\nb', 'a\0b', '\x1b[0m'):
                found = self.host.write(path, text)
                self.assertEqual(errno.EINVAL, found, text)
            self.whole()
            self.assertEqual(0, self.host.write(path, ' '))
            self.assertEqual('', self.host.read(path))

    def test_parameters_go_with_their_mdev(self) -> None:
        """The next one has none."""
        path = f'bus/mdev/devices/{UUIDS[0]}/nvidia/vgpu_params'
        self.host.create(VFS[0], 'nvidia-557', UUIDS[0])
        self.host.write(path, 'disable_vnc=1')
        self.host.remove(UUIDS[0])
        self.host.create(VFS[0], 'nvidia-557', UUIDS[0])
        self.assertEqual('', self.host.read(path))
        self.whole()


class BootTest(KernelTestCase):
    """What a reboot takes away, and what brings it back."""

    def test_only_the_cards_stay(self) -> None:
        """No mdev, no function, no type, no parameter."""
        self.host.create(V100, 'nvidia-194', UUIDS[0])
        self.host.set_type(VENDOR_VFS[0], '1153')
        kernel.reboot(self.host.root)
        found = self.host.observe()
        self.assertEqual([], list(found.mdevs))
        self.assertEqual(
            [V100, A40, L40S], [g.address for g in found.gpus][:3]
        )
        self.assertEqual((), tuple(vf for g in found.gpus for vf in g.vfs))
        self.assertEqual(3, self.host.available(V100, 'nvidia-194'))
        self.whole()

    def test_functions_come_back(self) -> None:
        """The same ones, with nothing on them."""
        self.host.create(VFS[1], 'nvidia-557', UUIDS[0])
        self.host.set_type(VENDOR_VFS[0], '1153')
        self.host.write(
            f'bus/pci/devices/{VENDOR_VFS[0]}/nvidia/vgpu_params', 'a=1'
        )
        kernel.reboot(self.host.root)
        for card in (A40, L40S):
            self.host.kernel.enable_vfs(card)
            self.whole()
        found = self.host.observe()
        self.assertEqual(VFS, [vf.address for vf in found.device(A40).vfs])
        vf = found.device(VENDOR_VFS[0])
        self.assertEqual((None, None), (vf.current_type, vf.parameters))
        self.assertEqual({'1148', '1153'}, self.host.creatable(VENDOR_VFS[0]))
        self.assertEqual(0, self.host.create(VFS[1], 'nvidia-557', UUIDS[0]))

    def test_enabling_twice_takes_nothing_away(self) -> None:
        """As sriov-manage on a card whose functions are there."""
        self.host.create(VFS[1], 'nvidia-557', UUIDS[0])
        before = dump(self.host.root)
        self.host.kernel.enable_vfs(A40)
        self.assertEqual(before, dump(self.host.root))

    def test_cards_without_functions(self) -> None:
        """There is nothing to enable."""
        for address in (V100, '0000:77:00.0', VFS[0], 'mtty_mtty', ''):
            error = self.assertRaises(
                OSError, self.host.kernel.enable_vfs, address
            )
            self.assertEqual(errno.ENODEV, error.errno)

    def test_a_host_built_as_after_a_boot(self) -> None:
        """The same as one that was booted."""
        other = os.path.join(self.temp_dir(), 'sys')
        kernel.build(host(), other, vfs=False)
        kernel.reboot(self.host.root)
        self.assertEqual(dump(other), dump(self.host.root))

    def test_what_is_kept_beside_the_tree_stays(self) -> None:
        """The ledger and the persistent definitions are on a disk."""
        kept = os.path.join(self.host.root, kernel.FOLDER, 'mdevctl.d', 'x')
        os.makedirs(os.path.dirname(kept))
        pathlib.Path(kept).write_text('x')
        kernel.reboot(self.host.root)
        self.assertEqual('x', pathlib.Path(kept).read_text())


class ReaderTest(KernelTestCase):
    """Who reads while it changes."""

    def test_what_a_bus_lists_is_whole(self) -> None:
        """A reader starts at the bus, and must not find half a device."""
        kernel.reboot(self.host.root)
        seen: dict[str, list[str]] = {}
        symlink = os.symlink

        def link(target: str, path: str) -> None:
            symlink(target, path)
            if os.path.relpath(path, self.host.root).startswith('bus/'):
                seen[path] = sorted(p for p, _ in _walk(path, ''))

        self.patch('os.symlink', link)
        for card in (A40, L40S):
            self.host.kernel.enable_vfs(card)
        self.host.create(VFS[0], 'nvidia-557', UUIDS[0])
        devices = {p: names for p, names in seen.items() if '/devices/' in p}
        self.assertEqual(len(VFS) + len(VENDOR_VFS) + 1, len(devices))
        for path, names in devices.items():
            now = [
                p
                for p, _ in _walk(path, '')
                # The mdev that came later.
                if UUIDS[0] not in p or UUIDS[0] in path
            ]
            self.assertEqual(sorted(now), names, path)

    def test_what_goes_leaves_the_bus_first(self) -> None:
        """It is whole until nothing lists it."""
        self.host.create(VFS[0], 'nvidia-557', UUIDS[0])
        link = os.path.join(self.host.root, 'bus/mdev/devices', UUIDS[0])
        whole = sorted(p for p, _ in _walk(link, ''))
        unlink = os.unlink

        def watch(path: str, **other: Any) -> None:
            if os.path.islink(link):
                self.assertEqual(whole, sorted(p for p, _ in _walk(link, '')))
            unlink(path, **other)

        self.patch('os.unlink', watch)
        self.host.remove(UUIDS[0])
        self.assertFalse(os.path.lexists(link))


class StateTest(KernelTestCase):
    """What is kept of a host, and what is none."""

    def test_what_is_kept_is_read(self) -> None:
        """Every bundled host, changed or not."""
        for name in profiles.names():
            profile = profiles.load(name)
            text = state.dump(profile)
            self.assertEqual(profile, state.load(name, text), name)
            self.assertEqual(text, state.dump(state.load(name, text)))

    def test_types_are_kept_once(self) -> None:
        """A host with 512 functions has no 512 copies of them."""
        large = state.dump(profiles.load('large'))
        self.assertLess(len(large), 1 << 20)

    def test_another_kernel_goes_on(self) -> None:
        """Each command is a program of its own."""
        self.host.create(V100, 'nvidia-194', UUIDS[0])
        other = kernel.SimulatedKernel(self.host.root)
        path = f'{self.host.root}/bus/mdev/devices/{UUIDS[0]}/remove'
        other.write(path, '1')
        self.whole()

    def test_a_folder_that_is_no_such_host(self) -> None:
        """One that was only built takes no writes."""
        other = os.path.join(self.temp_dir(), 'sys')
        builder.build(host(), other)
        self.assertFalse(kernel.is_simulated(other))
        self.assertFalse(kernel.is_simulated('/none'))
        self.assertTrue(kernel.is_simulated(self.host.root))

    def test_a_corrupt_state(self) -> None:
        """One line that names the file; the tree stays as it is."""
        file = pathlib.Path(self.host.root, kernel.FOLDER, 'host.json')
        good = file.read_text()
        before = dump(self.host.root)
        for text in (
            b'',
            b'{',
            b'null',
            b'7',
            b'[]',
            b'{}',
            b'\xff\xfe',
            b'[' * 100_000,
            good[: len(good) // 2].encode(),
        ):
            file.write_bytes(text)
            self._refused(str(file))
        self.assertEqual(before, dump(self.host.root))

    def test_a_state_of_another_shape(self) -> None:
        """Each value in turn is replaced by one of another kind."""
        file = pathlib.Path(self.host.root, kernel.FOLDER, 'host.json')
        good = json.loads(file.read_text())
        for path in list(_paths(good)):
            for value in (None, 7, 'x', [], {}, [None], {'x': 1}):
                data = json.loads(json.dumps(good))
                _set(data, path, value)
                try:
                    state.load(str(file), json.dumps(data))
                except exception.ConfigError as error:
                    self.assertIn(str(file), str(error))
                    self.assertNotIn('\n', str(error))

    def _refused(self, file: str) -> None:
        error = self.assertRaises(
            exception.ConfigError,
            self.host.create,
            V100,
            'nvidia-194',
            UUIDS[0],
        )
        self.assertIn(file, str(error))
        self.assertNotIn('\n', str(error))


_Path = tuple[str | int, ...]


def _paths(data: Any, path: _Path = ()) -> Iterator[_Path]:
    """Name every value, of each list the first only."""
    if path:
        yield path
    pairs: list[tuple[Any, Any]] = []
    if isinstance(data, dict):
        pairs = list(data.items())
    elif isinstance(data, list):
        pairs = list(enumerate(data))[:1]
    for key, value in pairs:
        yield from _paths(value, (*path, key))


def _set(data: Any, path: _Path, value: Any) -> None:
    for key in path[:-1]:
        data = data[key]
    data[path[-1]] = value


class Model:
    """What a host should be after some writes, in the words of a user.

    Room is what the host itself shows before the write: who reads that there
    is room gets it, and who reads that there is none is refused.
    """

    def __init__(self, at: Host) -> None:
        self.host = at
        self.mdevs = {GUEST_UUID: (V100, 'nvidia-194')}
        self.parameters: dict[str, str] = {}
        self.types: dict[str, str] = {}
        self.functions = {A40, L40S}

    def create(self, address: str, type_id: str, uuid: str) -> int:
        """Make an mdev; give the error that a user expects."""
        number = 0
        if not self._is_there(address):
            number = errno.ENOENT
        elif uuid in self.mdevs:
            number = errno.EEXIST
        elif self.host.available(address, type_id) == 0:
            number = errno.ENOSPC
        else:
            self.mdevs[uuid] = (address, type_id)
        return number

    def remove(self, uuid: str) -> int:
        """Remove an mdev."""
        if uuid not in self.mdevs:
            return errno.ENOENT
        if uuid == GUEST_UUID:
            return errno.EBUSY
        del self.mdevs[uuid]
        self.parameters.pop(uuid, None)
        return 0

    def set_type(self, vf: str, type_id: str) -> int:
        """Set the type of a function, or take it away."""
        if not self._is_there(vf):
            return errno.ENOENT
        if type_id == '0':
            self.types.pop(vf, None)
            return 0
        if vf in self.types:
            return errno.EEXIST
        if type_id not in self.host.creatable(vf):
            return errno.ENOSPC
        self.types[vf] = type_id
        return 0

    def boot(self) -> None:
        """Lose everything but the cards."""
        self.mdevs.clear()
        self.parameters.clear()
        self.types.clear()
        self.functions.clear()

    def _is_there(self, address: str) -> bool:
        card = {**dict.fromkeys(VFS, A40), **dict.fromkeys(VENDOR_VFS, L40S)}
        return card.get(address) in {None, *self.functions}


_PLACES = [
    *((V100, t.id) for t in V100_TYPES),
    *((vf, t.id) for vf in VFS for t in A40_TYPES),
    *(('mtty_mtty', t) for t in ('mtty-1', 'mtty-2')),
]
_CREATE = st.tuples(
    st.just('create'), st.sampled_from(_PLACES), st.sampled_from(UUIDS)
)
_REMOVE = st.tuples(st.just('remove'), st.sampled_from([*UUIDS, GUEST_UUID]))
_TYPE = st.tuples(
    st.just('type'),
    st.sampled_from(VENDOR_VFS),
    st.sampled_from(['0', '1148', '1153']),
)
_PARAMETERS = st.tuples(
    st.just('parameters'),
    st.sampled_from([*UUIDS[:4], *VENDOR_VFS]),
    st.sampled_from(['disable_vnc=1', 'enable_uvm=1', ' ']),
)
_ENABLE = st.tuples(st.just('enable'), st.sampled_from([A40, L40S]))
_REBOOT = st.tuples(st.just('reboot'))
#: What happens more often stands there more often.
_WRITES = st.one_of(
    *(_CREATE, _CREATE, _CREATE, _REMOVE, _REMOVE, _TYPE, _TYPE, _PARAMETERS),
    *(_ENABLE, _REBOOT),
)

_EVERY_OUTCOME = [
    ('create', (V100, 'nvidia-194'), UUIDS[0]),
    ('create', (V100, 'nvidia-194'), UUIDS[0]),
    ('create', (V100, 'nvidia-196'), UUIDS[1]),
    ('remove', GUEST_UUID),
    ('remove', UUIDS[1]),
]


class RandomWritesTest(KernelTestCase):
    """After any writes the host is one that could have been built so."""

    def test_any_writes(self) -> None:
        """Each ends as a user expects, and the tree stays whole."""
        outcomes: set[int] = set()

        @hypothesis.settings(
            max_examples=25,
            deadline=None,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(st.lists(_WRITES, min_size=5, max_size=15))
        @hypothesis.example(_EVERY_OUTCOME)
        def check(writes: list[Any]) -> None:
            with tempfile.TemporaryDirectory() as folder:
                at = Host(folder, host())
                model = Model(at)
                for write in writes:
                    outcomes.add(self._do(at, model, write))
                self._compare(at, model)
                self.whole(at)

        check()
        self.assertEqual(
            {
                0,
                errno.ENOENT,
                errno.EEXIST,
                errno.ENOSPC,
                errno.EBUSY,
            },
            outcomes,
        )

    def _do(self, at: Host, model: Model, write: Any) -> int:
        wanted = found = 0
        if write[0] == 'create':
            (_, (address, type_id), uuid) = write
            wanted = model.create(address, type_id, uuid)
            found = at.create(address, type_id, uuid)
        elif write[0] == 'remove':
            wanted, found = model.remove(write[1]), at.remove(write[1])
        elif write[0] == 'type':
            wanted = model.set_type(*write[1:])
            found = at.set_type(*write[1:])
        elif write[0] == 'parameters':
            self._set_parameters(at, model, *write[1:])
        elif write[0] == 'enable':
            at.kernel.enable_vfs(write[1])
            model.functions.add(write[1])
        else:
            kernel.reboot(at.root)
            model.boot()
        self.assertEqual(wanted, found, write)
        return found

    def _set_parameters(
        self, at: Host, model: Model, name: str, text: str
    ) -> None:
        folder = 'bus/pci' if ':' in name else 'bus/mdev'
        path = f'{folder}/devices/{name}/nvidia/vgpu_params'
        on_mtty = model.mdevs.get(name, ('',))[0] == 'mtty_mtty'
        there = name in model.mdevs or (
            ':' in name and L40S in model.functions
        )
        wanted = 0 if there and not on_mtty else errno.ENOENT
        if not wanted:
            model.parameters[name] = text.strip()
        self.assertEqual(wanted, at.write(path, text))

    def _compare(self, at: Host, model: Model) -> None:
        """Compare what every program reads with what should be."""
        seen = at.observe()
        self.assertEqual((), seen.problems)
        self.assertEqual(
            model.mdevs, {m.uuid: (m.parent, m.type_id) for m in seen.mdevs}
        )
        vfs = [vf for gpu in seen.gpus for vf in gpu.vfs]
        self.assertEqual(
            model.types,
            {vf.address: vf.current_type for vf in vfs if vf.current_type},
        )
        parameters = {m.uuid: m.parameters for m in seen.mdevs}
        parameters |= {vf.address: vf.parameters for vf in vfs}
        self.assertEqual(
            {k: v for k, v in model.parameters.items() if v},
            {k: v for k, v in parameters.items() if v},
        )


class BuildTest(base.TestCase):
    """Hosts to start from."""

    def test_it_is_the_host_that_is_described(self) -> None:
        """Taking writes changes nothing of what is read."""
        profile = profiles.load('v100x8-busy')
        root = str(self.temp_dir() / 'sys')
        kernel.build(profile, root)
        self.assertEqual(
            expected.snapshot(profile), snapshot.observe(root, None)
        )

    def test_a_folder_that_holds_something(self) -> None:
        """It is refused, as it is without writes."""
        folder = self.temp_dir()
        (folder / 'x').write_text('')
        self.assertRaises(
            exception.VgpuError, kernel.build, host(), str(folder)
        )
        self.assertEqual(['x'], os.listdir(folder))
