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
"""Guests, and a host that takes the hook's writes, for tests."""

from __future__ import annotations

import dataclasses
import errno
import functools
import os
import pathlib
from collections.abc import Mapping, Sequence
from xml.sax import saxutils

import fixtures

from nova_vgpu_ext.hook import qemu
from nova_vgpu_ext.sim import builder, profile
from tests import base

#: Of the simulated hosts: without parameters, with some, on another GPU.
PLAIN = 'd878445d-df99-4510-b467-c67a4c1a7c34'
SET = 'e2f1d0c9-b8a7-4655-8443-3221100f9e8d'
HELD = '4f3c1a6e-8f57-4c7c-8d22-1f7c1b8e9a02'
NEW = '11111111-2222-4333-8444-555555555555'
DOMAIN = '0b7d9f4e-5f0b-4a52-9f61-6c1f5a3c2d10'
GPU, OTHER_GPU = '0000:89:00.0', '0000:1a:00.0'
TYPES = ('nvidia-194', 'nvidia-197')
#: On the host with vendor-specific VFIO: with parameters, without, no type.
VF_SET, VF, VF_FREE = '0000:c1:00.4', '0000:c1:00.5', '0000:c1:00.7'
NIC = '0000:21:00.0'

NOVA = 'http://openstack.org/xmlns/libvirt/nova/1.1'


def hostdev_mdev(uuid: str) -> str:
    """Write a mediated device as libvirt does."""
    return (
        "<hostdev mode='subsystem' type='mdev' managed='no' model='vfio-pci'>"
        f'<source><address uuid={saxutils.quoteattr(uuid)}/></source>'
        "<address type='pci' domain='0x0000' bus='0x00' slot='0x05' "
        "function='0x0'/></hostdev>"
    )


def hostdev_pci(address: str, managed: str = 'no') -> str:
    """Write a PCI function as libvirt does."""
    domain, bus, rest = address.split(':')
    slot, function = rest.split('.')
    return (
        f"<hostdev mode='subsystem' type='pci' managed='{managed}'>"
        f"<driver name='vfio'/><source><address domain='0x{domain}' "
        f"bus='0x{bus}' slot='0x{slot}' function='0x{function}'/></source>"
        '</hostdev>'
    )


def extra_specs(specs: Mapping[str, str]) -> str:
    """Write the extra specs of a flavor as Nova does since 32."""
    items = ''.join(
        f'<nova:extraSpec name={saxutils.quoteattr(name)}>'
        f'{saxutils.escape(value)}</nova:extraSpec>'
        for name, value in specs.items()
    )
    return f'<nova:extraSpecs>{items}</nova:extraSpecs>'


def instance(inside: str, namespace: str = NOVA) -> str:
    """Write what Nova says of an instance."""
    return (
        f'<nova:instance xmlns:nova="{namespace}"><nova:name>a</nova:name>'
        f'<nova:flavor name="f" id="1">{inside}</nova:flavor></nova:instance>'
    )


def domain(
    mdevs: Sequence[str] = (),
    functions: Sequence[str] = (),
    specs: Mapping[str, str] | None = None,
    metadata: str | None = None,
    name: str = 'instance-0000031d',
) -> bytes:
    """Write a guest.

    :param specs: the flavor's extra specs; None for a guest of nobody.
    :param metadata: instead of what the specs make.
    """
    if metadata is None:
        metadata = '' if specs is None else instance(extra_specs(specs))
    devices = ''.join(map(hostdev_mdev, mdevs))
    devices += ''.join(map(hostdev_pci, functions))
    return (
        f"<domain type='kvm' id='1'><name>{saxutils.escape(name)}</name>"
        f'<uuid>{DOMAIN}</uuid><metadata>{metadata}</metadata>'
        f'<devices><emulator>/usr/bin/qemu</emulator>{devices}</devices>'
        '</domain>'
    ).encode()


class Kernel(fixtures.Fixture):
    """Takes the writes of the hook, as the kernel would.

    :param root: a simulated host.
    """

    def __init__(self, root: pathlib.Path) -> None:
        super().__init__()
        self.root = root.resolve()
        #: What was written, by the path below the root, in order.
        self.writes: list[tuple[str, str]] = []
        #: By the end of a path.
        self.faults: dict[str, OSError] = {}
        #: What is left of the time at each write.
        self.seconds: list[float] = []

    def _setUp(self) -> None:
        self.useFixture(
            fixtures.MonkeyPatch('nova_vgpu_ext.hook.qemu.write', self.write)
        )

    def write(self, path: str, text: str, seconds: float) -> None:
        """Stand in for :func:`nova_vgpu_ext.hook.qemu.write`."""
        for end, fault in self.faults.items():
            if path.endswith(end):
                raise fault
        file = pathlib.Path(path)
        if not file.is_file():
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        self.seconds.append(seconds)
        self.writes.append((str(file.relative_to(self.root)), text))
        if file.name == 'create':
            self._create(file.parent, text)
        else:
            file.write_text(text.strip() and f'{text}\n')

    def _create(self, type_folder: pathlib.Path, uuid: str) -> None:
        below = type_folder.parent.parent / uuid
        if below.exists():
            raise FileExistsError(errno.EEXIST, 'File exists', str(below))
        (below / 'nvidia').mkdir(parents=True)
        (below / 'nvidia/vgpu_params').write_text('')
        (below / 'mdev_type').symlink_to(type_folder)
        (self.root / 'bus/mdev/devices' / uuid).symlink_to(below)


class Fault(fixtures.MonkeyPatch):
    """Lets a call of the module os fail, where the hook makes it.

    :param name: of the function.
    :param number: of the error.
    """

    def __init__(self, name: str, number: int) -> None:
        def fail(*_: object) -> None:
            raise OSError(number, os.strerror(number))

        super().__init__(f'nova_vgpu_ext.hook.qemu.os.{name}', fail)


@functools.cache
def _host(name: str) -> profile.Profile:
    """Load a profile; of many cards and types only what the tests name."""
    loaded = profile.load(name)
    gpus = tuple(
        dataclasses.replace(
            gpu,
            vfs=gpu.vfs[:6],
            types=tuple(t for t in gpu.types if t.id in TYPES) or gpu.types,
        )
        for gpu in loaded.gpus
        if gpu.address in (GPU, OTHER_GPU) or len(loaded.gpus) == 1
    )
    return dataclasses.replace(loaded, gpus=gpus)


class HookTestCase(base.TestCase):
    """A test with a simulated host, and what the hook keeps."""

    profile = 'v100x8-busy'

    def setUp(self) -> None:
        super().setUp()
        folder = self.temp_dir()
        self.root = folder / 'sys'
        self.state = folder / 'state'
        self.mdevctl = folder / 'mdevctl.d'
        builder.build(_host(self.profile), str(self.root))
        self.kernel = self.useFixture(Kernel(self.root))
        self.lines: list[tuple[int, str]] = []

    @property
    def settings(self) -> dict[str, str | bool]:
        """The hook's settings for this host."""
        return {
            'sysfs_root': str(self.root),
            'state_path': str(self.state),
            'mdevctl_path': str(self.mdevctl),
            'refuse': True,
        }

    @property
    def ledger_path(self) -> pathlib.Path:
        """Where the ledger is."""
        return self.state / qemu.LEDGER

    def note(self, severity: int, text: str) -> None:
        """Stand in for the log."""
        self.lines.append((severity, text))

    def prepare(self, xml: bytes) -> list[str]:
        """Let the hook prepare a guest.

        :returns: why it is refused.
        """
        return qemu.answer(qemu.PREPARE, xml, self.settings, self.note)

    def release(self, xml: bytes) -> list[str]:
        """Let the hook clean up after a guest."""
        return qemu.answer(qemu.RELEASE, xml, self.settings, self.note)

    def assert_ready(self, xml: bytes) -> None:
        """Assert that a guest may start."""
        self.assertEqual([], self.prepare(xml))

    def assert_refused(self, xml: bytes, *expected: str) -> None:
        """Assert that a guest is refused, with words in the only reason."""
        reasons = self.prepare(xml)
        self.assertEqual(1, len(reasons), str(reasons))
        for words in expected:
            self.assertIn(words, reasons[0])

    def assert_logged(self, severity: int, *words: str) -> None:
        """Assert that one line has all the words."""
        self.assertTrue(
            any(
                severity == found and all(w in text for w in words)
                for found, text in self.lines
            ),
            self.lines,
        )

    def assert_quiet(self) -> None:
        """Assert that nothing is wrong in the log."""
        self.assertEqual(
            [], [line for line in self.lines if line[0] != qemu.INFO]
        )

    def parameters(self, name: str) -> str:
        """Read the parameters that are set for an mdev or a function."""
        bus = 'pci' if ':' in name else 'mdev'
        path = self.root / 'bus' / bus / 'devices' / name / 'nvidia'
        return (path / 'vgpu_params').read_text().strip()

    def remember(
        self, name: str, parent: str, type_id: str, who: str | None = None
    ) -> None:
        """Write a ledger with one entry."""
        self.state.mkdir(exist_ok=True)
        qemu.write_ledger(
            str(self.ledger_path),
            {
                name: {
                    'parent': parent,
                    'type': type_id,
                    'domain': who,
                    'domain_uuid': None,
                }
            },
        )

    def entries(self) -> dict[str, qemu.Entry]:
        """Read the ledger."""
        return qemu.read_ledger(str(self.ledger_path))
