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
"""What the names, classes and traits of providers say of GPUs.

The cloud's side of :mod:`~nova_vgpu_ext.plan.inventory` and
:mod:`~nova_vgpu_ext.plan.traits`: there is no sysfs to look at, only what
hosts have reported.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping

from nova_vgpu_ext.models import Capacity, CloudGpu, ReportedProvider
from nova_vgpu_ext.plan import traits

#: The standard class of vGPUs.
VGPU = 'VGPU'

#: libvirt's name of a PCI device, and of mtty, the one virtual parent that it
#: knows, at the end of a provider's name.
_MDEV_PARENT = re.compile(
    r'pci_([0-9a-f]{4,8})_([0-9a-f]{2})_([0-9a-f]{2})_([0-7])|mtty_mtty',
    re.ASCII,
)

#: How Nova's PCI tracking names a card: in capitals. Source: ``PciResource``
#: in ``nova/compute/pci_placement_translator.py``.
_PCI_CARD = re.compile(
    r'[0-9A-F]{4,8}:[0-9A-F]{2}:[0-9A-F]{2}\.[0-7]', re.ASCII
)

#: Types of NVIDIA's drivers, and of the kernel's sample driver mtty.
_TYPE_TRAIT = re.compile(r'CUSTOM_(NVIDIA|MTTY)_([0-9]+)', re.ASCII)
_SERIES_TRAIT = re.compile(r'CUSTOM_VGPU_SERIES_([A-Z]+)', re.ASCII)
_MEMORY_TRAIT = re.compile(r'CUSTOM_VGPU_FB_([0-9]+)M', re.ASCII)
#: A product in a name: ``V100DX_1Q``, ``RTX6000_ADA_12Q``, ``A100_1_5CME``.
_PRODUCT = r'([A-Z0-9]+(?:_[A-Z0-9]+)*_[0-9]+([ABCQ])[A-Z0-9]*)'
_PRODUCT_TRAIT = re.compile(f'CUSTOM_VGPU_{_PRODUCT}', re.ASCII)
_PRODUCT_CLASS = re.compile(f'CUSTOM_(?:NVIDIA|VGPU)_{_PRODUCT}', re.ASCII)


@dataclasses.dataclass(frozen=True)
class OfferedType:
    """What a GPU offers, as far as its provider says.

    What it does not say, or says twice, is None.
    """

    #: ``nvidia-194``.
    id: str | None = None
    #: ``V100DX-1Q``.
    product: str | None = None
    #: ``Q``, ``B``, ``A`` or ``C``.
    series: str | None = None
    frame_buffer_mib: int | None = None

    @property
    def name(self) -> str:
        """The shortest name that tells it from others; empty if none does."""
        return self.id or self.product or ''


def recognise(
    host: str,
    host_uuid: str,
    provider: ReportedProvider,
    own_traits: frozenset[str],
    capacities: Mapping[str, Capacity],
) -> CloudGpu | None:
    """Tell whether a child of a compute node is a GPU.

    A card of Nova's PCI tracking is one only if its class is a vGPU's: the
    providers of network cards are named alike.

    :param host: the compute node's name.
    :param own_traits: the child's traits.
    :param capacities: what the child offers.
    """
    found = _address(host, provider.name)
    if found is None:
        return None
    address, is_pci = found
    if is_pci and not any(_PRODUCT_CLASS.fullmatch(c) for c in capacities):
        return None
    return CloudGpu(
        uuid=provider.uuid,
        name=provider.name,
        generation=provider.generation,
        host=host,
        host_uuid=host_uuid,
        address=address,
        is_pci=is_pci,
        capacities=capacities,
        traits=own_traits,
    )


def may_be_gpu(host: str, name: str) -> bool:
    """Tell whether a child of a compute node has the name of a GPU."""
    return _address(host, name) is not None


def mdev_address(host: str, name: str) -> str | None:
    """Read the address of a GPU or VF that offers mdevs from its name.

    :returns: as the kernel writes it, or the name of a virtual parent; None
        where the name is no such child's of the compute node.
    """
    found = _address(host, name)
    return found[0] if found and not found[1] else None


def _address(host: str, name: str) -> tuple[str, bool] | None:
    """Read the device's address, and whether PCI tracking named it."""
    if not name.startswith(f'{host}_'):
        return None
    device = name[len(host) + 1 :]
    parent = _MDEV_PARENT.fullmatch(device)
    if parent is not None:
        domain, bus, slot, function = parent.groups()
        if domain is None:
            return device, False
        return f'{domain}:{bus}:{slot}.{function}', False
    if _PCI_CARD.fullmatch(device):
        return device.lower(), True
    return None


def resource_class(gpu: CloudGpu) -> str | None:
    """Name the class of a GPU's vGPUs; None where it offers nothing.

    Other classes can stand beside it, from Nova's provider configuration
    files.
    """
    if VGPU in gpu.capacities:
        return VGPU
    named = sorted(c for c in gpu.capacities if c.startswith('CUSTOM_'))
    products = [c for c in named if _PRODUCT_CLASS.fullmatch(c)]
    return next(iter((*products, *named)), None)


def capacity(gpu: CloudGpu) -> Capacity:
    """Tell how many vGPUs a GPU can hold and has given away."""
    name = resource_class(gpu)
    return gpu.capacities[name] if name else Capacity(0, 0)


def is_vgpu_class(name: str) -> bool:
    """Tell whether a class is named as one of vGPUs.

    Others can be as well: ``mdev_class`` may be any custom class.
    """
    return name == VGPU or bool(_PRODUCT_CLASS.fullmatch(name))


def product_of(name: str) -> str | None:
    """Read the product that a class is named for; None without one."""
    match = _PRODUCT_CLASS.fullmatch(name)
    return match[1].replace('_', '-') if match else None


def type_ids(names: Collection[str]) -> list[str]:
    """Give the type of each type trait among some traits, in order."""
    found = (_TYPE_TRAIT.fullmatch(name) for name in sorted(names))
    return [f'{match[1].lower()}-{match[2]}' for match in found if match]


def is_type_trait(name: str) -> bool:
    """Tell whether a trait names a type, or describes one in our words."""
    return name.startswith(traits.PREFIX) or bool(_TYPE_TRAIT.fullmatch(name))


def offered(gpu: CloudGpu) -> OfferedType:
    """Read what type a GPU offers from its traits, or else its class."""
    return described(gpu.traits, gpu.capacities)


def described(names: Collection[str], classes: Collection[str]) -> OfferedType:
    """Read what type some traits, or else resource classes, describe."""
    ids = type_ids(names)
    product = _only(_PRODUCT_TRAIT, names) or _only(_PRODUCT_CLASS, classes)
    series = _only(_SERIES_TRAIT, names)
    memory = _only(_MEMORY_TRAIT, names)
    return OfferedType(
        id=ids[0] if len(ids) == 1 else None,
        product=product[1].replace('_', '-') if product else None,
        series=series[1] if series else product[2] if product else None,
        frame_buffer_mib=int(memory[1]) if memory else None,
    )


def answers_to(gpu: CloudGpu, name: str) -> bool:
    """Tell whether a GPU offers what somebody calls so.

    :param name: a type (``nvidia-194``), a product (``V100DX-1Q``) or a
        resource class; large and small letters are alike.
    """
    known = [
        *type_ids(gpu.traits),
        offered(gpu).product,
        resource_class(gpu),
    ]
    return name.casefold() in [k.casefold() for k in known if k]


def _only(
    pattern: re.Pattern[str], names: Collection[str]
) -> re.Match[str] | None:
    """Match a pattern with some names, if all that match say one thing."""
    found = {m[1]: m for m in map(pattern.fullmatch, names) if m}
    return next(iter(found.values())) if len(found) == 1 else None
