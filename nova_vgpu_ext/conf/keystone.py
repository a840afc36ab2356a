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
"""Options of keystoneauth: how to authenticate with a service, and find it.

keystoneauth is imported only when they are wanted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from oslo_config import cfg


def adapter_opts(
    is_wanted: Callable[[str], bool], **defaults: Any
) -> list[cfg.Opt]:
    """Choose options of a service's adapter.

    :param is_wanted: by the name of an option.
    :param defaults: of some of them.
    """
    from keystoneauth1 import loading

    opts = [
        opt
        for opt in loading.get_adapter_conf_options(include_deprecated=False)
        if is_wanted(opt.dest)
    ]
    cfg.set_defaults(opts, valid_interfaces=['internal', 'public'], **defaults)
    return opts


def register_opts(
    conf: cfg.ConfigOpts, group: str, adapter: list[cfg.Opt]
) -> None:
    """Register session, authentication and adapter of a section."""
    from keystoneauth1 import loading

    loading.register_session_conf_options(conf, group)
    loading.register_auth_conf_options(conf, group)
    conf.register_opts(adapter, group=group)


def list_opts(adapter: list[cfg.Opt]) -> list[cfg.Opt]:
    """List them for the configuration reference, with a password's."""
    from keystoneauth1 import loading

    found: list[cfg.Opt] = loading.get_session_conf_options()
    return [
        *found,
        *loading.get_auth_common_conf_options(),
        *loading.get_auth_plugin_conf_options('v3password'),
        *adapter,
    ]
