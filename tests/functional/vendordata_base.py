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
"""The vendordata service in a process, between a real Keystone and a real
Nova. Of Glance there is a stand-in, which knows two images.
"""

from __future__ import annotations

import contextlib
import email
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import threading
import time
from typing import Any

import fixtures
import requests
from testtools import content

from tests import base
from tests.functional.fixtures import http_server, keystone, nova_api

IMAGES = {
    '00000000-0000-4000-8000-0000000000aa': {'os_distro': 'ubuntu'},
    '00000000-0000-4000-8000-0000000000bb': {},
}
UBUNTU, OTHER = IMAGES
SPECS = {
    'resources:VGPU': '1',
    'trait:CUSTOM_VGPU_V100DX_1Q': 'required',
}
SECONDS = 60.0

PROGRAM = (
    'import sys; from nova_vgpu_ext.vendordata import main; '
    'sys.exit(main.main())'
)
#: Nova's part: what its metadata service does for one instance.
_NOVA = """
import json, logging, sys, types
logging.basicConfig(level=logging.DEBUG)
import nova.conf
from nova.api.metadata import vendordata_dynamic
nova.conf.CONF(['--config-file', sys.argv[1]], project='nova')
found = []
for fields in json.load(sys.stdin):
    instance = types.SimpleNamespace(**fields)
    found.append(vendordata_dynamic.DynamicVendorData(instance).get())
json.dump(found, sys.stdout)
"""
_CONFIG = """\
[DEFAULT]
debug = true
[vgpu_vendordata]
secrets_dir = {secrets}
lookup_timeout = {timeout}
[vgpu_guest]
driver_url = https://mirror.example.org/driver.run
driver_sha256 = {checksum}
[vgpu_guest:a]
projects = {a}
token_file = a
[vgpu_guest:b]
projects = {b}
token_file = b
[vgpu_guest:domain]
domains = default
license_server = licence.example.org
"""


def script(answer: str) -> str:
    """Read the one part of an answer."""
    (part,) = email.message_from_string(answer).get_payload()
    assert part.get_filename() == 'nova-vgpu-guest.sh'  # noqa: S101
    found: bytes = part.get_payload(decode=True)
    return found.decode('ascii')


def keystone_token(url: str, user: str) -> str:
    """Get a token of a user from Keystone."""
    password = {
        'user': {
            'name': user,
            'password': keystone.PASSWORD,
            'domain': {'id': 'default'},
        }
    }
    project = {'name': 'service', 'domain': {'id': 'default'}}
    answer = requests.post(
        f'{url}/auth/tokens',
        json={
            'auth': {
                'identity': {
                    'methods': ['password'],
                    'password': password,
                },
                'scope': {'project': project},
            }
        },
        timeout=SECONDS,
    )
    answer.raise_for_status()
    return answer.headers['X-Subject-Token']


def text(found: str) -> content.Content:
    """Make a detail of a test."""
    return content.text_content(found)


def send(port: int, request: bytes) -> bytes:
    """Send bytes, and nothing more; give all that is answered."""
    with socket.create_connection(('127.0.0.1', port), SECONDS) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
        answer = b''
        # What is refused unread may meet a closed connection.
        with contextlib.suppress(ConnectionError):
            while data := connection.recv(65536):
                answer += data
        return answer


class Glance(http_server.WsgiServer):
    """Knows the properties of images."""

    def _setUp(self) -> None:
        super()._setUp()
        self.app = self._answer
        self.serve()

    def _answer(self, environ: Any, start_response: Any) -> list[bytes]:
        if environ['PATH_INFO'] == '/':
            return self._versions(start_response)
        name = environ['PATH_INFO'].removeprefix('/v2/images/')
        status = '200 OK' if name in IMAGES else '404 Not Found'
        start_response(status, [('Content-Type', 'application/json')])
        return [json.dumps(IMAGES.get(name, {})).encode()]

    def _versions(self, start_response: Any) -> list[bytes]:
        link = {'rel': 'self', 'href': f'{self.url}/v2/'}
        version = {'id': 'v2.16', 'status': 'CURRENT', 'links': [link]}
        start_response(
            '300 Multiple Choices', [('Content-Type', 'application/json')]
        )
        return [json.dumps({'versions': [version]}).encode()]


class Service(fixtures.Fixture):
    """nova-vgpu-vendordata in a process of its own.

    :param config: the text of its configuration.
    :param folder: an empty folder.
    :param host: where it listens.
    """

    #: Where it answers.
    url: str

    def __init__(
        self, config: str, folder: pathlib.Path, host: str = '127.0.0.1'
    ) -> None:
        super().__init__()
        self._file = folder / 'vendordata.conf'
        self._file.write_text(config)
        self._host = host
        self.lines: list[str] = []

    @property
    def port(self) -> int:
        """The port that it has taken."""
        return int(self.url.rpartition(':')[2].rstrip('/'))

    def _setUp(self) -> None:
        self.process = subprocess.Popen(  # noqa: S603
            [
                *(sys.executable, '-W', 'ignore', '-c', PROGRAM),
                *('--config-file', str(self._file)),
                *('--host', self._host, '--port', '0'),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.addCleanup(self._end)
        self._listening = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self._listening.wait(SECONDS)
        if not hasattr(self, 'url'):
            raise AssertionError(''.join(self.lines))

    def _read(self) -> None:
        assert self.process.stdout is not None  # noqa: S101
        for line in self.process.stdout:
            self.lines.append(line)
            found = re.search(r'listening on (\S+)', line)
            if found:
                self.url = f'http://{found[1]}/'
                self._listening.set()
        self.process.stdout.close()
        self._listening.set()

    def is_well(self) -> bool:
        """Ask whether it is there."""
        answer = requests.get(f'{self.url}healthcheck', timeout=SECONDS)
        return answer.status_code == requests.codes.ok

    def log(self) -> str:
        """Give the log until now: what is in it, and what is on its way."""
        mark = f'/mark-{len(self.lines)}'
        requests.get(f'{self.url[:-1]}{mark}', timeout=SECONDS)
        end = time.monotonic() + SECONDS
        while not any(mark in line for line in self.lines):
            if time.monotonic() > end:
                raise AssertionError(''.join(self.lines))
            time.sleep(0.01)
        return ''.join(self.lines)

    def _end(self) -> None:
        self.process.terminate()
        self.process.wait(SECONDS)
        self._reader.join(SECONDS)


class VendordataTestCase(base.TestCase):
    """A test with all of them."""

    def setUp(self) -> None:
        super().setUp()
        self.keystone = self.useFixture(keystone.KeystoneServer())
        self.nova = self.useFixture(nova_api.NovaApi(self.keystone))
        self.glance = self.useFixture(Glance())
        # As in most clouds: which versions there are, its root says.
        self.keystone.set_endpoint(self.glance.url, service_type='image')
        self.addCleanup(self._forget_glance)
        self.nova.create_flavor('vgpu', SPECS)
        self.nova.create_flavor('plain', {})
        self.secrets = self.temp_dir()
        self.secrets.chmod(0o700)
        self.a, self.b, self.c = (self._project(name) for name in 'abc')
        self.tokens = {self.a: self._token('a'), self.b: self._token('b')}

    def _forget_glance(self) -> None:
        services = self.keystone.call('GET', '/services?type=image')
        for found in services['services']:
            self.keystone.call('DELETE', f'/services/{found["id"]}')

    def _project(self, name: str) -> str:
        project = {'name': f'vendordata-{name}', 'domain_id': 'default'}
        made = self.keystone.call('POST', '/projects', project=project)
        found: str = made['project']['id']
        self.addCleanup(self.keystone.call, 'DELETE', f'/projects/{found}')
        return found

    def _token(self, name: str) -> str:
        path = self.secrets / name
        path.write_text(f'token-of-{name}.x.y\n')
        path.chmod(0o600)
        return f'token-of-{name}.x.y'

    def _auth(self, section: str, user: str = 'nova') -> str:
        values = self.keystone.credentials(user)
        lines = [f'{name} = {value}' for name, value in values.items()]
        return '\n'.join([f'[{section}]', *lines, ''])

    def service(self, timeout: float = SECONDS) -> Service:
        """Start the service."""
        config = _CONFIG.format(
            secrets=self.secrets,
            timeout=timeout,
            a=self.a,
            b=self.b,
            checksum='0' * 64,
        )
        config += self._auth('nova') + self.keystone.authtoken_text()
        # A slow machine is no failure of Keystone.
        config += f'http_connect_timeout = {int(SECONDS)}\n'
        return self.useFixture(Service(config, self.temp_dir()))

    def server(self, flavor: str, project: str, **more: Any) -> str:
        """Make a server in Nova."""
        found: str = self.nova.call(
            'create_server',
            name='s',
            flavor=flavor,
            project_id=project,
            **more,
        )
        return found

    def ask_as_nova(self, url: str, *instances: Any) -> list[Any]:
        """Have Nova's own code ask; give what it puts under the target."""
        config = self.write_conf(
            '[api]\n'
            f'vendordata_dynamic_targets = cloud-init@{url}\n'
            f'vendordata_dynamic_read_timeout = {int(SECONDS)}\n'
            + self._auth('vendordata_dynamic_auth')
        )
        fields = [
            {
                'uuid': instance,
                'project_id': project,
                'image_ref': image,
                'user_data': None,
                'hostname': "'; reboot #",
                'metadata': {'END': '$(reboot)'},
                'system_metadata': {'boot_roles': 'member'},
            }
            for instance, project, image in instances
        ]
        done = subprocess.run(  # noqa: S603
            [sys.executable, '-W', 'ignore', '-c', _NOVA, config],
            input=json.dumps(fields),
            capture_output=True,
            text=True,
            timeout=3 * SECONDS,
            check=False,
            env={**os.environ, 'OS_NOVA_DISABLE_EVENTLET_PATCHING': 'true'},
        )
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertNotIn('insecure dynamic vendordata', done.stderr)
        # Nova at DEBUG, with keystoneauth too, logs answers but no token.
        self.assertIn('keystoneauth.session:RESP BODY: ', done.stderr)
        self.assertNotIn('token-of-', done.stderr)
        return [found['cloud-init'] for found in json.loads(done.stdout)]

    def keystone_token(self, user: str) -> str:
        """Get a token of a user from Keystone."""
        return keystone_token(self.keystone.url, user)

    def post(
        self,
        url: str,
        token: str | None,
        project: str,
        instance: str,
        image: str = UBUNTU,
    ) -> requests.Response:
        """Ask for an instance."""
        return requests.post(
            url,
            json={
                'project-id': project,
                'instance-id': instance,
                'image-id': image,
            },
            headers={'X-Auth-Token': token} if token else {},
            timeout=SECONDS,
        )
