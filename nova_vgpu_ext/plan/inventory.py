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
"""What a host's GPUs shall have in Placement, as Nova would report it.

Source of the totals: ``_get_gpu_inventories`` and ``_ensure_pgpu_providers``
in ``nova/virt/libvirt/driver.py`` (Nova 34). A functional test runs both on
the same random input.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Collection, Iterable

from nova_vgpu_ext.models import (
    DesiredProvider,
    DevicesConfig,
    Finding,
    Framework,
    Gpu,
    InventoryRecord,
    Severity,
    Snapshot,
    VgpuDevice,
    libvirt_name,
)
from nova_vgpu_ext.plan import checks, pci, traits, types


@dataclasses.dataclass(frozen=True)
class InventoryPlan:
    """What Placement shall say of this host, and what is wrong."""

    #: One for each GPU or VF that has a type and capacity.
    providers: tuple[DesiredProvider, ...] = ()
    #: Beginnings of the names of providers to leave as they are: their GPU
    #: is on the bus and configured, but its driver offers nothing or its VFs
    #: are not enabled, as in the first seconds after boot, or it could not
    #: be read.
    held: tuple[str, ...] = ()
    #: What Nova's PCI tracking will report for vendor-specific VFIO.
    pci: tuple[pci.PciProvider, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def is_fatal(self) -> bool:
        """Whether nova-compute would not report this host."""
        return any(f.severity is Severity.FATAL for f in self.findings)


def provider_name(node: str, address: str) -> str:
    """Name a device's provider as Nova does.

    :param node: the compute node's name.
    :param address: the device's address.
    :returns: for example ``gpu01.example.org_pci_0000_1a_00_0``.
    """
    return f'{node}_{libvirt_name(address)}'


def plan(
    config: DevicesConfig,
    snapshot: Snapshot,
    node: str,
    trait_kinds: Collection[str],
    reported: Collection[str] = (),
) -> InventoryPlan:
    """Decide what each GPU offers.

    :param config: what nova.conf asks for.
    :param snapshot: what the host has.
    :param node: the compute node's name.
    :param trait_kinds: ``[vgpu] traits``.
    :param reported: names of providers that Placement has with an inventory.
        Where ``max_instances`` leaves room for some of the GPUs only, they
        come first: libvirt's order, which Nova follows, changes with each
        start of libvirtd, and so a choice that Nova made stays.
    :returns: the plan; with fatal findings it wants nothing.
    """
    type_map, findings = types.resolve(config, snapshot)
    findings += checks.host(snapshot)
    pci_providers, pci_findings = pci.plan(snapshot, node)
    findings += pci_findings
    findings += checks.pci_tracking(config, len(pci_providers))
    if config.types:
        findings += checks.unlisted_virtual_parents(type_map, snapshot)
    findings += checks.configuration(config, type_map, snapshot)
    if any(f.severity is Severity.FATAL for f in findings):
        return InventoryPlan(findings=tuple(findings))

    if not snapshot.is_whole:
        findings.append(checks.incomplete())
        return InventoryPlan(held=(f'{node}_',), findings=tuple(findings))

    parents = sorted(
        (d for d in snapshot.mdev_parents if _is_known(d, type_map, snapshot)),
        key=lambda d: provider_name(node, d.address) not in reported,
    )
    totals = count(type_map, parents)
    findings += checks.capacity(config, type_map, snapshot, totals)
    by_address = {device.address: device for device in parents}
    return InventoryPlan(
        providers=tuple(
            _provider(by_address[address], total, type_map, node, trait_kinds)
            for address, total in sorted(totals.items())
            if total
        ),
        held=_held(snapshot, type_map, node),
        pci=pci_providers,
        findings=tuple(findings),
    )


def count(
    type_map: types.TypeMap, parents: Iterable[VgpuDevice]
) -> dict[str, int]:
    """Count the vGPUs that each device can have, as Nova does.

    :param parents: devices in the order in which ``max_instances`` is used
        up.
    :returns: by address; 0 where the cap, or an mdev of another type, leaves
        nothing. A device that has no type, or neither offers it nor holds an
        mdev of it, is not there.
    """
    parents = list(parents)
    totals: dict[str, int] = {}
    used: dict[str, int] = collections.defaultdict(int)
    for device in parents:
        config = type_map.type_of(device.address)
        if config is None:
            continue
        existing = sum(m.type_id == config.id for m in device.mdevs)
        if existing:
            totals[device.address] = existing
            used[config.id] += existing
    caps = {
        t.id: t.max_instances
        for t in (*type_map.by_address.values(), type_map.default)
        if t
    }
    for device in parents:
        offered = type_map.offered(device)
        if offered is None:
            continue
        cap = caps[offered.id]
        if cap and used[offered.id] + offered.available > cap:
            totals[device.address] = 0
            continue
        used[offered.id] += offered.available
        totals[device.address] = (
            totals.get(device.address, 0) + offered.available
        )
    return totals


def _provider(
    device: VgpuDevice,
    total: int,
    type_map: types.TypeMap,
    node: str,
    trait_kinds: Collection[str],
) -> DesiredProvider:
    vgpu_type = type_map.offered(device)
    return DesiredProvider(
        name=provider_name(node, device.address),
        resource_class=type_map.class_of(device.address),
        inventory=InventoryRecord(total=total, max_unit=total),
        traits=traits.traits_of(vgpu_type, trait_kinds)
        if vgpu_type
        else frozenset(),
        owned_traits=traits.type_traits(device.types),
    )


def _is_known(
    device: VgpuDevice, type_map: types.TypeMap, snapshot: Snapshot
) -> bool:
    """Tell whether all that decides about a device could be read."""
    offered = type_map.offered(device)
    if offered is not None and not offered.is_counted:
        return False
    return not snapshot.is_doubtful(device)


def _is_waiting(device: VgpuDevice) -> bool:
    """Tell whether a device offers nothing but is expected to."""
    if isinstance(device, Gpu) and device.framework is not Framework.NONE:
        return False  # Its virtual functions offer the types.
    return not device.types and not device.mdevs


def _held(
    snapshot: Snapshot, type_map: types.TypeMap, node: str
) -> tuple[str, ...]:
    held = []
    for gpu in snapshot.gpus:
        if gpu.framework is Framework.VENDOR_VFIO:
            continue
        held += [
            device.address
            for device in gpu.devices
            if type_map.type_of(device.address)
            and (
                _is_waiting(device)
                or not _is_known(device, type_map, snapshot)
            )
        ]
    names = [provider_name(node, address) for address in held]
    return (*names, *_held_buses(snapshot, type_map, node))


def _held_buses(
    snapshot: Snapshot, type_map: types.TypeMap, node: str
) -> list[str]:
    """Name the buses of cards whose virtual functions are yet to come."""
    buses = []
    for gpu in snapshot.gpus:
        if gpu.framework is Framework.NONE and len(gpu.vfs) < gpu.total_vfs:
            bus = gpu.address.rpartition(':')[0]
            named = any(a.startswith(f'{bus}:') for a in type_map.by_address)
            if named or type_map.default:
                name = provider_name(node, gpu.address)
                buses.append(name.rsplit('_', 2)[0] + '_')
    return buses
