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
"""Whether a copied host looks to the APIs like the one that was copied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tools.benchmarks import clouds_plan as plan

_MICROVERSION = '1.39'


def check(connection: Any, hosts: Sequence[plan.Host]) -> None:
    """Compare the first and the last host of each type.

    :param connection: openstacksdk's, of an administrator.
    :raises RuntimeError: Placement or Nova say something else of them.
    """
    for some in plan.by_type(hosts).values():
        first, last = (_describe(connection, h) for h in (some[0], some[-1]))
        if first != last:
            msg = f'{some[-1].name} is {last}, {some[0].name} is {first}'
            raise RuntimeError(msg)


def _describe(connection: Any, host: plan.Host) -> dict[str, Any]:
    """Say what the APIs have of a host, without its name and UUIDs."""
    listed = _get(connection, f'?in_tree={host.uuid}')['resource_providers']
    nodes = list(connection.compute.hypervisors())
    servers = connection.compute.servers(all_projects=True, host=host.name)
    return {
        'providers': {
            p['name'].removeprefix(host.name): _contents(connection, p, host)
            for p in listed
        },
        'nodes': [n.id for n in nodes if n.name == host.name] == [host.uuid],
        'servers': sorted(
            (
                s.flavor['original_name'],
                s.status,
                s.hypervisor_hostname == host.name,
                s.id in host.servers,
            )
            for s in servers
        ),
    }


def _contents(
    connection: Any, provider: dict[str, Any], host: plan.Host
) -> dict[str, Any]:
    path = f'/{provider["uuid"]}'
    allocations = _get(connection, f'{path}/allocations')['allocations']
    return {
        'in tree': provider['root_provider_uuid'] == host.uuid,
        'inventories': _get(connection, f'{path}/inventories')['inventories'],
        'traits': sorted(_get(connection, f'{path}/traits')['traits']),
        'usages': _get(connection, f'{path}/usages')['usages'],
        'allocations': sorted(
            (host.servers.index(server), has['resources'])
            for server, has in allocations.items()
        ),
    }


def _get(connection: Any, path: str) -> Any:
    return connection.placement.get(
        f'/resource_providers{path}',
        microversion=_MICROVERSION,
        raise_exc=True,
    ).json()
