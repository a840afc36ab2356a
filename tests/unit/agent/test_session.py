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
"""What is opened, and what is said of what cannot be."""

from __future__ import annotations

import io
import logging
import sys

import fixtures

import nova_vgpu_ext
from nova_vgpu_ext import exception, runtime
from nova_vgpu_ext.agent import logs, main, session
from tests import base


def _refuse() -> None:
    raise PermissionError(1, 'Operation not permitted')


class _Events:
    def __init__(self, *_: object) -> None:
        pass


class SessionTest(base.TestCase):
    """Without a host: nothing of it is read."""

    def open(self, text: str) -> list[str]:
        """Open the sources of a configuration; give their kinds."""
        host = runtime.Runtime(
            [self.write_conf(text)], (), str(self.temp_dir()), 'node'
        )
        session.check(host)
        made = session.make(host)
        return [type(source).__name__ for source in made.open_sources()]

    def said(self, text: str) -> int:
        """Count the lines of the log with a text."""
        return sum(text in line for line in self.logs.lines)

    def test_everything(self) -> None:
        """The kernel and libvirt."""
        self.patch('nova_vgpu_ext.agent.uevents.Uevents', _Events)
        self.patch('nova_vgpu_ext.agent.libvirt_events.LibvirtEvents', _Events)
        self.patch('nova_vgpu_ext.host.libvirt.module', lambda: None)
        self.assertEqual(['_Events', '_Events'], self.open(''))
        self.assertEqual(0, self.said('heard'))

    def test_nothing(self) -> None:
        """One line each."""
        self.patch('nova_vgpu_ext.agent.uevents.Uevents', _refuse)
        self.patch('sys.modules', {**sys.modules, 'libvirt': None})
        self.assertEqual([], self.open(''))
        self.assertEqual(1, self.said('(Operation not permitted)'))
        self.assertEqual(1, self.said('no events of libvirt: [vgpu] '))

    def test_no_libvirt(self) -> None:
        """As the configuration says."""
        self.patch('nova_vgpu_ext.agent.uevents.Uevents', _Events)
        self.assertEqual(['_Events'], self.open('[vgpu]\nlibvirt_uri =\n'))
        self.assertEqual(1, self.said('libvirt is not asked'))

    def test_values(self) -> None:
        """They come from the sections of the agent and the project."""
        conf = '[vgpu_agent]\ninterval = 7\n[vgpu]\nwrite_timeout = 9\n'
        host = runtime.Runtime([self.write_conf(conf)])
        made = session.make(host)
        self.assertEqual((7, 9), (made.interval, made.write_timeout))

    def test_no_files(self) -> None:
        """An agent without configuration is a mistake."""
        host = runtime.Runtime([], [str(self.temp_dir() / 'none')])
        self.assertRaises(exception.ConfigError, session.check, host)


class _Logging(fixtures.Fixture):
    """Undoes what oslo.log does to the logging of this process."""

    def _setUp(self) -> None:
        root = logging.getLogger()
        for name in ('handlers', 'level'):
            self.addCleanup(setattr, root, name, getattr(root, name))
        root.handlers = []
        self.addCleanup(setattr, sys, 'excepthook', sys.excepthook)
        for name in ('oslo_config', 'openstack'):
            library = logging.getLogger(name)
            self.addCleanup(library.setLevel, library.level)
        self.addCleanup(
            logging.getLogger('nova_vgpu_ext').setLevel, logging.NOTSET
        )


class LogsTest(base.TestCase):
    """The log follows the options of oslo.log."""

    def setUp(self) -> None:
        super().setUp()
        self.useFixture(_Logging())
        self.log = logs.Logs('nova-vgpu-agent')
        self.file = self.temp_dir() / 'agent.log'

    def set_up(self, text: str) -> None:
        """Set the log up by a configuration."""
        self.log.set_up([self.write_conf(f'[DEFAULT]\n{text}')], ())

    def error(self, text: str) -> str:
        """Set the log up by a bad configuration; give the error."""
        found = self.assertRaises(
            exception.ConfigError, lambda: self.set_up(text)
        )
        self.assertEqual(1, len(str(found).splitlines()))
        return str(found)

    def test_file(self) -> None:
        """Each reload opens it anew, as logrotate wants it."""
        self.set_up(f'log_file = {self.file}\n')
        logging.getLogger('any').warning('a line')
        # A service in the same process may have left its request's context.
        self.assertRegex(
            self.file.read_text(), r'WARNING any \[.*\] a line\n$'
        )
        self.file.rename(f'{self.file}.1')
        self.set_up(f'log_file = {self.file}\n')
        logging.getLogger('any').warning('another line')
        self.assertIn('another line', self.file.read_text())

    def test_errors(self) -> None:
        """They name the value, and the log stays as it was."""
        self.set_up(f'log_file = {self.file}\n')
        for text, named in (
            ('debug = perhaps\n', 'perhaps'),
            ('log_file = /nowhere/at/all\n', '/nowhere/at/all'),
            ('log_dir = $nothing\n', 'nothing'),
            ('log_config_append = /nowhere\n', '/nowhere'),
            ('use_syslog = yes\nsyslog_log_facility = x\n', 'facility'),
            ('log_rotation_type = size\nmax_logfile_size_mb = x\n'
             f'log_file = {self.file}\n', "'x'"),
        ):  # fmt: skip
            self.assertIn(named, self.error(text), text)
            logging.getLogger('any').warning('after %s', named)
            self.assertIn(f'after {named}', self.file.read_text())


class MainTest(base.TestCase):
    """The program's own arguments."""

    def run_main(self, *arguments: str) -> tuple[object, str, str]:
        """Run the program where it does not get far."""
        out = self.useFixture(fixtures.StringStream('out')).stream
        err = io.StringIO()
        self.patch('sys.stdout', out)
        self.patch('sys.stderr', err)
        code: object = None
        try:
            code = main.main(arguments)
        except SystemExit as ended:
            code = ended.code
        out.seek(0)
        return code, out.read(), err.getvalue()

    def test_version(self) -> None:
        """It is that of the package."""
        code, out, _ = self.run_main('--version')
        self.assertEqual(0, code)
        self.assertEqual(f'nova-vgpu-agent {nova_vgpu_ext.version()}\n', out)

    def test_help(self) -> None:
        """It names the signals."""
        code, out, _ = self.run_main('--help')
        self.assertEqual(0, code)
        for word in ('SIGHUP', 'SIGUSR1', '--config-file', '--node'):
            self.assertIn(word, out)

    def test_bad_start(self) -> None:
        """One line."""
        for given in ('/nowhere', self.write_conf('[DEFAULT]\ndebug = x\n')):
            code, out, err = self.run_main(f'--config-file={given}')
            self.assertEqual((1, ''), (code, out))
            self.assertEqual(1, len(err.splitlines()), err)
