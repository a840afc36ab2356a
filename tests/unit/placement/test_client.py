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
"""The client takes Placement's answers apart, and no other's."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import requests

from nova_vgpu_ext import exception, models
from nova_vgpu_ext.placement import access, client
from tests import base

UUID = '11111111-1111-4111-8111-111111111111'
ROOT = '22222222-2222-4222-8222-222222222222'
TRAIT = 'CUSTOM_NVIDIA_194'
RECORD = {
    'total': 32,
    'min_unit': 1,
    'max_unit': 32,
    'step_size': 1,
    'reserved': 0,
    'allocation_ratio': 1.0,
}
LISTED = {
    'resource_providers': [
        {
            'uuid': UUID,
            'name': 'gpu01',
            'generation': 3,
            'parent_provider_uuid': None,
        }
    ]
}
HELD = {'allocations': {UUID: {'generation': 1, 'resources': {'VGPU': 2}}}}

#: By call: Placement's answer, and what it means.
ANSWERS: dict[
    str, tuple[Callable[[client.PlacementClient], Any], Any, Any]
] = {
    'find_root': (lambda c: c.find_root('gpu01'), LISTED, UUID),
    'providers': (
        lambda c: c.providers(),
        LISTED,
        [models.ReportedProvider(UUID, 'gpu01', 3, None)],
    ),
    'inventories': (
        lambda c: c.inventories(UUID),
        {'inventories': {'VGPU': RECORD}},
        {'VGPU': models.InventoryRecord(total=32, max_unit=32)},
    ),
    'traits': (
        lambda c: c.traits(UUID),
        {'traits': [TRAIT]},
        frozenset({TRAIT}),
    ),
    'usages': (
        lambda c: c.usages(UUID),
        {'usages': {'VGPU': 2}},
        {'VGPU': 2},
    ),
    'summaries': (
        lambda c: c.summaries(UUID, 'VGPU'),
        {
            'allocation_requests': [],
            'provider_summaries': {
                UUID: {
                    'traits': [TRAIT],
                    'resources': {'VGPU': {'capacity': 32, 'used': 2}},
                }
            },
        },
        {UUID: (frozenset({TRAIT}), {'VGPU': models.Capacity(32, 2)})},
    ),
    'allocations': (
        lambda c: c.allocations(UUID),
        HELD,
        {UUID: {'VGPU': 2}},
    ),
    'consumer': (
        lambda c: c.consumer(UUID),
        {
            **HELD,
            'consumer_generation': 4,
            'project_id': 'p',
            'user_id': 'u',
        },
        models.Consumer(UUID, 4, 'p', 'u', {UUID: {'VGPU': 2}}),
    ),
    'known_traits': (
        lambda c: c.known_traits('CUSTOM_'),
        {'traits': [TRAIT]},
        frozenset({TRAIT}),
    ),
    'known_classes': (
        lambda c: c.known_classes(),
        {'resource_classes': [{'name': 'VGPU'}]},
        frozenset({'VGPU'}),
    ),
}


class _Adapter:
    """Gives one answer to everything."""

    def __init__(self, body: object) -> None:
        self._body = body

    def get_endpoint(self) -> str:
        return 'http://placement'

    def request(
        self, path: str, method: str, **kwargs: object
    ) -> requests.Response:
        response = requests.Response()
        response.status_code = 200
        response._content = json.dumps(self._body).encode()
        response.url = f'{self.get_endpoint()}{path}'
        return response


def client_of(body: object) -> client.PlacementClient:
    """Make a client of a Placement that gives one answer."""
    session = mock.Mock()
    session.session.hooks = {'response': []}
    return client.PlacementClient(
        access.Access(session, lambda: _Adapter(body), 'clouds.yaml')
    )


def changed(value: Any) -> Iterator[Any]:
    """Give an answer with each of its parts replaced, and left out."""
    wrong: tuple[Any, ...] = (None, 7, 'x', ['x'], [7], {'x': 7}, {}, [])
    yield from (w for w in wrong if w != value)
    if isinstance(value, dict):
        for key, part in value.items():
            rest = {k: copy.deepcopy(v) for k, v in value.items() if k != key}
            yield rest
            yield from ({**rest, key: other} for other in changed(part))
    elif isinstance(value, list):
        for index, part in enumerate(value):
            for other in changed(part):
                yield [*value[:index], other, *value[index + 1 :]]


class AnswersTest(base.TestCase):
    """Every call that reads."""

    def test_good_answers(self) -> None:
        for name, (call, body, expected) in ANSWERS.items():
            self.assertEqual(expected, call(client_of(body)), name)

    def test_malformed_answers(self) -> None:
        """Another service's JSON gives an error that says so, or a result.

        A result that no type was checked of would fail later, far away: so
        it is compared with what can be, by its form.
        """
        for name, (call, body, expected) in ANSWERS.items():
            refused = 0
            for wrong in changed(body):
                try:
                    result = call(client_of(wrong))
                except exception.PlacementError as error:
                    refused += 1
                    self.assertIn('http://placement/', str(error))
                else:
                    self._check_form(expected, result, f'{name}: {wrong}')
            self.assertGreater(refused, 0, name)

    def _check_form(self, expected: Any, found: Any, what: str) -> None:
        """Compare the types, all the way down."""
        if found is None or expected is None:
            return
        self.assertIs(type(expected), type(found), what)
        if isinstance(expected, dict):
            for key, value in found.items():
                self.assertIsInstance(key, str, what)
                self._check_form(next(iter(expected.values())), value, what)
        elif isinstance(expected, tuple):
            for one, other in zip(expected, found, strict=True):
                self._check_form(one, other, what)
        elif isinstance(expected, (list, frozenset)):
            for value in found:
                self._check_form(next(iter(expected)), value, what)


class NotFoundTest(base.TestCase):
    def test_no_such_node(self) -> None:
        for body in (
            {'resource_providers': []},
            {
                'resource_providers': [
                    {**LISTED['resource_providers'][0], 'name': 'other'}
                ]
            },
            # A child of some node.
            {
                'resource_providers': [
                    {
                        **LISTED['resource_providers'][0],
                        'parent_provider_uuid': ROOT,
                    }
                ]
            },
        ):
            error = self.assertRaises(
                exception.NodeNotFound, client_of(body).find_root, 'gpu01'
            )
            self.assertIn("'gpu01'", str(error))

    def test_consumer_that_holds_nothing(self) -> None:
        self.assertIsNone(client_of({'allocations': {}}).consumer(UUID))
