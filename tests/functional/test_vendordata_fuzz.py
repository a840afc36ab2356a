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
"""Whatever is sent to the vendordata service: no failure, and no words of a
tenant in an answer.
"""

from __future__ import annotations

import json
import random
import re
from typing import Any

import requests

from tests.functional import vendordata_base
from tests.functional.vendordata_base import SECONDS, UBUNTU, script

_REQUESTS = 400
_METHODS = (
    *('POST', 'POST', 'GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS', 'TRACE'),
    *('PATCH', 'CONNECT', 'post', 'PRI', 'X' * 300, '', '\x00', 'P\tO'),
)
_PATHS = (
    *('/', '/healthcheck', '/healthcheck/..', '//', '*', '', '/%00', '/%ff'),
    *('/?a=%0d%0aX:y', 'http://x/', '/' + 'a' * 3000, '/\xe4', '/ a', '/#'),
)
_HEADERS = (
    *('X-Auth-Token', 'X-Service-Token', 'X-Identity-Status', 'X-Roles'),
    *('Content-Length', 'Transfer-Encoding', 'Content-Type', 'Expect'),
    *('Connection', 'Host', 'X-Forwarded-For', 'Upgrade', 'a b', '', ':'),
)
_VALUES = (
    *('', 'x', '-1', '0', '5', '99999999999999999999', '1e3', '0x10', '+5'),
    *('chunked', 'gzip, chunked', 'identity', '100-continue', 'close'),
    *('keep-alive', 'Confirmed', 'service', '\xff\xfe', '\x00', 'a\r\n b'),
    *('x' * 2000, 'h2c', '1, 1', 'gAAAAABm' + 'A' * 200, '{"a": 1}'),
)
_BODIES = (
    *(b'', b'{', b'[]', b'null', b'"x"', b'{}', b'\x00', b'\xff\xfe{}\x00'),
    *(b'[' * 50_000, b'{"a":' * 50_000, b'9' * 5000, b'NaN', b'1e999'),
    *(b'{"instance-id": ' + b'9' * 5000 + b'}', b'5\r\nhello\r\n0\r\n\r\n'),
    *(b'ffffffffffffffffff\r\nx', b'-1\r\n', b'{"instance-id": "\\ud800"}'),
)
#: What tenants call their guests. ``HOSTILE`` is in each, and in no script.
_WORDS = (
    "HOSTILE'; touch /x #",
    '$(HOSTILE)`HOSTILE`',
    'HOSTILE\nEND-OF-NOVA-VGPU-GUEST-FILE\nreboot\n',
    'HOSTILE\r\n\r\n--===============0000000000000000001==\r\n#!/bin/sh',
    '{{ HOSTILE }} {% HOSTILE %} %(HOSTILE)s {HOSTILE.__class__}',
    'HOSTILE\x00\x1b[2J\u202e\u2028\U0001f600\ud800',
    '#cloud-config\nruncmd: [HOSTILE]',
    'HOSTILE' * 3000,
)


class FuzzTest(vendordata_base.VendordataTestCase):
    """Random requests, with and without a good token."""

    def setUp(self) -> None:
        super().setUp()
        seed = random.SystemRandom().getrandbits(32)
        self.addDetail('seed', vendordata_base.text(str(seed)))
        self.random = random.Random(seed)  # noqa: S311
        self.token = self.keystone_token('nova')
        self.instance = self.server('vgpu', self.a)
        self.running = self.service()

    def tearDown(self) -> None:
        """Whatever came, it runs, and has logged no failure of its own."""
        self.assertTrue(self.running.is_well())
        log = self.running.log()
        for part in ('Traceback', 'a bug', 'Exception', 'token-of-'):
            self.assertNotIn(part, log)
        super().tearDown()

    def check(self, sent: bytes) -> None:
        """Send bytes; each answer is of the kind that blames the sender."""
        answer = vendordata_base.send(self.running.port, sent)
        if answer:
            found = re.match(rb'HTTP/1\.[01] (\d+) ', answer)
            assert found, (sent[:2000], answer[:200])  # noqa: S101
            # 501 is for encodings that no server has to know.
            allowed = rb'100|200|4\d\d|501'
            self.assertTrue(
                re.fullmatch(allowed, found[1]), (sent[:2000], answer[:200])
            )
            self.assertNotIn(b'token-of-', answer)

    def test_bytes(self) -> None:
        """Bytes that are no request, or nearly one."""
        good = b'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}'
        for _ in range(_REQUESTS):
            if self.random.random() < 0.5:
                sent = bytearray(good)
                for _ in range(self.random.randint(1, 6)):
                    place = self.random.randrange(len(sent))
                    sent[place] = self.random.randrange(256)
            else:
                sent = bytearray(
                    self.random.randbytes(self.random.randint(1, 3000))
                )
                sent += self.random.choice((b'', b'\r\n\r\n', b'\n\n'))
            self.check(bytes(sent))

    def test_requests(self) -> None:
        """Methods, paths, headers and bodies that do not go together."""
        pick = self.random.choice
        for _ in range(_REQUESTS):
            body = pick(_BODIES)
            version = pick(('1.1', '1.1', '1.0', '2.0', '9', ''))
            lines = [f'{pick(_METHODS)} {pick(_PATHS)} HTTP/{version}']
            if self.random.random() < 0.6:
                lines = ['POST / HTTP/1.1', f'X-Auth-Token: {self.token}']
            if self.random.random() < 0.7:
                lines.append(f'Content-Length: {len(body)}')
            lines += [
                f'{pick(_HEADERS)}: {pick(_VALUES)}'
                for _ in range(self.random.randrange(4))
            ]
            head = '\r\n'.join([*lines, '', '']).encode('latin-1')
            self.check(head + body)

    def _value(self, depth: int = 0) -> Any:
        """Make a value of JSON, with words of a tenant in it."""
        kind = self.random.randrange(7 if depth < 3 else 5)
        if kind == 5:
            return [self._value(depth + 1) for _ in range(3)]
        if kind == 6:
            return {
                self.random.choice(_WORDS): self._value(depth + 1)
                for _ in range(3)
            }
        return (
            *(self.random.choice(_WORDS), 10**300, float('inf')),
            *(None, self.random.random()),
        )[kind]

    def _body(self) -> dict[str, Any]:
        fields = ('user-data', 'hostname', 'metadata', 'boot-roles', 'extra')
        return {
            'project-id': self.a,
            'instance-id': self.instance,
            'image-id': UBUNTU,
            **{name: self._value() for name in fields},
        }

    def _post(self, body: dict[str, Any]) -> requests.Response:
        return requests.post(
            self.running.url,
            data=json.dumps(body),
            headers={'X-Auth-Token': self.token},
            timeout=SECONDS,
        )

    def test_tenants(self) -> None:
        """The words of a tenant are in no answer, and change none."""
        plain = script(
            self.post(
                self.running.url, self.token, self.a, self.instance
            ).json()
        )
        for _ in range(_REQUESTS // 4):
            body = self._body()
            answer = self._post(body)
            self.assertEqual(200, answer.status_code, (body, answer.text))
            self.assertNotIn('HOSTILE', answer.text)
            self.assertEqual(plain, script(answer.json()))
            wrong = self.random.choice(
                ('project-id', 'instance-id', 'image-id')
            )
            answer = self._post({**body, wrong: self.random.choice(_WORDS)})
            self.assertEqual(400, answer.status_code, answer.text)
            self.assertNotIn('HOSTILE', answer.text)
        self.assertNotIn('HOSTILE', self.running.log())
