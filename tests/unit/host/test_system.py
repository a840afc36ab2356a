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
"""A machine as the doctor sees it, from folders that stand in for it."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import time
from typing import Any

from nova_vgpu_ext import exception, models
from nova_vgpu_ext.host import hook_file, libvirtd, question, system, systemd
from nova_vgpu_ext.models import Mount, Service, Unknown
from tests import base

RELEASE = '6.1.0-42-amd64'
BOOT = 1_700_000_000
MOUNTINFO = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro
23 22 0:21 / /sys rw,nosuid shared:2 master:3 - sysfs sysfs rw
24 22 8:2 /a\\040b /var/lib/with\\040blank ro,relatime - xfs /dev/sdb rw
25 22 8:3 / /mnt rw - ext4 /dev/sdc ro
"""
HOSTILE = (
    b'',
    b'\x00\xff\xfe' * 1000,
    b'\n' * 1000,
    b'x' * (2 << 20),
    b'- - - -\n1 2 3 4 5 6 -\n',
    '\u202e\u2028'.encode(),
)

LOADED = """\
LoadState=loaded
ActiveState=active
Result=success
UnitFileState=enabled
"""
NOT_FOUND = """\
LoadState=not-found
ActiveState=inactive
Result=success
UnitFileState=
"""


def is_unknown(value: object) -> bool:
    """Tell whether something could not be found out."""
    return isinstance(value, Unknown)


class MachineTestCase(base.TestCase):
    """A test with the folders of a machine."""

    def setUp(self) -> None:
        super().setUp()
        self.root = self.temp_dir()
        self.sysfs = self.root / 'sys'
        self.write('proc/sys/kernel/osrelease', f'{RELEASE}\n')
        self.write('proc/cmdline', 'root=/dev/sda1 intel_iommu=on\n')
        self.write(
            'proc/modules',
            'nvidia_vgpu_vfio 57344 9 - Live 0x0 (POE)\n'
            'nvidia 39059456 10 nvidia_vgpu_vfio, Live 0x0 (POE)\n',
        )
        self.write(
            f'lib/modules/{RELEASE}/modules.builtin',
            'kernel/drivers/vfio/vfio.ko\n'
            'kernel/drivers/vfio/mdev/mdev.ko.xz\n'
            'kernel/drivers/x/a-b.ko\n',
        )
        self.write('proc/self/mountinfo', MOUNTINFO)
        self.write('proc/stat', f'cpu 1 2 3\nbtime {BOOT}\nprocesses 9\n')
        self.write('sys/kernel/iommu_groups/0/type', 'DMA\n')
        self.write('sys/module/nvidia/version', '535.161.05\n')
        self.write('usr/share/vgpuConfig.xml', '<vgpuconfig/>')
        self.write('usr/sbin/mdevctl', '#!')
        self.write('usr/lib/udev/rules.d/60-mdevctl.rules', 'ACTION=="add"')
        self.link('proc/self/ns/mnt', 'mnt:[1]')

    def write(self, name: str, text: str | bytes) -> pathlib.Path:
        """Write a file of the machine."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def link(self, name: str, target: str) -> None:
        """Make a link of the machine."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)

    def program(self, text: str) -> str:
        """Make a program."""
        path = self.temp_dir() / 'program'
        path.write_text(f'#!/bin/sh\n{text}')
        path.chmod(0o755)
        return str(path)

    def process(
        self, pid: int, name: str, namespace: int = 1, ticks: int = 5000
    ) -> None:
        """Make a process."""
        after = ' '.join(['S', '1', *['0'] * 17, str(ticks), '7', '8'])
        self.write(f'proc/{pid}/comm', f'{name}\n')
        self.write(f'proc/{pid}/stat', f'{pid} ({name}) x) {after}\n')
        self.write(f'proc/{pid}/mountinfo', MOUNTINFO)
        self.link(f'proc/{pid}/ns/mnt', f'mnt:[{namespace}]')

    def places(self, **changes: Any) -> system.Places:
        """Say where everything is."""
        places = system.Places(
            sysfs=str(self.sysfs),
            catalog=str(self.root / 'usr/share/vgpuConfig.xml'),
            hook_settings={},
            root=str(self.root),
            systemctl=self.program(
                f"cat <<'EOF'\n{LOADED}\n{LOADED}\n{NOT_FOUND}\n{NOT_FOUND}"
                'EOF\n'
            ),
            environment={},
        )
        return dataclasses.replace(places, **changes)

    def observe(self, **changes: Any) -> models.System:
        """Look at the machine."""
        return system.observe(self.places(**changes))


class ObserveTest(MachineTestCase):
    """What is there."""

    def test_all(self) -> None:
        """Every fact of a host on which all is well."""
        self.process(4711, 'libvirtd')
        found = self.observe()
        self.assertEqual(RELEASE, found.kernel)
        self.assertEqual('root=/dev/sda1 intel_iommu=on', found.command_line)
        self.assertIs(True, found.has_iommu_groups)
        self.assertEqual(
            frozenset({'nvidia_vgpu_vfio', 'nvidia', 'vfio', 'mdev', 'a_b'}),
            found.modules,
        )
        self.assertEqual('535.161.05', found.driver)
        self.assertTrue(str(found.catalog).endswith('vgpuConfig.xml'))
        self.assertEqual('/usr/sbin/mdevctl', found.mdevctl)
        self.assertEqual(
            '/usr/lib/udev/rules.d/60-mdevctl.rules', found.mdevctl_rule
        )
        self.assertEqual(
            models.Libvirtd('libvirtd', 4711, BOOT + 50.0, None),
            found.libvirtd,
        )
        self.assertEqual(
            models.Hook('/etc/libvirt/hooks/qemu.d/nova-vgpu', 'no'),
            found.hook,
        )
        self.assertFalse(found.is_container)
        self.assertEqual(
            (
                Mount('/', 'ext4', True),
                Mount('/sys', 'sysfs', True),
                Mount('/var/lib/with blank', 'xfs', False),
                Mount('/mnt', 'ext4', False),
            ),
            found.mounts,
        )
        self.assertEqual(
            {
                'nvidia-vgpud.service': Service(
                    'loaded', 'active', 'success', 'enabled'
                ),
                'nvidia-vgpu-mgr.service': Service(
                    'loaded', 'active', 'success', 'enabled'
                ),
                'nova-vgpu-prepare.service': Service(
                    'not-found', 'inactive', 'success', ''
                ),
                'nova-vgpu-agent.service': Service(
                    'not-found', 'inactive', 'success', ''
                ),
            },
            found.services,
        )

    def test_nothing(self) -> None:
        """An empty machine is no error; what is absent is said so."""
        found = self.observe(
            root=str(self.temp_dir()),
            sysfs=str(self.temp_dir()),
            catalog='/nowhere/vgpuConfig.xml',
            systemctl='/nowhere/systemctl',
        )
        self.assertIs(False, found.has_iommu_groups)
        self.assertEqual(
            (None, None, None, None),
            (found.driver, found.catalog, found.mdevctl, found.mdevctl_rule),
        )
        for value in (
            found.kernel,
            found.command_line,
            found.modules,
            found.services,
            found.libvirtd,
            found.mounts,
        ):
            assert isinstance(value, Unknown)  # noqa: S101
            self.assertNotEqual('', value.remedy)
            self.assertFalse(value.is_fault)
            self.assertIn('no such file', value.found)

    def test_this_machine(self) -> None:
        """Whatever it is, nothing is raised."""
        found = system.observe(system.Places('/sys', '', {}))
        self.assertFalse(is_unknown(found.kernel))
        self.assertIsNone(found.catalog)

    def test_hostile_contents(self) -> None:
        """Empty, huge, binary: a fact or a reason, never an exception."""
        self.process(4711, 'libvirtd', namespace=2)
        for name in (
            'proc/sys/kernel/osrelease',
            'proc/cmdline',
            'proc/modules',
            f'lib/modules/{RELEASE}/modules.builtin',
            'proc/self/mountinfo',
            'proc/stat',
            'proc/4711/comm',
            'proc/4711/stat',
            'proc/4711/mountinfo',
            'sys/module/nvidia/version',
            'etc/libvirt/hooks/qemu.d/nova-vgpu',
        ):
            before = None
            if (self.root / name).exists():
                before = (self.root / name).read_bytes()
            for text in HOSTILE:
                self.write(name, text)
                found = self.observe()
                for field in dataclasses.fields(found):
                    value = getattr(found, field.name)
                    if isinstance(value, Unknown):
                        self.assertNotIn('bug', value.remedy, (name, value))
                        self.assertLess(len(value.found), 400)
            if before is not None:
                self.write(name, before)

    def test_other_kinds_of_files(self) -> None:
        """A folder or a pipe where a file should be does not stop it."""
        for name, field in (
            ('proc/modules', 'modules'),
            ('proc/sys/kernel/osrelease', 'kernel'),
        ):
            path = self.root / name
            path.unlink()
            os.mkfifo(path)
            found = self.observe()
            self.assertFalse(is_unknown(found.mounts))
            path.unlink()
            path.mkdir()
            unknown = getattr(self.observe(), field)
            assert isinstance(unknown, Unknown)  # noqa: S101
            self.assertIn('is a directory', unknown.found)
            self.assertIn(name, unknown.found)
            path.rmdir()
            self.write(name, 'x')

    def test_without_root(self) -> None:
        """What may not be read says what to do."""
        before = os.open

        def deny(path: Any, *rest: Any, **options: Any) -> int:
            if str(path).endswith('proc/modules'):
                raise PermissionError(13, 'Permission denied', path)
            return before(path, *rest, **options)

        self.patch('os.open', deny)
        self.patch('os.geteuid', lambda: 1000)
        found = self.observe()
        assert isinstance(found.modules, Unknown)  # noqa: S101
        self.assertIn('proc/modules: permission denied', found.modules.found)
        self.assertEqual('run this as root', found.modules.remedy)
        self.assertEqual(RELEASE, found.kernel)

    def test_no_iommu(self) -> None:
        """The folder is there, and empty."""
        (self.sysfs / 'kernel/iommu_groups/0/type').unlink()
        (self.sysfs / 'kernel/iommu_groups/0').rmdir()
        self.assertIs(False, self.observe().has_iommu_groups)

    def test_containers(self) -> None:
        """kolla's variables, and the files of two engines."""
        self.assertTrue(
            self.observe(
                environment={'KOLLA_SERVICE_NAME': 'nova-libvirt'}
            ).is_container
        )
        for name in ('run/.containerenv', '.dockerenv'):
            path = self.write(name, '')
            found = self.observe()
            self.assertTrue(found.is_container)
            # The host's own udev and libvirt cannot be seen from here.
            for value in (found.mdevctl_rule, found.mdevctl, found.hook):
                assert isinstance(value, Unknown)  # noqa: S101
                self.assertIn('a container', value.found)
            path.unlink()
        self.write('.dockerenv', '')
        self.process(4711, 'libvirtd')
        found = self.observe()
        self.assertEqual('/usr/sbin/mdevctl', found.mdevctl)
        self.assertFalse(is_unknown(found.hook))


class RuleTest(MachineTestCase):
    """udev's rule."""

    def test_turned_off(self) -> None:
        """An empty file, or a link to /dev/null, in /etc wins."""
        name = 'etc/udev/rules.d/60-mdevctl.rules'
        path = self.write(name, '')
        self.assertIsNone(self.observe().mdevctl_rule)
        path.unlink()
        self.link(name, '/dev/null')
        self.assertIsNone(self.observe().mdevctl_rule)
        path.unlink()
        self.write(name, 'ACTION=="add"')
        self.assertEqual(f'/{name}', self.observe().mdevctl_rule)

    def test_other_folder(self) -> None:
        """Where /lib is a folder of its own."""
        (self.root / 'usr/lib/udev/rules.d/60-mdevctl.rules').unlink()
        self.assertIsNone(self.observe().mdevctl_rule)
        self.write('lib/udev/rules.d/60-mdevctl.rules', 'x')
        self.assertEqual(
            '/lib/udev/rules.d/60-mdevctl.rules', self.observe().mdevctl_rule
        )


class LibvirtdTest(MachineTestCase):
    """libvirt's process."""

    def test_names(self) -> None:
        """The old daemon and the new one, and nothing that looks alike."""
        self.assertIsNone(self.observe().libvirtd)
        self.process(10, 'virtqemud-admin')
        self.process(11, 'virtlogd')
        self.assertIsNone(self.observe().libvirtd)
        self.process(9999, 'virtqemud', ticks=0)
        found = self.observe().libvirtd
        self.assertEqual(
            models.Libvirtd('virtqemud', 9999, float(BOOT)), found
        )

    def test_process_that_ends_meanwhile(self) -> None:
        """It is passed over."""
        self.process(10, 'libvirtd')
        (self.root / 'proc/10/stat').unlink()
        self.process(11, 'libvirtd')
        found = self.observe().libvirtd
        assert isinstance(found, models.Libvirtd)  # noqa: S101
        self.assertEqual(11, found.pid)

    def test_no_time(self) -> None:
        """The start cannot be told without that of the boot."""
        self.process(10, 'libvirtd')
        for text in ('', 'btime x\n', 'btime\n'):
            self.write('proc/stat', text)
            unknown = self.observe().libvirtd
            assert isinstance(unknown, Unknown)  # noqa: S101
            self.assertIn('no time of the boot', unknown.found)

    def container(self) -> None:
        """Let libvirt run in a container."""
        self.process(4711, 'libvirtd', namespace=2)
        self.write('proc/4711/root/usr/bin/true', '')

    def test_in_a_container(self) -> None:
        """Its own mounts count, and what it sees."""
        self.container()
        found = self.observe()
        daemon = found.libvirtd
        assert isinstance(daemon, models.Libvirtd)  # noqa: S101
        self.assertEqual(found.mounts, daemon.mounts)
        self.assertIsNone(found.mdevctl)
        # The target of an absolute link is another one from here.
        self.link('proc/4711/root/usr/sbin/mdevctl', '/nowhere/mdevctl')
        self.assertEqual('/usr/sbin/mdevctl', self.observe().mdevctl)

    def test_hook_in_a_container(self) -> None:
        """It has to be seen there as well."""
        self.container()
        hook_file.install(str(self.root / 'etc/libvirt/hooks'), {})
        found = self.observe().hook
        assert isinstance(found, models.Hook)  # noqa: S101
        self.assertEqual(('yes', False), (found.state, found.is_visible))
        self.write(f'proc/4711/root{found.path}', '')
        found = self.observe().hook
        assert isinstance(found, models.Hook)  # noqa: S101
        self.assertIs(True, found.is_visible)

    def test_hidden_container(self) -> None:
        """Another user's namespace may not be looked at."""
        self.container()
        (self.root / 'proc/4711/ns/mnt').unlink()
        found = self.observe()
        daemon = found.libvirtd
        assert isinstance(daemon, models.Libvirtd)  # noqa: S101
        for value in (daemon.mounts, found.mdevctl, found.hook):
            self.assertTrue(is_unknown(value), value)


class HookTest(MachineTestCase):
    """The hook's file."""

    def test_states(self) -> None:
        """Its time is that of its last change."""
        directory = str(self.root / 'etc/libvirt/hooks')
        before = time.time()
        hook_file.install(directory, {'state_path': '/a'})
        found = self.observe(hook_settings={'state_path': '/a'}).hook
        assert isinstance(found, models.Hook)  # noqa: S101
        self.assertEqual('yes', found.state)
        self.assertIsNone(found.is_visible)
        assert found.changed is not None  # noqa: S101
        self.assertLess(abs(found.changed - before), 60)
        found = self.observe(hook_settings={'state_path': '/b'}).hook
        assert isinstance(found, models.Hook)  # noqa: S101
        self.assertEqual('outdated', found.state)


class SystemdTest(MachineTestCase):
    """One call of systemctl."""

    def ask(self, text: str) -> Any:
        """Ask a program that answers with a text."""
        return systemd.services(['a.service', 'b.service'], self.program(text))

    def test_arguments(self) -> None:
        """It is asked for all units at once, without a pager."""
        folder = self.temp_dir()
        self.ask(f'echo "$@" >>{folder}/arguments')
        self.assertEqual(
            'show --no-pager --property=LoadState --property=ActiveState '
            '--property=Result --property=UnitFileState -- a.service '
            'b.service\n',
            (folder / 'arguments').read_text(),
        )

    def test_answers(self) -> None:
        """What is left out is empty."""
        found = self.ask("printf 'LoadState=loaded\\n\\nActiveState=failed'")
        self.assertEqual(
            {
                'a.service': Service('loaded', '', '', ''),
                'b.service': Service('', 'failed', '', ''),
            },
            found,
        )

    def test_no_answer(self) -> None:
        """Each kind of failure is a reason."""
        for text, found in (
            ('echo no bus >&2; exit 1', 'systemctl: no bus'),
            ('exit 1', 'an answer that was not expected'),
            ('echo LoadState=loaded', 'an answer that was not expected'),
            ("printf '\\377\\n\\n\\n\\n\\n'; exit 0", 'not expected'),
            ('kill -KILL $$', 'an answer that was not expected'),
        ):
            unknown = self.ask(text)
            assert isinstance(unknown, Unknown)  # noqa: S101
            self.assertIn(found, unknown.found)
            self.assertIn('on the host', unknown.remedy)

    def test_too_slow(self) -> None:
        """It does not wait for ever."""
        self.patch('nova_vgpu_ext.host.systemd._SECONDS', 0.1)
        unknown = self.ask('exec sleep 60')
        assert isinstance(unknown, Unknown)  # noqa: S101
        self.assertIn('no answer within 0.1 s', unknown.found)


class FolderTest(base.TestCase):
    """The folder of ledger and lock."""

    def test_folder(self) -> None:
        """Its permissions, all of them."""
        path = self.temp_dir() / 'state'
        path.mkdir()
        path.chmod(0o1777)
        self.assertEqual(
            models.Folder(str(path), True, True, 0o1777, True),
            system.folder(str(path)),
        )

    def test_absent(self) -> None:
        """It can be made, with the folders above."""
        path = str(self.temp_dir() / 'a/b/c')
        self.assertEqual(
            models.Folder(path, exists=False), system.folder(path)
        )
        self.assertFalse(os.path.exists(path))

    def test_no_folder(self) -> None:
        """A file has the name; or one above has."""
        path = self.temp_dir() / 'state'
        path.write_text('')
        path.chmod(0o700)
        self.assertFalse(system.folder(str(path)).is_folder)
        found = question.ask(lambda: system.folder(str(path / 'below')))
        assert isinstance(found, Unknown)  # noqa: S101
        self.assertIn('not a directory', found.found)

    def test_read_only(self) -> None:
        """Root finds a file system that is read-only."""
        self.patch('os.access', lambda *_, **__: False)
        self.patch('os.geteuid', lambda: 0)
        path = str(self.temp_dir())
        self.assertFalse(system.folder(path).is_writable)
        self.patch('os.geteuid', lambda: 1000)
        found = question.ask(lambda: system.folder(path))
        assert isinstance(found, Unknown)  # noqa: S101
        self.assertEqual('run this as root', found.remedy)


class _LibvirtError(Exception):
    pass


class _Connection:
    """Tells versions, or fails."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.closed = 0

    def getLibVersion(self) -> int:
        if self.error:
            raise self.error
        return 8006001

    def getVersion(self) -> int:
        return 10000002

    def close(self) -> None:
        self.closed += 1


class _Module:
    """Stands in for libvirt's module."""

    libvirtError = _LibvirtError
    VIR_CONNECT_RO = 1

    def __init__(self, connection: _Connection | Exception) -> None:
        self.connection = connection
        self.opened: list[tuple[str, int]] = []

    def openAuth(self, uri: str, auth: Any, flags: int) -> _Connection:
        self.opened.append((uri, flags))
        if isinstance(self.connection, Exception):
            raise self.connection
        return self.connection


class HypervisorTest(base.TestCase):
    """libvirt's answer."""

    def connect(self, connection: _Connection | Exception) -> _Module:
        """Let libvirt be this."""
        module = _Module(connection)
        self.patch('nova_vgpu_ext.host.libvirt.module', lambda _: module)
        return module

    def test_versions(self) -> None:
        """Both, over a connection that cannot change anything."""
        connection = _Connection()
        module = self.connect(connection)
        self.assertEqual(
            models.Hypervisor((8, 6, 1), (10, 0, 2)),
            system.hypervisor('qemu:///system'),
        )
        self.assertEqual([('qemu:///system', 1)], module.opened)
        self.assertEqual(1, connection.closed)

    def test_errors(self) -> None:
        """They name the option, and nothing stays open."""
        connection = _Connection(_LibvirtError('gone'))
        for broken in (connection, _LibvirtError('refused')):
            self.connect(broken)
            error = self.assertRaises(
                exception.LibvirtError, system.hypervisor, 'qemu:///system'
            )
            self.assertIn('[vgpu] libvirt_uri', str(error))
        self.assertEqual(1, connection.closed)


class MountsTest(base.TestCase):
    """The format of mountinfo."""

    def test_lines_that_are_none(self) -> None:
        """They are left out."""
        path = self.temp_dir() / 'mountinfo'
        path.write_text('\n1 2 3\n1 2 3 4 /x rw\n- a b c\n1 2 3 4 /y rw - e\n')
        self.assertEqual((), libvirtd.mounts(str(path)))
