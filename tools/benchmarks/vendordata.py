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
"""The vendordata service's answers, against an application that does nothing.

Keystone and Nova are real, and keystonemiddleware checks each token. The empty
application runs in the same server, and gets the same requests.
"""

from __future__ import annotations

import contextlib
import pathlib
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import requests

from tests.functional import vendordata_base
from tests.functional.fixtures import keystone, nova_api
from tools.benchmarks.rows import Row

_ANSWERS = 1000
_WHAT = f'{_ANSWERS} answers to Nova'
_GUESTS = 50
_PROJECT = '0123456789abcdef0123456789abcdef'
_EMPTY = """
from nova_vgpu_ext.vendordata import server
def empty(environ, start_response):
    start_response('200 OK', [('Content-Length', '2')])
    return [b'{}']
opened = server.listen('127.0.0.1', 0)
print(server.address(opened), flush=True)
server.serve(empty, opened)
"""
_CONFIG = """\
[vgpu_vendordata]
secrets_dir = {secrets}
lookup_timeout = 60
[vgpu_guest]
driver_url = https://mirror.example.org/driver.run
driver_sha256 = {checksum}
token_file = a.tok
[nova]
{nova}
{authtoken}
"""


class _Cloud:
    """Keystone, Nova and the service, which has answered nothing yet."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        folder = pathlib.Path(
            stack.enter_context(tempfile.TemporaryDirectory())
        )
        self._keystone = stack.enter_context(keystone.KeystoneServer())
        nova = stack.enter_context(nova_api.NovaApi(self._keystone))
        nova.create_flavor('vgpu', vendordata_base.SPECS)
        self.guests = [
            nova.call(
                'create_server',
                name='guest',
                flavor='vgpu',
                project_id=_PROJECT,
                image=vendordata_base.UBUNTU,
                image_properties={'os_distro': 'ubuntu'},
            )
            for _ in range(_GUESTS)
        ]
        self.service = stack.enter_context(
            vendordata_base.Service(self._config(folder), folder)
        )
        self.token = vendordata_base.keystone_token(self._keystone.url, 'nova')

    def _config(self, folder: pathlib.Path) -> str:
        secrets = folder / 'secrets'
        secrets.mkdir(mode=0o700)
        token = secrets / 'a.tok'
        token.write_text('x' * 2000, encoding='ascii')
        token.chmod(0o600)
        values = self._keystone.credentials('nova')
        return _CONFIG.format(
            secrets=secrets,
            checksum='0' * 64,
            nova='\n'.join(f'{k} = {v}' for k, v in values.items()),
            authtoken=self._keystone.authtoken_text(),
        )


def run() -> Iterator[Row]:
    """Measure answers that are new, and such that are remembered."""
    with contextlib.ExitStack() as stack:
        cloud = _Cloud(stack)
        url, empty = stack.enter_context(_empty())
        first = cloud.guests[0]
        taken = _seconds(url, cloud.token, [first] * _ANSWERS)
        base = Row(
            _WHAT, 'an empty application', taken, mebibytes=_peak(empty)
        )
        yield base
        url = cloud.service.url
        # The first of all also asks Keystone for versions and tokens.
        _seconds(url, cloud.token, [first])
        new = _seconds(url, cloud.token, cloud.guests[1:])
        again = _seconds(url, cloud.token, [first] * _ANSWERS)
        memory = _peak(cloud.service.process)
        for who, taken in (
            ('the service, of a guest that it remembers', again),
            (
                'the service, of others that it asks Nova for, '
                f'{_GUESTS - 1} asked, extrapolated',
                new,
            ),
        ):
            yield Row(_WHAT, who, taken, base=base, mebibytes=memory)


@contextlib.contextmanager
def _empty() -> Iterator[tuple[str, subprocess.Popen[str]]]:
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, '-W', 'ignore', '-c', _EMPTY],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None  # noqa: S101
        yield f'http://{process.stdout.readline().strip()}/', process
    finally:
        process.terminate()
        process.communicate()


def _seconds(url: str, token: str, guests: list[str]) -> float:
    """Take the time of the answers, if each took the median of these."""
    taken = []
    with requests.Session() as session:
        for guest in guests:
            body = {
                'project-id': _PROJECT,
                'instance-id': guest,
                'image-id': vendordata_base.UBUNTU,
                'hostname': 'guest',
                'metadata': {},
                'user-data': None,
                'boot-roles': 'member',
            }
            answer = session.post(
                url, json=body, headers={'X-Auth-Token': token}, timeout=60
            )
            answer.raise_for_status()
            taken.append(answer.elapsed.total_seconds())
    return statistics.median(taken) * _ANSWERS


def _peak(process: subprocess.Popen[str]) -> int:
    """Read how many MiB of memory a process has had at most."""
    status = pathlib.Path(f'/proc/{process.pid}/status').read_text('ascii')
    line = next(x for x in status.splitlines() if x.startswith('VmHWM:'))
    return int(line.split()[1]) >> 10
