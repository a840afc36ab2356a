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
"""Vendor-specific VFIO: the ``[pci]`` options, and what Nova reports of them.

Such VFs are PCI devices to Nova. It tracks them in Placement from its
``[pci] device_spec``: one inventory on the provider of the physical function,
one unit for each VF. Source: ``nova/compute/pci_placement_translator.py``
(Nova 34), which also refuses VFs of one card with different classes.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator

import os_resource_classes
import os_traits

from nova_vgpu_ext.models import (
    Finding,
    Framework,
    Gpu,
    InventoryRecord,
    Severity,
    Snapshot,
    VirtualFunction,
)


@dataclasses.dataclass(frozen=True)
class PciProvider:
    """A card whose VFs Nova reports, and the options that make it so."""

    #: ``<node>_0000:3B:00.0``: Nova writes the address in capitals.
    name: str
    resource_class: str
    total: int
    traits: frozenset[str]
    #: The VFs by address, in order.
    vfs: tuple[str, ...]
    #: The product, for the alias.
    product: str
    #: What the operator says; nothing on the host tells.
    live_migratable: bool = False

    @property
    def record(self) -> InventoryRecord:
        """The inventory; Placement's defaults complete what Nova sends."""
        return InventoryRecord(total=self.total, max_unit=self.total)

    @property
    def device_specs(self) -> tuple[str, ...]:
        """The values of ``[pci] device_spec``, one for each VF."""
        return tuple(
            device_spec(vf, self.resource_class, self.live_migratable)
            for vf in self.vfs
        )

    @property
    def alias(self) -> str:
        """The value of ``[pci] alias``, the same on the API's side."""
        return alias(self.product, self.live_migratable)


def device_spec(
    address: str, resource_class: str, live_migratable: bool = False
) -> str:
    """Write the value of ``[pci] device_spec`` for one VF.

    :param live_migratable: as of :class:`PciProvider`.
    """
    return json.dumps(
        {
            'address': address,
            'resource_class': resource_class,
            'managed': 'no',
            **({'live_migratable': 'yes'} if live_migratable else {}),
        }
    )


def alias(product: str, live_migratable: bool = False) -> str:
    """Write the value of ``[pci] alias`` for a product.

    :param live_migratable: as of :class:`PciProvider`.
    """
    return json.dumps(
        {
            'name': alias_of(product),
            'resource_class': class_of(product),
            'device_type': 'type-VF',
            **({'live_migratable': 'yes'} if live_migratable else {}),
        }
    )


def class_of(product: str) -> str:
    """Name the class of a product, or of the alias that it gives."""
    return str(os_resource_classes.normalize_name(f'NVIDIA_{product}'))


def alias_of(product: str) -> str:
    """Name the alias of a product: ``l40s-12q``."""
    return product.lower()


def plan(
    snapshot: Snapshot, node: str
) -> tuple[tuple[PciProvider, ...], list[Finding]]:
    """Find what Nova's PCI tracking can report of this host.

    :returns: a provider for each card on which a type is set, and the
        findings. A card whose VFs have several types gives none.
    """
    providers = []
    findings = []
    for gpu in snapshot.gpus:
        if gpu.framework is not Framework.VENDOR_VFIO:
            continue
        typed = [vf for vf in gpu.vfs if vf.current_type]
        if not typed:
            findings.append(_untyped(gpu))
        elif len({vf.current_type for vf in typed}) > 1:
            findings.append(_mixed(gpu, typed))
        elif product := _product(typed[0]):
            providers.append(_provider(gpu, typed, node, product))
        else:
            findings.append(_unnamed(gpu, typed))
    return tuple(providers), findings


def lines(providers: tuple[PciProvider, ...]) -> Iterator[str]:
    """Write what nova.conf needs for some cards.

    nova-compute reads ``pci_in_placement`` as well: without it, Nova takes no
    alias that names a class and no ids (``nova/pci/request.py``).
    """
    yield '[filter_scheduler]'
    yield 'pci_in_placement = true'
    yield '[pci]'
    yield 'report_in_placement = true'
    for provider in providers:
        for spec in provider.device_specs:
            yield f'device_spec = {spec}'
    for value in dict.fromkeys(p.alias for p in providers):
        yield f'alias = {value}'


def _product(vf: VirtualFunction) -> str | None:
    found = vf.type(vf.current_type or '')
    return found.product if found else None


def _provider(
    gpu: Gpu, typed: list[VirtualFunction], node: str, product: str
) -> PciProvider:
    return PciProvider(
        name=f'{node}_{gpu.address.upper()}',
        resource_class=class_of(product),
        total=len(typed),
        traits=frozenset({os_traits.COMPUTE_MANAGED_PCI_DEVICE}),
        vfs=tuple(vf.address for vf in typed),
        product=product,
    )


def _unnamed(gpu: Gpu, typed: list[VirtualFunction]) -> Finding:
    return Finding(
        Severity.ERROR,
        gpu.address,
        f'type {typed[0].current_type} on {len(typed)} virtual functions, '
        'whose name is not known: a full card lists no types',
        "its name in the driver's list of types",
        'set [vgpu] driver_catalog to the vgpuConfig.xml of the driver; the '
        'resource class is named after the product',
    )


def _mixed(gpu: Gpu, typed: list[VirtualFunction]) -> Finding:
    kinds = sorted({str(vf.current_type) for vf in typed})
    return Finding(
        Severity.ERROR,
        gpu.address,
        f'virtual functions with the types {", ".join(kinds)}',
        'one type on all virtual functions of a card',
        'Nova refuses a card with several classes ([pci] device_spec): set '
        'one type, or list only the VFs of one',
    )


def _untyped(gpu: Gpu) -> Finding:
    return Finding(
        Severity.WARNING,
        gpu.address,
        f'no type on any of its {len(gpu.vfs)} virtual functions',
        'a type in nvidia/current_vgpu_type of those to be used',
        'write the number of a type that nova-vgpu type list --gpu '
        f'{gpu.address} shows',
    )
