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
"""``[placement]``: how to reach Placement, in keystoneauth's own options.

The section is the one that nova-compute uses, so a working nova.conf needs
no change. keystoneauth is imported only when the options are registered:
commands that never talk to Placement do not pay for it.
"""

from __future__ import annotations

from oslo_config import cfg

from nova_vgpu_ext.conf import keystone

GROUP = 'placement'

_VERSION_OPTS = ('version', 'min_version', 'max_version')


def _adapter_opts() -> list[cfg.Opt]:
    return keystone.adapter_opts(
        lambda name: name not in _VERSION_OPTS, service_type='placement'
    )


def _nothing(_: object) -> None:
    """Parse any value as None."""
    return


def _unsettable(name: str) -> cfg.Opt:
    return cfg.Opt(name, type=_nothing)  # type: ignore[arg-type]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Register the session, authentication and adapter options.

    The adapter's version options are registered as ones that nobody can
    set, as Nova does: which microversions are needed is the code's business.
    """
    keystone.register_opts(conf, GROUP, _adapter_opts())
    for name in _VERSION_OPTS:
        conf.register_opt(_unsettable(name), group=GROUP)


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """List the options for the configuration reference."""
    return [(GROUP, keystone.list_opts(_adapter_opts()))]
