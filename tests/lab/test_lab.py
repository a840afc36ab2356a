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
"""tools/lab itself, as a user types it."""

from __future__ import annotations

import socket
import subprocess
import threading

from tests.lab import base
from tools.labvm import images


def lab(
    *arguments: str, stdin: str = '', name: str = 'test'
) -> tuple[int, str, str]:
    """Run tools/lab with the tests' own guest.

    :returns: exit status, output and errors.
    """
    done = subprocess.run(  # noqa: S603
        [str(images.ROOT / 'tools/lab'), '--name', name, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def _answer(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        connection.sendall(b'hello from the host')


class LabTest(base.LabTestCase):
    """The commands."""

    def test_outputs_and_exit_status_come_back(self) -> None:
        """Output, errors, input and status are those of the line."""
        self.assertEqual(
            (7, 'out in\n', 'err\n'),
            lab(
                'run', 'read x; echo out $x; echo err >&2; exit 7', stdin='in'
            ),
        )

    def test_words_make_one_line(self) -> None:
        """Options of a command are not taken for the lab's own."""
        code, out, _ = lab('run', 'uname', '-s')
        self.assertEqual((0, 'Linux\n'), (code, out))

    def test_program_is_on_the_path(self) -> None:
        """The host is the reference host, seen by the installed program."""
        code, out, err = lab('run', 'nova-vgpu gpu list -f value -c address')
        self.assertEqual((0, ''), (code, err))
        self.assertEqual(8, len(out.splitlines()))

    def test_copy_there_and_back(self) -> None:
        """A file survives the way into the guest and out of it."""
        source = self.temp_dir() / 'a file'
        source.write_bytes(bytes(range(256)))
        self.assertEqual(0, lab('copy', str(source), 'guest:/tmp/there')[0])
        back = self.temp_dir() / 'back'
        self.assertEqual(0, lab('copy', 'guest:/tmp/there', str(back))[0])
        self.assertEqual(source.read_bytes(), back.read_bytes())

    def test_status(self) -> None:
        """What runs is said; of what does not run the status tells."""
        code, out, _ = lab('status')
        self.assertEqual(0, code)
        self.assertIn('profile v100x8, release debian-12', out)
        self.assertEqual(
            (3, 'The guest does not run.\n', ''), lab('status', name='absent')
        )

    def test_start_again(self) -> None:
        """A second start changes nothing, and refuses other options."""
        before = self.guest.machine.running()
        forward = [f'--forward={port}' for port in before.settings.forward]
        code, _, err = lab('start', *forward)
        self.assertEqual((0, 'The guest runs already.\n'), (code, err))
        code, _, err = lab('start', '--profile', 'large')
        self.assertEqual(1, code)
        self.assertIn('runs already, with other options', err)
        self.assertIn('tools/lab stop', err)
        self.assertEqual(before, self.guest.machine.running())

    def test_forwarded_port(self) -> None:
        """The guest reaches a service on this machine's loopback."""
        (port,) = self.guest.settings.forward
        with socket.create_server(('127.0.0.1', port)) as server:
            server.settimeout(60)
            lab_end = threading.Thread(target=_answer, args=(server,))
            lab_end.start()
            self.assertEqual(
                'hello from the host',
                self.guest.run(f'cat </dev/tcp/127.0.0.1/{port}'),
            )
            lab_end.join()

    def test_bad_arguments(self) -> None:
        """Each is refused with what was expected, before anything starts."""
        for arguments, expected in (
            (('--name', '../x', 'status'), 'lower case letters'),
            (('start', '--profile', 'v100'), 'v100x8'),
            (('start', '--forward', '0'), '1 to 65535'),
            (('start', '--memory', '5'), '768'),
            (('start', '--module', 'hosts=a b'), 'create_delay_ms=500'),
        ):
            code, _, err = lab(*arguments)
            self.assertEqual(2, code, arguments)
            self.assertIn(expected, err)

    def test_reboot_is_real(self) -> None:
        """The kernel is another one, the disk the same."""
        boot_id = 'cat /proc/sys/kernel/random/boot_id'
        self.guest.run('echo kept >/root/kept; echo lost >/run/lost; sync')
        for crash in (False, True):
            before = self.guest.run(boot_id)
            self.reboot(crash=crash)
            self.assertNotEqual(before, self.guest.run(boot_id))
            self.assertEqual('kept', self.guest.run('cat /root/kept'))
            self.fails('ls /run/lost')
