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
"""Flavors that can never be scheduled, or start guests without a GPU."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from nova_vgpu_ext.models import Finding, Flavor, Severity
from nova_vgpu_ext.plan import gpus, pci
from nova_vgpu_ext.plan.flavors import never, request, room, spelling
from nova_vgpu_ext.plan.flavors.request import Group
from nova_vgpu_ext.plan.flavors.room import Device, Shape


def is_about_vgpus(flavor: Flavor, vgpus: Collection[str] = ()) -> bool:
    """Tell whether a flavor asks for vGPUs, or was meant to.

    :param vgpus: the classes that are vGPUs, beside those named so.
    """
    specs = flavor.extra_specs
    return (
        bool(request.vgpu_groups(specs, vgpus))
        or bool(list(spelling.check(specs, vgpus)))
        or any(
            gpus.is_type_trait(trait)
            for group in request.read(specs).groups
            for trait in group.required | group.forbidden
        )
    )


def check(
    flavor: Flavor, shapes: Collection[Shape], vgpus: Collection[str] = ()
) -> list[Finding]:
    """Find all that is wrong with what a flavor says of vGPUs.

    What is misspelt comes alone: what else is wrong shows once it is right.

    :param shapes: of all hosts of the cloud that have GPUs.
    :param vgpus: the classes that are vGPUs, beside those of the hosts and
        those named so.
    :returns: errors, where the flavor can never be scheduled or a guest
        starts without its GPUs or not at all, and warnings; nothing for a
        flavor that is not about vGPUs.
    """
    vgpus = {*vgpus, *room.classes(shapes)}
    if not is_about_vgpus(flavor, vgpus):
        return []
    found = list(spelling.check(flavor.extra_specs, vgpus))
    if not spelling.misspelt(flavor.extra_specs, vgpus):
        found += (
            list(never.refused(request.asked(flavor)))
            or never.reasons(flavor, shapes, vgpus)
            or list(attachment(flavor, shapes, vgpus))
        )
    return found


def attachment(
    flavor: Flavor, shapes: Collection[Shape], vgpus: Collection[str]
) -> Iterator[Finding]:
    """Find what Placement gives that a guest does not get.

    :param shapes: of hosts that have GPUs.
    """
    groups = [
        group
        for group in request.vgpu_groups(flavor.extra_specs, vgpus)
        if group.alias is None
    ]
    devices = {device for shape in shapes for device, _ in shape.devices}
    for group in groups:
        for name, amount in sorted(group.resources.items()):
            offering = [d for d in devices if _offers(d, name, group)]
            key = f'resources{group.suffix}:{name}'
            if offering and all(d.is_pci for d in offering):
                yield _no_device(key, name, amount)
            elif amount > 1 and any(_is_whole(d, amount) for d in offering):
                yield _of_one_gpu(key, amount)
    if len(groups) > 1:
        yield from _may_meet(flavor, groups, devices)


def _offers(device: Device, name: str, group: Group) -> bool:
    """Tell whether a device can serve a group's class."""
    types = set(filter(gpus.is_type_trait, group.required))
    has_traits = types <= device.traits and not group.forbidden & device.traits
    return has_traits and bool(device.amount(name))


def _is_whole(device: Device, amount: int) -> bool:
    """Tell whether a GPU without SR-IOV could give several vGPUs."""
    has_room = any(total >= amount for _, total in device.amounts)
    return has_room and device.is_real and not device.is_pci


def _no_device(key: str, name: str, amount: int) -> Finding:
    product = gpus.product_of(name) or name
    return Finding(
        Severity.ERROR,
        key,
        'a class of PCI devices, of which Nova attaches none: the guest '
        'starts without a GPU',
        f'{request.ALIAS}={pci.alias_of(product)}:{amount}',
        'unset it, and set the expected key; nova-vgpu config pci shows the '
        'alias',
    )


def _of_one_gpu(key: str, amount: int) -> Finding:
    return Finding(
        Severity.ERROR,
        key,
        f'{amount} vGPUs of one GPU, which gives a guest no more than one '
        'if it has no SR-IOV: the guest does not start',
        'a group with a number for each, and group_policy=isolate',
        f'openstack vgpu flavor set --count {amount}',
    )


def _may_meet(
    flavor: Flavor, groups: list[Group], devices: Collection[Device]
) -> Iterator[Finding]:
    """See whether Placement could serve two groups from one GPU."""
    policy = request.read(flavor.extra_specs).policy
    if policy == 'isolate' and all(group.suffix for group in groups):
        return
    for device in devices:
        served = [
            group
            for group in groups
            if all(_offers(device, name, group) for name in group.resources)
        ]
        if len(served) > 1 and _is_whole(device, 2):
            yield Finding(
                Severity.WARNING,
                request.GROUP_POLICY,
                'groups that Placement may serve from one GPU, which gives a '
                'guest no more than one vGPU if it has no SR-IOV',
                'isolate, and a number in each group',
                'openstack vgpu flavor set --isolate',
            )
            return
