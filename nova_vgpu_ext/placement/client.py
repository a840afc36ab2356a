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
"""Placement's API: the one module that knows its URLs and microversion."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Mapping
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
from nova_vgpu_ext.models import InventoryRecord, ReportedProvider

LOG = logging.getLogger(__name__)

#: Train: ``in_tree`` for allocation candidates (1.31). Newer ones change
#: nothing that is used here.
MICROVERSION = '1.31'

#: Seconds before a request is given up, where ``[placement] timeout`` is not
#: set: keystoneauth itself would wait for ever.
_TIMEOUT = 60

#: How often a read is tried before it is an error. Only reads are repeated
#: as they are; a write that failed is planned afresh.
_READ_ATTEMPTS = 3

_RECORD_FIELDS = (
    'total',
    'min_unit',
    'max_unit',
    'step_size',
    'reserved',
    'allocation_ratio',
)


def adapter_from_conf(conf: cfg.ConfigOpts) -> Any:
    """Make openstacksdk's Placement proxy from ``[placement]``.

    :param conf: options whose files have been read.
    :raises ConfigError: the section lacks what is needed to authenticate.
    :raises PlacementError: Keystone refuses, or has no such endpoint.
    """
    placement_conf.register_opts(conf)
    group = placement_conf.GROUP
    conf.set_default('timeout', _TIMEOUT, group=group)
    try:
        auth = loading.load_auth_from_conf_options(conf, group)
        if auth is None:
            raise exception.ConfigError(
                '[placement] auth_type',
                'nothing',
                'how to authenticate, as nova-compute has it',
                "use nova-compute's nova.conf, or set auth_type, auth_url, "
                'username, password, project_name and the domains',
            )
        session = loading.load_session_from_conf_options(
            conf, group, auth=auth
        )
        for attempt in _read_attempts():
            with attempt:
                return _discover(session, conf)
    except (
        ksa_exc.AuthPluginException,
        ksa_exc.OptionError,
        cfg.ConfigFileValueError,
    ) as exc:
        raise _incomplete(exc) from exc
    raise AssertionError('tenacity ends with a result or an error')


def _read_attempts() -> tenacity.Retrying:
    """Repeat what only reads while there is no good answer."""
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(exception.PlacementUnavailable),
        stop=tenacity.stop_after_attempt(_READ_ATTEMPTS),
        wait=tenacity.wait_exponential_jitter(initial=0.2, max=2),
        reraise=True,
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


def _incomplete(error: Exception) -> exception.ConfigError:
    return exception.ConfigError(
        '[placement]',
        _one_line(error),
        'a complete set of authentication options',
        'compare with the [placement] section of nova-compute',
    )


def _one_line(error: object) -> str:
    return ' '.join(str(error).split())


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


class PlacementClient:
    """Calls of Placement's API, each one request.

    Reads are repeated on 5xx answers and broken connections, writes never.

    :param adapter: a keystoneauth adapter, such as openstacksdk's proxy.
    """

    def __init__(self, adapter: Any) -> None:
        self._adapter = adapter
        self._lock = threading.Lock()
        self._known_traits: set[str] = set()
        self._known_classes: set[str] = set()
        self._may_reshape = True
        #: How many requests were sent.
        self.requests = 0

    def find_root(self, node: str) -> str:
        """Find the UUID of a compute node's provider.

        :raises NodeNotFound: Placement does not know the node.
        """
        path = '/resource_providers'
        body = self._get(path, {'name': node})
        for found in _field(body, 'resource_providers', list, path):
            if found.get('parent_provider_uuid') is None:
                return str(found['uuid'])
        raise exception.NodeNotFound(
            self._url(path),
            f'no provider for the node {node!r}',
            'nova-compute makes it at its first start; if Nova knows this '
            'host by another name (openstack hypervisor list), give it with '
            '--node or [vgpu] node_name',
        )

    def tree(self, root_uuid: str) -> list[ReportedProvider]:
        """List the providers of a tree, without their contents."""
        path = '/resource_providers'
        body = self._get(path, {'in_tree': root_uuid})
        try:
            return [
                ReportedProvider(
                    uuid=str(item['uuid']),
                    name=str(item['name']),
                    generation=int(item['generation']),
                    parent_uuid=item['parent_provider_uuid'],
                )
                for item in _field(body, 'resource_providers', list, path)
            ]
        except (KeyError, TypeError, ValueError) as exc:
            raise self._malformed(path, 'a list of providers') from exc

    def inventories(self, uuid: str) -> dict[str, InventoryRecord]:
        """Read a provider's inventories by resource class."""
        path = f'/resource_providers/{uuid}/inventories'
        body = self._get(path)
        try:
            return {
                name: InventoryRecord(**{f: item[f] for f in _RECORD_FIELDS})
                for name, item in _field(
                    body, 'inventories', dict, path
                ).items()
            }
        except (KeyError, TypeError) as exc:
            raise self._malformed(path, 'inventory records') from exc

    def traits(self, uuid: str) -> frozenset[str]:
        """Read a provider's traits."""
        path = f'/resource_providers/{uuid}/traits'
        return frozenset(_field(self._get(path), 'traits', list, path))

    def usages(self, uuid: str) -> dict[str, int]:
        """Read how much of a provider is allocated, by resource class."""
        path = f'/resource_providers/{uuid}/usages'
        return dict(_field(self._get(path), 'usages', dict, path))

    def summaries(
        self, root_uuid: str, resource_class: str
    ) -> dict[str, tuple[frozenset[str], dict[str, int]]]:
        """Read traits and usage of a whole tree in one request.

        An allocation candidate's answer describes every provider of its
        tree. It is empty where no unit of the class is free.

        :returns: traits and usage by class, by provider UUID.
        """
        path = '/allocation_candidates'
        body = self._get(
            path,
            {
                'resources': f'{resource_class}:1',
                'in_tree': root_uuid,
                'limit': '1',
            },
        )
        try:
            return {
                uuid: (
                    frozenset(item['traits']),
                    {
                        name: int(usage['used'])
                        for name, usage in item['resources'].items()
                    },
                )
                for uuid, item in _field(
                    body, 'provider_summaries', dict, path
                ).items()
            }
        except (KeyError, TypeError, AttributeError) as exc:
            raise self._malformed(path, 'provider summaries') from exc

    def ensure_traits(self, names: Collection[str]) -> None:
        """Make custom traits known to Placement."""
        wanted = set(names) - self._known_traits
        if not wanted:
            return
        path = '/traits'
        body = self._get(path, {'name': 'in:' + ','.join(sorted(wanted))})
        for name in sorted(wanted - set(_field(body, 'traits', list, path))):
            self._write('PUT', f'/traits/{name}')
        self._known_traits |= wanted

    def ensure_class(self, name: str) -> None:
        """Make a custom resource class known to Placement."""
        if name.startswith('CUSTOM_') and name not in self._known_classes:
            self._write('PUT', f'/resource_classes/{name}')
            self._known_classes.add(name)

    def create_provider(self, name: str, parent_uuid: str) -> ReportedProvider:
        """Create a child provider, empty and of generation 0.

        :raises WriteFailed: there is one of that name.
        """
        path = '/resource_providers'
        answer = self._write(
            'POST', path, {'name': name, 'parent_provider_uuid': parent_uuid}
        )
        return ReportedProvider(
            uuid=str(_field(answer, 'uuid', str, path)),
            name=name,
            generation=_field(answer, 'generation', int, path),
            parent_uuid=parent_uuid,
            used={},
        )

    def set_traits(
        self, uuid: str, generation: int, names: Collection[str]
    ) -> int:
        """Replace a provider's traits.

        :returns: the new generation.
        :raises WriteFailed: the generation has moved on.
        """
        path = f'/resource_providers/{uuid}/traits'
        answer = self._write(
            'PUT',
            path,
            {
                'resource_provider_generation': generation,
                'traits': sorted(names),
            },
        )
        return _generation(answer, path)

    def set_inventories(
        self,
        uuid: str,
        generation: int,
        inventories: Mapping[str, InventoryRecord],
    ) -> int:
        """Replace a provider's inventories.

        :returns: the new generation.
        :raises WriteFailed: the generation has moved on, or a class
            that would go is in use.
        """
        path = f'/resource_providers/{uuid}/inventories'
        answer = self._write(
            'PUT', path, _inventories(generation, inventories)
        )
        return _generation(answer, path)

    def reshape(
        self, changes: Mapping[str, tuple[int, Mapping[str, InventoryRecord]]]
    ) -> bool:
        """Replace the inventories of many providers at once.

        :param changes: generation and inventories by provider UUID.
        :returns: False where this user may not; nothing is written then.
        :raises WriteFailed: a generation has moved on, or a class that
            would go is in use; nothing is written then.
        """
        if not self._may_reshape:
            return False
        body = {
            'inventories': {
                uuid: _inventories(generation, inventories)
                for uuid, (generation, inventories) in changes.items()
            },
            'allocations': {},
        }
        self._may_reshape = (
            self._write('POST', '/reshaper', body, forbidden_ok=True)
            is not None
        )
        return self._may_reshape

    def delete_provider(self, uuid: str) -> None:
        """Delete a provider; it is no error if it is gone.

        :raises WriteFailed: something is allocated on it.
        """
        self._write('DELETE', f'/resource_providers/{uuid}', missing_ok=True)

    def _get(
        self, path: str, query: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        for attempt in _read_attempts():
            with attempt:
                response = self._send('GET', path, params=query)
                if response.status_code != 200:
                    raise self._refused(response)
                return self._json(response, path)
        raise AssertionError('tenacity ends with a result or an error')

    def _write(
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
        return self._json(response, path) if response.content else {}

    def _send(self, method: str, path: str, **kwargs: Any) -> Any:
        with self._lock:
            self.requests += 1
        try:
            return self._adapter.request(
                path,
                method,
                raise_exc=False,
                microversion=MICROVERSION,
                **kwargs,
            )
        except (
            ksa_exc.ClientException,
            sdk_exc.SDKException,
            requests.RequestException,
        ) as exc:
            raise _translate(exc, self._url(path)) from exc

    def _url(self, path: str) -> str:
        return f'Placement {path}'

    def _json(self, response: Any, path: str) -> dict[str, Any]:
        try:
            body = response.json()
        except (ValueError, requests.RequestException) as exc:
            kind = response.headers.get('Content-Type', 'no content type')
            raise exception.PlacementError(
                response.url,
                f'found {kind} of {len(response.content)} bytes, expected '
                "Placement's JSON",
                'check endpoint_override and auth_url in [placement]: another '
                'service, or a proxy, answers there',
            ) from exc
        if not isinstance(body, dict):
            raise self._malformed(response.url, 'an object')
        return body

    def _malformed(self, url: str, expected: str) -> exception.PlacementError:
        return exception.PlacementError(
            url,
            f'found JSON without {expected}',
            'check endpoint_override in [placement]: another service answers '
            'there',
        )

    def _refused(self, response: Any) -> exception.PlacementError:
        status = response.status_code
        found = f'answered {status} {_detail(response)}'.rstrip()
        url = f'{response.request.method} {response.url}'
        if status == 409:
            return exception.WriteFailed(
                url, found, 'something else writes there; run it again'
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
            406: f'a Placement with microversion {MICROVERSION} (Train) or '
            'newer is needed',
        }
        return exception.PlacementError(
            url, found, remedies.get(status, 'this is a bug; report it')
        )


def _detail(response: Any) -> str:
    """Take the words out of an error in Placement's JSON form."""
    try:
        return _one_line(response.json()['errors'][0]['detail'])[:300]
    except (ValueError, KeyError, IndexError, TypeError):
        return str(response.reason or '')


def _inventories(
    generation: int, inventories: Mapping[str, InventoryRecord]
) -> dict[str, Any]:
    return {
        'resource_provider_generation': generation,
        'inventories': {
            name: {field: getattr(record, field) for field in _RECORD_FIELDS}
            for name, record in inventories.items()
        },
    }


def _field(body: Any, name: str, kind: type, url: str) -> Any:
    if not isinstance(body, dict) or not isinstance(body.get(name), kind):
        raise exception.PlacementError(
            f'Placement {url}',
            f'found JSON without {name!r}',
            'check endpoint_override in [placement]: another service answers '
            'there',
        )
    return body[name]


def _generation(answer: Any, url: str) -> int:
    return int(_field(answer, 'resource_provider_generation', int, url))
