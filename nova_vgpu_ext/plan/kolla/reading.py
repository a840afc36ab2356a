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
"""From the parsed file to a description, with all that is wrong with it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from nova_vgpu_ext.models import Finding, VgpuType
from nova_vgpu_ext.plan.kolla import cards, devices, values
from nova_vgpu_ext.plan.kolla.description import (
    Description,
    Entry,
    Scheduler,
)
from nova_vgpu_ext.plan.kolla.known import (
    KnownTypes,
    is_mdev_id,
    is_number,
    is_product,
)
from nova_vgpu_ext.plan.kolla.notes import Notes, short

_TOP = ('policy', 'scheduler', 'types', 'aliases', 'groups', 'hosts')
_SCHEDULER = ('available_filters', 'enabled_filters', 'weight_classes')
_ENTRY = ('gpus', 'vendor_vfio', 'device_specs')


def read(
    file: str,
    data: Any,
    types: Iterable[VgpuType],
    policies: Collection[str],
) -> tuple[Description, list[Finding]]:
    """Take a description apart.

    :param file: its name, for the findings.
    :param data: the parsed file: text, lists and dicts.
    :param types: the types that are known, with id and name.
    :param policies: the values of ``[vgpu] gpu_policy``.
    :returns: what could be read, and a finding for each thing that is wrong;
        only without errors is the description whole.
    """
    notes = Notes(file)
    if not data:
        notes.add('', 'nothing', 'groups or hosts', 'hosts: {} for none')
        return Description(), notes.findings
    top = notes.mapping('', data, _TOP)
    for key, value in top.items():
        if value == '':
            none = '[]' if key == 'aliases' else '{}'
            notes.add(
                key,
                'a key without a value',
                'a value',
                f'remove it, or write {key}: {none} for none',
            )
    own = _own_types(notes, top.get('types', {}))
    known = KnownTypes(types, own)
    description = Description(
        hosts=_entries(notes, known, 'hosts', top.get('hosts', {})),
        groups=_entries(notes, known, 'groups', top.get('groups', {})),
        aliases=values.objects(notes, 'aliases', top.get('aliases', [])),
        scheduler=_scheduler(notes, top, policies),
    )
    cards.check_products(notes, description)
    values.check_aliases(notes, description)
    return description, notes.findings


def _own_types(notes: Notes, value: Any) -> Mapping[str, str]:
    found = {}
    for product, type_id in notes.mapping('types', value).items():
        key = f'types.{product}'
        if not is_product(product):
            notes.add(key, repr(product), 'a product such as V100DX-1Q')
        elif not isinstance(type_id, str) or not (
            is_mdev_id(type_id) or is_number(type_id)
        ):
            notes.add(
                key,
                short(type_id),
                'an id such as nvidia-194, or a number for vendor-specific '
                'VFIO',
                'nova-vgpu type list shows it on the host',
            )
        else:
            found[product] = type_id
    return found


def _scheduler(
    notes: Notes, top: Mapping[str, Any], policies: Collection[str]
) -> Scheduler:
    policy = top.get('policy')
    if policy is not None and policy not in policies:
        notes.add('policy', short(policy), ' or '.join(policies))
    data = notes.mapping('scheduler', top.get('scheduler', {}), _SCHEDULER)
    lists = {
        name: values.words(notes, f'scheduler.{name}', data[name])
        for name in _SCHEDULER
        if name in data
    }
    for name, value in data.items():
        if value == '':
            notes.add(f'scheduler.{name}', 'no value', 'a list', 'remove it')
    return Scheduler(policy if isinstance(policy, str) else None, **lists)


def _entries(
    notes: Notes, known: KnownTypes, kind: str, value: Any
) -> tuple[Entry, ...]:
    found = []
    for name, data in notes.mapping(kind, value).items():
        if values.NAME.fullmatch(name):
            found.append(_entry(notes, known, f'{kind}.{name}', name, data))
        else:
            notes.add(
                kind, short(name), 'a name that an inventory of Ansible has'
            )
    return tuple(found)


def _entry(
    notes: Notes, known: KnownTypes, key: str, name: str, value: Any
) -> Entry:
    data = notes.mapping(key, value, _ENTRY)
    if not value or '' in data.values():
        notes.add(
            key,
            'a key without a value' if value else 'nothing',
            f'some of {", ".join(_ENTRY)}, with values',
            'write gpus: {} for a host without a GPU',
        )
    entry = Entry(
        name,
        devices.read(notes, known, f'{key}.gpus', data.get('gpus', {})),
        cards.read(
            notes, known, f'{key}.vendor_vfio', data.get('vendor_vfio', {})
        ),
        values.objects(
            notes, f'{key}.device_specs', data.get('device_specs', [])
        ),
    )
    cards.check(notes, key, entry)
    return entry
