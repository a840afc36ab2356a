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
"""Which guests are set up, and what is written into them."""

from __future__ import annotations

import email
import hashlib
import itertools
import os
import pathlib
import stat
import subprocess

import yaml

from nova_vgpu_ext import exception
from nova_vgpu_ext.guest import linux, render, series
from nova_vgpu_ext.guest.render import Format
from nova_vgpu_ext.guest.settings import (
    SUFFIXES,
    Driver,
    Edition,
    Server,
    Settings,
    System,
)
from tests import base

SUM = 'a' * 64
TOKEN = 'eyJhbGciOiJSUzI1NiJ9.payload_-.signature'  # noqa: S105
RUN = Driver('https://mirror.example.org/grid/driver-grid.run', SUM)
LINUX = (System.DEBIAN, System.UBUNTU, System.ROCKY)


class SeriesTest(base.TestCase):
    """Series, systems and licences."""

    def test_all(self) -> None:
        """Every series with every system and every single edition."""
        allowed = {
            ('Q', 'vws'),
            ('B', 'vws'),
            ('B', 'vpc'),
            ('A', 'vapps'),
            ('C', 'compute'),
        }
        for letter, system, edition in itertools.product(
            'QBAC', System, Edition
        ):
            settings = Settings(token=TOKEN, editions=frozenset({edition}))
            works = (letter, edition.value) in allowed and (
                letter != 'A' or system is System.WINDOWS
            )
            vgpus = [(f'X-1{letter}', letter)]
            if works:
                self.assertEqual(letter, series.check(vgpus, system, settings))
            else:
                self.assertRaises(
                    exception.Refused, series.check, vgpus, system, settings
                )

    def test_reasons(self) -> None:
        """All of them at once, each with what to do."""
        error = self.assertRaises(
            exception.Refused,
            series.check,
            [('X-1A', 'A'), ('X-4C', 'C'), ('mtty-1', None)],
            System.UBUNTU,
            Settings(token=TOKEN),
        )
        for words in (
            'mtty-1: no series',
            'series A and C in one guest',
            'series A on ubuntu',
            'series C needs a licence of compute',
        ):
            self.assertIn(words, str(error))

    def test_no_vgpu(self) -> None:
        """There is nothing to set up."""
        self.assertRaises(
            exception.Refused, series.check, [], System.DEBIAN, Settings()
        )

    def test_unlicensed(self) -> None:
        """Without a licence server, its editions do not matter."""
        self.assertEqual(
            'C', series.check([('X-4C', 'C')], System.ROCKY, Settings())
        )


class SettingsTest(base.TestCase):
    """What an operator may say."""

    def test_bad_values(self) -> None:
        """Nothing that a shell, a file or PowerShell could misread."""
        for bad in (
            {'url': "https://x/'; reboot; '.run"},
            {'url': 'https://user:secret@x/driver.run'},
            {'url': 'ftp://x/driver.run'},
            {'url': 'https://x/a\ndriver.run'},
            {'url': 'https://x/$(reboot).run'},
            {'url': 'https://x/'},
            {'sha256': SUM.upper()},
            {'sha256': SUM[1:]},
            {'kernel_source_path': 'usr/src'},
            {'kernel_source_path': '/usr/src/a b'},
        ):
            values = {'url': RUN.url, 'sha256': SUM, **bad}
            self.assertRaises(exception.ConfigError, Driver, **values)
        for host, port in (
            ('', 7070),
            ('a b', 7070),
            ('-x', 7070),
            ('x;y', 7070),
            ('x', 0),
            ('x', 65536),
        ):
            self.assertRaises(exception.ConfigError, Server, host, port)
        server = Server('licence.example.org')
        for values in (
            {'token': TOKEN, 'server': server},
            {'backup': server},
            {'token': 'a b'},
            {'token': "x'"},
            {'token': ''},
            {'token': 'x' * (65 << 10)},
        ):
            self.assertRaises(exception.ConfigError, Settings, **values)

    def test_good_values(self) -> None:
        """Names, addresses and paths as they are."""
        for host in ('a', 'lic-1.example.org', '192.0.2.1', '2001:db8::1'):
            self.assertEqual(7070, Server(host).port)
        found = Driver(
            'http://[2001:db8::1]:8080/a%20b/x.run?sig=1',
            SUM,
            kernel_source_path='/usr/src/linux-headers-$(uname-r)',
        )
        self.assertEqual(('x.run', '.run'), (found.file, found.suffix))

    def test_a_token_is_not_shown(self) -> None:
        """Neither by itself nor in an error."""
        self.assertNotIn(TOKEN, repr(Settings(token=TOKEN)))
        error = self.assertRaises(
            exception.ConfigError, Settings, token=TOKEN + ' secret'
        )
        self.assertNotIn('secret', str(error))


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
                ['systemctl', 'start', '--no-block', linux.SERVICE],
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
                expected.replace(' /usr/', f' {root}/usr/').rstrip('\n'),
                found.read_text().rstrip('\n'),
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


#: What stands in for the guest's system.
_STAND_INS = {
    'curl': 'printf "curl $*\\n" >>"$LOG"\n'
    '[ -e "$ROOT/up" ] || exit 7\n'
    'while [ "$1" != --output ]; do shift; done\ncp "$ROOT/driver" "$2"\n',
    'apt-get': 'printf "apt-get $*\\n" >>"$LOG"\n',
    'systemctl': '[ "$1" = show ] && echo 1a2b && exit\n'
    'printf "systemctl $*\\n" >>"$LOG"\n',
    'journalctl': '[[ $* == *_SYSTEMD_INVOCATION_ID=1a2b ]] && '
    'cat "$ROOT/journal"\n',
    'modprobe': 'exit 1\n',
    'sleep': 'exit 0\n',
}


class SetupTest(base.TestCase):
    """The program for Linux guests, with stand-ins for the system."""

    def setUp(self) -> None:
        super().setUp()
        self.root = self.temp_dir()
        binaries = self.root / 'bin'
        binaries.mkdir()
        for name, text in _STAND_INS.items():
            path = binaries / name
            path.write_text(f'#!/bin/bash\n{text}')
            path.chmod(0o755)
        self.driver = b'printf "driver $*\\n" >>"$LOG"\n'
        (self.root / 'driver').write_bytes(self.driver)
        (self.root / 'up').touch()
        (self.root / 'journal').write_text('License acquired successfully\n')
        (self.root / 'etc').mkdir()
        self.log = self.root / 'log'
        self.environ = {
            'PATH': f'{binaries}:{os.environ["PATH"]}',
            'ROOT': str(self.root),
            'LOG': str(self.log),
            'NOVA_VGPU_GUEST_ETC': str(self.root / 'etc'),
            'NOVA_VGPU_GUEST_STATE': str(self.root / 'state'),
            'NOVA_VGPU_GUEST_RUN': str(self.root / 'run'),
            'NOVA_VGPU_GUEST_CONSOLE': str(self.root / 'console'),
        }
        self.configure(hashlib.sha256(self.driver).hexdigest())

    def configure(self, digest: str, more: str = '') -> None:
        """Write the settings of the guest."""
        settings = Settings(
            driver=Driver('https://mirror.example.org/grid.run', digest),
            token=TOKEN,
        )
        files = {f.path: f.text for f in linux.files(settings)}
        self.program = files[linux.PROGRAM]
        text = files['/etc/nova-vgpu-guest/settings'] + more
        (self.root / 'etc' / 'settings').write_text(text)

    def boot(self) -> tuple[int, list[str]]:
        """Run the program; give its status and what it did."""
        self.log.write_text('')
        done = subprocess.run(  # noqa: S603
            ['/bin/bash', '-c', self.program],
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return done.returncode, self.log.read_text().splitlines()

    @property
    def status(self) -> str:
        """What tenant and operator read; the console has it as well."""
        status = (self.root / 'run' / 'status').read_text().strip()
        self.assertEqual(
            status, (self.root / 'console').read_text().splitlines()[-1]
        )
        return status

    def test_first_and_second_boot(self) -> None:
        """Driver and licence once; then nothing."""
        code, done = self.boot()
        self.assertEqual(0, code, done)
        release = os.uname().release
        self.assertEqual(
            [
                'apt-get update -q',
                f'apt-get install -q -y gcc make linux-headers-{release} dkms',
                'driver --silent --no-questions --disable-nouveau --dkms',
                'systemctl restart nvidia-gridd',
            ],
            [line for line in done if not line.startswith('curl')],
        )
        self.assertEqual(
            'nova-vgpu-guest: ok: the driver is installed and licensed',
            self.status,
        )
        self.assertEqual((0, []), self.boot())
        self.assertEqual([], list(self.root.glob('state/download.*')))

    def test_the_mirror_is_down(self) -> None:
        """It is asked again, and the next boot goes on."""
        (self.root / 'up').unlink()
        code, done = self.boot()
        self.assertEqual((1, 10), (code, len(done)))
        self.assertIn('failed: the driver cannot be downloaded', self.status)
        (self.root / 'up').touch()
        self.assertEqual(0, self.boot()[0])

    def test_another_file_than_expected(self) -> None:
        """It is not run."""
        self.configure('0' * 64)
        code, done = self.boot()
        self.assertEqual(1, code)
        self.assertFalse([x for x in done if x.startswith('driver')])
        self.assertIn(f'expected {"0" * 64}', self.status)

    def test_no_licence(self) -> None:
        """The last word of the daemon is said; the driver stays."""
        self.configure_journal('Failed to acquire license (error 0x1)\n')
        code, _ = self.boot()
        self.assertEqual(1, code)
        self.assertIn('no licence after 0 s: Failed to acquire', self.status)
        (self.root / 'journal').write_text('License acquired successfully\n')
        self.configure_journal('License acquired successfully\n', '5')
        self.assertEqual((0, []), self.boot())

    def configure_journal(self, text: str, seconds: str = '0') -> None:
        """Let the daemon say something, and wait that long for it."""
        (self.root / 'journal').write_text(text)
        path = self.root / 'etc' / 'settings'
        path.write_text(path.read_text() + f'licence_seconds={seconds}\n')

    def test_a_new_token(self) -> None:
        """The daemon is restarted for what it reads, and only then."""
        self.assertEqual(0, self.boot()[0])
        (self.root / 'state' / 'licence').write_text('another')
        self.assertEqual((0, ['systemctl restart nvidia-gridd']), self.boot())
