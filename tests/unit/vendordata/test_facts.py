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
"""Requests, flavors and images, as the service reads them."""

from __future__ import annotations

import json
from typing import Any

import hypothesis
from hypothesis import strategies as st

from nova_vgpu_ext import exception
from nova_vgpu_ext.guest.settings import System
from nova_vgpu_ext.vendordata import cache, lookup, request, systems, vgpus
from tests import base

INSTANCE = '00000000-0000-4000-8000-000000000001'
IMAGE = '00000000-0000-4000-8000-0000000000aa'
PROJECT = '0123456789abcdef0123456789abcdef'
#: As Nova sends it, with a tenant's words in it.
BODY = {
    'project-id': PROJECT,
    'instance-id': INSTANCE,
    'image-id': IMAGE,
    'user-data': None,
    'hostname': '$(reboot)',
    'metadata': {'a': "'; reboot #"},
    'boot-roles': 'member',
}

_ANY = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(), inner, max_size=3)
    ),
    max_leaves=8,
)


class RequestTest(base.TestCase):
    """What Nova asks."""

    def test_good(self) -> None:
        """The ids are read; a guest without an image boots from a volume."""
        self.assertEqual(
            request.Request(INSTANCE, PROJECT, IMAGE),
            request.parse(json.dumps(BODY).encode()),
        )
        body = json.dumps({**BODY, 'image-id': IMAGE.upper()}).encode()
        self.assertEqual(IMAGE, request.parse(body).image)
        body = json.dumps({**BODY, 'image-id': IMAGE.replace('-', '')})
        self.assertEqual(IMAGE, request.parse(body.encode()).image)
        for image in ('', None):
            body = json.dumps({**BODY, 'image-id': image}).encode()
            self.assertIsNone(request.parse(body).image)

    def test_bad(self) -> None:
        """Each wrong field is named; a path never becomes a URL."""
        for name, value in (
            ('instance-id', None),
            ('instance-id', f'{INSTANCE}\n'),
            ('instance-id', '../os-keypairs'),
            ('instance-id', INSTANCE.replace('a', 'A') + 'x'),
            ('project-id', ''),
            ('project-id', '../x'),
            ('project-id', ['a']),
            ('image-id', 'x?y=z'),
            ('image-id', {'id': IMAGE}),
        ):
            body = json.dumps({**BODY, name: value}).encode()
            error = self.assertRaises(request.Malformed, request.parse, body)
            self.assertIn(name, str(error))
        for text in (b'', b'[]', b'"x"', b'{', b'\xff', b'[' * 100000):
            self.assertRaises(request.Malformed, request.parse, text)

    @hypothesis.given(
        st.dictionaries(st.sampled_from(sorted(BODY)), _ANY) | _ANY
    )
    def test_any_json(self, content: object) -> None:
        """Whatever comes is a request or Malformed, nothing else."""
        try:
            found = request.parse(json.dumps(content).encode())
        except request.Malformed:
            return
        self.assertEqual(36, len(found.instance))

    @hypothesis.given(st.binary())
    def test_any_bytes(self, body: bytes) -> None:
        """The same for bytes."""
        self.assertRaises(request.Malformed, request.parse, body)


class VgpusTest(base.TestCase):
    """What flavors ask for."""

    def test_all(self) -> None:
        """Classes, traits, aliases, and what the operator says of them."""
        types = {'VGPU': 'V100DX-2Q', 'CUSTOM_GOLD': 'A40-8Q'}
        for specs, expected in (
            ({}, ()),
            ({'resources:VCPU': '2', 'hw:cpu_policy': 'shared'}, ()),
            ({'resources:VGPU': '0'}, ()),
            ({'resources:VGPU': '1'}, (('V100DX-2Q', 'Q'),)),
            ({'resources:CUSTOM_GOLD': '1'}, (('A40-8Q', 'Q'),)),
            (
                {
                    'resources:VGPU': '1',
                    'trait:CUSTOM_VGPU_V100DX_1B': 'required',
                },
                (('V100DX-1B', 'B'),),
            ),
            (
                {
                    'resources:VGPU': '1',
                    'trait:CUSTOM_NVIDIA_194': 'required',
                },
                (('V100DX-1Q', 'Q'),),
            ),
            (
                {
                    'resources:VGPU': '1',
                    'trait:CUSTOM_NVIDIA_99999': 'required',
                },
                (('nvidia-99999', None),),
            ),
            (
                {
                    'resources:VGPU': '1',
                    'trait:CUSTOM_VGPU_SERIES_C': 'required',
                },
                (('VGPU', 'C'),),
            ),
            (
                {'resources:CUSTOM_NVIDIA_A40_8C': '1'},
                (('A40-8C', 'C'),),
            ),
            ({'pci_passthrough:alias': 'l40s-12q:1'}, (('L40S-12Q', 'Q'),)),
            (
                {
                    'resources1:VGPU': '1',
                    'trait1:CUSTOM_VGPU_V100DX_1Q': 'required',
                    'resources2:VGPU': '1',
                    'trait2:CUSTOM_VGPU_V100DX_1B': 'required',
                },
                (('V100DX-1Q', 'Q'), ('V100DX-1B', 'B')),
            ),
        ):
            self.assertEqual(
                expected, tuple(vgpus.find(specs, types)), str(specs)
            )
        self.assertEqual(
            [('VGPU', None)], list(vgpus.find({'resources:VGPU': '1'}, {}))
        )

    @hypothesis.given(st.dictionaries(st.text(), st.text()))
    def test_any(self, specs: dict[str, str]) -> None:
        """No extra spec is an error."""
        for key, value in specs.items():
            list(vgpus.find({f'resources:{key}': value, key: value}, {}))


class SystemsTest(base.TestCase):
    """What images say."""

    def test_all(self) -> None:
        """The distribution counts, and else only Windows."""
        for properties, expected in (
            ({}, None),
            ({'os_distro': 'ubuntu'}, System.UBUNTU),
            ({'os_distro': 'Debian', 'os_type': 'linux'}, System.DEBIAN),
            ({'os_distro': 'rocky'}, System.ROCKY),
            ({'os_distro': 'almalinux'}, System.ROCKY),
            ({'os_distro': 'windows'}, System.WINDOWS),
            ({'os_type': 'windows'}, System.WINDOWS),
            ({'os_distro': '', 'os_type': 'linux'}, None),
            ({'os_distro': None}, None),
        ):
            self.assertEqual(expected, systems.find(properties))

    def test_unsupported(self) -> None:
        """What is said and not supported is no reason to assume another."""
        for properties in (
            {'os_distro': 'plan9', 'os_type': 'windows'},
            {'os_distro': ['ubuntu']},
            {'os_distro': 'ubuntu\ncritical: x' + 'x' * 100},
        ):
            error = self.assertRaises(
                systems.Unsupported, systems.find, properties
            )
            self.assertIn('almalinux', str(error))
            self.assertNotIn('\n', str(error))
            self.assertLess(len(str(error)), 200)


class Odd(lookup.Lookup):
    """A lookup whose Nova says whatever the test wants."""

    def __init__(self, server: dict[str, Any]) -> None:
        self._types = {'VGPU': 'V100DX-1Q'}
        self._found = server

    def _server(self, url: str) -> dict[str, Any]:
        return self._found


class LookupTest(base.TestCase):
    """Answers of Nova that are none of Nova's."""

    def test_odd_answers(self) -> None:
        """They are an error of the service that was asked, said so."""
        asked = request.Request(INSTANCE, PROJECT, None)
        flavor = {'extra_specs': {'resources:VGPU': '1'}}
        for server in (
            {},
            {'tenant_id': PROJECT},
            {'tenant_id': PROJECT, 'flavor': None},
            {
                'tenant_id': PROJECT,
                'flavor': flavor,
                'image': {'properties': None},
            },
        ):
            error = self.assertRaises(
                exception.ServiceError, Odd(server).facts, asked
            )
            self.assertIn('another shape', str(error))


class CacheTest(base.TestCase):
    """What is remembered, and for how long."""

    def test_ends(self) -> None:
        """The oldest goes first, and everything after its time."""
        now = [0.0]
        found: cache.Cache[str, int] = cache.Cache(2, 10, lambda: now[0])
        found.put('a', 1)
        found.put('b', 2)
        self.assertEqual(1, found.get('a'))
        found.put('c', 3)
        self.assertEqual([1, None, 3], [found.get(key) for key in 'abc'])
        now[0] = 10.0
        self.assertEqual([None] * 3, [found.get(key) for key in 'abc'])
        self.assertEqual(0, len(found))
