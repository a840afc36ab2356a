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
"""What goes wrong between ``openstack vgpu ...`` and the cloud."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

import yaml

from tests.functional import osc_base

TIMEOUT = 120.0
GPUS = ('vgpu', 'gpu', 'list')
SERVERS = ('vgpu', 'server', 'list')
COMMANDS = (
    GPUS,
    ('vgpu', 'type', 'list'),
    SERVERS,
    ('vgpu', 'usage', 'show'),
    ('vgpu', 'usage', 'show', '--by', 'project'),
)


class CredentialsTest(osc_base.OscTestCase):
    """Who may ask."""

    def bare(self) -> dict[str, str]:
        """Give an environment without credentials."""
        return {
            name: value
            for name, value in self.environment().items()
            if not name.startswith('OS_')
        }

    def test_none(self) -> None:
        """The shell says it itself."""
        outcome = self.run_osc(*GPUS, environment=self.bare())
        self.assertEqual((1, ''), (outcome.code, outcome.out))
        self.assertIn('auth-url', outcome.err)

    def test_wrong_password(self) -> None:
        environment = {**self.environment(), 'OS_PASSWORD': 'wrong'}
        outcome = self.run_osc(*GPUS, environment=environment)
        self.assertEqual((1, ''), (outcome.code, outcome.out))
        self.assertIn('401', outcome.err)
        self.assertNotIn('Traceback', outcome.err)
        self.assertNotIn('wrong', outcome.err)

    def test_clouds_yaml(self) -> None:
        values = self.keystone.credentials('operator')
        region = values.pop('region_name')
        values.pop('auth_type')
        file = self.home / 'clouds.yaml'
        file.write_text(
            yaml.safe_dump(
                {'clouds': {'mine': {'auth': values, 'region_name': region}}}
            )
        )
        outcome = self.run_osc(
            *('--os-cloud', 'mine', *GPUS),
            environment={**self.bare(), 'OS_CLIENT_CONFIG_FILE': str(file)},
        )
        self.assertEqual((0, ''), (outcome.code, outcome.err))

    def test_user_without_rights(self) -> None:
        for command in COMMANDS:
            outcome = self.run_osc(*command, '-f', 'csv', user='weak')
            self.assertEqual((1, ''), (outcome.code, outcome.out))
            (line,) = outcome.errors
            self.assertIn('answered 403', line)
            self.assertIn('the role admin', line)
            self.assertIn('clouds.yaml or the OS_ variables', line)

    def test_user_whom_nova_refuses(self) -> None:
        (gpu,) = self.gpu_host('gpu01', gpus=1)
        self.placement.allocate({gpu: {'VGPU': 1}})
        self.nova.fault(status=403, path='/v2.1/os-hypervisors')
        outcome = self.run_osc(*SERVERS)
        self.assertEqual(1, outcome.code)
        self.assertIn("Nova's /os-hypervisors/detail", outcome.err)
        self.assertIn('the role admin', outcome.err)


class ServiceTest(osc_base.OscTestCase):
    """Services that fail, or are too old."""

    def setUp(self) -> None:
        super().setUp()
        (gpu,) = self.gpu_host('gpu01', gpus=1)
        self.placement.allocate({gpu: {'VGPU': 1}})

    def check(self, *wanted: str, command: tuple[str, ...] = GPUS) -> None:
        """Run a command that fails with one line."""
        outcome = self.run_osc(*command)
        self.assertEqual((1, ''), (outcome.code, outcome.out))
        (line,) = outcome.errors
        for text in wanted:
            self.assertIn(text, line)

    def test_placement_too_old(self) -> None:
        self.patch('nova_vgpu_ext.placement.client.MICROVERSION', '1.999')
        self.check('answered 406', 'the microversion 1.999')

    def test_nova_too_old(self) -> None:
        self.nova.fault(status=406, path='/v2.1/os-hypervisors')
        self.check('answered 406', 'microversion 2.86', command=SERVERS)

    def test_placement_is_down(self) -> None:
        self.placement.stop()
        self.check('no answer', self.placement.url)

    def test_placement_fails(self) -> None:
        self.placement.fault_status(503, path='/resource_providers', times=9)
        self.check('answered 503', "see Placement's log")

    def test_placement_fails_once(self) -> None:
        """A read is repeated."""
        for path in ('/resource_providers', '/allocation_candidates'):
            self.placement.fault_status(503, path=path)
        self.assertEqual(1, len(self.osc_json(*GPUS)))

    def test_placement_fails_in_the_middle(self) -> None:
        self.gpu_host('gpu02', gpus=1)
        self.placement.fault_status(
            500, path='/allocation_candidates', skip=1, times=9
        )
        outcome = self.run_osc(*GPUS, '-f', 'csv')
        self.assertEqual(1, outcome.code)
        self.assertIn('answered 500', outcome.err)
        self.assertNotIn('Traceback', outcome.err)

    def test_placement_answers_slowly(self) -> None:
        self.placement.fault_slow(1.5, path='/allocation_candidates')
        self.assertEqual(1, len(self.osc_json(*GPUS)))

    def test_html(self) -> None:
        self.placement.fault_login_page(path='/resource_providers')
        self.check('text/html', 'a proxy, answers there')
        self.nova.fault(
            status=200,
            body='<html>Sign in</html>',
            content_type='text/html',
            path='/v2.1/os-hypervisors',
        )
        self.check("Nova's /os-hypervisors", 'a proxy', command=SERVERS)

    def test_half_an_answer(self) -> None:
        self.placement.fault_truncate(path='/resource_providers', times=9)
        self.check('/resource_providers')

    def test_nova_fails(self) -> None:
        for kwargs in ({}, {'body': '<html>', 'content_type': 'text/html'}):
            self.nova.fault(status=503, path='/v2.1/os-hypervisors', **kwargs)
            self.check('answered 503', "nova-api's log", command=SERVERS)

    def test_no_placement_in_the_catalogue(self) -> None:
        (service,) = self.keystone.call('GET', '/services?type=placement')[
            'services'
        ]
        self.keystone.call('DELETE', f'/services/{service["id"]}')
        self.check('no endpoint of Placement')

    def test_host_that_vanishes(self) -> None:
        """A host that is deleted after the list has no GPU."""
        (gpu,) = self.gpu_host('gpu02', gpus=1)
        root = self.placement.provider('gpu02').uuid

        def delete() -> None:
            for name in (gpu, 'gpu02'):
                self.placement.delete_provider(name)

        self.placement.before('GET', f'in_tree={root}', delete)
        found = self.osc_json(*GPUS)
        self.assertEqual(['gpu01'], [row['host'] for row in found])
        (row,) = self.osc_json('vgpu', 'usage', 'show')
        self.assertEqual('gpu01', row['host'])

    def test_debug(self) -> None:
        """Where it came from is told on request."""
        self.placement.stop()
        outcome = self.run_osc('--debug', *GPUS)
        self.assertIn('Traceback', outcome.err)


class TerminalTest(osc_base.OscTestCase):
    """A process of its own, as somebody starts it."""

    def setUp(self) -> None:
        super().setUp()
        for number in range(3):
            self.gpu_host(f'gpu0{number}', gpus=1)

    def start(self, *arguments: str, **kwargs: int) -> subprocess.Popen[bytes]:
        """Start ``openstack``."""
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, '-m', 'openstackclient.shell', *arguments],
            env={**self.environment(), 'TERM': 'xterm'},
            **kwargs,
        )
        self.addCleanup(process.wait, TIMEOUT)
        self.addCleanup(process.kill)
        return process

    def on_terminal(
        self, *arguments: str, interrupt: bytes | None = None, code: int = 0
    ) -> str:
        """Run ``openstack`` with standard error on a terminal.

        :param interrupt: send SIGINT when it has written this.
        :param code: with which it shall end.
        :returns: what it wrote there.
        """
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        process = self.start(
            *arguments, stdout=subprocess.DEVNULL, stderr=slave
        )
        os.close(slave)
        seen = b''
        limit = time.monotonic() + TIMEOUT
        while time.monotonic() < limit:
            if select.select([master], [], [], 0.1)[0]:
                try:
                    seen += os.read(master, 65536)
                except OSError:
                    break  # The other end is closed.
            if interrupt is not None and interrupt in seen:
                process.send_signal(signal.SIGINT)
                interrupt = None
        self.assertEqual(code, process.wait(TIMEOUT), seen)
        return seen.decode()

    def test_bar(self) -> None:
        self.placement.fault_slow(1.3, path='/allocation_candidates', times=3)
        seen = self.on_terminal(*GPUS)
        self.assertIn('hosts', seen)
        self.assertRegex(
            re.sub(r'\x1b\[[0-9;?]*[A-Za-z]', '', seen), '[0-3]/3'
        )

    def test_no_bar_for_what_is_fast(self) -> None:
        self.assertEqual('', self.on_terminal(*GPUS))

    def test_no_bar_if_told_to_be_quiet(self) -> None:
        self.placement.fault_slow(1.3, path='/allocation_candidates', times=3)
        self.assertEqual('', self.on_terminal('-q', *GPUS))

    def test_interrupt_with_bar(self) -> None:
        """It leaves the terminal as it was."""
        self.placement.fault_slow(60, path='/allocation_candidates', times=9)
        seen = self.on_terminal(*GPUS, interrupt=b'hosts', code=130)
        self.assertNotIn('Traceback', seen)
        self.assertEqual(
            seen.count('\x1b[?25l'), seen.count('\x1b[?25h'), repr(seen)
        )

    def test_interrupt(self) -> None:
        """It ends at once, though Placement answers in a minute."""
        self.placement.fault_slow(60, path='/allocation_candidates', times=9)
        process = self.start(
            *GPUS, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        limit = time.monotonic() + TIMEOUT
        while (
            not any(fault.times < 9 for fault in self.placement._faults)
            and time.monotonic() < limit
        ):
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        start = time.monotonic()
        out, err = process.communicate(timeout=TIMEOUT)
        self.assertEqual((130, b'', b''), (process.returncode, out, err))
        self.assertLess(time.monotonic() - start, 30)

    def test_reader_that_goes_away(self) -> None:
        """As with ``| head -1``."""
        process = self.start(
            *(*GPUS, '-f', 'value'),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None  # noqa: S101
        process.stdout.close()
        assert process.stderr is not None  # noqa: S101
        with process.stderr:
            err = process.stderr.read()
        process.wait(TIMEOUT)
        self.assertNotIn(b'Traceback', err)
