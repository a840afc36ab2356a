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
"""Servers whose vGPUs are not those that their flavor asks for."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator, Mapping

from nova_vgpu_ext.models import Server, Severity
from nova_vgpu_ext.plan.audit import states
from nova_vgpu_ext.plan.audit.census import Census
from nova_vgpu_ext.plan.audit.findings import Finding, amounts
from nova_vgpu_ext.plan.audit.view import HostView
from nova_vgpu_ext.plan.flavors import request


def doubtful(view: HostView, census: Census) -> Iterator[str]:
    """Name the servers that hold something else of this host's GPUs."""
    holders = view.holders()
    for uuid, server in view.servers.items():
        if not states.is_at_rest(server):
            continue
        held = (amounts for _, amounts in holders.get(uuid, ()))
        if _asked(server, census) != _vgpus(held, server, census):
            yield uuid


def check(view: HostView, census: Census) -> Iterator[Finding]:
    """Judge each of them that was looked at, by all that it holds."""
    for uuid, server in view.servers.items():
        suspect = view.suspects.get(uuid)
        if suspect is None or not states.is_at_rest(server):
            continue
        everywhere: Iterable[Mapping[str, int]] = (
            suspect.consumer.resources.values() if suspect.consumer else ()
        )
        asked = _asked(server, census)
        held = _vgpus(everywhere, server, census)
        text = (
            f'its flavor {server.flavor!r} asks for {amounts(asked)}, it '
            f'holds {amounts(held)}'
        )
        remedy = (
            f'openstack server migrate {uuid}: the scheduler allocates what '
            'the flavor asks for'
        )
        if asked - held:
            yield Finding(
                'missing-vgpu',
                Severity.ERROR,
                view.host.name,
                uuid,
                text,
                remedy,
            )
        elif held - asked:
            yield Finding(
                'unasked-vgpu',
                Severity.WARNING,
                view.host.name,
                uuid,
                text,
                remedy,
            )


def _asked(server: Server, census: Census) -> collections.Counter[str]:
    """Count the vGPUs that a server's flavor asks for, by class.

    What stands behind an alias is known to nova.conf alone, so that nothing
    is said of cards with vendor VFIO where a flavor names one.
    """
    asked: collections.Counter[str] = collections.Counter()
    for group in request.vgpu_groups(server.extra_specs, census.classes):
        if group.alias is None:
            asked.update(group.resources)
    return _known(asked, server, census)


def _vgpus(
    held: Iterable[Mapping[str, int]], server: Server, census: Census
) -> collections.Counter[str]:
    """Count the vGPUs among what a server holds, by class."""
    found: collections.Counter[str] = collections.Counter()
    for resources in held:
        for name, amount in resources.items():
            if request.is_vgpu_class(name, census.classes):
                found[name] += amount
    return _known(found, server, census)


def _known(
    counted: collections.Counter[str], server: Server, census: Census
) -> collections.Counter[str]:
    if request.ALIAS in server.extra_specs:
        for name in census.pci_classes:
            counted.pop(name, None)
    return counted
