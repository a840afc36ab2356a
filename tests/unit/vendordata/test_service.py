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
"""What guests are answered, and what callers."""

from __future__ import annotations

import concurrent.futures
import email
import io
import json
import threading
import uuid
from typing import Any
from unittest import mock

import hypothesis
from hypothesis import strategies as st

from nova_vgpu_ext import exception
from nova_vgpu_ext.conf import load, vendordata
from nova_vgpu_ext.guest.settings import System
from nova_vgpu_ext.vendordata import app, lookup, sections, service
from nova_vgpu_ext.vendordata.lookup import Facts
from nova_vgpu_ext.vendordata.request import LIMIT, Request
from tests import base
from tests.unit.vendordata.test_facts import BODY, INSTANCE, PROJECT

Q = ('V100DX-1Q', 'Q')
DRIVER = f"""
driver_url = https://mirror.example.org/driver.run
driver_sha256 = {'a' * 64}
"""


def script(answer: str | None) -> str:
    """Read the one part of an answer; it has a name of its own."""
    message = email.message_from_string(answer or '')
    (part,) = message.get_payload()
    assert part.get_filename() == 'nova-vgpu-guest.sh'  # noqa: S101
    assert part.get_content_type() == 'text/x-shellscript'  # noqa: S101
    found: bytes = part.get_payload(decode=True)
    return found.decode('ascii')


class Source:
    """Knows some guests, and counts the questions."""

    def __init__(self, **facts: Any) -> None:
        self.found = Facts(
            **{
                'project': PROJECT,
                'vgpus': (Q,),
                'system': System.UBUNTU,
                **facts,
            }
        )
        self.asked = 0
        self.error: Exception | None = None
        self.go_on = threading.Event()
        self.go_on.set()

    def facts(self, request: Request) -> Facts:
        """Tell what the guest is."""
        self.asked += 1
        self.go_on.wait(60)
        if self.error:
            raise self.error
        return self.found


class Mirror:
    """Knows guests that are of the project that asks."""

    def facts(self, request: Request) -> Facts:
        """Tell what the guest is."""
        return Facts(request.project, (Q,), System.ROCKY)


class Case(base.TestCase):
    """A test with a service."""

    def setUp(self) -> None:
        super().setUp()
        self.secrets = self.temp_dir()
        self.secrets.chmod(0o700)

    def token(self, name: str) -> str:
        """Make a token."""
        text = f'secret-of-{name}-'
        path = self.secrets / name
        path.write_text(text)
        path.chmod(0o600)
        return text

    def service(
        self, source: service.Source, guests: str, own: str = ''
    ) -> service.Service:
        """Make a service from the text of its configuration."""
        text = f'[vgpu_vendordata]\nsecrets_dir = {self.secrets}\n{own}\n'
        conf = load.load(
            [self.write_conf(text + guests)], (), vendordata.register_opts
        )
        found = service.Service(conf, sections.load(conf), source)
        self.addCleanup(found._pool.shutdown)
        return found


class ServiceTest(Case):
    """What guests are answered."""

    request = Request(INSTANCE, PROJECT, None)

    def test_answer(self) -> None:
        """A script with the token; one question to the cloud."""
        token = self.token('a')
        source = Source()
        found = self.service(
            source, f'[vgpu_guest]\n{DRIVER}\ntoken_file = a\n'
        )
        answers = {script(found.answer(self.request)) for _ in range(3)}
        (answer,) = answers
        self.assertTrue(answer.startswith('#!/bin/bash\n'))
        self.assertIn(token, answer)
        self.assertIn('FeatureType=1', answer)
        self.assertEqual(1, source.asked)
        self.token('b')
        (self.secrets / 'b').rename(self.secrets / 'a')
        self.assertIn('secret-of-b-', found.answer(self.request) or '')
        self.assertEqual(1, source.asked)
        self.assertEqual([], self.logs.lines)

    def test_nothing(self) -> None:
        """What is not answered, and the reason, which is logged once."""
        every = f'[vgpu_guest]{DRIVER}license_server = licence\n'
        for facts, guests, reason in (
            ({'vgpus': ()}, every, None),
            ({'system': None}, every, 'os_distro'),
            ({}, '', 'no section'),
            ({'vgpus': (Q, ('A40-1B', 'B'))}, every, 'series B and Q'),
            ({'vgpus': (('VGPU', None),)}, every, 'no series'),
            ({'vgpus': (('A40-1A', 'A'),)}, every, 'series A on ubuntu'),
            ({'vgpus': (('A40-8C', 'C'),)}, every, 'compute'),
            ({'system': System.WINDOWS}, every, 'cloudbase-init'),
            ({'no_default': 'it is deleted'}, every, 'it is deleted'),
        ):
            del self.logs.lines[:]
            found = self.service(Source(**facts), guests)
            for _ in range(3):
                self.assertIsNone(found.answer(self.request))
            self.assertEqual(bool(reason), bool(self.logs.lines), reason)
            if reason:
                (line,) = self.logs.lines
                self.assertIn(reason, line)
                self.assertIn(INSTANCE, line)

    def test_default_system(self) -> None:
        """Where the image does not say it, the configuration does."""
        found = self.service(
            Source(system=None),
            f'[vgpu_guest]{DRIVER}',
            'default_system = rocky',
        )
        self.assertIsNotNone(found.answer(self.request))

    def test_no_default_system(self) -> None:
        """Not where the image says another one, or is deleted."""
        found = self.service(
            Source(system=None, no_default='its image is deleted'),
            f'[vgpu_guest]{DRIVER}',
            'default_system = rocky',
        )
        self.assertIsNone(found.answer(self.request))
        self.assertIn('deleted', self.logs.lines[0])

    def test_windows_gets_no_token(self) -> None:
        """Nothing there would read it."""
        token = self.token('a')
        found = self.service(
            Source(system=System.WINDOWS),
            '[vgpu_guest]\ntoken_file = a\n',
            'default_system = rocky',
        )
        self.assertIsNone(found.answer(self.request))
        self.assertNotIn(token, ''.join(self.logs.lines))

    def test_token_refused(self) -> None:
        """Then there is no token at all, not that of a general section."""
        general = self.token('general')
        own = self.token('own')
        (self.secrets / 'own').chmod(0o644)
        found = self.service(
            Source(),
            f'[vgpu_guest]{DRIVER}token_file = general\n'
            f'[vgpu_guest:a]\nprojects = {PROJECT}\ntoken_file = own\n',
        )
        answer = found.answer(self.request) or ''
        self.assertIn('driver.run', answer)
        self.assertIn('licensed=no', answer)
        for text in (answer, *self.logs.lines):
            self.assertNotIn(general, text)
            self.assertNotIn(own, text)
        self.assertIn('0644', self.logs.lines[0])

    def test_denied(self) -> None:
        """The instance of another project is not answered, ever."""
        found = self.service(Source(project='b'), f'[vgpu_guest]{DRIVER}')
        for _ in range(2):
            self.assertRaises(service.Denied, found.answer, self.request)

    def stalled(self) -> tuple[Source, service.Service]:
        """Make a service whose source answers only when it is let."""
        source = Source()
        source.go_on.clear()
        self.addCleanup(source.go_on.set)
        return source, self.service(
            source, f'[vgpu_guest]{DRIVER}', 'lookup_timeout = 0.1'
        )

    def test_late(self) -> None:
        """What comes too late is an error, and there for the next request."""
        source, found = self.stalled()
        error = self.assertRaises(
            exception.ServiceError, found.answer, self.request
        )
        self.assertIn('lookup_timeout', str(error))
        source.go_on.set()
        found._pool.shutdown()
        self.assertIsNotNone(found.answer(self.request))
        self.assertEqual(1, source.asked)

    def test_one_lookup_for_each_guest(self) -> None:
        """A guest that asks and asks does not keep others waiting."""
        source, found = self.stalled()
        for _ in range(2 * service._LOOKUPS):
            self.assertRaises(
                exception.ServiceError, found.answer, self.request
            )
        self.assertEqual(1, source.asked)
        source.go_on.set()
        found._pool.shutdown()
        self.assertEqual({}, found._pending)
        self.assertIsNotNone(found.answer(self.request))

    def test_errors_are_not_remembered(self) -> None:
        """The next request asks again."""
        source = Source()
        source.error = exception.ServiceError('url', 'down', 'start it')
        found = self.service(source, f'[vgpu_guest]{DRIVER}')
        self.assertRaises(exception.ServiceError, found.answer, self.request)
        source.error = None
        self.assertIsNotNone(found.answer(self.request))

    def test_many_projects(self) -> None:
        """Of many requests at once each gets its own project's token."""
        projects = [f'project{n}x' for n in range(40)]
        tokens = {name: self.token(name) for name in projects}
        guests = ''.join(
            f'[vgpu_guest:{p}]\nprojects = {p}\ntoken_file = {p}\n'
            for p in projects
        )
        found = self.service(
            Mirror(), guests, 'cache_guests = 50\nlookup_timeout = 60'
        )
        same = str(uuid.uuid4())
        asked = [
            Request(instance, project, None)
            for _ in range(10)
            for project in projects
            for instance in (str(uuid.uuid4()), same)
        ]
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(found.answer, asked))
        for request, answer in zip(asked, answers, strict=True):
            there = {p for p in projects if tokens[p] in (answer or '')}
            self.assertEqual({request.project}, there)
        self.assertNotIn('secret-of', ''.join(self.logs.lines))


class ApplicationTest(Case):
    """What callers are answered."""

    def setUp(self) -> None:
        super().setUp()
        self.source = Source()
        self.app = app.Application(
            self.service(
                self.source, f'[vgpu_guest]{DRIVER}license_server = l\n'
            ),
            ['service'],
        )

    def call(self, body: bytes = b'', **environ: Any) -> tuple[int, Any]:
        """Call the application as Nova would; give status and content."""
        started: list[str] = []

        def start_response(status: str, headers: object) -> None:
            started.append(status)

        text = b''.join(
            self.app(
                {
                    'REQUEST_METHOD': 'POST',
                    'CONTENT_LENGTH': str(len(body)),
                    'HTTP_X_IDENTITY_STATUS': 'Confirmed',
                    'HTTP_X_ROLES': 'admin,service',
                    'wsgi.input': io.BytesIO(body),
                    **environ,
                },
                start_response,
            )
        )
        (status,) = started
        return int(status.split()[0]), json.loads(text)

    def test_callers(self) -> None:
        """Only those with the role, and only if their token was checked."""
        body = json.dumps(BODY).encode()
        for status, environ in (
            (200, {}),
            (401, {'HTTP_X_IDENTITY_STATUS': 'Invalid'}),
            (401, {'HTTP_X_IDENTITY_STATUS': None}),
            (403, {'HTTP_X_ROLES': 'admin,member'}),
            (403, {'HTTP_X_ROLES': ''}),
            (403, {'HTTP_X_ROLES': 'xservice'}),
        ):
            self.assertEqual(status, self.call(body, **environ)[0], environ)

    def test_requests(self) -> None:
        """Each wrong one has a status and a message."""
        for status, part, environ in (
            (405, 'POST', {'REQUEST_METHOD': 'GET'}),
            (411, 'Content-Length', {'CONTENT_LENGTH': ''}),
            (411, 'Content-Length', {'CONTENT_LENGTH': '-1'}),
            (413, 'bytes', {'CONTENT_LENGTH': str(LIMIT + 1)}),
            (413, 'bytes', {'CONTENT_LENGTH': '9' * 5000}),
            (400, 'JSON', {}),
        ):
            found, content = self.call(**environ)
            self.assertEqual(status, found, environ)
            self.assertEqual(status, content['error']['code'])
            self.assertIn(part, content['error']['message'])

    def test_slow_caller(self) -> None:
        """A body that does not come is no bug of ours."""
        slow = mock.Mock()
        slow.read.side_effect = TimeoutError
        self.assertEqual(408, self.call(**{'wsgi.input': slow})[0])

    def test_errors(self) -> None:
        """Nova takes each for a failure; the log says more."""
        body = json.dumps(BODY).encode()
        for status, error in (
            (404, lookup.Unknown('url', 'not found', 'look')),
            (503, exception.ServiceError('url', 'down', 'start it')),
        ):
            self.source.error = error
            self.assertEqual(status, self.call(body)[0])
            self.assertEqual(str(error), self.logs.lines.pop())
        self.source.error = None
        self.source.found = Facts('b', (Q,), System.UBUNTU)
        self.assertEqual(403, self.call(body)[0])

    def test_no_vgpu(self) -> None:
        """An empty object, which cloud-init passes over."""
        self.source.found = Facts(PROJECT, ())
        body = json.dumps(BODY).encode()
        self.assertEqual((200, {}), self.call(body))

    @hypothesis.given(
        st.dictionaries(st.text(), st.text()), st.text(), st.text()
    )
    def test_hostile(
        self, metadata: dict[str, str], hostname: str, data: str
    ) -> None:
        """Nothing that a tenant says changes the answer."""
        said = {
            'metadata': metadata,
            'hostname': hostname,
            'user-data': data,
            'boot-roles': data,
        }
        _, plain = self.call(json.dumps(BODY).encode())
        status, other = self.call(json.dumps({**BODY, **said}).encode())
        self.assertEqual(200, status)
        self.assertEqual(script(plain), script(other))

    @hypothesis.given(st.binary())
    def test_any(self, body: bytes) -> None:
        """Whatever comes is answered with 400."""
        self.assertEqual(400, self.call(body)[0])
