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
"""The client takes Nova's answers apart, and no other's."""

from __future__ import annotations

import copy
import json
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

import requests
from keystoneauth1 import session, token_endpoint
from requests import adapters

from nova_vgpu_ext import exception, models
from nova_vgpu_ext.compute import client
from tests import base

UUID = '11111111-1111-4111-8111-111111111111'

SERVER = {
    'id': UUID,
    'name': 'a b',
    'tenant_id': 'p',
    'status': 'ACTIVE',
    'OS-EXT-STS:task_state': None,
    'OS-EXT-SRV-ATTR:hypervisor_hostname': 'gpu01',
    'flavor': {
        'original_name': 'vgpu_1',
        'extra_specs': {'resources:VGPU': '1'},
    },
}
MIGRATION = {
    'uuid': UUID,
    'instance_uuid': UUID,
    'migration_type': 'resize',
    'status': 'finished',
    'source_node': 'gpu01',
    'dest_node': None,
}
NODE = {
    'id': UUID,
    'hypervisor_hostname': 'gpu01',
    'service': {'host': 'host01'},
}
FLAVOR = {
    'id': '42',
    'name': 'vgpu_1',
    'vcpus': 1,
    'ram': 1024,
    'disk': 10,
    'swap': '',
    'OS-FLV-EXT-DATA:ephemeral': 0,
    'os-flavor-access:is_public': True,
    'extra_specs': {},
}
#: What a policy of Nova's can hide.
MAY_LACK = {'extra_specs', 'OS-EXT-SRV-ATTR:hypervisor_hostname'}
A_SERVER = models.Server(
    UUID,
    'a b',
    'p',
    'ACTIVE',
    None,
    'gpu01',
    'vgpu_1',
    {'resources:VGPU': '1'},
)

#: By call: the answer's key, an item of it, and what that means.
LISTS: dict[
    str, tuple[Callable[[client.ComputeClient], Any], str, Any, Any]
] = {
    'servers': (lambda c: c.servers(), 'servers', SERVER, A_SERVER),
    'migrations': (
        lambda c: c.migrations(),
        'migrations',
        MIGRATION,
        models.Migration(UUID, UUID, 'resize', 'finished', 'gpu01', None),
    ),
    'nodes': (
        lambda c: c.compute_nodes(),
        'hypervisors',
        NODE,
        models.ComputeNode(UUID, 'gpu01', 'host01'),
    ),
    'flavors': (
        lambda c: c.flavors(),
        'flavors',
        FLAVOR,
        models.Flavor('42', 'vgpu_1', 1, 1024, 10),
    ),
}


class _Nova(adapters.BaseAdapter):
    """Gives its answers one after the other, and the last one for ever."""

    def __init__(self, *answers: tuple[int, bytes]) -> None:
        super().__init__()
        self._answers = list(answers)
        self.asked: list[dict[str, list[str]]] = []

    def send(
        self, request: requests.PreparedRequest, *args: Any, **kwargs: Any
    ) -> requests.Response:
        query = urllib.parse.urlsplit(str(request.url)).query
        self.asked.append(urllib.parse.parse_qs(query))
        response = requests.Response()
        response.status_code, response._content = self._answers[0]
        if len(self._answers) > 1:
            del self._answers[0]
        response.url = str(request.url)
        response.request = request
        response.headers['Content-Type'] = 'application/json'
        return response

    def close(self) -> None:
        """Nothing is open."""


def pages(key: str, *items: Any) -> list[tuple[int, bytes]]:
    """Write the answers of a list: one page for each item, and an end."""
    lists = [*([item] for item in items), []]
    return [(200, json.dumps({key: page}).encode()) for page in lists]


def client_of(nova: _Nova) -> client.ComputeClient:
    """Make a client of a Nova."""
    http = requests.Session()
    http.mount('http://', nova)
    auth = token_endpoint.Token('http://nova/v2.1', 'token')
    return client.ComputeClient(session.Session(auth, session=http), {})


def broken(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Give an item without each of its parts that must be there."""
    for key, value in item.items():
        if value is None or key in MAY_LACK:
            continue
        yield {k: copy.deepcopy(v) for k, v in item.items() if k != key}
        if isinstance(value, dict):
            yield from ({**item, key: part} for part in (None, 'x', []))


class ListTest(base.TestCase):
    """Lists, page by page."""

    def test_items(self) -> None:
        for name, (call, key, item, expected) in LISTS.items():
            nova = _Nova(*pages(key, item, item))
            found = list(call(client_of(nova)))
            self.assertEqual([expected, expected], found, name)
            marker = item['uuid' if key == 'migrations' else 'id']
            self.assertEqual(
                [None, [marker], [marker]],
                [query.get('marker') for query in nova.asked],
            )

    def test_cell_that_is_down(self) -> None:
        """A server of which Nova knows little still is a server."""
        answer = {
            'id': UUID,
            'status': 'UNKNOWN',
            'tenant_id': 'p',
            'flavor': {'original_name': 'vgpu_1'},
        }
        for item, flavor in (
            (answer, 'vgpu_1'),
            ({k: v for k, v in answer.items() if k != 'flavor'}, ''),
        ):
            nova = _Nova((200, json.dumps({'server': item}).encode()))
            self.assertEqual(
                models.Server(UUID, '', 'p', 'UNKNOWN', None, None, flavor),
                client_of(nova).server(UUID),
            )

    def test_malformed_items(self) -> None:
        """Another service's JSON gives an error that says so."""
        for name, (call, key, item, _) in LISTS.items():
            for wrong in broken(item):
                nova = _Nova(*pages(key, wrong))
                error = self.assertRaises(
                    exception.ComputeError,
                    lambda call=call, nova=nova: list(call(client_of(nova))),
                )
                self.assertIn(
                    "found another answer than Nova's", str(error), name
                )

    def test_other_answers(self) -> None:
        for body in (
            b'',
            b'<html>Sign in</html>',
            b'[]',
            b'{}',
            b'null',
            b'{"servers": 7}',
            b'{"servers": [7]}',
            b'{"servers": null}',
        ):
            with_body = client_of(_Nova((200, body)))
            error = self.assertRaises(
                exception.ComputeError, list, with_body.servers()
            )
            self.assertIn('clouds.yaml', str(error), body)

    def test_statuses(self) -> None:
        for status, hint in (
            (401, 'check username and password'),
            (403, 'the role admin'),
            (404, 'answered 404'),
            (406, '2.86'),
            (500, "nova-api's log"),
            (503, "nova-api's log"),
        ):
            refusing = client_of(
                _Nova((status, b'{"error": {"message": "a\\nb"}}'))
            )
            error = self.assertRaises(
                exception.ComputeError, list, refusing.servers()
            )
            self.assertIn(hint, str(error))
            self.assertNotIn('\n', str(error))

    def test_page_that_leaves_something_out(self) -> None:
        """Of moves Nova can; then a short page is not the last."""
        lists = [[MIGRATION, MIGRATION], [MIGRATION], [MIGRATION], []]
        nova = _Nova(
            *((200, json.dumps({'migrations': p}).encode()) for p in lists)
        )
        self.assertEqual(4, len(list(client_of(nova).migrations())))

    def test_servers_of_a_host(self) -> None:
        """A page that is shorter than another one was is the last."""
        other = {**SERVER, 'id': UUID.replace('1', '2')}
        whole = json.dumps({'servers': [SERVER, other]}).encode()
        part = json.dumps({'servers': [SERVER]}).encode()
        nova = _Nova((200, whole), (200, part))
        reader = client_of(nova)
        self.assertEqual(3, len(list(reader.servers('host01'))))
        self.assertEqual(1, len(list(reader.servers('host02'))))
        self.assertEqual(
            [['host01'], ['host01'], ['host02']],
            [query['host'] for query in nova.asked],
        )


class ServerTest(base.TestCase):
    """One server."""

    def test_server(self) -> None:
        body = json.dumps({'server': SERVER}).encode()
        self.assertEqual(A_SERVER, client_of(_Nova((200, body))).server(UUID))

    def test_gone(self) -> None:
        body = b'{"itemNotFound": {"message": "gone", "code": 404}}'
        self.assertIsNone(client_of(_Nova((404, body))).server(UUID))

    def test_html(self) -> None:
        self.assertRaises(
            exception.ComputeError,
            client_of(_Nova((200, b'<html>'))).server,
            UUID,
        )
