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
"""What the cloud knows of a guest: from Nova, Glance and Keystone."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from keystoneauth1 import adapter, loading
from keystoneauth1 import exceptions as ksa_exc
from oslo_config import cfg

from nova_vgpu_ext import exception
from nova_vgpu_ext.conf import vendordata
from nova_vgpu_ext.guest.settings import System
from nova_vgpu_ext.vendordata import systems, vgpus
from nova_vgpu_ext.vendordata.cache import Cache
from nova_vgpu_ext.vendordata.request import Request

#: A server has its image's properties, as they were when it was made: Nova 31
#: (2025.1).
_NEW = '2.98'
#: A server's flavor has its extra specs.
_OLD = '2.47'

_SOURCE = f'[{vendordata.CLOUD}]'


class Unknown(exception.ServiceError):
    """There is no such thing."""


class _TooNew(exception.ServiceError):
    """The service does not know the microversion."""


@dataclasses.dataclass(frozen=True)
class Facts:
    """What a guest is."""

    project: str
    #: The name and the series of each kind of vGPU; empty without any.
    vgpus: tuple[tuple[str, str | None], ...]
    #: None where the image does not say it, or where there is no vGPU.
    system: System | None = None
    #: Why no default will do for it; None if it will.
    no_default: str | None = None
    #: None where nobody asks for it, or where there is no vGPU.
    domain: str | None = None


class Lookup:
    """Asks for facts.

    :param conf: options whose files have been read.
    :param ask_domain: whether the domain of the project is wanted.
    :raises ConfigError: ``[nova]`` lacks what is needed to authenticate.
    """

    def __init__(self, conf: cfg.ConfigOpts, ask_domain: bool) -> None:
        section = conf[vendordata.GROUP]
        self._types: Mapping[str, str] = section.types
        self._ask_domain = ask_domain
        session = _session(conf, section.lookup_timeout)
        self._nova = _adapter(conf, session, 'compute')
        # Not for good: an old Nova may be upgraded.
        self._microversion: Cache[None, str] = Cache(1, section.cache_seconds)
        self._glance = _adapter(conf, session, 'image', '2')
        self._keystone = _adapter(conf, session, 'identity', '3')

    def facts(self, request: Request) -> Facts:
        """Ask.

        :raises Unknown: there is no such instance.
        :raises ServiceError: a service does not say.
        """
        try:
            return self._facts(request)
        except (AttributeError, KeyError, TypeError) as error:
            raise exception.ServiceError(
                f'instance {request.instance}',
                f'an answer of another shape than expected ({error!r})',
                f'see that the URLs of the catalogue and {_SOURCE} lead to '
                'Nova, Glance and Keystone',
            ) from error

    def _facts(self, request: Request) -> Facts:
        server = self._server(f'/servers/{request.instance}')
        project = str(server['tenant_id'])
        found = tuple(vgpus.find(server['flavor']['extra_specs'], self._types))
        if not found or project != request.project:
            return Facts(project, found)
        system, no_default = self._system(server, request.image)
        return Facts(project, found, system, no_default, self._domain(project))

    def _server(self, url: str) -> dict[str, Any]:
        microversion = self._microversion.get(None) or _NEW
        try:
            found = _get(self._nova, url, microversion=microversion)
        except _TooNew:
            self._microversion.put(None, _OLD)
            found = _get(self._nova, url, microversion=_OLD)
        server = found.get('server')
        if not isinstance(server, dict) or 'extra_specs' not in server.get(
            'flavor', ()
        ):
            raise exception.ServiceError(
                f"Nova's {url}",
                'no extra_specs of the flavor',
                f'give the user of {_SOURCE} the role admin; a server in a '
                'cell that is down has none',
            )
        return server

    def _system(
        self, server: Mapping[str, Any], image: str | None
    ) -> tuple[System | None, str | None]:
        """Find the operating system, and why none is to be assumed."""
        # An empty string where the guest boots from a volume.
        named = server.get('image') or {}
        try:
            if 'properties' in named:
                return systems.find(named['properties']), None
            if image is None:
                return None, None
            return systems.find(_get(self._glance, f'/images/{image}')), None
        except systems.Unsupported as error:
            return None, str(error)
        except Unknown:
            return None, (
                f'its image {image} is deleted, and only Nova 31 (2025.1) and '
                'later know its os_distro all the same'
            )

    def _domain(self, project: str) -> str | None:
        if not self._ask_domain:
            return None
        path = f'/projects/{project}'
        try:
            found = _get(self._keystone, path)
        except Unknown as error:
            # The instance is there all the same.
            raise exception.ServiceError(
                f"Keystone's {path}",
                'not found',
                'a section has domains, so it must be known whose project it '
                'is',
            ) from error
        return str(found['project']['domain_id'])


def _get(service: adapter.Adapter, url: str, **options: Any) -> dict[str, Any]:
    where = f"{service.service_type}'s {url}"
    try:
        found = service.get(url, **options).json()
    except ksa_exc.NotFound as error:
        raise Unknown(where, 'not found', 'it may be deleted') from error
    except ksa_exc.NotAcceptable as error:
        raise _TooNew(
            where, 'an unknown microversion', 'Nova 16 or later is needed'
        ) from error
    except ksa_exc.ClientException as error:
        raise exception.ServiceError(
            where,
            ' '.join(str(error).split())[:300],
            f'check {_SOURCE}, and that the service runs',
        ) from error
    except ValueError as error:
        raise exception.ServiceError(
            where, 'no JSON', f'check region and interface in {_SOURCE}'
        ) from error
    if not isinstance(found, dict):
        raise exception.ServiceError(
            where, 'no JSON object', f'check region in {_SOURCE}'
        )
    return found


def _adapter(
    conf: cfg.ConfigOpts,
    session: Any,
    service_type: str,
    version: str | None = None,
) -> adapter.Adapter:
    """Make an adapter.

    :param version: found from the root of the service where the catalogue
        has no version in the URL; None where it always has.
    """
    section = conf[vendordata.CLOUD]
    return adapter.Adapter(
        session,
        service_type=service_type,
        region_name=section.region_name,
        interface=section.valid_interfaces,
        min_version=version,
        max_version=f'{version}.latest' if version else None,
    )


def _session(conf: cfg.ConfigOpts, timeout: float) -> Any:
    found = 'nothing'
    try:
        auth = loading.load_auth_from_conf_options(conf, vendordata.CLOUD)
        if auth is not None:
            return loading.load_session_from_conf_options(
                conf, vendordata.CLOUD, auth=auth, timeout=timeout
            )
    except (
        ksa_exc.AuthPluginException,
        ksa_exc.OptionError,
        cfg.ConfigFileValueError,
    ) as error:
        found = ' '.join(str(error).split())
    raise exception.ConfigError(
        f'{_SOURCE} auth_type',
        found,
        'how to authenticate',
        'set auth_type, auth_url, username, password, project_name and the '
        'domains',
    )
