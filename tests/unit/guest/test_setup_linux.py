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
"""The program that a guest with Linux runs at each boot."""

from __future__ import annotations

import hashlib
import os
import subprocess

from nova_vgpu_ext.guest import linux
from nova_vgpu_ext.guest.settings import Driver, Settings
from tests import base
from tests.unit.guest.values import TOKEN

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
