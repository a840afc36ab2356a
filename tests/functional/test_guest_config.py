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
"""``nova-vgpu guest config``: what an operator gives, and gets."""

from __future__ import annotations

import yaml

from tests import base
from tests.functional.base import run_cli

SUM = 'a' * 64
DRIVER = (
    '--driver-url',
    'https://mirror.example.org/grid.run',
    '--sha256',
    SUM,
)


class GuestConfigTest(base.TestCase):
    """The command as a user runs it, without nova.conf or GPU."""

    def setUp(self) -> None:
        super().setUp()
        self.token = self.temp_dir() / 'client_configuration_token.tok'
        self.token.write_text('eyJh.payload.signature\n')
        self.token.chmod(0o600)

    def test_token_and_driver(self) -> None:
        """A Linux guest gets both; the token stands nowhere else."""
        for name in ('V100DX-1Q', 'nvidia-194', '1153'):
            found = run_cli(
                *('guest', 'config', '--type', name, '--os', 'ubuntu'),
                *('--token', str(self.token), *DRIVER),
            )
            self.assertEqual((0, ''), (found.code, found.err))
            config = yaml.safe_load(found.out)
            files = {f['path']: f['content'] for f in config['write_files']}
            self.assertIn(SUM, files['/etc/nova-vgpu-guest/settings'])
            self.assertEqual(
                ['eyJh.payload.signature'],
                [text for path, text in files.items() if path.endswith('tok')],
            )
            self.assertEqual(1, found.out.count('eyJh.payload.signature'))

    def test_servers(self) -> None:
        """Legacy servers, by name and address, with and without port."""
        for text, host, port in (
            ('lic.example.org', 'lic.example.org', 7070),
            ('lic:8080', 'lic', 8080),
            ('2001:db8::1', '2001:db8::1', 7070),
            ('[2001:db8::1]:8080', '2001:db8::1', 8080),
        ):
            found = run_cli(
                *('guest', 'config', '--type', 'V100DX-1Q', '--os', 'rocky'),
                *('--license-server', text, '--backup-server', 'second'),
            )
            self.assertEqual((0, ''), (found.code, found.err))
            for line in (
                f'ServerAddress={host}',
                f'ServerPort={port}',
                'BackupServerAddress=second',
            ):
                self.assertIn(line, found.out)

    def test_windows(self) -> None:
        """A script, unless another format is asked for."""
        found = run_cli(
            *('guest', 'config', '--type', 'V100DX-1A', '--os', 'windows')
        )
        self.assertEqual(0, found.code)
        self.assertTrue(found.out.startswith('#ps1_sysnative\n'))

    def test_bad_input(self) -> None:
        """One line, and nothing on standard output."""
        readable = self.temp_dir() / 'readable.tok'
        readable.write_text('eyJh.a.b')
        readable.chmod(0o644)
        token = ('--token', str(self.token))
        for name, system, arguments, words in (
            ('V100DX-1A', 'debian', token, 'series A on debian'),
            ('V100DX-4C', 'rocky', token, 'series C needs a licence'),
            ('nvidia-9999', 'rocky', (), 'no series in the name'),
            ('mtty-1', 'debian', (), 'no series in the name'),
            ('V100DX-1Q', 'debian', ('--token', '/none'), 'no such file'),
            ('V100DX-1Q', 'debian', ('--token', str(readable)), 'mode 0644'),
            ('V100DX-1Q', 'debian', DRIVER[:2], 'expected both'),
            ('V100DX-1Q', 'debian', ('--no-dkms',), '--no-dkms: found it alo'),
            (
                'V100DX-1Q',
                'debian',
                ('--kernel-source-path', '/usr/src'),
                '--kernel-source-path: found it alone',
            ),
            (
                'V100DX-1Q',
                'debian',
                (*DRIVER, '--edition', 'vws'),
                '--edition: found it alone',
            ),
            (
                'V100DX-1Q',
                'debian',
                (*token, '--backup-server', 'a'),
                'a backup server alone',
            ),
            ('V100DX-1Q', 'windows', DRIVER, 'ends in .exe'),
            (
                'V100DX-1Q',
                'debian',
                ('--license-server', 'a b'),
                "licence server: found 'a b'",
            ),
            (
                'V100DX-1Q',
                'debian',
                ('--type', 'V100DX-4C'),
                'series C and Q in one guest',
            ),
        ):
            found = run_cli(
                *('guest', 'config', '--type', name, '--os', system),
                *arguments,
            )
            self.assertEqual((1, ''), (found.code, found.out), words)
            self.assertIn(words, found.err)
            self.assertNotIn('Traceback', found.err)
