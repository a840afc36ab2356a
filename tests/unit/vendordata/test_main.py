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
"""The program: what it says when it cannot start."""

from __future__ import annotations

import contextlib
import io

from nova_vgpu_ext.vendordata import load, main
from tests import base

_AUTH = 'auth_type = none\n'


class MainTest(base.TestCase):
    """One line, and an exit code."""

    def refused(self, *arguments: str) -> str:
        """Run the program, which ends at once; give its one line."""
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            self.assertEqual(1, main.main(arguments))
        (line,) = said.getvalue().splitlines()
        return line

    def test_files(self) -> None:
        """Each problem with the configuration is named."""
        self.assertIn(
            '/nonexistent', self.refused('--config-file', '/nonexistent')
        )
        for text, *parts in (
            ('', '[nova] auth_type', 'nothing'),
            ('[nova]\nauth_type = x\n', '[nova] auth_type', 'x'),
            (f'[nova]\n{_AUTH}', '[keystone_authtoken] auth_type'),
            ('[vgpu_vendordata]\nlookup_timeout = x\n', 'lookup_timeout'),
            ('[vgpu_vendordata]\ntypes = x\n', '[vgpu_vendordata] types'),
            ('[vgpu_guest]\nbackup_server = x\n', 'backup_server'),
            ('x', 'an INI file'),
        ):
            line = self.refused('--config-file', self.write_conf(text))
            for part in parts:
                self.assertIn(part, line)

    def test_memcached(self) -> None:
        """What talks to it is missed at the start, not by the first guest."""
        for more, module in (
            ('', 'memcache'),
            ('memcache_sasl_enabled = true\n', 'bmemcached'),
        ):
            line = self.refused(
                '--config-file',
                self.write_conf(
                    f'[nova]\n{_AUTH}[keystone_authtoken]\n{_AUTH}'
                    f'memcached_servers = 127.0.0.1:11211\n{more}'
                ),
            )
            self.assertIn('[keystone_authtoken] memcached_servers', line)
            self.assertIn(f'no Python module {module},', line)

    def test_variable(self) -> None:
        """Without the option the environment names the files."""
        self.patch('os.environ', {load.VARIABLE: '/nonexistent/a'})
        self.assertIn('/nonexistent/a', self.refused())

    def test_port(self) -> None:
        """What is no port is refused, and not taken for another one."""
        for text in ('65536', '-1', 'http'):
            said = io.StringIO()
            with contextlib.redirect_stderr(said):
                error = self.assertRaises(
                    SystemExit, main.parse, ['--port', text]
                )
            self.assertEqual(2, error.code)
            self.assertIn('--port', said.getvalue())
