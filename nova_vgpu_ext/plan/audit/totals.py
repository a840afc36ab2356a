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
"""Totals and classes that do not fit the GPU, or its neighbours."""

from __future__ import annotations

import collections
from collections.abc import Iterator

from nova_vgpu_ext.models import CloudGpu, CloudHost, Severity
from nova_vgpu_ext.plan import gpus
from nova_vgpu_ext.plan.audit import census as census_
from nova_vgpu_ext.plan.audit.census import Census
from nova_vgpu_ext.plan.audit.findings import Finding, listed
from nova_vgpu_ext.plan.audit.view import HostView


def odd(host: CloudHost, census: Census) -> Iterator[tuple[CloudGpu, int]]:
    """Find GPUs that can hold another number than those of the same type.

    :returns: the GPU, and what the others can hold.
    """
    for gpu in host.gpus:
        type_id, name = census_.one_type(gpu), gpus.resource_class(gpu)
        if type_id is None or name is None or census_.is_gone(gpu):
            continue
        usual = census_.clear_choice(census.totals.get((type_id, name), {}))
        if usual is not None and gpu.capacities[name].total != usual:
            yield gpu, usual


def check(view: HostView, census: Census) -> Iterator[Finding]:
    """Compare totals with usage and with other GPUs, and look at classes."""
    for gpu in view.host.gpus:
        yield from _overcommitted(gpu)
        yield from _two_classes(gpu, census)
    for gpu, usual in odd(view.host, census):
        yield _odd(view, gpu, usual)
    yield from _mixed_cards(view.host)


def _overcommitted(gpu: CloudGpu) -> Iterator[Finding]:
    over = [
        f'{has.used} of {has.total} {name}'
        for name, has in sorted(gpu.capacities.items())
        if has.used > has.total
    ]
    if over:
        yield Finding(
            'overcommitted',
            Severity.ERROR,
            gpu.host,
            gpu.address,
            f'more allocated than there is: {listed(over)}',
            f'nova-vgpu report and nova-vgpu doctor on {gpu.host}; see who '
            'uses it: openstack resource provider show --allocations '
            f'{gpu.uuid}',
        )


def _odd(view: HostView, gpu: CloudGpu, usual: int) -> Finding:
    name = gpus.resource_class(gpu) or ''
    text = (
        f'room for {gpu.capacities[name].total} {name}, where other GPUs '
        f'with {census_.one_type(gpu)} have room for {usual}'
    )
    record = view.records.get(gpu.uuid, {}).get(name)
    if record is not None:
        text += (
            f' (total {record.total}, max_unit {record.max_unit}, reserved '
            f'{record.reserved}, allocation_ratio {record.allocation_ratio})'
        )
    return Finding(
        'odd-total',
        Severity.WARNING,
        gpu.host,
        gpu.address,
        text,
        f'nova-vgpu report on {gpu.host}; if it stays: nova-vgpu doctor '
        'there, for mdevs of another type',
    )


def _two_classes(gpu: CloudGpu, census: Census) -> Iterator[Finding]:
    found = [
        name
        for name, has in sorted(gpu.capacities.items())
        if has.total and (name in census.classes or gpus.is_vgpu_class(name))
    ]
    if len(found) > 1:
        yield Finding(
            'mixed-classes',
            Severity.ERROR,
            gpu.host,
            gpu.address,
            f'vGPUs of several classes: {listed(found)}',
            f'nova-vgpu report on {gpu.host} leaves the configured one',
        )


def _mixed_cards(host: CloudHost) -> Iterator[Finding]:
    """Find VFs of one card with different classes.

    The VFs of a card share its bus; GPUs have one each.
    """
    buses: dict[str, dict[str, list[str]]] = collections.defaultdict(
        lambda: collections.defaultdict(list)
    )
    for gpu in host.gpus:
        bus, colon, _ = gpu.address.rpartition(':')
        name = gpus.resource_class(gpu)
        if colon and name and not gpu.is_pci and not census_.is_gone(gpu):
            buses[bus][name].append(gpu.address)
    for bus, classes in sorted(buses.items()):
        if len(classes) > 1:
            text = '; '.join(
                f'{name} on {listed(addresses)}'
                for name, addresses in sorted(classes.items())
            )
            yield Finding(
                'mixed-classes',
                Severity.WARNING,
                host.name,
                bus,
                f'VFs of one card with different classes: {text}',
                'give them one mdev_class in nova.conf, if they shall serve '
                f'the same flavors; nova-vgpu config check on {host.name}',
            )
