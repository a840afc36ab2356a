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
"""The program that a guest with Linux runs at each boot: its licence."""

from __future__ import annotations

from nova_vgpu_ext.guest import linux
from nova_vgpu_ext.guest.settings import Driver, Server, Settings
from tests import base, systemd
from tests.unit.guest.machine import MachineTest
from tests.unit.guest.values import RUN, TOKEN

_RESTART = 'systemctl restart nvidia-gridd'


class LicenceTest(MachineTest):
    """The licence daemon, and its files."""

    def test_no_licence(self) -> None:
        """The last word of the daemon is said; the driver stays."""
        self.configure(more='licence_seconds=0\n')
        self.put(
            'journal',
            'Failed to find it\nFailed to acquire\tlicense (error 0x1)\n.\n',
        )
        self.check_failed(
            'no licence after 0 s: Failed to acquire license (error 0x1)'
        )
        self.put('journal', '')
        self.check_failed('no licence after 0 s: nvidia-gridd says nothing')
        self.put('journal', 'License acquired successfully\n')
        self.assertEqual([], self.check_ok())

    def test_a_licence_that_was_lost(self) -> None:
        """What was said last holds; what is forgotten is asked for."""
        self.check_ok()
        said = 'License acquired successfully\n'
        self.configure(more='licence_seconds=0\n')
        self.put('journal', f'{said}Failed to renew license (timeout)\n')
        self.check_failed('0 s: Failed to renew license (timeout)')
        self.put('journal', f'{said}Failed to renew license\n{said}x failed\n')
        self.check_ok()
        self.put('journal', 'Started.\n')
        self.check_failed('nvidia-gridd says nothing of it')
        self.command('nvidia-smi', "echo '  License Status   : Licensed (x)'")
        self.check_ok()

    def test_a_new_token(self) -> None:
        """The daemon is restarted for what it reads, and only then."""
        self.check_ok()
        (token,) = self.root.glob('nvidia/ClientConfigToken/*.tok')
        token.write_text('another')
        self.assertEqual([_RESTART], self.check_ok())
        self.assertEqual([], self.check_ok())

    def test_a_daemon_that_is_down(self) -> None:
        """It is started; where that fails it is said."""
        self.check_ok()
        self.put('gridd-is-down')
        self.assertEqual([_RESTART], self.check_ok())
        self.command('systemctl', '[ "$1" = show ]')
        self.check_failed('the service nvidia-gridd does not start')

    def test_no_licence_is_asked_for(self) -> None:
        """The daemon and its files are left alone."""
        own = self.root / 'nvidia' / 'gridd.conf'
        driver = Driver(**self.values)
        self.configure(settings=Settings(driver))
        own.write_text('ServerAddress=own\n')
        code, done = self.boot()
        self.assertEqual((0, 'modprobe nvidia'), (code, done[-1]))
        self.assertTrue(self.status.endswith('; no licence was asked for'))
        self.assertEqual('ServerAddress=own\n', own.read_text())

    def test_another_kind_of_licence(self) -> None:
        """Files that earlier instructions wrote go; those of others stay."""
        driver = Driver(**self.values)
        nvidia = self.root / 'nvidia'
        other = nvidia / 'ClientConfigToken' / 'other.tok'
        self.check_ok()
        other.touch()
        tokens = set(nvidia.glob('*/*.tok'))
        self.assertEqual(2, len(tokens))
        self.configure(settings=Settings(driver, server=Server('lic')))
        self.assertEqual([_RESTART], self.check_ok())
        self.assertEqual([other], list(nvidia.glob('*/*.tok')))
        self.configure(settings=Settings(driver, TOKEN))
        self.assertEqual([_RESTART], self.check_ok())
        self.assertEqual(tokens, set(nvidia.glob('*/*.tok')))
        self.configure(settings=Settings(driver))
        self.assertEqual(
            (0, ['systemctl try-restart nvidia-gridd']), self.boot()
        )
        self.assertEqual([other], list(nvidia.glob('*/*.tok')))
        self.assertFalse((nvidia / 'gridd.conf').exists())
        self.assertEqual((0, []), self.boot())


class UnitTest(base.TestCase):
    """The unit that starts the program."""

    def test_verify(self) -> None:
        """Every line is understood, and nothing waits for it."""
        (unit,) = (
            file.text
            for file in linux.files(Settings(RUN))
            if file.path.endswith('.service')
        )
        self.assertIn(f'ExecStart={linux.PROGRAM}\n', unit)
        # A oneshot would keep the boot waiting until all is installed.
        self.assertIn('Type=simple\n', unit)
        self.assertIn(' multi-user.target ', unit)
        path = self.temp_dir() / linux.SERVICE
        path.write_text(unit.replace(linux.PROGRAM, '/bin/true'))
        done = systemd.analyze('verify', str(path))
        self.assertEqual((0, ''), (done.returncode, done.stderr))
