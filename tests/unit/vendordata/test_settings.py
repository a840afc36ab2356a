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
"""The sections for guests, and the files with tokens."""

from __future__ import annotations

import os
import pathlib

from nova_vgpu_ext import exception
from nova_vgpu_ext.conf import load, vendordata
from nova_vgpu_ext.guest.settings import Edition, Server, System
from nova_vgpu_ext.vendordata import rules, sections, tokens
from nova_vgpu_ext.vendordata.rules import Guest
from tests import base

SUM = 'a' * 64
URL = 'https://mirror.example.org/driver.run'
EVERY = f"""
[vgpu_guest]
driver_url = {URL}
driver_sha256 = {SUM}
license_server = licence.example.org:7071
editions = vws, compute
"""
TOKEN = 'eyJhbGciOi.payload_-.signature'  # noqa: S105


class SectionsTest(base.TestCase):
    """What the configuration says."""

    def rules(self, text: str) -> sections.Rules:
        """Read a configuration."""
        name = self.write_conf(text)
        return sections.load(load.load([name], (), vendordata.register_opts))

    def test_nothing(self) -> None:
        """Without sections there are no rules."""
        found = self.rules('')
        self.assertEqual(([], []), (found.drivers, found.licences))

    def test_most_special(self) -> None:
        """Each of driver and licence comes from the most special section."""
        found = self.rules(
            EVERY
            + """
[vgpu_guest:debian]
systems = debian
driver_url = https://mirror.example.org/driver.deb
driver_sha256 = """
            + SUM
            + """
[vgpu_guest:a]
projects = aa, ab
token_file = a.tok
[vgpu_guest:b]
projects = b
token_file =
[vgpu_guest:domain]
domains = d
token_file = d.tok
[vgpu_guest:small]
types = V100DX-1Q
license_server = small.example.org
"""
        )
        self.assertTrue(found.ask_domain)
        every, debian = 'vgpu_guest', 'vgpu_guest:debian'
        for guest, driver, licence in (
            (('x', 'y', 'a40-8q', 'ubuntu'), every, every),
            (('x', 'y', 'a40-8q', 'debian'), debian, every),
            (('ab', 'd', 'v100dx-1q', 'rocky'), every, 'vgpu_guest:a'),
            (('b', 'd', 'v100dx-1q', 'rocky'), every, 'vgpu_guest:b'),
            (('x', 'd', 'v100dx-1q', 'rocky'), every, 'vgpu_guest:domain'),
            (('x', 'y', 'v100dx-1q', 'rocky'), every, 'vgpu_guest:small'),
        ):
            project, domain, product, system = guest
            asked = Guest(
                project, domain, frozenset({product}), System(system)
            )
            chosen = [
                rules.choose(found.drivers, asked),
                rules.choose(found.licences, asked),
            ]
            self.assertEqual(
                [driver, licence], [rule and rule.section for rule in chosen]
            )
        values = {rule.section: rule.value for rule in found.licences}
        self.assertIsNone(values['vgpu_guest:b'])
        first = values[every]
        self.assertEqual(
            sections.Licence(
                None,
                Server('licence.example.org', 7071),
                None,
                frozenset({Edition.VWS, Edition.COMPUTE}),
            ),
            first,
        )

    def test_bad(self) -> None:
        """Each line names its section and option."""
        for text, *parts in (
            (f'driver_url = {URL}', 'driver_sha256', 'one of the two'),
            (f'driver_url = x y\ndriver_sha256 = {SUM}', 'driver URL'),
            ('dkms = false', 'dkms', 'driver_url'),
            ('editions = vws', 'editions', 'token_file'),
            ('editions = gold\nlicense_server = a', 'editions', 'gold'),
            ('license_server = a b', 'licence server'),
            ('license_server = a:99999', '99999'),
            ('backup_server = a', 'backup_server'),
            ('license_server = a\ntoken_file = b', 'token_file'),
            ('token_file = ../b', 'token_file', "'../b'"),
            ('token_file = .b', 'token_file'),
            ('token_file = $x', 'token_file'),
            ('project = x', 'project', 'not known'),
            ('domains = A Domain\nlicense_server = a', 'domains', 'A Domain'),
            ('types = V100DX_1Q\nlicense_server = a', 'types', 'V100DX_1Q'),
            ('license_server = a\nsystems = plan9', 'systems', 'plan9'),
            ('license_server = a\nsystems = windows', 'systems', 'cloudbase'),
            (f'driver_url = {URL}\ndriver_sha256 = {SUM}\ndkms = x', 'dkms'),
        ):
            error = self.assertRaises(
                exception.ConfigError,
                self.rules,
                f'[vgpu_guest:x]\nprojects = p\n{text}\n',
            )
            for part in ('[vgpu_guest:x]', *parts):
                self.assertIn(part, str(error))

    def test_own_options(self) -> None:
        """Those of the service itself are not misspelt either."""
        error = self.assertRaises(
            exception.ConfigError,
            self.rules,
            '[vgpu_vendordata]\nsecret_dir = /x\n',
        )
        self.assertIn('[vgpu_vendordata] secret_dir', str(error))

    def test_names(self) -> None:
        """A section that is not for whom it was meant is refused."""
        for name, part in (
            ('vgpu_guest:a', 'no projects'),
            ('vgpu_guests', 'vgpu_guests'),
            ('VGPU_GUEST:a', 'VGPU_GUEST'),
            ('vgpu_guest', 'projects'),
        ):
            text = f'[{name}]\ntoken_file = a\n'
            if name == 'vgpu_guest':
                text += 'projects = a\n'
            error = self.assertRaises(exception.ConfigError, self.rules, text)
            self.assertIn(part, str(error))

    def test_twice(self) -> None:
        """Of two sections of one name oslo.config would make one."""
        for text, part in (
            (
                '[vgpu_guest:a]\nprojects = p\ntoken_file = p\n'
                '[DEFAULT]\n[vgpu_guest:A]\nprojects = q\n',
                'a section of that name twice',
            ),
            (
                '[vgpu_guest:a]\ntoken_file = p\nprojects = p\nprojects = q\n',
                '[vgpu_guest:a] projects: found 2 values',
            ),
        ):
            error = self.assertRaises(exception.ConfigError, self.rules, text)
            self.assertIn(part, str(error))
        # A later file may say something else.
        first, second = (
            self.write_conf(f'[vgpu_guest:a]\nprojects = {name}\n')
            for name in 'pq'
        )
        sections.load(load.load([first, second], (), vendordata.register_opts))

    def test_chance(self) -> None:
        """Two sections for the same guests are refused; others are not."""
        one = '[vgpu_guest:a]\n{}\ntoken_file = a\n'
        two = '[vgpu_guest:b]\n{}\ntoken_file = b\n'
        for first, second, good in (
            ('projects = x', 'projects = x, y', False),
            ('projects = x', 'projects = y', True),
            ('projects = x\ntypes = A40-1Q', 'projects = x', True),
            (
                'projects = x\ntypes = A40-1Q',
                'projects = x\ntypes = a40-1q',
                False,
            ),
            ('systems = debian', 'types = A40-1Q', True),
        ):
            text = one.format(first) + two.format(second)
            if good:
                self.rules(text)
                continue
            error = self.assertRaises(exception.ConfigError, self.rules, text)
            self.assertIn('[vgpu_guest:a], [vgpu_guest:b]', str(error))


class TokensTest(base.TestCase):
    """Files with secrets."""

    def setUp(self) -> None:
        super().setUp()
        self.folder = self.temp_dir()
        self.folder.chmod(0o700)
        self.file = self.folder / 'a.tok'
        self.file.write_text(f'{TOKEN}\n')
        self.file.chmod(0o600)

    def refused(self, *parts: object) -> None:
        """Check that the token is refused, and not shown."""
        error = self.assertRaises(
            exception.ConfigError, tokens.read, str(self.folder), 'a.tok'
        )
        self.assertNotIn(TOKEN, str(error))
        for part in parts:
            self.assertIn(str(part), str(error))

    def test_good(self) -> None:
        """A file that only its owner reads."""
        self.assertEqual(TOKEN, tokens.read(str(self.folder), 'a.tok'))

    def test_modes(self) -> None:
        """Nobody else may read or write the file or the folder."""
        for mode in (0o640, 0o604, 0o620, 0o602, 0o644):
            self.file.chmod(mode)
            self.refused(self.file, f'{mode:04o}', f'chmod 600 {self.file}')
        self.file.chmod(0o600)
        for mode in (0o750, 0o705, 0o730, 0o777):
            self.folder.chmod(mode)
            self.refused(self.folder, f'{mode:04o}', 'chmod 700')

    def test_links(self) -> None:
        """Neither of them is a symbolic link."""
        other = self.folder / 'other'
        self.file.rename(other)
        self.file.symlink_to(other)
        self.refused(self.file, 'symbolic')
        self.file.unlink()
        other.rename(self.file)
        link = pathlib.Path(f'{self.folder}-link')
        link.symlink_to(self.folder)
        self.addCleanup(link.unlink)
        self.folder = link
        self.refused('symbolic')

    def test_kinds(self) -> None:
        """It is there, and a plain file; a FIFO does not block."""
        self.file.unlink()
        self.refused(self.file, 'no such file')
        os.mkfifo(self.file, 0o600)
        self.refused(self.file, 'no plain file')
        self.file.unlink()
        self.file.mkdir(0o700)
        self.refused(self.file, 'no plain file')
        self.file.rmdir()
        self.file.write_bytes(b'\xff')
        self.file.chmod(0o600)
        self.refused(self.file, 'no text')
        self.file.write_bytes(b'x' * 65537)
        self.refused(self.file, 'more than 65536 bytes')

    def test_owner(self) -> None:
        """They are the service's own."""
        self.patch('os.geteuid', lambda: 12345678)
        self.refused('12345678', 'chown')
