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
"""The libvirt hook as libvirt runs it: an installed file, in a process."""

from __future__ import annotations

import json
import os
import pathlib
import re
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from nova.virt.libvirt import config
from testtools import content

from nova_vgpu_ext.hook import qemu
from nova_vgpu_ext.host import hook_file
from tests.functional import base
from tests.functional.base import Outcome, run_cli

PLAIN = 'd878445d-df99-4510-b467-c67a4c1a7c34'
SET = 'e2f1d0c9-b8a7-4655-8443-3221100f9e8d'
NEW = '11111111-2222-4333-8444-555555555555'
DOMAIN = '0b7d9f4e-5f0b-4a52-9f61-6c1f5a3c2d10'
GPU = '0000:89:00.0'
NIC = '0000:5e:00.0'
TYPE = f'devices/pci0000:89/{GPU}/mdev_supported_types/nvidia-194'

#: What libvirt passes on to a hook.
ENVIRONMENT = {
    'LC_ALL': 'C',
    'PATH': '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
}

FLAVOR = {
    'resources:VGPU': '1',
    'trait:CUSTOM_NVIDIA_194': 'required',
    'vgpu:disable_vnc': '1',
    'vgpu:frame_rate_limiter': '0',
    'vgpu:enable_uvm': 'yes',
}


def guest(
    mdevs: Sequence[str] = (),
    functions: Sequence[str] = (),
    specs: Mapping[str, str] | None = None,
) -> str:
    """Write a guest with Nova's own classes.

    :param specs: the flavor's extra specs.
    """
    flavor = config.LibvirtConfigGuestMetaNovaFlavor()
    flavor.name, flavor.id = 'vgpu.1q', '42'
    flavor.memory, flavor.vcpus = 8192, 4
    flavor.extra_specs = dict(specs or {})
    instance = config.LibvirtConfigGuestMetaNovaInstance()
    instance.package, instance.name = '34.0.0', 'größe <&> "1"'
    instance.flavor = flavor
    domain = config.LibvirtConfigGuest()
    domain.virt_type, domain.os_type = 'kvm', 'hvm'
    domain.name, domain.uuid = 'instance-0000031d', DOMAIN
    domain.memory = 8192 << 10
    domain.metadata = [instance]
    for uuid in mdevs:
        mdev = config.LibvirtConfigGuestHostdevMDEV()
        mdev.uuid = uuid
        domain.add_device(mdev)
    for address in functions:
        pci = config.LibvirtConfigGuestHostdevPCI()
        pci.managed = 'no'
        pci.domain, pci.bus, rest = address.split(':')
        pci.slot, pci.function = rest.split('.')
        domain.add_device(pci)
    return str(domain.to_xml())


class HookTestCase(base.HostTestCase):
    """A test with a host, and the hook installed for it."""

    profile = 'v100x8-busy'

    def setUp(self) -> None:
        super().setUp()
        self.root = pathlib.Path(self.host(self.profile))
        self.state = self.temp_dir() / 'state'
        self.log = self.temp_dir() / 'log'
        self.path = self.install()

    def install(
        self, refuse: bool = True, changes: Mapping[str, str] | None = None
    ) -> pathlib.Path:
        """Install the hook into a new folder.

        :param changes: of its text.
        :returns: its path.
        """
        directory = self.temp_dir()
        hook_file.install(
            str(directory),
            {
                'sysfs_root': str(self.root),
                'state_path': str(self.state),
                'mdevctl_path': str(directory / 'none'),
                'refuse': refuse,
            },
        )
        path = directory / hook_file.NAME
        text = path.read_text()
        for old, new in {
            "'/dev/log'": repr(str(self.log)),
            **(changes or {}),
        }.items():
            self.assertEqual(1, text.count(old), old)
            text = text.replace(old, new)
        path.write_text(text)
        return path

    def call(
        self,
        operation: str,
        xml: str,
        path: pathlib.Path | None = None,
        name: str | bytes = 'instance-0000031d',
    ) -> Outcome:
        """Run the hook as libvirt does."""
        done = subprocess.run(  # noqa: S603
            [path or self.path, name, *operation.split(), '-'],
            input=xml.encode(),
            capture_output=True,
            cwd='/',
            env=ENVIRONMENT,
            timeout=60,
            check=False,
        )
        # What a hook prints would become the XML of a guest that migrates.
        self.assertEqual(b'', done.stdout)
        return Outcome(done.returncode, '', done.stderr.decode())

    def assert_quiet(self, outcome: Outcome) -> None:
        """Assert that a call was a success without a word."""
        self.assertEqual((0, '', ''), outcome)

    def parameters(self, uuid: str) -> pathlib.Path:
        """Say where an mdev's parameters are."""
        return self.root / 'bus/mdev/devices' / uuid / 'nvidia/vgpu_params'

    def entries(self) -> dict[str, qemu.Entry]:
        """Read the ledger."""
        return qemu.read_ledger(str(self.state / qemu.LEDGER))

    def remember(self, name: str, parent: str, type_id: str) -> None:
        """Write a ledger with one entry."""
        self.state.mkdir(exist_ok=True)
        qemu.write_ledger(
            str(self.state / qemu.LEDGER),
            {
                name: {
                    'parent': parent,
                    'type': type_id,
                    'domain': None,
                    'domain_uuid': None,
                }
            },
        )


class NovaTest(HookTestCase):
    """Guests as Nova writes them."""

    def test_from_start_to_end(self) -> None:
        """Parameters, ledger, and nothing left."""
        xml = guest([PLAIN], [NIC], FLAVOR)
        started = self.call('prepare begin', xml)
        self.assertEqual(0, started.code)
        self.assertEqual(
            [
                'nova-vgpu-hook: instance-0000031d: ignored extra specs: '
                'vgpu:enable_uvm=yes'
            ],
            started.errors,
        )
        self.assertEqual(
            'disable_vnc=1,frame_rate_limiter=0\n',
            self.parameters(PLAIN).read_text(),
        )
        self.assertEqual(
            {
                PLAIN: {
                    'parent': GPU,
                    'type': 'nvidia-194',
                    'domain': 'instance-0000031d',
                    'domain_uuid': DOMAIN,
                }
            },
            self.entries(),
        )
        for operation in ('start begin', 'started begin', 'stopped end'):
            self.assert_quiet(self.call(operation, xml))
        self.assert_quiet(self.call('release end', xml))
        # A file keeps what one write does not cover.
        self.assertTrue(self.parameters(PLAIN).read_text().startswith(' \n'))

    def test_flavor_without_parameters(self) -> None:
        """What another tenant left goes."""
        self.assert_quiet(self.call('prepare begin', guest([SET])))
        self.assertTrue(self.parameters(SET).read_text().startswith(' \n'))

    def test_calls_of_a_migration(self) -> None:
        """They are not for this hook."""
        before = self.parameters(SET).read_text()
        for operation in ('migrate begin', 'restore begin', 'attach begin'):
            self.assert_quiet(self.call(operation, guest([SET])))
        self.assertEqual(before, self.parameters(SET).read_text())

    def test_guests_at_once(self) -> None:
        """All of them are remembered."""
        uuids = [
            path.name for path in (self.root / 'bus/mdev/devices').iterdir()
        ]
        self.assertEqual(5, len(uuids))
        threads = [
            threading.Thread(
                target=self.call, args=('prepare begin', guest([uuid]))
            )
            for uuid in uuids
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(set(uuids), set(self.entries()))


class VendorTest(HookTestCase):
    """Virtual functions as Nova names them."""

    profile = 'l40s-vendor-vfio'

    def test_parameters_and_type(self) -> None:
        """Parameters are set, and a type that is gone comes back."""
        used, free = '0000:c1:00.5', '0000:c1:00.7'
        self.remember(free, free, '1155')
        xml = guest([], [used, free], {'vgpu:enable_uvm': '1'})
        self.assert_quiet(self.call('prepare begin', xml))
        for address in (used, free):
            folder = self.root / 'bus/pci/devices' / address / 'nvidia'
            self.assertEqual(
                'enable_uvm=1\n', (folder / 'vgpu_params').read_text()
            )
        self.assertEqual('1155\n', (folder / 'current_vgpu_type').read_text())
        self.assertEqual({used, free}, set(self.entries()))


class RefusalTest(HookTestCase):
    """What libvirt shows to whoever starts the guest."""

    def test_unknown_mdev(self) -> None:
        """One line, and the guest does not start."""
        outcome = self.call('prepare begin', guest([NEW]))
        self.assertEqual(1, outcome.code)
        self.assertEqual(1, len(outcome.errors), outcome.err)
        self.assertIn(NEW, outcome.err)
        self.assertIn('does not exist', outcome.err)

    def test_start_all_the_same(self) -> None:
        """As installed with --on-error start."""
        outcome = self.call(
            'prepare begin', guest([NEW]), self.install(refuse=False)
        )
        self.assertEqual(0, outcome.code)
        self.assertIn(NEW, outcome.err)

    def test_release_is_never_refused(self) -> None:
        """The guest has ended already."""
        xml = '<!DOCTYPE a><domain><hostdev type="mdev"/></domain>'
        outcome = self.call('release end', xml)
        self.assertEqual(0, outcome.code)
        self.assertIn('DOCTYPE', outcome.err)
        self.assertEqual(1, self.call('prepare begin', xml).code)

    def test_odd_name(self) -> None:
        """The name of a guest may be any bytes."""
        outcome = self.call(
            'prepare begin', guest([NEW]), name=b'a\n\xff\x1b[2Jb'
        )
        self.assertEqual(1, outcome.code)
        self.assertEqual(1, len(outcome.errors), outcome.err)
        self.assertIn('a???[2Jb', outcome.err)

    def test_syslog(self) -> None:
        """The same line goes there, and what was done."""
        daemon = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(daemon.close)
        daemon.bind(str(self.log))
        daemon.settimeout(10)
        outcome = self.call('prepare begin', guest([NEW]))
        line = daemon.recv(9999).decode()
        self.assertTrue(line.startswith('<27>'), line)
        tail = outcome.err.strip().partition(': ')[2]
        self.assertTrue(line.endswith(f']: {tail}'), line)
        self.call('prepare begin', guest([SET]))
        self.assertIn('set parameters', daemon.recv(9999).decode())

    def test_bomb(self) -> None:
        """It ends at once, and small."""
        xml = (
            '<!DOCTYPE domain [<!ENTITY a "'
            + 'a' * 1000
            + '">'
            + ''.join(
                f'<!ENTITY a{n} "{f"&a{n - 1};" * 20}">'.replace('&a0;', '&a;')
                for n in range(1, 20)
            )
            + "]><domain><name>&a19;</name><devices><hostdev type='mdev'>"
            '</hostdev></devices></domain>'
        )
        outcome = self.call('prepare begin', xml)
        self.assertEqual(1, outcome.code)
        self.assertIn('DOCTYPE', outcome.err)

    def test_too_large(self) -> None:
        """More than libvirt itself would take."""
        xml = guest([PLAIN]) + ' ' * (10 << 20)
        outcome = self.call('prepare begin', xml)
        self.assertEqual(1, outcome.code)
        self.assertIn('more than 4194304 bytes', outcome.err)


class BlockedTest(HookTestCase):
    """A kernel that holds a writer."""

    def setUp(self) -> None:
        super().setUp()
        self.quick = {'WRITE_SECONDS = 20.0': 'WRITE_SECONDS = 0.3'}

    @contextmanager
    def blocked(self, path: pathlib.Path) -> Iterator[None]:
        """Make a write to a file wait; in the end let it go."""
        path.unlink()
        os.mkfifo(path)
        try:
            yield
        finally:
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))

    def test_create(self) -> None:
        """The guest is refused in time."""
        self.remember(NEW, GPU, 'nvidia-194')
        hook = self.install(changes=self.quick)
        with self.blocked(self.root / TYPE / 'create'):
            outcome = self.call('prepare begin', guest([NEW]), hook)
        self.assertEqual(1, outcome.code)
        self.assertIn(f'mdev {NEW} of nvidia-194 on {GPU}', outcome.err)
        self.assertIn('no answer from the kernel', outcome.err)

    def test_parameters(self) -> None:
        """Likewise; at the end the guest is let go."""
        hook = self.install(changes=self.quick)
        with self.blocked(self.parameters(PLAIN)):
            xml = guest([PLAIN], [], FLAVOR)
            outcome = self.call('prepare begin', xml, hook)
            self.assertEqual(1, outcome.code)
            self.assertIn('no answer from the kernel', outcome.err)
            self.assertEqual(0, self.call('release end', xml, hook).code)

    def test_writer_that_cannot_be_killed(self) -> None:
        """It must hold nothing that libvirt waits for."""
        hook = self.install(
            changes={**self.quick, 'os.kill(child, 9)': 'child'}
        )
        self.remember(NEW, GPU, 'nvidia-194')
        with self.blocked(self.root / TYPE / 'create'):
            outcome = self.call('prepare begin', guest([NEW]), hook)
        self.assertEqual(1, outcome.code)

    def test_lock(self) -> None:
        """The guest starts without a word in the ledger."""
        self.state.mkdir()
        hook = self.install(changes={'LOCK_SECONDS = 2.0': 'LOCK_SECONDS = 0'})
        holder = subprocess.Popen(  # noqa: S603
            [
                sys.executable,
                '-c',
                'import fcntl, sys\n'
                'f = open(sys.argv[1], "w")\n'
                'fcntl.lockf(f, fcntl.LOCK_EX)\n'
                'print(flush=True)\n'
                'sys.stdin.read()',
                str(self.state / qemu.LOCK),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        with holder:
            assert holder.stdout is not None  # noqa: S101
            holder.stdout.readline()
            outcome = self.call('prepare begin', guest([PLAIN]), hook)
            holder.communicate()
        self.assertEqual(0, outcome.code)
        self.assertIn('holds the lock', outcome.err)
        self.assertEqual({}, self.entries())


class AloneTest(HookTestCase):
    """The file needs nothing but an old Python, and little of that."""

    def imported(self, operation: str, xml: str) -> set[str]:
        """Name the modules that a call imports beyond an empty program's."""
        empty = self.temp_dir() / 'empty.py'
        empty.write_text('import errno, os, sys, __future__')
        python = '/usr/bin/python3 -IS'
        hook = self.install(
            changes={f'exec {python}': f'exec {python} -X importtime'}
        )
        shown = [
            subprocess.run(  # noqa: S603
                command,
                input=xml.encode(),
                capture_output=True,
                env=ENVIRONMENT,
                check=True,
            ).stderr.decode()
            for command in (
                [hook, 'guest', *operation.split(), '-'],
                [*python.split(), '-X', 'importtime', empty],
            )
        ]
        found, usual = (set(re.findall(r'\| +(\S+)$', s, re.M)) for s in shown)
        return found - usual

    def test_guest_without_host_devices(self) -> None:
        """Nothing is imported for it."""
        self.assertEqual(set(), self.imported('prepare begin', guest()))
        self.assertEqual(set(), self.imported('release end', guest()))

    def test_guest_with_an_mdev(self) -> None:
        """The standard library; nothing for JSON where none is read."""
        for operation, xml in (
            ('prepare begin', guest([PLAIN], [NIC], FLAVOR)),
            ('release end', guest([SET])),
        ):
            found = self.imported(operation, xml)
            tops = {name.partition('.')[0] for name in found}
            self.assertLessEqual(tops, set(sys.stdlib_module_names))
            self.assertNotIn('socket', found)
            self.assertEqual('release' not in operation, 'json' in found)

    def test_most_calls_start_no_python(self) -> None:
        """A shell sees that there is nothing to do."""
        hook = self.install(
            changes={'exec /usr/bin/python3': 'exec /usr/bin/no-such-python'}
        )
        for operation in ('start begin', 'started begin', 'stopped end'):
            self.assert_quiet(self.call(operation, guest([PLAIN]), hook))
        self.assertEqual(
            127, self.call('prepare begin', guest([PLAIN]), hook).code
        )

    def test_cost(self) -> None:
        """Shows processor time beside that of an empty hook."""
        empty = self.temp_dir() / 'empty'
        empty.write_text('#!/usr/bin/python3 -IS\n')
        empty.chmod(0o755)
        with_mdev = guest([PLAIN], [NIC], FLAVOR)
        lines = [
            f'{what}: {1000 * self.seconds(path, call, xml):.1f} ms'
            for what, path, call, xml in (
                ('an empty hook in Python', empty, 'prepare begin', ''),
                ('no host device', self.path, 'prepare begin', guest()),
                ('an mdev, prepare', self.path, 'prepare begin', with_mdev),
                ('an mdev, started', self.path, 'started begin', with_mdev),
                ('an mdev, release', self.path, 'release end', with_mdev),
            )
        ]
        self.addDetail('cost', content.text_content('\n'.join(lines)))

    def seconds(self, path: pathlib.Path, call: str, xml: str) -> float:
        """Measure the least processor time of some calls."""
        found = []
        for _ in range(5):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            self.call(call, xml, path)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            found.append(
                after.ru_utime
                + after.ru_stime
                - before.ru_utime
                - before.ru_stime
            )
        return min(found)


class CommandTest(base.HostTestCase):
    """``nova-vgpu hook``."""

    def setUp(self) -> None:
        super().setUp()
        self.directory = self.temp_dir() / 'hooks'
        self.path = self.directory / 'qemu.d' / 'nova-vgpu'
        self.state = self.temp_dir() / 'state'
        self.conf = self.write_conf(
            f'[vgpu]\nstate_path = {self.state}\nmdevctl_path = /etc/m.d\n'
        )

    def run_hook(self, *arguments: str) -> Outcome:
        """Run a command."""
        return run_cli(
            f'--config-file={self.conf}',
            'hook',
            *arguments,
            f'--directory={self.directory}',
        )

    def status(self, code: int) -> dict[str, Any]:
        """Ask for the status, with an exit code."""
        outcome = self.run_hook('status', '-f', 'json')
        self.assertEqual(code, outcome.code, outcome.err)
        shown = json.loads(outcome.out)
        self.assertEqual(
            [
                'path',
                'installed',
                'sysfs_root',
                'state_path',
                'mdevctl_path',
                'on_error',
            ],
            list(shown),
        )
        self.assertEqual(str(self.path), shown['path'])
        return dict(shown)

    def test_life(self) -> None:
        """Install, status, remove; each says what it does."""
        self.assertEqual('no', self.status(1)['installed'])
        dry = self.run_hook('install', '--dry-run')
        self.assertFalse(self.directory.exists())
        done = self.run_hook('install')
        self.assertEqual(dry, done)
        self.assertEqual(
            [f'make {self.path.parent}', f'write {self.path}'],
            done.out.splitlines(),
        )
        self.assertIn('Restart libvirtd', done.err)
        self.assertEqual(
            {
                'path': str(self.path),
                'installed': 'yes',
                'sysfs_root': '/sys',
                'state_path': str(self.state),
                'mdevctl_path': '/etc/m.d',
                'on_error': 'refuse',
            },
            self.status(0),
        )
        again = self.run_hook('install')
        self.assertEqual((0, ''), (again.code, again.out))
        self.assertNotIn('Restart', again.err)
        changed = self.run_hook('install', '--on-error', 'start')
        self.assertEqual(f'replace {self.path}\n', changed.out)
        self.assertEqual('', changed.err)
        self.assertEqual('start', self.status(0)['on_error'])
        self.path.write_text(self.path.read_text() + '\n')
        self.assertEqual('outdated', self.status(1)['installed'])
        for arguments in (('remove', '--dry-run'), ('remove',)):
            outcome = self.run_hook(*arguments)
            self.assertEqual(f'remove {self.path}\n', outcome.out)
        outcome = self.run_hook('remove')
        self.assertEqual((0, ''), (outcome.code, outcome.out))
        self.assertEqual('no', self.status(1)['installed'])

    def test_foreign(self) -> None:
        """One line, and the file stays."""
        self.path.parent.mkdir(parents=True)
        self.path.write_text('#!/bin/sh\n')
        self.assertEqual('foreign', self.status(1)['installed'])
        for command in ('install', 'remove'):
            outcome = self.run_hook(command)
            self.assertEqual(1, outcome.code)
            self.assertEqual(1, len(outcome.errors), outcome.err)
            self.assertIn(str(self.path), outcome.err)
        self.assertEqual('#!/bin/sh\n', self.path.read_text())

    def test_relative_path(self) -> None:
        """libvirt runs in another folder."""
        self.conf = self.write_conf('[vgpu]\nstate_path = var/state\n')
        outcome = self.run_hook('install')
        self.assertEqual(1, outcome.code)
        self.assertIn('[vgpu] state_path', outcome.err)
        self.assertFalse(self.directory.exists())

    def test_other_sysfs(self) -> None:
        """As the option of all commands says."""
        root = self.host('mtty')
        outcome = run_cli(
            f'--config-file={self.conf}',
            f'--sysfs-root={os.path.relpath(root)}',
            'hook',
            'install',
            f'--directory={self.directory}',
        )
        self.assertEqual(0, outcome.code, outcome.err)
        self.assertIn(repr(root), self.path.read_text())
