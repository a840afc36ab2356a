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
"""The instructions as a guest gets them."""

from __future__ import annotations

import email
import pathlib
import stat
import subprocess

import yaml

from nova_vgpu_ext import exception
from nova_vgpu_ext.guest import linux, render
from nova_vgpu_ext.guest.render import Format
from nova_vgpu_ext.guest.settings import (
    SUFFIXES,
    Driver,
    Server,
    Settings,
    System,
)
from tests import base
from tests.unit.guest.values import LINUX, RUN, SUM, TOKEN


class RenderTest(base.TestCase):
    """The formats hold the same."""

    settings = Settings(driver=RUN, token=TOKEN)

    def test_cloud_config(self) -> None:
        """The files with their modes, and the service."""
        for system in LINUX:
            text = render.render(system, self.settings, Format.CLOUD_CONFIG)
            self.assertTrue(text.startswith('#cloud-config\n'))
            config = yaml.safe_load(text)
            self.assertEqual(
                [
                    (file.path, f'{file.mode:04o}', file.text)
                    for file in linux.files(self.settings)
                ],
                [
                    (f['path'], f['permissions'], f['content'])
                    for f in config['write_files']
                ],
            )
            self.assertEqual(
                ['systemctl', 'restart', '--no-block', linux.SERVICE],
                config['runcmd'][-1],
            )

    def test_script(self) -> None:
        """It makes the same files, when it is run for real."""
        text = render.render(System.DEBIAN, self.settings, Format.SCRIPT)
        root = self.temp_dir()
        for folder in ('etc', 'usr/local/sbin'):
            (root / folder).mkdir(parents=True)
        for path in ('/etc/', '/usr/'):
            text = text.replace(f' {path}', f' {root}{path}')
        text = f'systemctl() {{ :; }}\n{text}'
        subprocess.run(['/bin/bash', '-c', text], check=True)  # noqa: S603
        for file in linux.files(self.settings):
            found = pathlib.Path(f'{root}{file.path}')
            self.assertEqual(file.mode, stat.S_IMODE(found.stat().st_mode))
            expected = file.text.replace(' /etc/', f' {root}/etc/')
            self.assertEqual(
                expected.replace(' /usr/', f' {root}/usr/').encode(),
                found.read_bytes(),
            )

    def test_cloud_config_can_be_read(self) -> None:
        """The program stands in it line by line."""
        text = render.render(System.DEBIAN, self.settings, Format.CLOUD_CONFIG)
        program = next(
            file.text
            for file in linux.files(self.settings)
            if file.path == linux.PROGRAM
        )
        lines = {line.strip() for line in text.splitlines()}
        self.assertEqual(
            set(), {line.strip() for line in program.splitlines()} - lines
        )

    def test_mime(self) -> None:
        """One part, which cloud-init knows as a script."""
        message = email.message_from_string(
            render.render(System.ROCKY, self.settings, Format.MIME)
        )
        (part,) = message.get_payload()
        self.assertEqual('text/x-shellscript', part.get_content_type())
        self.assertEqual(
            render.render(System.ROCKY, self.settings, Format.SCRIPT).strip(),
            part.get_payload().strip(),
        )

    def test_windows(self) -> None:
        """Values are quoted; cloud-config is refused."""
        settings = Settings(
            driver=Driver('https://x/grid.exe', SUM),
            server=Server('lic.example.org', 7071),
        )
        text = render.render(System.WINDOWS, settings, Format.SCRIPT)
        self.assertTrue(text.startswith('#ps1_sysnative\n'))
        for line in (
            "$driverUrl = 'https://x/grid.exe'",
            '$token = $null',
            "$server = 'lic.example.org'",
            '$serverPort = 7071',
            '$backup = $null',
        ):
            self.assertIn(f'\n{line}\n', text)
        self.assertRaises(
            exception.Refused,
            render.render,
            System.WINDOWS,
            settings,
            Format.CLOUD_CONFIG,
        )

    def test_drivers_of_another_system(self) -> None:
        """A package that the system cannot install is refused."""
        for system in System:
            for suffix in ('.run', '.deb', '.rpm', '.exe', '.zip'):
                settings = Settings(driver=Driver(f'https://x/d{suffix}', SUM))
                if suffix in SUFFIXES[system]:
                    render.render(system, settings, Format.SCRIPT)
                else:
                    self.assertRaises(
                        exception.Refused,
                        render.render,
                        system,
                        settings,
                        Format.SCRIPT,
                    )

    def test_licence_files(self) -> None:
        """gridd.conf says who gives the licence; a token has its folder."""
        for settings, lines in (
            (Settings(token=TOKEN), ['FeatureType=1']),
            (
                Settings(server=Server('one'), backup=Server('two', 7)),
                [
                    'FeatureType=1',
                    'ServerAddress=one',
                    'ServerPort=7070',
                    'BackupServerAddress=two',
                    'BackupServerPort=7',
                ],
            ),
        ):
            files = {file.path: file for file in linux.files(settings)}
            gridd = files['/etc/nvidia/gridd.conf']
            self.assertEqual(lines, gridd.text.split())
            self.assertEqual(
                settings.token is not None,
                any(path.endswith('.tok') for path in files),
            )
        paths = {file.path for file in linux.files(Settings())}
        self.assertNotIn('/etc/nvidia/gridd.conf', paths)
