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
"""Filling Nova: one host and one server of each kind by its objects, copied.

``python -m tools.benchmarks.clouds_servers NOVA_CONF FILE``: the file is JSON,
``{"hosts": ..., "flavors": ..., "projects": ...}``, the last two by type.

The rows of every table that name the host or the server are copied, so that no
table is known here.
"""

from __future__ import annotations

import json
import pathlib
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# First, for it decides how Nova is imported.
import tests.functional.fixtures.nova  # isort: skip  # noqa: F401
import nova.config
import sqlalchemy as sa
from nova import context as nova_context
from nova import objects
from nova.db.api import api as api_db
from nova.db.api import models as api_models
from nova.db.main import api as main_db
from nova.db.main import models as main_models

from tests.functional.fixtures import nova_records
from tools.benchmarks import clouds_plan as plan

#: How many rows are written at once.
_CHUNK = 5000


def main() -> None:
    """Fill the databases of the given nova.conf."""
    conf, path = sys.argv[1:]
    nova.config.parse_args(['nova-api', '--config-file', conf])
    objects.register_all()
    told = json.loads(pathlib.Path(path).read_text(encoding='utf-8'))
    context = nova_context.get_admin_context()
    cell = next(
        c for c in objects.CellMappingList.get_all(context) if not c.is_cell0()
    )
    nova_records.CELL1 = cell.uuid
    with nova_context.target_cell(context, cell) as targeted:
        databases = (
            _Database(main_db.get_engine(context=targeted), main_models.BASE),
            _Database(api_db.get_engine(), api_models.BASE),
        )
        by_type = plan.by_type(plan.from_json(told['hosts']))
        for type_id, hosts in by_type.items():
            _create(
                hosts[0], told['flavors'][type_id], told['projects'][type_id]
            )
            _report(targeted, hosts[0])
            _copy_all(databases, hosts)
        for database in databases:
            database.analyze()


def _create(host: plan.Host, flavor: str, project: str) -> None:
    nova_records.create_compute_node(host.uuid, host.name)
    nova_records.create_server(
        _display_name(host.servers[0]),
        flavor,
        project,
        uuid=host.servers[0],
        node=host.name,
    )


def _report(context: Any, host: plan.Host) -> None:
    """Report usage as nova-compute does; the scheduler looks at it."""
    node = objects.ComputeNode.get_by_nodename(context, host.name)
    servers = len(host.servers)
    used = {name: servers * amount for name, amount in plan.SERVER.items()}
    node.vcpus, node.vcpus_used = plan.NODE['VCPU'], used['VCPU']
    node.memory_mb, node.memory_mb_used = (
        plan.NODE['MEMORY_MB'],
        used['MEMORY_MB'],
    )
    node.local_gb, node.local_gb_used = plan.NODE['DISK_GB'], used['DISK_GB']
    node.free_ram_mb = node.memory_mb - node.memory_mb_used
    node.free_disk_gb = node.local_gb - node.local_gb_used
    node.cpu_allocation_ratio = 1.0
    node.ram_allocation_ratio = 1.0
    node.disk_allocation_ratio = 1.0
    node.running_vms = servers
    node.stats = {'num_instances': str(servers)}
    node.host_ip = '127.0.0.1'
    node.supported_hv_specs = []
    node.pci_device_pools = objects.PciDevicePoolList(objects=[])
    node.save()


def _display_name(server: str) -> str:
    return f'guest-{server[:8]}'


def _copy_all(
    databases: Sequence[_Database], hosts: Sequence[plan.Host]
) -> None:
    """Copy the first host to the others, and its server to all."""
    first, *others = hosts
    server = first.servers[0]
    for database in databases:
        rows = database.naming(first.name, but_not=server)
        database.write(rows, (_of_host(rows, first, host) for host in others))
    numbers = databases[0].numbers('compute_nodes', 'uuid')
    for database in databases:
        database.write(
            database.naming(server),
            (
                _of_server(first, host, each, numbers)
                for host in hosts
                for each in host.servers
                if each != server
            ),
        )


def _of_host(
    rows: Mapping[sa.Table, Sequence[sa.RowMapping]],
    first: plan.Host,
    host: plan.Host,
) -> dict[Any, Any]:
    """Say what a host has instead of what the first one has.

    Other UUIDs than that of the compute node are made up.
    """
    made_up = {
        row['uuid']: str(uuid.uuid4())
        for some in rows.values()
        for row in some
        if 'uuid' in row
    }
    return {**made_up, first.name: host.name, first.uuid: host.uuid}


def _of_server(
    first: plan.Host, host: plan.Host, server: str, numbers: Mapping[str, int]
) -> dict[Any, Any]:
    """Say what a server has instead of what the first host's first one has."""
    return {
        first.name: host.name,
        first.servers[0]: server,
        _display_name(first.servers[0]): _display_name(server),
        ('compute_id', numbers[first.uuid]): numbers[host.uuid],
    }


class _Database:
    """One of Nova's databases.

    :param base: the base class of its models.
    """

    def __init__(self, engine: sa.Engine, base: Any) -> None:
        self._engine = engine
        self._tables = base.metadata.sorted_tables

    def naming(
        self, name: str, but_not: str | None = None
    ) -> dict[sa.Table, list[sa.RowMapping]]:
        """Find the rows in which a value is a name, or a UUID.

        :param but_not: leave out those that have this value too.
        """
        found = {}
        with self._engine.connect() as connection:
            for table in self._tables:
                texts = [c for c in table.c if isinstance(c.type, sa.String)]
                if not texts:
                    continue
                query = sa.select(table).where(
                    sa.or_(*[c == name for c in texts])
                )
                rows = [
                    row
                    for row in connection.execute(query).mappings()
                    if but_not is None or but_not not in row.values()
                ]
                if rows:
                    found[table] = rows
        return found

    def write(
        self,
        rows: Mapping[sa.Table, Sequence[sa.RowMapping]],
        copies: Iterator[Mapping[Any, Any]],
    ) -> None:
        """Write copies of rows.

        :param copies: for each what is written instead of values, by the
            value or by column and value.
        """
        with self._engine.begin() as connection:
            changes = list(copies)
            for table, some in rows.items():
                new = [_copy(row, c) for c in changes for row in some]
                for start in range(0, len(new), _CHUNK):
                    connection.execute(
                        sa.insert(table), new[start : start + _CHUNK]
                    )

    def numbers(self, table: str, key: str) -> dict[str, int]:
        """Read the numbers of a table's rows by another column."""
        found = next(t for t in self._tables if t.name == table)
        query = sa.select(found.c[key], found.c.id)
        with self._engine.connect() as connection:
            return dict(connection.execute(query).tuples().all())

    def analyze(self) -> None:
        """Let the database count, as it does by itself after a while."""
        names = ', '.join(table.name for table in self._tables)
        with self._engine.begin() as connection:
            connection.execute(sa.text(f'ANALYZE TABLE {names}'))


def _copy(
    row: Mapping[Any, Any], changes: Mapping[Any, Any]
) -> dict[str, Any]:
    return {
        column: changes.get((column, value), changes.get(value, value))
        for column, value in row.items()
        if column != 'id'
    }


if __name__ == '__main__':
    main()
