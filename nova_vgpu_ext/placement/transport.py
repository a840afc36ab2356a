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
"""Requests to Placement: repeats, counting, and JSON."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import Any

import requests
import tenacity
from keystoneauth1 import exceptions as ksa_exc
from openstack import exceptions as sdk_exc

from nova_vgpu_ext import exception
from nova_vgpu_ext.placement import errors
from nova_vgpu_ext.placement.access import Access

LOG = logging.getLogger(__name__)

#: How often a read is tried before it is an error. Only reads are repeated
#: as they are; a write that failed is planned afresh.
READ_ATTEMPTS = 3


class Transport:
    """An authenticated way to Placement.

    Reads are repeated on 5xx answers and broken connections, writes never.

    :param access: how to reach it.
    :param microversion: that every request asks for.
    :param attempts: how often a read is tried before it is an error.
    :raises ConfigError: the access lacks what is needed to authenticate.
    :raises PlacementError: Keystone refuses, or has no such endpoint.
    """

    def __init__(
        self,
        access: Access,
        microversion: str,
        attempts: int = READ_ATTEMPTS,
    ) -> None:
        self._microversion = microversion
        self._attempts = attempts
        self._lock = threading.Lock()
        #: How many requests were answered, Keystone's and the discovery of
        #: versions included.
        self.requests = 0
        self._source = access.source
        access.session.session.hooks['response'].append(self._count)
        for attempt in _read_attempts(self._attempts):
            with attempt:
                self._adapter = access.connect()

    def _count(self, *_: object, **__: object) -> None:
        with self._lock:
            self.requests += 1

    def read(
        self, path: str, query: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """GET a JSON object.

        :raises PlacementUnavailable: no good answer in several attempts.
        :raises PlacementError: another answer than 200, or no JSON.
        """
        for attempt in _read_attempts(self._attempts):
            with attempt:
                response = self._send('GET', path, params=query)
                if response.status_code != 200:
                    raise self._refused(response)
                return self._json(response)
        raise AssertionError('tenacity ends with a result or an error')

    def write(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        forbidden_ok: bool = False,
        missing_ok: bool = False,
    ) -> dict[str, Any] | None:
        """Send a write once.

        :returns: the answer's JSON, empty where it has no body; None for a
            403 that is allowed for.
        :raises WriteFailed: a conflict, or an outcome that is not known.
        :raises PlacementError: Placement refuses the request as such.
        """
        LOG.debug('%s %s %s', method, path, body)
        kwargs = {} if body is None else {'json': body}
        try:
            response = self._send(method, path, **kwargs)
            if response.status_code >= 500:
                raise self._refused(response)
        except exception.PlacementUnavailable as exc:
            raise exception.WriteFailed(
                exc.url, exc.found, exc.remedy
            ) from exc
        status = response.status_code
        if status == 403 and forbidden_ok:
            return None
        if status == 404 and missing_ok:
            return {}
        if status not in (200, 201, 204):
            raise self._refused(response)
        return self._json(response) if response.content else {}

    def url(self, path: str) -> str:
        """Give the whole URL of a path, for messages."""
        try:
            endpoint = str(self._adapter.get_endpoint()).rstrip('/')
        except (ksa_exc.ClientException, sdk_exc.SDKException):
            endpoint = 'Placement '  # There is none.
        return f'{endpoint}{path}'

    def _send(self, method: str, path: str, **kwargs: Any) -> Any:
        try:
            return self._adapter.request(
                path,
                method,
                raise_exc=False,
                microversion=self._microversion,
                **kwargs,
            )
        except (
            ksa_exc.ClientException,
            sdk_exc.SDKException,
            requests.RequestException,
        ) as exc:
            raise errors.translate(exc, self.url(path), self._source) from exc

    def malformed(self, path: str, expected: str) -> exception.PlacementError:
        """Make the error for JSON that Placement does not give."""
        return self._unexpected(self.url(path), 'other JSON', expected)

    def _unexpected(
        self, url: str, found: str, expected: str
    ) -> exception.PlacementError:
        return errors.unexpected(url, found, expected, self._source)

    def _refused(self, response: Any) -> exception.PlacementError:
        return errors.refused(response, self._source, self._microversion)

    def _json(self, response: Any) -> dict[str, Any]:
        try:
            body = response.json()
        except (ValueError, requests.RequestException) as exc:
            kind = response.headers.get('Content-Type', 'no content type')
            raise self._unexpected(
                response.url,
                f'{kind} of {len(response.content)} bytes',
                "Placement's JSON",
            ) from exc
        if not isinstance(body, dict):
            raise self._unexpected(response.url, 'JSON', 'an object')
        return body


def _read_attempts(attempts: int) -> tenacity.Retrying:
    """Repeat what only reads while there is no good answer."""
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(exception.PlacementUnavailable),
        stop=tenacity.stop_after_attempt(attempts),
        wait=tenacity.wait_exponential_jitter(initial=0.2, max=2),
        reraise=True,
    )
