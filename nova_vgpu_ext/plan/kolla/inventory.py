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
"""A description against the inventory of Ansible."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping

from nova_vgpu_ext.models import Finding, Severity
from nova_vgpu_ext.plan.kolla.description import Description, Entry

#: kolla-ansible wants every host with nova-compute in it, also with cells.
_COMPUTE = 'compute'
#: How many names a finding lists.
_SOME = 8


@dataclasses.dataclass(frozen=True)
class Inventory:
    """Which hosts there are, and which groups they are in."""

    #: As it was given, for the findings.
    source: str
    hosts: frozenset[str]
    #: Every host of a group, those of its children included.
    groups: Mapping[str, frozenset[str]]


def entry_of(
    description: Description, inventory: Inventory | None, host: str
) -> Entry | None:
    """Find the entry that a host takes.

    :param inventory: None if it is not known; then no group is considered.
    """
    for entry in description.hosts:
        if entry.name == host:
            return entry
    for entry in description.groups if inventory else ():
        if inventory and host in inventory.groups.get(entry.name, ()):
            return entry
    return None


def check(
    file: str, description: Description, inventory: Inventory
) -> Iterator[Finding]:
    """Find hosts and groups that Ansible does not know, or knows twice.

    :param file: the description's name, for the findings.
    """
    for entry in description.hosts:
        if entry.name not in inventory.hosts:
            yield _unknown(
                f'{file}: hosts.{entry.name}',
                'a host',
                inventory.hosts,
                inventory,
            )
    for entry in description.groups:
        if entry.name not in inventory.groups:
            yield _unknown(
                f'{file}: groups.{entry.name}',
                'a group',
                inventory.groups.keys() - {'all', 'ungrouped'},
                inventory,
            )
    yield from _in_several(file, description, inventory)
    yield from _without_compute(file, description, inventory)


def _unknown(
    option: str, what: str, known: Collection[str], inventory: Inventory
) -> Finding:
    some = ', '.join(sorted(known)[:_SOME]) or 'none'
    more = ', ...' if len(known) > _SOME else ''
    return Finding(
        Severity.ERROR,
        option,
        f'a name that {inventory.source} does not have',
        f'{what} of the inventory: {some}{more}',
        'mend the name, or add it to the inventory',
    )


def _in_several(
    file: str, description: Description, inventory: Inventory
) -> Iterator[Finding]:
    own = {entry.name for entry in description.hosts}
    taken: dict[str, str] = {}
    for entry in description.groups:
        for host in sorted(inventory.groups.get(entry.name, frozenset())):
            if host in taken and host not in own:
                yield Finding(
                    Severity.ERROR,
                    f'{file}: groups.{entry.name}',
                    f'{host}, which groups.{taken[host]} has as well',
                    'each host in one group of the description',
                    'give the host an entry below hosts, or take it out of '
                    'one of the groups',
                )
            taken.setdefault(host, entry.name)


def _without_compute(
    file: str, description: Description, inventory: Inventory
) -> Iterator[Finding]:
    """Find hosts on which kolla-ansible puts no nova-compute."""
    compute = inventory.groups.get(_COMPUTE)
    if compute is None:
        return
    for kind, entries in (
        ('hosts', description.hosts),
        ('groups', description.groups),
    ):
        for entry in entries:
            named = (
                {entry.name} & inventory.hosts
                if kind == 'hosts'
                else inventory.groups.get(entry.name, frozenset())
            )
            outside = sorted(named - compute)
            if outside:
                yield Finding(
                    Severity.WARNING,
                    f'{file}: {kind}.{entry.name}',
                    f'{", ".join(outside)}, outside the group {_COMPUTE}',
                    f'hosts of the group {_COMPUTE}',
                    'kolla-ansible runs no nova-compute there, so nothing '
                    'comes of it',
                )
