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
"""From the configuration to the application."""

from __future__ import annotations

import http
import importlib.util
import logging
import os
from collections.abc import Iterable, Sequence

from keystoneauth1 import exceptions as ksa_exc
from oslo_config import cfg
from oslo_log import log

import nova_vgpu_ext
from nova_vgpu_ext import exception
from nova_vgpu_ext.conf import load as conf_load
from nova_vgpu_ext.conf import vendordata
from nova_vgpu_ext.vendordata import app, lookup, sections, service

LOG = logging.getLogger(__name__)

PROGRAM = 'nova-vgpu-vendordata'
#: The configuration files, separated by ``:``.
VARIABLE = 'NOVA_VGPU_VENDORDATA_CONFIG_FILES'
DEFAULT = '/etc/nova-vgpu-ext/vendordata.conf'

_AUTHTOKEN = 'keystone_authtoken'
#: Keystone has that many for each step in which it checks a token; its own
#: defaults would let Nova wait for minutes.
_SECONDS = 2


def config_files() -> list[str]:
    """Name the files to read, by the environment."""
    return os.environ.get(VARIABLE, DEFAULT).split(':')


def load(files: Sequence[str]) -> app.WsgiApp:
    """Read the configuration, set the log up, and make the application.

    :param files: configuration files.
    :raises ConfigError: they cannot be used.
    """
    conf = conf_load.load(files, (), _register)
    for opt in vendordata.opts:
        # No value shall be a surprise later.
        sections.value(conf, vendordata.GROUP, opt.dest)
    found = sections.load(conf)
    source = lookup.Lookup(conf, found.ask_domain)
    answers = service.Service(conf, found, source)
    inner = app.Application(answers, conf[vendordata.GROUP].roles)
    outer = _guarded(_authenticated(inner, conf))
    log.setup(conf, PROGRAM, nova_vgpu_ext.version())
    return outer


def _register(conf: cfg.ConfigOpts) -> None:
    log.register_options(conf)
    vendordata.register_opts(conf)


def _authenticated(inner: app.WsgiApp, conf: cfg.ConfigOpts) -> app.WsgiApp:
    try:
        from keystonemiddleware import auth_token, opts
    except ImportError as error:
        raise exception.ConfigError(
            'keystonemiddleware',
            'nothing',
            'the library with which Nova is authenticated',
            'pip install nova-vgpu-ext[vendordata]',
        ) from error
    for group, options in opts.list_auth_token_opts():
        conf.register_opts(options, group=group)
    conf.set_default('http_connect_timeout', _SECONDS, group=_AUTHTOKEN)
    conf.set_default('http_request_max_retries', 0, group=_AUTHTOKEN)
    section = conf[_AUTHTOKEN]
    if not (section.auth_type or section.auth_section):
        raise exception.ConfigError(
            f'[{_AUTHTOKEN}] auth_type',
            'nothing',
            'how to check tokens with Keystone',
            'set it as it is in the nova.conf of nova-api',
        )
    if section.memcached_servers:
        _check_memcache(
            'bmemcached' if section.memcache_sasl_enabled else 'memcache'
        )
    outer: app.WsgiApp = auth_token.AuthProtocol(
        inner, {'oslo_config_config': conf}
    )
    return outer


def _check_memcache(module: str) -> None:
    """Find now what keystonemiddleware imports with the first request.

    :raises ConfigError: it is not there.
    """
    if importlib.util.find_spec(module) is None:
        raise exception.ConfigError(
            f'[{_AUTHTOKEN}] memcached_servers',
            f'no Python module {module}',
            'the library that talks to memcached',
            'pip install python-memcached, or with memcache_sasl_enabled '
            'python-binary-memcached; or leave the option out',
        )


def _guarded(inner: app.WsgiApp) -> app.WsgiApp:
    """Say that it runs, to whoever asks, and never fail without a line."""

    def application(
        environ: app.Environ, start_response: app.StartResponse
    ) -> Iterable[bytes]:
        if environ.get('PATH_INFO') == '/healthcheck':
            return app.send(start_response, 200, {'name': PROGRAM})
        try:
            return inner(environ, start_response)
        except ksa_exc.ClientException as failed:
            LOG.warning('[%s]: no answer of Keystone: %s', _AUTHTOKEN, failed)
            status = http.HTTPStatus.SERVICE_UNAVAILABLE
        except Exception:
            LOG.exception('a request failed; this is a bug, report it')
            status = http.HTTPStatus.INTERNAL_SERVER_ERROR
        error = {'code': int(status), 'message': status.phrase}
        return app.send(start_response, status, {'error': error})

    return application
