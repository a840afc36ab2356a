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
"""Tokens in files, as the commands read them; see vendordata for the rest."""

from __future__ import annotations

import os
import pathlib

from nova_vgpu_ext import exception, guest_options, secret_file
from tests import base

TOKEN = 'eyJhbGciOi.payload_-.signature'  # noqa: S105


class SecretFileTest(base.TestCase):
    """What is taken, and what is not."""

    def setUp(self) -> None:
        super().setUp()
        self.file = self.temp_dir() / 'a.tok'
        self.file.write_text(f'{TOKEN}\n')
        self.file.chmod(0o600)

    def refused(self, *parts: str) -> None:
        """Check that the file is refused, not shown, and not left open."""
        before = sorted(pathlib.Path('/proc/self/fd').iterdir())
        error = self.assertRaises(
            exception.ConfigError, guest_options._read_token, str(self.file)
        )
        self.assertEqual(
            before, sorted(pathlib.Path('/proc/self/fd').iterdir())
        )
        self.assertNotIn(TOKEN, str(error))
        for part in (str(self.file), *parts):
            self.assertIn(part, str(error))

    def test_good(self) -> None:
        """A file of one's own, or a link to it."""
        self.assertEqual(TOKEN, guest_options._read_token(str(self.file)))
        link = self.file.with_name('link')
        link.symlink_to(self.file)
        self.assertEqual(TOKEN, guest_options._read_token(str(link)))

    def test_owner(self) -> None:
        """Whose it is matters only where that is asked."""
        opened = os.open(self.file, secret_file.FLAGS)
        error = self.assertRaises(
            exception.ConfigError,
            secret_file.read,
            str(self.file),
            opened,
            os.geteuid() + 1,
        )
        self.assertIn(f'chown {os.geteuid() + 1}', str(error))

    def test_modes(self) -> None:
        """Nobody else may read or write it."""
        for mode in (0o640, 0o604, 0o620, 0o602, 0o601):
            self.file.chmod(mode)
            self.refused(f'{mode:04o}', f'chmod 600 {self.file}')

    def test_kinds(self) -> None:
        """Neither folders, FIFOs, books nor pictures."""
        self.file.write_text('x' * 65537)
        self.refused('more than 65536 bytes')
        self.file.write_bytes(b'\xff\xd8')
        self.refused('no text')
        self.file.unlink()
        self.refused('no such file', 'portal')
        os.mkfifo(self.file, 0o600)
        self.refused('no plain file')
        self.file.unlink()
        self.file.mkdir(0o700)
        self.refused('no plain file')
