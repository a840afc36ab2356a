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
"""The program that a guest with Linux runs at each boot: its driver."""

from __future__ import annotations

import os
import signal
import subprocess

from nova_vgpu_ext.guest.settings import Settings
from tests.unit.guest.machine import KERNEL, OK, MachineTest, RockyTest
from tests.unit.guest.values import TOKEN

_APT = 'apt-get -o DPkg::Lock::Timeout=600 -q'
_UNLOAD = 'systemctl stop nvidia-gridd nvidia-persistenced'
_RUN = 'driver --silent --no-questions --no-x-check --disable-nouveau'
_TMP = ' --tmpdir'


class DriverTest(MachineTest):
    """A driver's .run on Debian and Ubuntu."""

    def test_first_and_second_boot(self) -> None:
        """Driver and licence once; then nothing."""
        done = self.check_ok()
        self.assertRegex(
            done.pop(2),
            '^curl .*--speed-limit .*-- https://mirror.example.org/grid.run$',
        )
        self.assertEqual(
            [
                f'{_APT} update',
                f'{_APT} -y install gcc make linux-headers-{KERNEL} dkms',
                _UNLOAD,
                f'{_RUN} --dkms{_TMP}',
                'modprobe nvidia',
                'systemctl restart nvidia-gridd',
            ],
            done,
        )
        self.assertEqual([], self.check_ok())

    def test_what_is_there_is_not_installed(self) -> None:
        """Neither headers nor DKMS where they are not wanted."""
        self.configure(dkms=False)
        build = self.root / 'modules' / KERNEL / 'build'
        build.mkdir(parents=True)
        (build / 'Makefile').touch()
        done = self.check_ok()
        self.assertIn(f'{_APT} -y install gcc make', done)
        self.assertIn(_RUN + _TMP, done)

    def test_curl_is_installed(self) -> None:
        """It is fetched with the compiler where it is missing."""
        curl = self.root / 'bin' / 'curl'
        text = curl.read_text()
        curl.unlink()
        self.command(
            'apt-get',
            f'echo "$*" >>"$LOG"\n'
            f"cat >'{curl}' <<'TEXT'\n{text}TEXT\n/bin/chmod 755 '{curl}'",
        )
        self.assertIn('curl dkms', self.check_ok()[1])

    def test_the_web_server_is_down(self) -> None:
        """It is asked again, and the next boot goes on."""
        (self.root / 'up').unlink()
        self.configure('grid.run?key=secret')
        done = self.check_failed(
            'the driver cannot be downloaded from '
            'https://mirror.example.org/grid.run, 10 attempts: '
            'curl: (7) Failed to connect'
        )
        curls = [line for line in done if line.startswith('curl')]
        self.assertEqual(10, len(curls))
        self.assertEqual(
            [f'sleep {n}' for n in (2, 4, 8, 16, 32, 60, 60, 60, 60)],
            (self.root / 'pauses').read_text().splitlines(),
        )
        (self.root / 'up').touch()
        self.check_ok()

    def test_the_mirror_is_down(self) -> None:
        """Nothing is downloaded that could not be built."""
        (self.root / 'mirror').unlink()
        done = self.check_failed(
            f'headers of the kernel {KERNEL} cannot be installed: '
            f'gcc make linux-headers-{KERNEL} dkms'
        )
        self.assertEqual(
            [f'{_APT} update', 'dpkg --force-confold --configure -a'] * 10,
            done,
        )
        (self.root / 'mirror').touch()
        self.check_ok()

    def test_the_compiler_of_the_kernel(self) -> None:
        """Which is not the distribution's own, where it has both."""
        self.put(
            'version', 'Linux version 6.8 (b@x) (x86_64-linux-gnu-gcc-12 (U'
        )
        done = self.check_ok()
        self.assertIn(f'{_APT} -y install gcc-12', done)
        self.assertIn(f'{_TMP} CC=gcc-12', ' '.join(done))

    def test_an_installation_was_interrupted(self) -> None:
        """It is finished first, as apt asks for."""
        text = (self.root / 'bin' / 'apt-get').read_text()
        self.command(
            'apt-get',
            f'[ -e "$ROOT/configured" ] || exit 100\n{text}',
        )
        self.command(
            'dpkg', 'echo "dpkg $*" >>"$LOG"; touch "$ROOT/configured"'
        )
        self.assertEqual(
            'dpkg --force-confold --configure -a', self.check_ok()[0]
        )

    def test_another_file_than_expected(self) -> None:
        """It is not run."""
        self.configure(sha256='0' * 64)
        done = self.check_failed(f'expected {"0" * 64}')
        self.assertFalse([x for x in done if x.startswith('driver')])

    def test_kernel_sources(self) -> None:
        """At a place of this kernel; no headers are installed then."""
        sources = self.root / 'src' / KERNEL
        self.configure(kernel_source_path=f'{sources.parent}/$(uname -r)')
        self.check_failed(f'the kernel source path {sources} is no folder')
        sources.mkdir(parents=True)
        done = self.check_ok()
        self.assertIn(f'{_APT} -y install gcc make', done)
        self.assertIn(f'{_RUN} --kernel-source-path={sources}{_TMP}', done)

    def test_a_package(self) -> None:
        """It builds its module with DKMS, whose needs come first."""
        self.configure('grid.deb')
        done = self.check_ok()
        self.assertIn(f'linux-headers-{KERNEL} dkms', done[1])
        folder = f'{self.root}/state/download.'
        self.assertRegex(
            '\n'.join(done[3:]),
            f'^{_UNLOAD}\n{_APT} update\n'
            rf'{_APT} -y install {folder}\w+/grid.deb\n'
            'driver package\nmodprobe nvidia\n',
        )

    def test_a_package_that_cannot_be_installed(self) -> None:
        """It is tried again, and said."""
        self.configure('grid.deb')
        self.command('apt-get', 'echo "apt $*" >>"$LOG"; [[ $* != *.deb ]]')
        done = self.check_failed('the package grid.deb cannot be installed')
        tried = [x for x in done if x.startswith('apt') and x.endswith('deb')]
        self.assertEqual(10, len(tried))

    def test_old_modules(self) -> None:
        """Those that have the GPU are unloaded first."""
        for name in ('nouveau', 'nvidia', 'nvidia_uvm'):
            (self.root / 'loaded' / name).mkdir()
        done = self.check_ok()
        first = done.index(_UNLOAD)
        self.assertEqual(
            [
                'modprobe -r nvidia_uvm',
                'modprobe -r nvidia',
                'modprobe -r nouveau',
                f'{_RUN} --dkms{_TMP}',
                'modprobe nvidia',
            ],
            done[first + 1 : -1],
        )

    def test_modules_in_use(self) -> None:
        """A reboot is asked for, and not made."""
        self.put('busy')
        (self.root / 'loaded' / 'nouveau').mkdir()
        done = self.check_failed(
            'the module nouveau is in use and cannot be unloaded; reboot'
        )
        self.assertEqual(
            [
                'update-initramfs -u',
                'systemctl start nvidia-persistenced nvidia-gridd',
            ],
            done[-2:],
        )
        (once,) = self.root.glob('modprobe_d/*')
        self.assertIn('blacklist nvidia\n', once.read_text())
        self.assertFalse([x for x in done if x.startswith('driver')])
        (self.root / 'loaded' / 'nouveau').rmdir()
        self.check_ok()
        self.assertFalse(once.exists())

    def test_no_module(self) -> None:
        """What installs without building anything has failed."""
        self.put('broken')
        for _ in range(2):
            done = self.check_failed(
                f'the kernel {KERNEL} has no module nvidia'
            )
            self.assertIn(f'{_RUN} --dkms{_TMP}', done)

    def test_no_gpu(self) -> None:
        """The kernel's reason is said."""
        self.put('no-gpu')
        self.check_failed('cannot be loaded: modprobe: ERROR: could not')

    def test_a_new_kernel_with_dkms(self) -> None:
        """It builds for it; the driver is not fetched again."""
        self.check_ok()
        self.new_kernel()
        self.put('no-dkms')
        self.check_failed('DKMS has not built the driver for the kernel 6.2')
        (self.root / 'no-dkms').unlink()
        self.assertEqual(
            [
                f'{_APT} update',
                f'{_APT} -y install gcc make linux-headers-6.2 dkms',
                'dkms autoinstall -k 6.2',
                'modprobe nvidia',
                'systemctl restart nvidia-gridd',
            ],
            self.check_ok(),
        )
        self.assertEqual([], self.check_ok())

    def test_a_new_kernel_without_dkms(self) -> None:
        """The driver is installed again."""
        self.configure(dkms=False)
        self.check_ok()
        self.new_kernel()
        done = self.check_ok()
        self.assertIn(f'{_APT} -y install gcc make linux-headers-6.2', done)
        self.assertIn(_RUN + _TMP, done)
        self.assertEqual('systemctl restart nvidia-gridd', done[-1])
        self.assertEqual([], self.check_ok())

    def new_kernel(self) -> None:
        """Boot another one the next time."""
        self.put('kernel', '6.2\n')
        (self.root / 'loaded' / 'nvidia').rmdir()

    def test_a_driver_of_the_image(self) -> None:
        """It is not installed, but has to be there."""
        self.configure(settings=Settings(token=TOKEN))
        self.check_failed('no driver to download was named')
        self.put(f'built/{KERNEL}')
        self.assertEqual(
            ['modprobe nvidia', 'systemctl restart nvidia-gridd'],
            self.check_ok(),
        )

    def test_settings(self) -> None:
        """Those that are missing or damaged are said."""
        path = self.root / 'etc' / 'settings'
        text = path.read_text()
        path.write_text(text + "driver_url='")
        self.check_failed(f'{path} cannot be read')
        path.unlink()
        self.assertEqual([], self.check_failed(f'{path} cannot be read'))

    def test_stopped(self) -> None:
        """It says so, and what it left is removed by the next run."""
        pipe = self.root / 'pipe'
        os.mkfifo(pipe)
        curl = (self.root / 'bin' / 'curl').read_text()
        self.command('curl', f'echo >"{pipe}"; exec /bin/sleep 300')
        for number in (signal.SIGTERM, signal.SIGKILL):
            with subprocess.Popen(  # noqa: S603
                ['/bin/bash', '-c', self.program],
                env=self.environ,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            ) as process:
                pipe.read_text()
                os.killpg(process.pid, number)
            left = list(self.root.glob('state/download.*'))
            if number is signal.SIGTERM:
                self.assertEqual((1, []), (process.returncode, left))
                self.assertIn('failed: stopped before', self.status)
            else:
                self.assertEqual(1, len(left))
        self.command('curl', curl)
        self.check_ok()
        self.assertEqual([], list(self.root.glob('state/download.*')))


class DriverOnRockyTest(RockyTest):
    """The same with dnf and its repositories."""

    def test_run(self) -> None:
        """DKMS comes from EPEL, which the distribution offers."""
        done = self.check_ok()
        self.assertEqual(
            [
                'dnf -q makecache',
                'dnf -q info dkms',
                'dnf -q info epel-release',
                'dnf -q -y install epel-release',
                'dnf -q -y install gcc make elfutils-libelf-devel '
                f'kernel-devel-{KERNEL} dkms',
            ],
            done[:5],
        )
        self.assertIn(f'{_RUN} --dkms{_TMP}', done)
        self.assertEqual([], self.check_ok())

    def test_dkms_is_known(self) -> None:
        """No repository is added then."""
        self.put('known', 'dkms\n')
        self.assertNotIn('dnf -q -y install epel-release', self.check_ok())

    def test_dkms_is_nowhere(self) -> None:
        """It is said, with what helps."""
        self.put('known')
        self.check_failed('no repository of this guest has dkms or epel-')
        self.configure(dkms=False)
        self.check_ok()

    def test_the_mirror_is_down(self) -> None:
        """It is not taken for one without DKMS."""
        (self.root / 'mirror').unlink()
        done = self.check_failed('mirrors of the packages do not answer')
        self.assertEqual(['dnf -q makecache'] * 10, done)

    def test_a_package(self) -> None:
        """A .rpm is installed with what it needs."""
        self.configure('grid.rpm')
        done = self.check_ok()
        self.assertRegex(
            done[done.index('driver package') - 1],
            '^dnf -q -y install /.*/grid.rpm$',
        )
        self.assertEqual(OK, self.status)

    def test_modules_in_use(self) -> None:
        """The initial file system is made anew here as well."""
        self.put('busy')
        (self.root / 'loaded' / 'nvidia').mkdir()
        done = self.check_failed('the module nvidia is in use')
        self.assertEqual('dracut --force', done[-2])

    def test_no_mirror_is_needed(self) -> None:
        """By an image that has all that is asked for."""
        (self.root / 'mirror').unlink()
        names = ('gcc', 'make', 'elfutils-libelf-devel', 'dkms')
        self.put('there', '\n'.join((*names, f'kernel-devel-{KERNEL}', '')))
        done = self.check_ok()
        self.assertFalse([line for line in done if line.startswith('dnf')])
