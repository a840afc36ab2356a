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
"""A guest of the tests: the program for Linux, with stand-ins for the rest."""

from __future__ import annotations

import hashlib
import pathlib
import shutil
import subprocess

from nova_vgpu_ext.guest import linux
from nova_vgpu_ext.guest.settings import Driver, Settings
from tests import base
from tests.unit.guest.values import TOKEN

KERNEL = '6.1.0-18-amd64'
OK = 'nova-vgpu-guest: ok: the driver is installed and licensed'
#: Of the machine that runs the tests; nothing else of it is seen.
_REAL = (
    *('bash', 'cat', 'cp', 'cut', 'grep', 'head', 'install', 'mkdir'),
    *('mktemp', 'mv', 'rm', 'rmdir', 'sh', 'sha256sum', 'tail', 'touch'),
)
_INSTALL = """
[ -e "$ROOT/mirror" ] || exit 100
for last; do :; done
case $last in /*) cp "$last" "$ROOT/package"; sh "$last" package ;; esac
"""
#: What stands in for the guest's system. A file below $ROOT says how it is.
_STAND_INS = {
    'uname': 'cat "$ROOT/kernel"',
    'sleep': 'echo "sleep $*" >>"$ROOT/pauses"',
    'curl': """
echo "curl $*" >>"$LOG"
[ -e "$ROOT/up" ] || { echo 'curl: (7) Failed to connect' >&2; exit 7; }
while [ "$1" != --output ]; do shift; done
cp "$ROOT/driver" "$2"
""",
    'modinfo': '[ "$1 $3" = "-k nvidia" ] && [ -e "$ROOT/built/$2" ]',
    'modprobe': """
echo "modprobe $*" >>"$LOG"
if [ "$1" = -r ]; then
    [ ! -e "$ROOT/busy" ] && rmdir "$ROOT/loaded/$2"
elif [ -e "$ROOT/no-gpu" ]; then
    echo 'modprobe: ERROR: could not insert: No such device' >&2
    exit 1
else
    mkdir -p "$ROOT/loaded/$1"
fi
""",
    'dkms': """
echo "dkms $*" >>"$LOG"
[ -e "$ROOT/no-dkms" ] || touch "$ROOT/built/$3"
""",
    'systemctl': """
case $1 in
    show) echo 1a2b ;;
    is-active) [ ! -e "$ROOT/gridd-is-down" ] ;;
    *) echo "systemctl $*" >>"$LOG" ;;
esac
""",
    'journalctl': """
[[ $* == *_SYSTEMD_INVOCATION_ID=1a2b ]] && cat "$ROOT/journal"
""",
}
_DEBIAN = {
    'dpkg': 'echo "dpkg $*" >>"$LOG"',
    'dpkg-query': 'grep -qx "$4" "$ROOT/there" && echo installed',
    'apt-get': 'echo "apt-get $*" >>"$LOG"' + _INSTALL,
    'update-initramfs': 'echo "update-initramfs $*" >>"$LOG"',
}
_ROCKY = {
    'dnf': """
echo "dnf $*" >>"$LOG"
if [ "$2" = info ]; then
    grep -qx "$3" "$ROOT/known"
    exit
fi
"""
    + _INSTALL,
    'rpm': 'grep -qx "$3" "$ROOT/there"',
    'dracut': 'echo "dracut $*" >>"$LOG"',
}
_DRIVER = b"""\
echo "driver ${*%=*download*}${CC+ CC=$CC}" >>"$LOG"
[ "$1" = package ] || [ -d "$TMPDIR" ] || exit 1
[ -e "$ROOT/broken" ] || touch "$ROOT/built/$(uname -r)"
"""


class MachineTest(base.TestCase):
    """Runs the program, as a boot does."""

    #: The commands of the distribution.
    distribution = _DEBIAN

    def setUp(self) -> None:
        super().setUp()
        self.root = self.temp_dir()
        binaries = self.root / 'bin'
        for name in (
            *('bin', 'etc', 'nvidia', 'loaded', 'built', 'modules'),
            'modprobe_d',
        ):
            (self.root / name).mkdir()
        for name in _REAL:
            (binaries / name).symlink_to(str(shutil.which(name)))
        for name, text in {**_STAND_INS, **self.distribution}.items():
            self.command(name, text)
        self.put('driver', _DRIVER.decode())
        self.put('kernel', f'{KERNEL}\n')
        self.put('journal', 'License acquired successfully\n')
        self.put('version', 'Linux version 5.14 (gcc (GCC) 11.4.1)\n')
        for name in ('up', 'mirror', 'there'):
            self.put(name)
        self.log = self.root / 'log'
        self.environ = {
            'PATH': str(binaries),
            'ROOT': str(self.root),
            'LOG': str(self.log),
            **{
                f'NOVA_VGPU_GUEST_{name.upper()}': str(self.root / name)
                for name in (
                    *('etc', 'state', 'run', 'console', 'nvidia'),
                    *('modules', 'loaded', 'modprobe_d', 'version'),
                )
            },
        }
        self.configure()

    def command(self, name: str, text: str) -> None:
        """Let a command do something."""
        path = self.root / 'bin' / name
        path.write_text(f'#!/bin/bash\n{text}\n')
        path.chmod(0o755)

    def put(self, name: str, text: str = '') -> pathlib.Path:
        """Write a file below the root."""
        path = self.root / name
        path.write_text(text)
        return path

    def configure(
        self,
        file: str = 'grid.run',
        settings: Settings | None = None,
        more: str = '',
        **values: object,
    ) -> None:
        """Write the settings of the guest.

        :param file: the driver's.
        :param settings: others than a driver and a token.
        :param more: what is added to them.
        :param values: more of the driver.
        """
        self.values = {
            'url': f'https://mirror.example.org/{file}',
            'sha256': hashlib.sha256(_DRIVER).hexdigest(),
            **values,
        }
        if settings is None:
            settings = Settings(Driver(**self.values), TOKEN)
        files = {f.path: f.text for f in linux.files(settings)}
        self.program = files[linux.PROGRAM]
        self.put('etc/settings', files['/etc/nova-vgpu-guest/settings'] + more)
        for path, text in files.items():
            if path.startswith('/etc/nvidia/'):
                target = self.root / path.removeprefix('/etc/')
                target.parent.mkdir(exist_ok=True)
                target.write_text(text)

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

    def check_failed(self, words: str) -> list[str]:
        """Boot, which must fail with these words; give what was done."""
        code, done = self.boot()
        self.assertEqual(1, code, done)
        self.assertIn(words, self.status)
        self.assertIn('nova-vgpu-guest: failed: ', self.status)
        self.assertEqual([], list(self.root.glob('state/download.*')))
        return done

    def check_ok(self) -> list[str]:
        """Boot, which must succeed; give what was done."""
        code, done = self.boot()
        self.assertEqual((0, OK), (code, self.status), done)
        return done

    @property
    def status(self) -> str:
        """What tenant and operator read; the console has it as well."""
        status = (self.root / 'run' / 'status').read_text().strip()
        self.assertEqual(
            status, (self.root / 'console').read_text().splitlines()[-1]
        )
        return status


class RockyTest(MachineTest):
    """The same with dnf."""

    distribution = _ROCKY

    def setUp(self) -> None:
        super().setUp()
        self.put('known', 'epel-release\n')
