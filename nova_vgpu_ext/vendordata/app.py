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
"""The service as a WSGI application, behind keystonemiddleware."""

from __future__ import annotations

import http
import json
import logging
from collections.abc import Callable, Collection, Iterable
from typing import Any

from nova_vgpu_ext import exception
from nova_vgpu_ext.vendordata import lookup, request, service

LOG = logging.getLogger(__name__)

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
WsgiApp = Callable[[Environ, StartResponse], Iterable[bytes]]


_JSON = 'application/json'
#: keystoneauth, with which Nova asks, logs bodies at DEBUG if they are
#: ``application/json``. Nova itself does not look at the type.
_SECRET = 'application/vnd.nova-vgpu.guest+json; charset=us-ascii'  # noqa: S105


class Problem(Exception):
    """An answer that is an error."""

    def __init__(self, status: http.HTTPStatus, message: str) -> None:
        self.status = status
        self.message = message
        super().__init__(message)


class Application:
    """Answers Nova.

    It believes what keystonemiddleware says of the caller, so nothing may
    reach it past that.

    :param answers: writes the instructions.
    :param roles: those that may ask; one is enough.
    """

    def __init__(
        self, answers: service.Service, roles: Collection[str]
    ) -> None:
        self._answers = answers
        self._roles = frozenset(roles)

    def __call__(
        self, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answer one request."""
        try:
            self._check_caller(environ)
            body = self._answer(request.parse(_body(environ)))
        except request.Malformed as error:
            return _error(start_response, 400, str(error))
        except Problem as error:
            return _error(start_response, error.status, error.message)
        if body is None:
            return send(start_response, 200, {})
        return send(start_response, 200, body, _SECRET)

    def _check_caller(self, environ: Environ) -> None:
        if environ.get('HTTP_X_IDENTITY_STATUS') != 'Confirmed':
            raise Problem(http.HTTPStatus.UNAUTHORIZED, 'no valid token')
        roles = {r.strip() for r in environ.get('HTTP_X_ROLES', '').split(',')}
        if not roles & self._roles:
            wanted = ' or '.join(sorted(self._roles))
            raise Problem(
                http.HTTPStatus.FORBIDDEN, f'the role {wanted} is needed'
            )

    def _answer(self, asked: request.Request) -> str | None:
        try:
            return self._answers.answer(asked)
        except service.Denied:
            LOG.warning(
                'instance %s was asked for as one of project %s, which it is '
                'not; nothing was answered',
                asked.instance,
                asked.project,
            )
            raise Problem(
                http.HTTPStatus.FORBIDDEN, 'the instance is not of the project'
            ) from None
        except lookup.Unknown as error:
            LOG.warning('%s', error)
            raise Problem(
                http.HTTPStatus.NOT_FOUND, 'no such instance'
            ) from None
        except exception.ServiceError as error:
            LOG.warning('%s', error)
            raise Problem(
                http.HTTPStatus.SERVICE_UNAVAILABLE,
                'the cloud does not say what the instance is',
            ) from None


def _body(environ: Environ) -> bytes:
    """Read the body of a POST, but no more than Nova can send."""
    if environ['REQUEST_METHOD'] != 'POST':
        raise Problem(http.HTTPStatus.METHOD_NOT_ALLOWED, 'only POST')
    length = environ.get('CONTENT_LENGTH') or ''
    if not (length.isascii() and length.isdigit()):
        raise Problem(
            http.HTTPStatus.LENGTH_REQUIRED, 'Content-Length is needed'
        )
    if len(length) > 9 or int(length) > request.LIMIT:
        raise Problem(
            http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f'more than {request.LIMIT} bytes',
        )
    try:
        body: bytes = environ['wsgi.input'].read(int(length))
    except OSError:
        raise Problem(
            http.HTTPStatus.REQUEST_TIMEOUT, 'the body did not come'
        ) from None
    return body


def _error(
    start_response: StartResponse, status: int, message: str
) -> Iterable[bytes]:
    error = {'code': int(status), 'message': message}
    return send(start_response, status, {'error': error})


def send(
    start_response: StartResponse,
    status: int,
    content: object,
    content_type: str = _JSON,
) -> Iterable[bytes]:
    """Answer with JSON."""
    body = json.dumps(content).encode('ascii')
    headers = [
        ('Content-Type', content_type),
        ('Content-Length', str(len(body))),
        # The answer may hold a token.
        ('Cache-Control', 'no-store'),
    ]
    if status == http.HTTPStatus.METHOD_NOT_ALLOWED:
        headers.append(('Allow', 'POST'))
    start_response(f'{int(status)} {http.HTTPStatus(status).phrase}', headers)
    return [body]
