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
"""Ways to Placement: from a service's options, or from a cloud's client."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from keystoneauth1 import adapter, loading
from keystoneauth1 import exceptions as ksa_exc
from openstack import connection
from openstack import exceptions as sdk_exc
from oslo_config import cfg

from nova_vgpu_ext import exception
from nova_vgpu_ext.conf import placement as placement_conf
from nova_vgpu_ext.placement import errors

#: Seconds before a request is given up, where ``[placement] timeout`` is not
#: set: keystoneauth itself would wait for ever.
_TIMEOUT = 60

#: How messages name what a client of the cloud was configured with.
_CLOUD = 'clouds.yaml or the OS_ variables'


@dataclasses.dataclass(frozen=True)
class Access:
    """How to reach Placement; nothing has been asked yet."""

    #: keystoneauth's session.
    session: Any
    #: Gives the adapter; it may authenticate and look for Placement before.
    connect: Callable[[], Any]
    #: Where it was configured, as a remedy names it.
    source: str


def from_conf(conf: cfg.ConfigOpts) -> Access:
    """Take the access of ``[placement]``.

    :param conf: options whose files have been read.
    :raises ConfigError: ``[placement]`` lacks what is needed to
        authenticate.
    """
    session = _session(conf)
    connect = functools.partial(_discover, session, conf)
    return Access(session, connect, f'[{placement_conf.GROUP}]')


def from_cloud(cloud: connection.Connection) -> Access:
    """Take the access of openstacksdk's connection.

    Its own adapter would first look for versions, and take a Placement that
    does not answer for one that has none.

    :param cloud: as the ``openstack`` command has it.
    """
    config, service = cloud.config, 'placement'

    def connect() -> adapter.Adapter:
        return adapter.Adapter(
            cloud.session,
            service_type=service,
            region_name=config.get_region_name(service),
            interface=config.get_interface(service),
            endpoint_override=config.get_endpoint(service),
        )

    return Access(cloud.session, connect, _CLOUD)


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
        raise errors.translate(exc, '[placement]', '[placement]') from exc
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
        raise errors.translate(exc, '[placement]', '[placement]') from exc
    except Exception as exc:
        # Plugins say in many ways that they lack an option.
        raise _incomplete(exc) from exc


def _incomplete(error: Exception) -> exception.ConfigError:
    return exception.ConfigError(
        '[placement]',
        errors.one_line(error),
        'a complete set of authentication options',
        'compare with the [placement] section of nova-compute',
    )
