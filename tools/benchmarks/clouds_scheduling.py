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
"""How long nova-scheduler takes to choose a host, with and without a policy.

``python -m tools.benchmarks.clouds_scheduling LOG NOVA_CONF POLICY_CONF
FLAVOR...``: the log is that of Placement's web server, the last file has the
policy. Prints as JSON, by flavor and for ``nova`` and ``policy``, the median
of seconds and the requests to Placement of one decision.

Two of Nova's scheduler managers live in this process, each with its own
filters and weighers, and decide in turn. What they choose is claimed, as
always, and given back.
"""

from __future__ import annotations

import json
import pathlib
import statistics
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

# First, for it decides how Nova is imported.
from tests.functional.fixtures import nova as nova_fixture  # isort: skip
import nova.config
from nova import context as nova_context
from nova import objects
from nova.conf import scheduler
from nova.scheduler import manager

_CONF = nova_fixture.CONF
_PLUGINS = 'nova_vgpu_ext.nova_plugins'
#: Nova's own, whatever the nova.conf of the cloud says.
_DEFAULTS = {
    option.name: option.default for option in scheduler.filter_scheduler_opts
}
_CHOICES = ('available_filters', 'enabled_filters', 'weight_classes')
#: What there is for a policy beside them.
_POLICY = {
    'available_filters': [f'{_PLUGINS}.filters.VgpuPolicyFilter'],
    'enabled_filters': ['VgpuPolicyFilter'],
    'weight_classes': [
        f'{_PLUGINS}.weights.VgpuPolicyWeigher',
        f'{_PLUGINS}.weights.GpuHostWeigher',
    ],
}
#: Every candidate, where the default is 1000.
_CANDIDATES = 100_000
_SECONDS = 300
_DECISIONS = 7
_LOG_SECONDS = 0.3
#: Nothing reports as alive here, so everything seems dead after a minute.
_DAY = 24 * 3600


class _Scheduler:
    """A scheduler manager that knows what runs where.

    :param more: what its options have beside their defaults.
    """

    def __init__(self, more: Mapping[str, Sequence[str]]) -> None:
        for name in _CHOICES:
            values = [*_DEFAULTS[name], *more.get(name, ())]
            _CONF.set_override(name, values, group='filter_scheduler')
        self.manager = manager.SchedulerManager()
        self._learn_servers()

    def _learn_servers(self) -> None:
        """Hear from every host what runs there, as once in two minutes."""
        context = nova_context.get_admin_context()
        hosts = self.manager.host_manager
        for cell in hosts.cells.values():
            with nova_context.target_cell(context, cell) as targeted:
                names = [
                    node.host
                    for node in objects.ComputeNodeList.get_all(targeted)
                ]
                on = objects.InstanceList.get_uuids_by_hosts(targeted, names)
                for name in names:
                    _wait_for(hosts, name, len(on[name]))
                    hosts.sync_instance_info(targeted, name, on[name])

    def decide(self, flavor: Any) -> tuple[float, str]:
        """Choose a host for one server.

        :returns: the seconds that it took, and the server's UUID.
        """
        context = nova_context.get_admin_context()
        server = str(uuid.uuid4())
        spec = _request(context, flavor, server)
        started = time.perf_counter()
        chosen = self.manager.select_destinations(
            context,
            spec_obj=spec,
            instance_uuids=[server],
            return_objects=True,
            return_alternates=True,
        )
        taken = time.perf_counter() - started
        assert chosen[0]  # noqa: S101
        return taken, server

    def forget(self, server: str) -> None:
        """Give back what was claimed for a server."""
        self.manager.placement_client.delete_allocation_for_instance(
            nova_context.get_admin_context(), server, force=True
        )


def _wait_for(hosts: Any, name: str, servers: int) -> None:
    """Wait until the scheduler has read a host's servers at its start."""
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end:
        info = hosts._instance_info.get(name, {'instances': ()})
        if len(info['instances']) >= servers:
            return
        time.sleep(0.1)
    msg = f'nova-scheduler does not know the servers of {name}'
    raise TimeoutError(msg)


def _request(context: Any, flavor: Any, server: str) -> Any:
    """Make the request for a server without anything special."""
    return objects.RequestSpec.from_components(
        context,
        server,
        image={'id': str(uuid.uuid4()), 'properties': {}},
        flavor=flavor,
        numa_topology=None,
        pci_requests=objects.InstancePCIRequests(requests=[]),
        filter_properties={},
        instance_group=None,
        availability_zone=None,
        project_id='a-project',
        user_id='a-user',
    )


def _measure(
    schedulers: Mapping[str, _Scheduler], flavor: Any, log: pathlib.Path
) -> dict[str, dict[str, float]]:
    """Let each scheduler decide some times, in turn."""
    taken: dict[str, list[float]] = {name: [] for name in schedulers}
    requests: dict[str, list[int]] = {name: [] for name in schedulers}
    for _ in range(_DECISIONS):
        for name, each in schedulers.items():
            before = _lines(log)
            seconds, server = each.decide(flavor)
            requests[name].append(_lines(log) - before)
            taken[name].append(seconds)
            each.forget(server)
    return {
        name: {
            'seconds': statistics.median(taken[name]),
            'requests': statistics.median(requests[name]),
        }
        for name in schedulers
    }


def _lines(log: pathlib.Path) -> int:
    # The server answers first, and writes then.
    time.sleep(_LOG_SECONDS)
    return log.read_bytes().count(b'\n')


def main() -> None:
    """Measure with each flavor that was named."""
    log, conf, policy, *names = sys.argv[1:]
    nova.config.parse_args(
        ['nova-scheduler', '--config-file', conf, '--config-file', policy]
    )
    objects.register_all()
    _CONF.set_override('service_down_time', _DAY)
    _CONF.set_override('max_placement_results', _CANDIDATES, 'scheduler')
    schedulers = {'nova': _Scheduler({}), 'policy': _Scheduler(_POLICY)}
    context = nova_context.get_admin_context()
    print(
        json.dumps(
            {
                name: _measure(
                    schedulers,
                    objects.Flavor.get_by_name(context, name),
                    pathlib.Path(log),
                )
                for name in names
            }
        )
    )


if __name__ == '__main__':
    main()
