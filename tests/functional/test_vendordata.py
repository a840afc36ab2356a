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
"""Nova asks the vendordata service, with its own client."""

from __future__ import annotations

import concurrent.futures

import requests

from tests.functional import vendordata_base
from tests.functional.vendordata_base import (
    OTHER,
    SECONDS,
    UBUNTU,
    script,
)


class VendordataTest(vendordata_base.VendordataTestCase):
    """Nova asks, and is answered."""

    def test_nova(self) -> None:
        """What Nova puts into vendor_data2.json."""
        service = self.service()
        vgpu = self.server('vgpu', self.a)
        answers = self.ask_as_nova(
            service.url,
            (vgpu, self.a, UBUNTU),
            (self.server('vgpu', self.b), self.b, UBUNTU),
            (self.server('vgpu', self.c), self.c, UBUNTU),
            (self.server('plain', self.a), self.a, UBUNTU),
            (self.server('vgpu', self.a), self.a, OTHER),
            (vgpu, self.b, UBUNTU),
            ('00000000-0000-4000-8000-000000000000', self.a, UBUNTU),
        )
        first, second, third, *nothing = answers
        self.assertTrue(script(first).startswith('#!/bin/bash\n'))
        self.assertIn(self.tokens[self.a], first)
        self.assertNotIn('reboot #', first)
        self.assertIn(self.tokens[self.b], second)
        self.assertNotIn(self.tokens[self.a], second)
        self.assertIn('ServerAddress=licence.example.org', third)
        self.assertNotIn('token-of', third)
        self.assertEqual([{}] * 4, nothing)
        log = service.log()
        for part in ('os_distro', f'one of project {self.b}', 'not found'):
            self.assertIn(part, log)
        for token in self.tokens.values():
            self.assertNotIn(token, log)

    def test_callers(self) -> None:
        """Tokens are checked by Keystone; parallel requests stay apart."""
        service = self.service()
        servers = {
            project: [self.server('vgpu', project) for _ in range(4)]
            for project in (self.a, self.b)
        }
        token = self.keystone_token('nova')

        def ask(project: str, instance: str) -> tuple[str, str]:
            answer = self.post(service.url, token, project, instance)
            self.assertEqual(200, answer.status_code, answer.text)
            return project, answer.json()

        asked = [(p, i) for i in range(4) for p in (self.a, self.b)] * 5
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            found = list(
                pool.map(lambda x: ask(x[0], servers[x[0]][x[1]]), asked)
            )
        for project, text in found:
            other = self.b if project == self.a else self.a
            self.assertIn(self.tokens[project], text)
            self.assertNotIn(self.tokens[other], text)

        instance = servers[self.a][0]
        for status, wrong in (
            (401, None),
            (401, 'x' * 100),
            (403, self.keystone_token('operator')),
            (403, self.keystone_token('weak')),
        ):
            answer = self.post(service.url, wrong, self.a, instance)
            self.assertEqual(status, answer.status_code, answer.text)
            self.assertNotIn(self.tokens[self.a], answer.text)
        forged = requests.post(
            service.url,
            json={'instance-id': instance, 'project-id': self.a},
            headers={'X-Identity-Status': 'Confirmed', 'X-Roles': 'service'},
            timeout=SECONDS,
        )
        self.assertEqual(401, forged.status_code)
        health = requests.get(f'{service.url}healthcheck', timeout=SECONDS)
        self.assertEqual(200, health.status_code)

    def test_deleted_image(self) -> None:
        """Nova's copy of its properties counts; else nothing is assumed."""
        service = self.service()
        image = '00000000-0000-4000-8000-0000000000cc'
        token = self.keystone_token('nova')
        known, unknown = (
            self.server(
                'vgpu',
                self.a,
                image=image,
                image_properties={'os_distro': 'rocky', 'min_disk': '1'},
            )
            for _ in range(2)
        )
        answer = self.post(service.url, token, self.a, known, image)
        self.assertIn(self.tokens[self.a], script(answer.json()))
        self.assertEqual([], self.glance.requests)
        # A Nova before 2025.1 does not know the microversion.
        self.nova.fault(status=406, path=f'/v2.1/servers/{unknown}')
        for _ in range(2):
            answer = self.post(service.url, token, self.a, unknown, image)
            self.assertEqual((200, {}), (answer.status_code, answer.json()))
        self.assertIn(f'its image {image} is deleted', service.log())
        # That is remembered, and Glance is asked.
        server = self.server(
            'vgpu',
            self.a,
            image=UBUNTU,
            image_properties={'os_distro': 'windows'},
        )
        answer = self.post(service.url, token, self.a, server)
        self.assertIn(self.tokens[self.a], script(answer.json()))

    def test_failures(self) -> None:
        """A Glance that hangs, and a Nova that fails, are said quickly."""
        service = self.service(timeout=1)
        instance = self.server('vgpu', self.a)
        token = self.keystone_token('nova')
        self.post(service.url, token, self.a, self.server('plain', self.a))
        self.nova.fault(status=503, path='/v2.1/servers/')
        answer = self.post(service.url, token, self.a, instance)
        self.assertEqual(503, answer.status_code, answer.text)
        self.glance.fault(delay=SECONDS)
        answer = self.post(service.url, token, self.a, instance)
        self.assertEqual(503, answer.status_code, answer.text)
        self.glance.stopping.set()
        self.assertLess(answer.elapsed.total_seconds(), SECONDS / 2)
        self.assertIn('lookup_timeout', service.log())
