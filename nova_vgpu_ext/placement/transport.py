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
"""Requests to Placement: authentication, repeats, and errors in one line."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Mapping
from typing import Any

import requests
import tenacity
from keystoneauth1 import exceptions as ksa_exc
from keystoneauth1 import loading
from openstack import connection
from openstack import exceptions as sdk_exc
from oslo_config import cfg

from nova_vgpu_ext import exception
from nova_vgpu_ext.conf import placement as placement_conf

LOG = logging.getLogger(__name__)

#: Seconds before a request is given up, where ``[placement] timeout`` is not
#: set: keystoneauth itself would wait for ever.
_TIMEOUT = 60

#: How often a read is tried before it is an error. Only reads are repeated
#: as they are; a write that failed is planned afresh.
_READ_ATTEMPTS = 3

#: What the URL of one provider, rather than of a list, has.
_UUID = re.compile(r'/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b')


class Transport:
    """An authenticated way to Placement.

    Reads are repeated on 5xx answers and broken connections, writes never.

    :param conf: options whose files have been read.
    :param microversion: that every request asks for.
    :raises ConfigError: ``[placement]`` lacks what is needed to
        authenticate.
    :raises PlacementError: Keystone refuses, or has no such endpoint.
    """

    def __init__(self, conf: cfg.ConfigOpts, microversion: str) -> None:
        self._microversion = microversion
        self._lock = threading.Lock()
        #: How many requests were answered, Keystone's and the discovery of
        #: versions included.
        self.requests = 0
        session = _session(conf)
        session.session.hooks['response'].append(self._count)
        for attempt in _read_attempts():
            with attempt:
                self._adapter = _discover(session, conf)

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
        for attempt in _read_attempts():
            with attempt:
                response = self._send('GET', path, params=query)
                if response.status_code != 200:
                    raise self._refused(response)
                return _json(response)
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
        return _json(response) if response.content else {}

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
            raise _translate(exc, self.url(path)) from exc

    def _refused(self, response: Any) -> exception.PlacementError:
        status = response.status_code
        error = _error(response)
        detail = response.reason or ''
        if 'detail' in error:
            detail = _one_line(error['detail'])[:300]
        found = f'answered {status} {detail}'.rstrip()
        url = f'{response.request.method} {response.url}'
        if status == 409:
            remedy = 'something else writes there; run it again'
            if error.get('code') == 'placement.duplicate_name':
                remedy = (
                    'if it happens again, the name is taken outside this '
                    "node's tree: openstack resource provider list --name"
                )
            return exception.WriteFailed(url, found, remedy)
        if status == 404 and _UUID.search(response.url):
            return exception.ProviderGone(
                url, found, 'something else deletes it; run it again'
            )
        if status >= 500:
            return exception.PlacementUnavailable(
                url,
                found,
                "see Placement's log; the next run repairs what is left",
            )
        remedies = {
            401: 'check username and password in [placement]',
            403: 'give the user of [placement] the role admin or service',
            404: 'check endpoint_override in [placement]',
            406: 'a Placement is needed that knows the microversion '
            f'{self._microversion}',
        }
        return exception.PlacementError(
            url, found, remedies.get(status, 'this is a bug; report it')
        )


def _session(conf: cfg.ConfigOpts) -> Any:
    placement_conf.register_opts(conf)
    group = placement_conf.GROUP
    conf.set_default('timeout', _TIMEOUT, group=group)
    try:
        auth = loading.load_auth_from_conf_options(conf, group)
        if auth is not None:
            return loading.load_session_from_conf_options(
                conf, group, auth=auth
            )
    except (
        ksa_exc.AuthPluginException,
        ksa_exc.OptionError,
        cfg.ConfigFileValueError,
    ) as exc:
        raise _incomplete(exc) from exc
    raise exception.ConfigError(
        '[placement] auth_type',
        'nothing',
        'how to authenticate, as nova-compute has it',
        "use nova-compute's nova.conf, or set auth_type, auth_url, username, "
        'password, project_name and the domains',
    )


def _discover(session: Any, conf: cfg.ConfigOpts) -> Any:
    """Authenticate, and let openstacksdk look for Placement.

    openstacksdk alone would take a failed authentication for a catalogue
    without Placement.
    """
    _authenticate(session)
    try:
        cloud = connection.Connection(
            session=session, oslo_conf=conf, service_types=['placement']
        )
        proxy = cloud.placement
    except (ksa_exc.ClientException, sdk_exc.SDKException) as exc:
        raise _translate(exc, '[placement]') from exc
    return proxy


def _authenticate(session: Any) -> None:
    try:
        session.get_auth_headers()
    except ksa_exc.CatalogException as exc:
        raise exception.ConfigError(
            '[placement] auth_url',
            repr(session.auth.auth_url),
            "Keystone's URL, such as http://controller:5000/v3",
            'compare with the [placement] section of nova-compute',
        ) from exc
    except ksa_exc.ClientException as exc:
        raise _translate(exc, '[placement]') from exc
    except Exception as exc:
        # Plugins say in many ways that they lack an option.
        raise _incomplete(exc) from exc


def _read_attempts() -> tenacity.Retrying:
    """Repeat what only reads while there is no good answer."""
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(exception.PlacementUnavailable),
        stop=tenacity.stop_after_attempt(_READ_ATTEMPTS),
        wait=tenacity.wait_exponential_jitter(initial=0.2, max=2),
        reraise=True,
    )


def _incomplete(error: Exception) -> exception.ConfigError:
    return exception.ConfigError(
        '[placement]',
        _one_line(error),
        'a complete set of authentication options',
        'compare with the [placement] section of nova-compute',
    )


def _one_line(error: object) -> str:
    """Write an error as one printable line."""
    text = ''.join(c if c.isprintable() else ' ' for c in str(error))
    return ' '.join(text.split())


def _error(response: Any) -> dict[str, Any]:
    """Take an error out of Placement's JSON form; empty if it is not one."""
    try:
        return dict(response.json()['errors'][0])
    except (ValueError, KeyError, IndexError, TypeError):
        return {}


def _translate(error: Exception, url: str) -> exception.PlacementError:
    """Turn a client library's error into one line with a remedy."""
    text = _one_line(error)
    if isinstance(error, ksa_exc.Unauthorized):
        return exception.PlacementError(
            url,
            f'Keystone refused the credentials: {text}',
            'check username, password, project_name and the domains in '
            '[placement]',
        )
    if isinstance(
        error,
        (
            ksa_exc.EndpointNotFound,
            ksa_exc.CatalogException,
            sdk_exc.ServiceDisabledException,
            sdk_exc.NotSupported,
        ),
    ):
        return exception.PlacementError(
            url,
            f'no endpoint of Placement: {text}',
            'check region_name, valid_interfaces and endpoint_override in '
            '[placement], and openstack endpoint list',
        )
    if isinstance(error, ksa_exc.DiscoveryFailure):
        return exception.PlacementUnavailable(
            url,
            f"no answer of Placement's API: {text}",
            "see Placement's log, and check endpoint_override and auth_url "
            'in [placement]',
        )
    if isinstance(error, ksa_exc.HttpServerError):
        return exception.PlacementUnavailable(
            url,
            f'no good answer: {text}',
            "see Keystone's and Placement's logs; the next run repairs what "
            'is left',
        )
    if isinstance(error, (ksa_exc.ConnectionError, requests.RequestException)):
        return exception.PlacementUnavailable(
            url,
            f'no answer: {text}',
            'check that the service runs and that this host reaches it; the '
            'next run repairs what is left',
        )
    return exception.PlacementError(url, text, 'check the [placement] section')


def _json(response: Any) -> dict[str, Any]:
    try:
        body = response.json()
    except (ValueError, requests.RequestException) as exc:
        kind = response.headers.get('Content-Type', 'no content type')
        raise unexpected(
            response.url,
            f'{kind} of {len(response.content)} bytes',
            "Placement's JSON",
        ) from exc
    if not isinstance(body, dict):
        raise unexpected(response.url, 'JSON', 'an object')
    return body


def unexpected(
    url: str, found: str, expected: str
) -> exception.PlacementError:
    """Make the error for an answer that Placement does not give."""
    return exception.PlacementError(
        url,
        f'found {found}, expected {expected}',
        'check endpoint_override and auth_url in [placement]: another '
        'service, or a proxy, answers there',
    )
