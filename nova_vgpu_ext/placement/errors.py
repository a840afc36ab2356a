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
"""Errors of Placement, and of the way to it, as one line with a remedy.

``source`` is where the access was configured, as a remedy names it.
"""

from __future__ import annotations

import re
from typing import Any

import requests
from keystoneauth1 import exceptions as ksa_exc
from openstack import exceptions as sdk_exc

from nova_vgpu_ext import exception

#: What the URL of one provider, rather than of a list, has.
_UUID = re.compile(r'/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b')


def refused(
    response: Any, source: str, microversion: str
) -> exception.PlacementError:
    """Make the error for an answer that is none of success.

    :param response: of requests.
    :param microversion: that was asked for.
    """
    status = response.status_code
    error = _error(response)
    detail = response.reason or ''
    if 'detail' in error:
        detail = one_line(error['detail'])[:300]
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
    if status == 400:
        return exception.QueryRefused(url, found, 'this is a bug; report it')
    if status >= 500:
        return exception.PlacementUnavailable(
            url,
            found,
            "see Placement's log; the next run repairs what is left",
        )
    remedies = {
        401: f'check username and password in {source}',
        403: f'give the user of {source} the role admin or service',
        404: f'check endpoint_override in {source}',
        406: 'a Placement is needed that knows the microversion '
        f'{microversion}',
    }
    return exception.PlacementError(
        url, found, remedies.get(status, 'this is a bug; report it')
    )


def translate(
    error: Exception, url: str, source: str
) -> exception.PlacementError:
    """Turn a client library's error into one line with a remedy."""
    text = one_line(error)
    if isinstance(error, ksa_exc.Unauthorized):
        return exception.PlacementError(
            url,
            f'Keystone refused the credentials: {text}',
            'check username, password, project_name and the domains in '
            f'{source}',
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
            f'{source}, and openstack endpoint list',
        )
    if isinstance(error, ksa_exc.DiscoveryFailure):
        return exception.PlacementUnavailable(
            url,
            f"no answer of Placement's API: {text}",
            "see Placement's log, and check endpoint_override and auth_url "
            f'in {source}',
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
    return exception.PlacementError(url, text, f'check {source}')


def unexpected(
    url: str, found: str, expected: str, source: str
) -> exception.PlacementError:
    """Make the error for an answer that Placement does not give."""
    return exception.PlacementError(
        url,
        f'found {found}, expected {expected}',
        f'check endpoint_override and auth_url in {source}: another '
        'service, or a proxy, answers there',
    )


def one_line(error: object) -> str:
    """Write an error as one printable line."""
    text = ''.join(c if c.isprintable() else ' ' for c in str(error))
    return ' '.join(text.split())


def _error(response: Any) -> dict[str, Any]:
    """Take an error out of Placement's JSON form; empty if it is not one."""
    try:
        return dict(response.json()['errors'][0])
    except (ValueError, KeyError, IndexError, TypeError):
        return {}
