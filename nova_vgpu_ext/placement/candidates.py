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
"""Asking Placement for allocation candidates, as nova-scheduler does."""

from __future__ import annotations

from collections.abc import Iterator

import os_traits

from nova_vgpu_ext.plan.flavors.request import Group, Request


def query(wanted: Request, limit: int) -> dict[str, str]:
    """Write a request as the query of ``GET /allocation_candidates``.

    Groups are numbered afresh, for Placement knows other suffixes only since
    the microversion 1.33. As nova-scheduler does, it leaves out compute nodes
    that are disabled.

    :param wanted: as of :func:`plan.flavors.request.asked`.
    :param limit: how many candidates Placement may give.
    """
    found = {'limit': str(limit)}
    if wanted.policy is not None:
        found['group_policy'] = wanted.policy
    number = 0
    for group in wanted.groups:
        if group.alias is None and not group.suffix:
            found |= _parameters('', group, os_traits.COMPUTE_STATUS_DISABLED)
            continue
        for part in _units(group):
            number += 1
            found |= _parameters(str(number), part)
    return found


def is_enabled(host_traits: frozenset[str]) -> bool:
    """Tell whether a compute node is one that the question finds."""
    return os_traits.COMPUTE_STATUS_DISABLED not in host_traits


def _units(group: Group) -> Iterator[Group]:
    """Give a group for each PCI device of an alias."""
    if group.alias is None:
        yield group
        return
    for name, count in group.resources.items():
        for _ in range(count):
            yield Group(resources={name: 1})


def _parameters(suffix: str, group: Group, *forbidden: str) -> dict[str, str]:
    traits = [
        *sorted(group.required),
        *(f'!{trait}' for trait in sorted({*group.forbidden, *forbidden})),
    ]
    found = {}
    if group.resources:
        found[f'resources{suffix}'] = ','.join(
            f'{name}:{amount}'
            for name, amount in sorted(group.resources.items())
        )
    if traits:
        found[f'required{suffix}'] = ','.join(traits)
    return found
