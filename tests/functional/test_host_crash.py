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
"""kill -9 before and after each write of the commands that change a host."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
from collections.abc import Callable, Sequence
from typing import Any

from nova_vgpu_ext.sim import description, kernel
from tests.functional import host_base
from tests.functional.fixtures import libvirt
from tests.functional.host_base import (
    GPU,
    OTHER_GPU,
    SRIOV_VFS,
    UUIDS,
    VENDOR,
    VENDOR_VFS,
    Host,
)


class _Killer:
    """Kills this process at one of the points where it writes.

    Right after one write is right before the next, so there is a point
    before each write, and one at the end.

    :param last: how many points it lives to see.
    """

    def __init__(self, last: int) -> None:
        self._left = last
        self._is_inside = False

    def watch(self) -> None:
        """Put a point before each write from now on."""
        for owner, name in (
            (kernel.SimulatedKernel, 'write'),
            (kernel.SimulatedKernel, 'enable_vfs'),
            (os, 'mkdir'),
            (os, 'fsync'),
            (os, 'replace'),
            (os, 'unlink'),
        ):
            self._wrap(owner, name, lambda *_: True)
        self._wrap(os, 'open', lambda _, flags, *__: flags & os.O_CREAT)

    def _wrap(
        self, owner: Any, name: str, is_write: Callable[..., Any]
    ) -> None:
        real = getattr(owner, name)

        def wrapped(*arguments: Any, **options: Any) -> Any:
            # What the simulated kernel does in one write is one write.
            if self._is_inside or not is_write(*arguments):
                return real(*arguments, **options)
            self.point()
            self._is_inside = True
            try:
                return real(*arguments, **options)
            finally:
                self._is_inside = False

        setattr(owner, name, wrapped)

    def point(self) -> None:
        """End here, unless there are others before."""
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1


@dataclasses.dataclass(frozen=True)
class _State:
    """What must be the same after an interrupted run and another one."""

    tree: dict[str, str]
    definitions: dict[str, Any]
    aside: dict[str, Any]
    files: set[str]


class KillTestCase(host_base.HostCommandTestCase):
    """A command that is killed at every point, and given again each time."""

    #: The cards that it needs; fewer are copied faster.
    cards: tuple[str, ...] = (GPU,)
    options = 'write_timeout = 1\n'

    def profile(self) -> description.Profile:
        """Describe a host with these cards only."""
        whole = host_base.small_host()
        gpus = tuple(g for g in whole.gpus if g.address in self.cards)
        return dataclasses.replace(whole, gpus=gpus)

    def check(self, *command: str, points: int) -> None:
        """Kill a command at each point, and give it again.

        :param points: at least how many there are.
        """
        original = self.host.root
        expected, ledger = self._finish(self._copy(original), command)
        number = 0
        while True:
            root = self._copy(original)
            if not self._killed(root, number, command):
                break
            state, entries = self._finish(root, command)
            where = f'killed at point {number}'
            self.assertEqual(
                {}, host_base.differences(expected.tree, state.tree), where
            )
            self.assertEqual(expected.definitions, state.definitions, where)
            self.assertEqual(expected.aside, state.aside, where)
            # This one goes with the next change of the ledger.
            left = {'state/.ledger.json.new'}
            self.assertEqual(expected.files, state.files - left, where)
            # An entry may be missing until the agent runs, or the next boot.
            self.assertLessEqual(entries.items(), ledger.items(), where)
            shutil.rmtree(root)
            number += 1
        self.host.root = root
        self.assertGreaterEqual(number, points)

    def _copy(self, original: str) -> str:
        root = str(self.temp_dir() / 'copy')
        shutil.copytree(original, root, symlinks=True)
        return root

    def _killed(self, root: str, last: int, command: Sequence[str]) -> bool:
        """Run a command in a child; tell whether it was killed."""
        child = os.fork()
        if child == 0:
            try:
                self.host.root = root
                killer = _Killer(last)
                killer.watch()
                self.run_on(*command)
                killer.point()
            finally:
                os._exit(0)
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status)
        if killed:
            self.assertEqual(signal.SIGKILL, os.WTERMSIG(status))
        return killed

    def _finish(
        self, root: str, command: Sequence[str]
    ) -> tuple[_State, dict[str, Any]]:
        """Give a command once more, and look at the host."""
        host = self.host = Host(root)
        found = self.run_on(*command)
        self.assertNotIn('Traceback', found.err)
        self.assertNotIn('another program', found.err)
        return (
            _State(
                host_base.tree(root),
                host.definitions,
                host.aside,
                {*host_base.contents(str(host.own))} - {'state/ledger.json'},
            ),
            host.ledger,
        )


class OneGpuTest(KillTestCase):
    """Commands on a GPU without functions."""

    def test_create(self) -> None:
        """One with a UUID, and persistent."""
        self.check(
            'mdev',
            'create',
            f'--gpu={GPU}',
            '--type=V100DX-1Q',
            f'--uuid={UUIDS[0]}',
            '--persist',
            points=10,
        )

    def test_create_several(self) -> None:
        """If the new UUIDs were the same again."""
        new = [f'{uuid[:9]}{uuid[9:13]}-4{uuid[15:]}' for uuid in UUIDS]
        self.patch(
            'nova_vgpu_ext.cli.mdev.MdevCreate._new',
            lambda command, arguments: new[: arguments.count],
        )
        self.check(
            'mdev',
            'create',
            f'--gpu={GPU}',
            '--type=V100DX-1Q',
            '--count=3',
            '--persist',
            points=25,
        )

    def test_remove(self) -> None:
        """Two persistent ones, and one that is not."""
        self.create(UUIDS[0], GPU, 'V100DX-1Q', '--persist')
        self.create(UUIDS[1])
        self.create(UUIDS[2], GPU, 'V100DX-1Q', '--persist')
        self.check('mdev', 'remove', *UUIDS[:3], points=15)
        self.assertEqual({}, self.host.mdevs)

    def test_clean(self) -> None:
        """Orphans, and one that a domain names."""
        self.create(UUIDS[0], GPU, 'V100DX-1Q', '--persist')
        self.create(UUIDS[1])
        self.create(UUIDS[2])
        self.use_libvirt().define('guest', [UUIDS[1]])
        self.check('mdev', 'clean', '--grace=0', points=8)
        self.assertEqual([UUIDS[1]], list(self.host.mdevs))

    def test_parameters(self) -> None:
        """One write, which replaces all."""
        self.create(UUIDS[0])
        self.good('mdev', 'params', 'set', UUIDS[0], 'enable_uvm=1')
        self.check(
            'mdev', 'params', 'set', UUIDS[0], 'disable_vnc=1', points=2
        )
        self.check('mdev', 'params', 'clear', UUIDS[0], points=2)

    def test_retype(self) -> None:
        """Mdevs, definitions, and one that is defined only."""
        self.create(UUIDS[0], GPU, 'V100DX-1Q', '--persist')
        self.create(UUIDS[1])
        self.host.define(GPU, UUIDS[2], 'nvidia-194')
        self.check('gpu', 'retype', GPU, 'nvidia-196', points=15)
        self.create(UUIDS[3], GPU, 'nvidia-196')


class VendorTest(KillTestCase):
    """Types of functions with vendor-specific VFIO."""

    cards = (VENDOR,)

    def test_retype(self) -> None:
        """Cleared first, then set."""
        self.run_on('gpu', 'retype', VENDOR, '1148')
        self.check('gpu', 'retype', VENDOR, '1155', points=12)
        self.assertEqual(
            dict.fromkeys(VENDOR_VFS[:2], '1155'), self.host.vendor_types
        )


class BootTest(KillTestCase):
    """``nova-vgpu prepare`` on a host with everything."""

    cards = tuple(host_base.TYPES)
    options = KillTestCase.options + 'vf_types = 1148\n'

    def test_prepare(self) -> None:
        """Functions, types, mdevs, a stale definition and the ledger."""
        self.create(UUIDS[0])
        self.create(UUIDS[1], OTHER_GPU, 'nvidia-196')
        self.create(UUIDS[2], SRIOV_VFS[1], 'A40-2B', '--persist')
        self.create(UUIDS[3])
        self.host.define(OTHER_GPU, UUIDS[4], 'nvidia-194')
        guests: libvirt.Libvirt = self.use_libvirt()
        guests.define('one', [UUIDS[0], UUIDS[2]])
        guests.define('two', [UUIDS[1]], [VENDOR_VFS[0]])
        kernel.reboot(self.host.root)
        self.check('prepare', points=25)
        self.assertEqual({*UUIDS[:3]}, set(self.host.mdevs))
        self.assertEqual(4, len(self.host.vendor_types))
        self.nothing('prepare')
