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
"""Writes that may block, the log, and what a call ends with."""

from __future__ import annotations

import errno
import os
import pathlib
import re
import socket
import time

from nova_vgpu_ext.hook import qemu
from tests import base as tests_base
from tests.unit.hook import base
from tests.unit.hook.base import NEW, NIC, PLAIN, domain


class WriteTest(tests_base.TestCase):
    """A child writes, with a time limit."""

    def setUp(self) -> None:
        super().setUp()
        self.file = self.temp_dir() / 'file'
        self.file.write_text('')
        self.children: list[int] = []
        fork = os.fork

        def recorded() -> int:
            child = fork()
            self.children.append(child)
            return child

        self.patch('os.fork', recorded)

    def error(self, path: str | pathlib.Path, seconds: float = 60) -> OSError:
        """Write where it fails; give the error."""
        try:
            qemu.write(str(path), '1', seconds)
        except OSError as error:
            return error
        return self.fail('it was written')

    def assert_no_child(self) -> None:
        """Assert that no child of the writes is left."""
        for child in self.children:
            self.assertRaises(ChildProcessError, os.waitpid, child, os.WNOHANG)

    def test_write(self) -> None:
        """As echo writes it."""
        qemu.write(str(self.file), 'a=1,b=0', 60)
        self.assertEqual('a=1,b=0\n', self.file.read_text())
        self.assert_no_child()

    def test_errors(self) -> None:
        """The kernel's answer comes through."""
        link = self.file.with_name('link')
        link.symlink_to(self.file)
        for path, number in (
            (self.file.with_name('none'), errno.ENOENT),
            (self.file.parent, errno.EISDIR),
            (link, errno.ELOOP),
            ('/dev/full', errno.ENOSPC),
        ):
            error = self.error(path)
            self.assertEqual(number, error.errno)
            self.assertEqual(str(path), error.filename)
            self.assertEqual(os.strerror(number), error.strerror)
        self.assertFalse(self.file.with_name('none').exists())
        self.assertEqual('', self.file.read_text())
        self.assert_no_child()

    def test_blocked(self) -> None:
        """A pipe that nobody reads does not let go by itself."""
        self.file.unlink()
        os.mkfifo(self.file)
        started = time.monotonic()
        error = self.error(self.file, 0.1)
        self.assertIsInstance(error, TimeoutError)
        self.assertIn('no answer', error.strerror or '')
        self.assertLess(time.monotonic() - started, 30)
        # It is told to end, as soon as the kernel lets it.
        os.waitpid(self.children[-1], 0)
        self.assert_no_child()

    def test_no_time_left(self) -> None:
        """Then nothing is waited for at all."""
        self.file.unlink()
        os.mkfifo(self.file)
        self.assertIsInstance(self.error(self.file, -5), TimeoutError)
        os.waitpid(self.children[-1], 0)

    def test_child_dies(self) -> None:
        """No answer is no success."""

        def die(*_: object) -> None:
            os._exit(1)

        self.patch('nova_vgpu_ext.hook.qemu._write_and_exit', die)
        self.assertEqual(errno.EIO, self.error(self.file).errno)
        self.assert_no_child()

    def test_no_more_processes(self) -> None:
        """It is an error as any other, and no handle stays open."""
        before = os.listdir('/proc/self/fd')
        with base.Fault('fork', errno.EAGAIN):
            self.assertEqual(errno.EAGAIN, self.error(self.file).errno)
        self.assertEqual(before, os.listdir('/proc/self/fd'))


class LogTest(tests_base.TestCase):
    """Lines for syslog and standard error."""

    def setUp(self) -> None:
        super().setUp()
        self.path = str(self.temp_dir() / 'log')
        self.patch('nova_vgpu_ext.hook.qemu.SYSLOG', self.path)
        self.shown: list[bytes] = []
        self.patch(
            'nova_vgpu_ext.hook.qemu.Log._show',
            lambda _, line: self.shown.append(line),
        )

    def listen(self) -> socket.socket:
        """Be the daemon."""
        daemon = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(daemon.close)
        daemon.bind(self.path)
        daemon.settimeout(10)
        return daemon

    def test_line(self) -> None:
        """Facility, severity, time, tag, process, guest."""
        daemon = self.listen()
        qemu.Log('größe')(qemu.WARNING, 'a line')
        self.assertTrue(
            re.fullmatch(
                r'<28>[A-Z][a-z]{2} [ 1-3][0-9] [0-9:]{8} '
                rf'nova-vgpu-hook\[{os.getpid()}\]: größe: a line',
                daemon.recv(9999).decode(),
            )
        )
        self.assertEqual(
            ['nova-vgpu-hook: größe: a line\n'],
            [line.decode() for line in self.shown],
        )

    def test_information(self) -> None:
        """libvirt would show it where a guest is refused."""
        daemon = self.listen()
        qemu.Log('guest')(qemu.INFO, 'done')
        self.assertIn(b'guest: done', daemon.recv(9999))
        self.assertEqual([], self.shown)

    def test_hostile_line(self) -> None:
        """It stays one line, and short."""
        daemon = self.listen()
        qemu.Log('a\nb' + 'c' * 9999)(qemu.ERROR, '\x1b[2J\udc80' * 9999)
        line = daemon.recv(9999).decode()
        self.assertTrue(line.isprintable(), line)
        self.assertLess(len(line), 1500)
        self.assertTrue(self.shown[0].decode().rstrip('\n').isprintable())

    def test_no_daemon(self) -> None:
        """As in most containers."""
        qemu.Log('guest')(qemu.ERROR, 'a line')
        self.assertEqual(1, len(self.shown))

    def test_daemon_hangs(self) -> None:
        """A guest does not wait for it."""
        self.listen()
        log = qemu.Log('guest')
        for _ in range(2000):
            log(qemu.ERROR, 'x' * 1000)
        self.assertEqual(2000, len(self.shown))


class AnswerTest(base.HookTestCase):
    """Which guest pays for what goes wrong."""

    def test_bad_xml(self) -> None:
        """A guest that may have a vGPU."""
        self.assert_refused(b"<hostdev type='mdev'>", 'XML', 'malformed')
        self.assert_refused(
            domain([PLAIN.upper()]), 'XML', 'UUID in lower case'
        )
        self.assert_refused(
            domain([PLAIN]) + b' ' * qemu.XML_LIMIT, 'XML', 'bytes'
        )

    def test_bad_xml_of_others(self) -> None:
        """A guest that has none."""
        self.assert_ready(domain([], [NIC])[:-5])
        self.assert_logged(qemu.WARNING, 'malformed')

    def test_bug(self) -> None:
        """One line says where, and the guest does not start half set."""

        def fail(*_: object) -> None:
            msg = 'a\nbug'
            raise RuntimeError(msg)

        self.patch('nova_vgpu_ext.hook.qemu.Host.mdev', fail)
        self.assert_refused(domain([PLAIN]), 'error of the hook, line', 'bug')
        self.assertEqual(1, len(self.release(domain([PLAIN], specs={}))))

    def test_bug_with_others(self) -> None:
        """A guest without vGPUs starts."""

        def fail(*_: object) -> None:
            raise MemoryError

        self.patch('nova_vgpu_ext.hook.qemu.Host.function', fail)
        self.assert_ready(domain([], [NIC]))
        self.assert_logged(qemu.WARNING, 'MemoryError')

    def test_odd_settings(self) -> None:
        """Somebody edited the file."""
        reasons = qemu.answer(
            qemu.PREPARE, domain([PLAIN]), {'refuse': True}, self.note
        )
        self.assertEqual(1, len(reasons))
        self.assertIn('sysfs_root', reasons[0])
        reasons = qemu.answer(
            qemu.PREPARE,
            domain([PLAIN]),
            {**self.settings, 'sysfs_root': '/nowhere'},
            self.note,
        )
        self.assertIn(PLAIN, reasons[0])

    def test_other_calls(self) -> None:
        """Nothing is done, and nothing is wrong."""
        self.patch('nova_vgpu_ext.hook.qemu.answer', self.fail)
        for call in (
            'start begin',
            'started begin',
            'stopped end',
            'release begin',
            'prepare end',
            'migrate begin',
            'restore begin',
            'reconnect begin',
            'attach begin',
            'new-one begin',
            '',
        ):
            arguments = ['guest', *call.split(), '-']
            self.assertEqual(0, qemu.main(arguments, domain([NEW])))
        self.assertEqual(0, qemu.main([], b''))

    def test_exit_code(self) -> None:
        """Only before a guest starts, and only if it is to be refused."""
        self.patch('nova_vgpu_ext.hook.qemu.Log._show', lambda *_: None)
        self.patch('nova_vgpu_ext.hook.qemu.SYSLOG', str(self.state))
        for operation, refuse, code in (
            ('prepare begin', True, 1),
            ('prepare begin', False, 0),
            ('release end', True, 0),
        ):
            settings = {**self.settings, 'refuse': refuse}
            self.patch('nova_vgpu_ext.hook.qemu.SETTINGS', settings)
            for xml in (domain([PLAIN.upper()]), domain([NEW])):
                arguments = ['guest', *operation.split(), '-']
                self.assertEqual(code, qemu.main(arguments, xml))
        self.patch('nova_vgpu_ext.hook.qemu.SETTINGS', self.settings)
        arguments = ['guest', 'prepare', 'begin', '-']
        self.assertEqual(0, qemu.main(arguments, domain([PLAIN])))
