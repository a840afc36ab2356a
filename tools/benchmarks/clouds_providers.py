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
"""Filling Placement: one host of each kind through its API, then copies.

Only the relations between tables stand here; everything else of a row is what
Placement itself wrote for the host that is copied.
"""

from __future__ import annotations

import itertools
import os
import pathlib
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import os_traits
import sqlalchemy as sa
from keystoneauth1 import adapter
from placement.db.sqlalchemy import models

from nova_vgpu_ext.sim import builder, profile
from tools.benchmarks import clouds_plan as plan

_PROVIDERS = models.ResourceProvider.__table__
_CONSUMERS = models.Consumer.__table__
#: What belongs to one provider.
_PARTS = (
    models.Inventory.__table__,
    models.ResourceProviderTrait.__table__,
    models.Allocation.__table__,
)
#: Numbers of providers.
_IDS = ('root_provider_id', 'parent_provider_id', 'resource_provider_id')

_MICROVERSION = '1.39'
_REPORT = pathlib.Path(sys.executable).with_name('nova-vgpu')


class Filler:
    """Fills an empty Placement.

    :param placement: its API, for an administrator.
    :param config: ``[placement]`` of a nova.conf.
    :param folder: where simulated hosts are made.
    """

    def __init__(
        self, placement: adapter.Adapter, config: str, folder: pathlib.Path
    ) -> None:
        self._placement = placement
        self._config = config
        self._folder = folder

    def fill(
        self, url: str, hosts: Sequence[plan.Host], projects: Mapping[str, str]
    ) -> None:
        """Make providers and allocations.

        :param url: SQLAlchemy's, of Placement's database.
        :param projects: by the type, the project whose servers use it.
        """
        engine = sa.create_engine(url)
        for type_id, some in plan.by_type(hosts).items():
            first, *others = some
            self._create(first, projects[type_id])
            with engine.begin() as connection:
                if others:
                    _Tree(connection, first).copy(others)
        with engine.begin() as connection:
            # Let the database count, as it does by itself after a while.
            tables = ', '.join(
                t.name for t in models.BASE.metadata.tables.values()
            )
            connection.execute(sa.text(f'ANALYZE TABLE {tables}'))
        engine.dispose()

    def _create(self, host: plan.Host, project: str) -> None:
        """Report a host as nova-compute and nova-vgpu do."""
        path = '/resource_providers'
        self._call('POST', path, {'name': host.name, 'uuid': host.uuid})
        self._set(
            host.uuid,
            'inventories',
            {name: {'total': total} for name, total in plan.NODE.items()},
        )
        self._set(host.uuid, 'traits', _node_traits())
        self._report(host)
        tree = self._call('GET', f'{path}?in_tree={host.uuid}')
        gpus = sorted(
            (provider['name'], provider['uuid'])
            for provider in tree['resource_providers']
            if provider['uuid'] != host.uuid
        )
        servers = iter(host.servers)
        for (_, gpu), load in zip(gpus, plan.LOADS, strict=True):
            found = self._call('GET', f'{path}/{gpu}/traits')
            self._set(gpu, 'traits', [*found['traits'], os_traits.OWNER_NOVA])
            for server in itertools.islice(servers, load):
                self._allocate(server, host.uuid, gpu, project)

    def _report(self, host: plan.Host) -> None:
        """Let ``nova-vgpu`` report the GPUs of a simulated host."""
        root = self._folder / host.type_id
        builder.build(profile.load('v100x8'), str(root))
        conf = self._folder / f'{host.type_id}.conf'
        conf.touch(mode=0o600)
        conf.write_text(
            f'[devices]\nenabled_mdev_types = {host.type_id}\n'
            f'[vgpu]\nsysfs_root = {root}\nnode_name = {host.name}\n'
            f'{self._config}',
            encoding='utf-8',
        )
        subprocess.run(  # noqa: S603
            [str(_REPORT), '--config-file', str(conf), 'report'],
            check=True,
            stdout=subprocess.DEVNULL,
            env={k: v for k, v in os.environ.items() if k[:3] != 'OS_'},
            timeout=120,
        )

    def _allocate(
        self, server: str, node: str, gpu: str, project: str
    ) -> None:
        self._call(
            'PUT',
            f'/allocations/{server}',
            {
                'allocations': {
                    node: {'resources': plan.SERVER},
                    gpu: {'resources': {'VGPU': 1}},
                },
                'project_id': project,
                'user_id': project,
                'consumer_generation': None,
                'consumer_type': 'INSTANCE',
            },
        )

    def _set(self, provider: str, what: str, value: object) -> None:
        path = f'/resource_providers/{provider}'
        generation = self._call('GET', path)['generation']
        self._call(
            'PUT',
            f'{path}/{what}',
            {'resource_provider_generation': generation, what: value},
        )

    def _call(self, method: str, path: str, body: object = None) -> Any:
        answer = self._placement.request(
            path, method, json=body, microversion=_MICROVERSION, raise_exc=True
        )
        return answer.json() if answer.content else None


def _node_traits() -> list[str]:
    """Give about as many traits as a compute node has."""
    names = [
        *os_traits.get_traits('COMPUTE_'),
        *os_traits.get_traits('HW_CPU_X86_'),
    ]
    names.remove(os_traits.COMPUTE_STATUS_DISABLED)
    return [os_traits.OWNER_NOVA, *names[:80]]


class _Tree:
    """All that Placement has of one host."""

    def __init__(self, connection: sa.Connection, host: plan.Host) -> None:
        self._connection = connection
        self._host = host
        root = sa.select(_PROVIDERS.c.id).where(_PROVIDERS.c.uuid == host.uuid)
        self._providers = self._rows(
            _PROVIDERS, _PROVIDERS.c.root_provider_id.in_(root)
        )
        ids = [row['id'] for row in self._providers]
        self._parts = {
            table: self._rows(table, table.c.resource_provider_id.in_(ids))
            for table in _PARTS
        }
        self._consumers = self._rows(
            _CONSUMERS, _CONSUMERS.c.uuid.in_(host.servers)
        )
        last = connection.scalar(sa.select(sa.func.max(_PROVIDERS.c.id)))
        self._shift = int(last or 0) + 1 - min(ids)
        self._span = max(ids) - min(ids) + 1

    def _rows(self, table: Any, where: Any) -> list[dict[str, Any]]:
        query = sa.select(table).where(where).order_by(*table.primary_key)
        return [
            dict(row) for row in self._connection.execute(query).mappings()
        ]

    def copy(self, hosts: Sequence[plan.Host]) -> None:
        """Give the same to other hosts."""
        copies = [
            (self._names(host), self._shift + n * self._span)
            for n, host in enumerate(hosts)
        ]
        for table, rows in (
            (_PROVIDERS, self._providers),
            *self._parts.items(),
            (_CONSUMERS, self._consumers),
        ):
            self._connection.execute(
                sa.insert(table),
                [
                    _copy(row, names, shift, table is _PROVIDERS)
                    for names, shift in copies
                    for row in rows
                ],
            )

    def _names(self, host: plan.Host) -> dict[Any, str]:
        """Say what is written for the names and UUIDs of this tree."""
        names: dict[Any, str] = {}
        for row in self._providers:
            names[row['uuid']] = str(uuid.uuid4())
            names[row['name']] = (
                host.name + row['name'][len(self._host.name) :]
            )
        names[self._host.uuid] = host.uuid
        return names | dict(zip(self._host.servers, host.servers, strict=True))


def _copy(
    row: Mapping[str, Any], names: Mapping[Any, str], shift: int, keep: bool
) -> dict[str, Any]:
    """Copy a row.

    :param shift: what is added to a provider's number.
    :param keep: whether ``id`` is such a number; else a new one is taken.
    """
    ids = {*_IDS, 'id'} if keep else set(_IDS)
    return {
        column: value + shift
        if column in ids and value is not None
        else names.get(value, value)
        for column, value in row.items()
        if keep or column != 'id'
    }
