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
"""The vendordata service's web server, over sockets, without a cloud."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading

import requests

from tests import base
from tests.functional import vendordata_base
from tests.functional.vendordata_base import SECONDS

#: Nothing listens there, and without a token nobody asks it.
_AUTH = """\
auth_type = password
auth_url = http://127.0.0.1:1/v3
username = nova
password = secret
project_name = service
user_domain_name = Default
project_domain_name = Default
"""
CONFIG = f"""\
[nova]
{_AUTH}
[keystone_authtoken]
www_authenticate_uri = http://127.0.0.1:1/v3
{_AUTH}"""
_HEAD = b'POST / HTTP/1.1\r\nHost: x\r\n'


class ServerTest(base.TestCase):
    """Clients that are slow, many, or wrong."""

    def service(self, host: str = '127.0.0.1') -> vendordata_base.Service:
        """Start the service; at the end it has logged no traceback."""
        found = vendordata_base.Service(CONFIG, self.temp_dir(), host)
        self.useFixture(found)
        self.addCleanup(
            lambda: self.assertNotIn('Traceback', ''.join(found.lines))
        )
        return found

    def connect(self, service: vendordata_base.Service) -> socket.socket:
        """Open a connection."""
        found = socket.create_connection(('127.0.0.1', service.port), SECONDS)
        self.addCleanup(found.close)
        return found

    def ask(self, service: vendordata_base.Service, request: bytes) -> bytes:
        """Send bytes, and nothing more; give all that is answered."""
        return vendordata_base.send(service.port, request)

    def test_ipv6(self) -> None:
        """It listens on an address of either kind."""
        service = self.service('::1')
        self.assertIn('http://[::1]:', service.url)
        self.assertTrue(service.is_well())

    def test_slow_clients(self) -> None:
        """Those that never end a request go; Nova waits no longer for them."""
        service = self.service()
        begun = [self.connect(service) for _ in range(320)]
        for connection in begun:
            connection.sendall(_HEAD + b'X: ')
        answered = threading.Event()

        def drip() -> None:
            while not answered.wait(1):
                for connection in begun:
                    with contextlib.suppress(OSError):
                        connection.sendall(b'x')

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            self.assertTrue(service.is_well())
        finally:
            answered.set()
            thread.join()
        self.assertIn('connection limit', service.log())

    def test_many_slow_clients_at_once(self) -> None:
        """More of them than threads keep nobody from an answer."""
        service = self.service()
        begun = [self.connect(service) for _ in range(200)]
        for connection in begun:
            connection.sendall(_HEAD + b'Content-Length: 9\r\n\r\n1234')
        self.assertTrue(service.is_well())
        self.assertNotIn('connection limit', service.log())
        # They are served all the same once they go on.
        begun[-1].sendall(b'56789')
        self.assertTrue(begun[-1].recv(100).startswith(b'HTTP/1.1 401 '))

    def test_parts(self) -> None:
        """A request that ends before its end is no error of ours."""
        service = self.service()
        for part in (
            b'',
            b'P',
            b'\r\n\r\n',
            _HEAD,
            _HEAD + b'Content-Length: 100\r\n\r\n{"project-id"',
            _HEAD + b'Transfer-Encoding: chunked\r\n\r\nff\r\n{',
        ):
            self.assertEqual(b'', self.ask(service, part), part)
        self.assertTrue(service.is_well())

    def test_limits(self) -> None:
        """What is too long is refused, and without being read."""
        service = self.service()
        for status, request in (
            (b'431', _HEAD + b'X: ' + b'x' * (1 << 20) + b'\r\n\r\n'),
            (b'431', _HEAD + b'X: y\r\n' * (1 << 16) + b'\r\n'),
            (b'431', b'GET /' + b'x' * (1 << 20)),
            (b'413', _HEAD + b'Content-Length: 2000000\r\n\r\n'),
            (b'413', _HEAD + b'Content-Length: ' + b'9' * 40 + b'\r\n\r\n'),
            (b'400', _HEAD + b'Content-Length: -1\r\n\r\n'),
            (b'400', b'\x16\x03\x01\x02\x00\x01\r\n\r\n'),
        ):
            answer = self.ask(service, request)
            # The rest of a long request may meet a closed connection.
            if answer or len(request) < 1000:
                self.assertEqual(status, answer[9:12], answer[:200])
        self.assertTrue(service.is_well())

    def test_log(self) -> None:
        """A request is a line of the log, and never two."""
        service = self.service()
        self.ask(service, b'GET /a%0a%0dfake%e2%80%a8 HTTP/1.0\r\n\r\n')
        lines = [x for x in service.log().splitlines() if 'fake' in x]
        self.assertEqual(1, len(lines), lines)
        self.assertIn('GET /a\\n\\rfake', lines[0])
        self.assertTrue(lines[0].endswith(' 401'), lines[0])

    def test_end(self) -> None:
        """SIGTERM ends it, whatever clients are connected."""
        service = self.service()
        self.connect(service).sendall(_HEAD)
        self.assertTrue(service.is_well())
        service.process.terminate()
        self.assertEqual(0, service.process.wait(SECONDS))

    def test_taken(self) -> None:
        """A port in use, and what is no address, are one line."""
        service = self.service()
        config = self.write_conf(CONFIG)
        for host, port, part in (
            ('127.0.0.1', str(service.port), 'in use'),
            ('192.0.2.1', '0', 'assign'),
            ('no such host', '0', '--host'),
            ('a' * 100, '0', '--host'),
        ):
            done = subprocess.run(  # noqa: S603
                [
                    *(sys.executable, '-W', 'ignore', '-c'),
                    vendordata_base.PROGRAM,
                    *('--config-file', config, '--host', host),
                    *('--port', port),
                ],
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
            self.assertEqual(1, done.returncode, done.stderr)
            self.assertIn(part, done.stderr)
            self.assertEqual(1, len(done.stderr.splitlines()), done.stderr)

    def test_forged(self) -> None:
        """What only keystonemiddleware may say, nobody else says."""
        service = self.service()
        for name in ('X-Identity-Status', 'X_Identity_Status'):
            answer = requests.post(
                service.url,
                data='{}',
                headers={
                    name: 'Confirmed',
                    name.replace('Identity-Status', 'Roles'): 'service',
                    'X-Roles': 'service',
                    'X_Roles': 'service',
                },
                timeout=SECONDS,
            )
            self.assertEqual(401, answer.status_code, answer.text)
