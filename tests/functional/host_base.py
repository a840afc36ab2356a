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
"""What the tests share that change simulated hosts."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import re
from collections.abc import Sequence
from typing import Any

from nova_vgpu_ext.sim import builder, description, kernel, profile
from tests import base
from tests.functional.base import NODE, Outcome, run_cli
from tests.functional.fixtures import libvirt

#: Cards of each kind, with few types and functions: quick to copy.
GPU, OTHER_GPU = '0000:1a:00.0', '0000:1b:00.0'
SRIOV, VENDOR = '0000:41:00.0', '0000:c1:00.0'
SRIOV_VFS = tuple(description.vf_addresses(SRIOV, 4))
VENDOR_VFS = tuple(description.vf_addresses(VENDOR, 4))
TYPES = {
    GPU: ('nvidia-194', 'nvidia-196'),
    OTHER_GPU: ('nvidia-194', 'nvidia-196'),
    SRIOV: ('nvidia-558', 'nvidia-567'),
    VENDOR: ('1148', '1155'),
}

CONF = f"""\
[devices]
enabled_mdev_types = nvidia-194, nvidia-558
[mdev_nvidia-558]
device_addresses = {','.join(SRIOV_VFS)}
"""

UUIDS = tuple(f'0000000{n}-aaaa-4bbb-8ccc-dddddddddddd' for n in range(10))

#: What comes to be when somebody takes a lock.
_LOCKS = frozenset(
    os.path.join(kernel.FOLDER, name)
    for name in ('lock', 'state', 'state/lock')
)
_GROUP = re.compile(r'kernel/iommu_groups/[0-9]+')


def small_host() -> description.Profile:
    """Describe two V100, an A40 and an L40S, with four VFs each."""
    gpus = {gpu.address: gpu for gpu in profile.load('mixed').gpus}
    return description.Profile(
        'small', tuple(_small(gpus[a], names) for a, names in TYPES.items())
    )


def _small(
    gpu: description.GpuSpec, names: Sequence[str]
) -> description.GpuSpec:
    vfs = tuple(
        dataclasses.replace(
            vf, types=_kept(vf, names), mdevs=(), current_type=None
        )
        for vf in gpu.vfs[:4]
    )
    return dataclasses.replace(
        gpu, types=_kept(gpu, names), mdevs=(), vfs=vfs, total_vfs=len(vfs)
    )


def _kept(
    device: description.DeviceSpec, names: Sequence[str]
) -> tuple[description.TypeSpec, ...]:
    return tuple(t for t in device.types if t.id in names)


def contents(root: str) -> dict[str, str]:
    """Give every file and link below a folder, byte by byte."""
    found: dict[str, str] = {}
    _add_contents(found, root, '')
    return found


def _add_contents(found: dict[str, str], root: str, below: str) -> None:
    with os.scandir(f'{root}/{below}') as entries:
        for entry in entries:
            path = f'{below}/{entry.name}' if below else entry.name
            if entry.is_symlink():
                found[path] = f'-> {os.readlink(entry.path)}'
            elif entry.is_dir():
                if path not in _LOCKS:
                    found[path] = '/'
                _add_contents(found, root, path)
            elif path not in _LOCKS:
                with open(entry.path, 'rb') as stream:
                    found[path] = stream.read().decode(errors='replace')


def differences(
    before: dict[str, str], after: dict[str, str]
) -> dict[str, tuple[str | None, str | None]]:
    """Tell what differs between two hosts."""
    return {
        path: (before.get(path), after.get(path))
        for path in sorted({*before, *after})
        if before.get(path) != after.get(path)
    }


def tree(root: str) -> dict[str, str]:
    """Give what a host shows, without the numbers of IOMMU groups."""
    return {
        _GROUP.sub('kernel/iommu_groups/N', path): _GROUP.sub(
            'kernel/iommu_groups/N', text
        )
        for path, text in contents(root).items()
        if not path.startswith(kernel.FOLDER)
    }


def description_of(root: str) -> description.Profile:
    """Read how a simulated host is now, from what it keeps beside its tree."""
    with kernel.SimulatedKernel(root).locked() as found:
        return found


class Host:
    """A simulated host that takes writes.

    :param root: its folder.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.own = pathlib.Path(root, kernel.FOLDER)

    @property
    def mdevs(self) -> dict[str, tuple[str, str]]:
        """The type and the parent of each mdev."""
        return {
            mdev.uuid: (mdev.type, device.address)
            for gpu in description_of(self.root).gpus
            for device in gpu.devices
            for mdev in device.mdevs
        }

    @property
    def parameters(self) -> dict[str, str]:
        """What is set on mdevs."""
        return {
            mdev.uuid: mdev.parameters
            for gpu in description_of(self.root).gpus
            for device in gpu.devices
            for mdev in device.mdevs
            if mdev.parameters
        }

    @property
    def vendor_types(self) -> dict[str, str]:
        """The vendor's type of each VF that has one."""
        return {
            vf.address: vf.current_type
            for gpu in description_of(self.root).gpus
            for vf in gpu.vfs
            if vf.current_type
        }

    @property
    def definitions(self) -> dict[str, Any]:
        """The persistent mdevs by parent and UUID."""
        return self._json('mdevctl.d')

    @property
    def aside(self) -> dict[str, Any]:
        """The definitions that were put aside."""
        return self._json('state/put-aside')

    def _json(self, name: str) -> dict[str, Any]:
        folder = self.own / name
        return {
            str(path.relative_to(folder)): json.loads(path.read_text())
            for path in sorted(folder.glob('*/*'))
        }

    @property
    def ledger_path(self) -> pathlib.Path:
        """Where the ledger is."""
        return self.own / 'state/ledger.json'

    @property
    def ledger(self) -> dict[str, Any]:
        """The entries of the ledger."""
        if not self.ledger_path.exists():
            return {}
        data = json.loads(self.ledger_path.read_text())
        assert data['version'] == 1  # noqa: S101
        found: dict[str, Any] = data['entries']
        return found

    def define(self, parent: str, uuid: str, type_id: str) -> pathlib.Path:
        """Make a persistent mdev as mdevctl does."""
        path = self.own / 'mdevctl.d' / parent / uuid
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            json.dumps({'mdev_type': type_id, 'start': 'auto', 'attrs': []})
        )
        return path

    def age(self, uuid: str, seconds: float) -> None:
        """Let an mdev have been made long ago."""
        path = os.path.join(self.root, 'bus/mdev/devices', uuid, '')
        now = os.stat(path).st_mtime
        os.utime(path, (now - seconds, now - seconds))


class HostCommandTestCase(base.TestCase):
    """Commands on a simulated host that takes writes."""

    conf = CONF
    options = ''

    def setUp(self) -> None:
        super().setUp()
        root = str(self.temp_dir() / 'host')
        kernel.build(self.profile(), root)
        self.host = Host(root)
        self.configure()

    def profile(self) -> description.Profile:
        """Describe the host."""
        return small_host()

    def tearDown(self) -> None:
        self.check_tree()
        super().tearDown()

    def check_tree(self) -> None:
        """Check that the host looks as one that is made as it is now."""
        expected = str(self.temp_dir() / 'expected')
        os.mkdir(expected)
        builder.write_tree(description_of(self.host.root), expected)
        self.assertEqual({}, differences(tree(expected), tree(self.host.root)))

    def run_on(self, *command: str) -> Outcome:
        """Run a command on the host."""
        return run_cli(
            f'--config-file={self.config_file}',
            f'--sysfs-root={self.host.root}',
            f'--node={NODE}',
            *command,
        )

    def good(self, *command: str) -> list[str]:
        """Run a command that works and says nothing else; give its lines."""
        found = self.run_on(*command)
        self.assertEqual((0, ''), (found.code, found.err), command)
        return found.out.splitlines()

    def refused(self, *command: str, lines: int = 1) -> str:
        """Run a command that changes nothing; give what it says."""
        before = contents(self.host.root)
        found = self.run_on(*command)
        self.assertNotEqual(0, found.code, found)
        self.assertEqual('', found.out)
        self.assertEqual(lines, len(found.errors), found.err)
        self.assertNotIn('Traceback', found.err)
        self.assertEqual(
            {}, differences(before, contents(self.host.root)), command
        )
        return found.err

    def nothing(self, *command: str) -> None:
        """Run a command that finds nothing to do."""
        before = contents(self.host.root)
        found = self.run_on(*command)
        self.assertEqual((0, '', 'nothing to do\n'), found)
        self.assertEqual(
            {}, differences(before, contents(self.host.root)), command
        )

    def use_libvirt(self, installed: bool = True) -> libvirt.Libvirt:
        """Let the program ask a libvirt from now on."""
        self.options += f'libvirt_uri = {libvirt.URI}\n'
        self.configure()
        return self.useFixture(libvirt.Libvirt(installed))

    def configure(self, conf: str | None = None) -> None:
        """Write nova.conf anew."""
        self.conf = self.conf if conf is None else conf
        self.config_file = self.write_conf(
            f'{self.conf}\n[vgpu]\n{self.options}'
        )

    def create(
        self,
        uuid: str,
        gpu: str = GPU,
        type_id: str = 'nvidia-194',
        *options: str,
    ) -> None:
        """Make an mdev through the program."""
        self.good(
            'mdev', 'create', f'--gpu={gpu}', f'--type={type_id}',
            f'--uuid={uuid}', *options,
        )  # fmt: skip
