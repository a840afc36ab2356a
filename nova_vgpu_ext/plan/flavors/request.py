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
"""What the extra specs of a flavor ask Placement for.

Source: ``ResourceRequest`` in ``nova/scheduler/utils.py``, ``RequestGroup`` in
``nova/objects/request_spec.py`` and ``nova/pci/request.py`` (Nova 34). A
functional test has both read the same random extra specs.
"""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Collection, Iterator, Mapping

import os_resource_classes

from nova_vgpu_ext.models import Flavor
from nova_vgpu_ext.plan import gpus, pci

#: The key that says whether numbered groups may share a provider.
GROUP_POLICY = 'group_policy'
POLICIES = ('none', 'isolate')

#: The key that asks for PCI devices by the names of nova.conf.
ALIAS = 'pci_passthrough:alias'

#: Before the key of a plugin parameter.
PARAMETER = 'vgpu:'

REQUIRED = 'required'
FORBIDDEN = 'forbidden'

_PROCESSORS = frozenset({'VCPU', 'PCPU'})

_KEY = re.compile(r'^(resources|trait)([a-zA-Z0-9_-]{1,64})?:(.*)$')


@dataclasses.dataclass(frozen=True)
class Group:
    """Resources that are wanted together, and traits of who gives them.

    One provider gives all of a numbered group. What has no number may come
    from several providers of a host, each class whole from one of them.
    """

    #: What stands behind ``resources``; empty for the group without one.
    suffix: str = ''
    #: How much of each class; never 0.
    resources: Mapping[str, int] = dataclasses.field(default_factory=dict)
    required: frozenset[str] = frozenset()
    forbidden: frozenset[str] = frozenset()
    #: The alias of PCI devices: each unit may then come from another
    #: provider.
    alias: str | None = None


@dataclasses.dataclass(frozen=True)
class Request:
    """What extra specs ask for, as Nova reads them."""

    #: By suffix, in order.
    groups: tuple[Group, ...] = ()
    #: ``none`` or ``isolate``; None where it is not, or not well, given.
    policy: str | None = None

    @property
    def numbered(self) -> tuple[Group, ...]:
        """The groups that each come from one provider."""
        return tuple(group for group in self.groups if group.suffix)


def vgpu_groups(
    extra_specs: Mapping[str, str], classes: Collection[str] = ()
) -> tuple[Group, ...]:
    """Tell what vGPUs extra specs ask for, in every spelling.

    :param extra_specs: of a flavor, or of the copy that a server keeps.
    :param classes: the classes that GPUs of the cloud offer; those that are
        named as vGPUs are known without.
    :returns: the groups that ask for vGPUs, and only vGPUs among their
        resources; their amounts, added up, are the number of vGPUs.
    """
    found = []
    for group in (*read(extra_specs).groups, *aliases(extra_specs)):
        vgpus = {
            name: amount
            for name, amount in group.resources.items()
            if is_vgpu_class(name, classes)
        }
        if vgpus:
            found.append(dataclasses.replace(group, resources=vgpus))
    return tuple(found)


def is_vgpu_class(name: str, classes: Collection[str] = ()) -> bool:
    """Tell whether a resource class is one of vGPUs.

    :param classes: those that GPUs of the cloud offer.
    """
    return name in classes or gpus.is_vgpu_class(name)


def read(extra_specs: Mapping[str, str]) -> Request:
    """Read what Nova takes from ``resources``, ``trait`` and the policy.

    What Nova passes over with no more than a line in its log, such as an
    amount that is no number, is not there.
    """
    amounts = _amounts(extra_specs)
    traits = _traits(extra_specs)
    groups = []
    for suffix in sorted({*amounts, *traits}):
        required, forbidden = traits.get(suffix, (set(), set()))
        group = Group(
            suffix,
            {n: a for n, a in amounts.get(suffix, {}).items() if a},
            frozenset(required),
            frozenset(forbidden),
        )
        if group != Group(suffix):
            groups.append(group)
    policy = extra_specs.get(GROUP_POLICY)
    return Request(tuple(groups), policy if policy in POLICIES else None)


def asked(flavor: Flavor) -> Request:
    """Tell all that a flavor asks Placement for.

    That is with its size, and a group for each alias; not with what images,
    ports and encryption add. Of ``hw:cpu_policy=mixed`` no processors are
    there.
    """
    specs = flavor.extra_specs
    found = read(specs)
    by_alias = tuple(aliases(specs))
    given = {name for group in _amounts(specs).values() for name in group}
    given |= {name for group in by_alias for name in group.resources}
    if given & _PROCESSORS:
        given |= _PROCESSORS
    size = {n: a for n, a in _size(flavor).items() if a and n not in given}
    single = next((g for g in found.groups if not g.suffix), Group())
    policy = found.policy
    # Nova counts groups here that turn out to be empty.
    named = {suffix for _, suffix, _ in filter(None, map(split, specs))} - {''}
    if policy is None and len(named) <= 1:
        policy = 'none'
    return Request(
        (
            dataclasses.replace(
                single, resources={**single.resources, **size}
            ),
            *found.numbered,
            *by_alias,
        ),
        policy,
    )


def _size(flavor: Flavor) -> dict[str, int]:
    specs = flavor.extra_specs
    gib = flavor.disk + flavor.ephemeral - (-flavor.swap // 1024)
    size = {'MEMORY_MB': flavor.ram, 'DISK_GB': gib}
    policy = specs.get('hw:cpu_policy')
    if policy == 'dedicated':
        emulator = specs.get('hw:emulator_threads_policy') == 'isolate'
        size['PCPU'] = flavor.vcpus + emulator
    elif policy != 'mixed':
        size['VCPU'] = flavor.vcpus
    return size


def _amounts(extra_specs: Mapping[str, str]) -> dict[str, dict[str, int]]:
    """Read the amounts of each class by suffix, 0 included."""
    found: dict[str, dict[str, int]] = collections.defaultdict(dict)
    for key, value in extra_specs.items():
        match = split(key)
        number = amount(value)
        if match and match[0] == 'resources' and number is not None:
            _, suffix, name = match
            if is_class(name):
                found[suffix][name] = number
    return found


def _traits(
    extra_specs: Mapping[str, str],
) -> dict[str, tuple[set[str], set[str]]]:
    """Read the required and the forbidden traits by suffix."""
    found: dict[str, tuple[set[str], set[str]]] = collections.defaultdict(
        lambda: (set(), set())
    )
    for key, value in extra_specs.items():
        match = split(key)
        if match and match[0] == 'trait' and value in (REQUIRED, FORBIDDEN):
            _, suffix, name = match
            found[suffix][value == FORBIDDEN].add(name)
    return found


def split(key: str) -> tuple[str, str, str] | None:
    """Take a key of a request group apart.

    :returns: ``resources`` or ``trait``, the group's suffix, and the class
        or trait; None for another key.
    """
    match = _KEY.match(key)
    return (match[1], match[2] or '', match[3]) if match else None


def amount(value: str) -> int | None:
    """Read an amount; None for what Nova does not take for one."""
    try:
        number = int(value)
    except ValueError:
        return None
    return number if number >= 0 else None


def aliases(extra_specs: Mapping[str, str]) -> Iterator[Group]:
    """Read the PCI devices that are asked for by alias.

    What an alias stands for is known to nova.conf alone. Here it stands for
    the class that this project writes with it: see
    :mod:`~nova_vgpu_ext.plan.pci`.

    :returns: a group for each alias; none for what Nova cannot read.
    """
    for alias, number in alias_counts(extra_specs.get(ALIAS, '')):
        if number:
            yield Group(
                resources={pci.class_of(alias): number},
                alias=alias,
            )


def alias_counts(text: str) -> list[tuple[str, int]]:
    """Read ``ALIAS:COUNT,ALIAS:COUNT``; empty if Nova cannot."""
    found = []
    for item in text.split(','):
        name, colon, count = item.partition(':')
        number = amount(count)
        if not colon or number is None:
            return []
        found.append((name.strip(), number))
    return found


def is_class(name: str) -> bool:
    """Tell whether Nova takes a name for one of a resource class."""
    return (
        name.startswith(os_resource_classes.CUSTOM_NAMESPACE)
        or name in os_resource_classes.STANDARDS
    )
