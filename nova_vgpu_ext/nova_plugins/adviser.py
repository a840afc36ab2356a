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
"""Advice for the filter and the weighers of nova-scheduler.

They are made by Nova, one by one and without arguments, and run one after
the other for each guest. All share one adviser, and what Placement has said
for the filter serves the weigher.
"""

from __future__ import annotations

import functools
import logging
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import nova.conf
from oslo_config import cfg

from nova_vgpu_ext.conf import load, scheduler
from nova_vgpu_ext.conf import placement as placement_conf
from nova_vgpu_ext.models import Capacity
from nova_vgpu_ext.nova_plugins import asked
from nova_vgpu_ext.nova_plugins.lookup import Lookup
from nova_vgpu_ext.nova_plugins.settings import Settings
from nova_vgpu_ext.placement import access
from nova_vgpu_ext.placement.client import PlacementClient
from nova_vgpu_ext.plan import policy
from nova_vgpu_ext.plan.flavors import request

LOG = logging.getLogger(__name__)


class Adviser:
    """Answers one scheduling decision after the other, in many threads.

    A decision is one pass of the filters and weighers over the hosts, for
    one guest; several guests of one request are several passes with the same
    RequestSpec. Each pass asks Placement anew, for what the one before has
    taken, and at most once.
    """

    def __init__(self, settings: Settings, lookup: Lookup) -> None:
        self.settings = settings
        self._lookup = lookup
        #: What was found for the filter, until the weigher asks for it.
        self._found: weakref.WeakKeyDictionary[Any, policy.Preference] = (
            weakref.WeakKeyDictionary()
        )

    def order(self, spec: Any, hosts: Sequence[Any]) -> None:
        """Put the candidates of each host in order; begins a decision.

        :param spec: the RequestSpec.
        :param hosts: the HostStates; their candidates are ordered in place,
            and none is added or removed.
        """
        self._found.pop(spec, None)
        if all(len(host.allocation_candidates) < 2 for host in hosts):
            return
        preference = self._preference(spec, hosts)
        if preference is None:
            return
        self._found[spec] = preference
        for host in hosts:
            host.allocation_candidates = preference.order(
                host.allocation_candidates, self._amounts
            )

    def rank(self, spec: Any, hosts: Sequence[Any]) -> list[float]:
        """Weigh hosts by the policy; all alike where there is none.

        :param spec: the RequestSpec.
        :param hosts: the HostStates.
        """
        preference = self._found.pop(spec, None)
        if preference is None:
            preference = self._preference(spec, hosts)
        if preference is None:
            return [0.0] * len(hosts)
        return preference.rank(
            [map(self._amounts, host.allocation_candidates) for host in hosts]
        )

    def spare(self, hosts: Sequence[Any]) -> list[float]:
        """Weigh hosts with GPUs less, for a guest without a vGPU.

        :param hosts: the HostStates.
        """
        alike = [0.0] * len(hosts)
        if not any(host.allocation_candidates for host in hosts):
            return alike
        if asked.wanted_class(hosts, self.settings.classes):
            return alike
        places = self._lookup.places(wait=True)
        if places is None:
            return alike
        return [float(host.uuid not in places.hosts) for host in hosts]

    def _amounts(self, candidate: asked.Candidate) -> policy.Amounts:
        return asked.amounts(candidate, self.settings.classes)

    def _preference(
        self, spec: Any, hosts: Sequence[Any]
    ) -> policy.Preference | None:
        """Ask how full the GPUs are, if a policy has to know."""
        classes = self.settings.classes
        name = asked.wanted_class(hosts, classes)
        if name is None:
            return None
        wanted = asked.policy_of(spec, self.settings.policy)
        if wanted is None:
            return None
        found = self._lookup.capacities(
            name,
            asked.type_traits(spec, name, classes),
            hosts[0].uuid if len(hosts) == 1 else None,
        )
        if found is None:
            return None
        vgpus = {
            slot: has
            for slot, has in found.items()
            if request.is_vgpu_class(slot[1], classes)
        }
        LOG.debug(
            'gpu_policy %s: %d providers of vGPUs for %d hosts',
            wanted.value,
            len(vgpus),
            len(hosts),
        )
        return policy.Preference(wanted, vgpus, self._cards(vgpus))

    def _cards(
        self, vgpus: Mapping[policy.Slot, Capacity]
    ) -> Mapping[str, str]:
        """Tell which VFs are of one card, as far as it is known by now."""
        if all(has.total > 1 for has in vgpus.values()):
            return {}  # There are no VFs.
        places = self._lookup.places(wait=False)
        return places.cards if places else {}


@functools.cache
def shared() -> Adviser:
    """Give the adviser of this process.

    Its options come from the files that the service was started with.

    :raises ConfigError: an option has a bad value.
    """
    conf = load.load(
        nova.conf.CONF.config_file,
        nova.conf.CONF.config_dir,
        scheduler.register_opts,
    )
    settings = Settings.read(conf)
    return Adviser(
        settings,
        Lookup(
            functools.partial(_connect, conf, settings.timeout),
            settings.timeout,
            settings.refresh,
        ),
    )


def _connect(conf: cfg.ConfigOpts, timeout: float) -> PlacementClient:
    placement_conf.register_opts(conf)
    conf.set_override('timeout', timeout, group=placement_conf.GROUP)
    return PlacementClient(access.from_conf(conf), attempts=1)
