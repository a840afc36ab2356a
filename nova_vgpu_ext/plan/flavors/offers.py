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
"""What kinds of vGPUs a cloud offers, and how a flavor asks for each."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import os_resource_classes

from nova_vgpu_ext import exception
from nova_vgpu_ext.models import CloudGpu
from nova_vgpu_ext.plan import gpus, pci, traits
from nova_vgpu_ext.plan.flavors import request
from nova_vgpu_ext.plan.flavors.specs import Wish
from nova_vgpu_ext.plan.gpus import OfferedType

#: Characters of a trait or class, in Placement.
_LONGEST = 255


@dataclasses.dataclass(frozen=True)
class Offer:
    """A kind of vGPU: a type under a resource class."""

    resource_class: str
    #: Empty where the class alone is asked for.
    type: OfferedType = dataclasses.field(default_factory=OfferedType)
    #: Whether Nova's PCI tracking reports it (vendor-specific VFIO).
    is_pci: bool = False

    @property
    def name(self) -> str:
        """The product, or what else is the best name of the type."""
        return self.type.product or self.type.id or self.resource_class

    @property
    def trait(self) -> str | None:
        """The trait that a flavor needs beside the class.

        None where the class says the type itself, and for PCI devices: an
        alias stands for a class, and Nova gives the cards none of our
        traits.
        """
        product = self.type.product
        if self.is_pci or (product and self._is_named_for(product)):
            return None
        if self.type.id:
            return traits.type_trait(self.type.id)
        return traits.product_trait(product) if product else None

    def wish(self, count: int, isolate: bool | None) -> Wish:
        """Ask for some of it, for one guest.

        :param isolate: whether each shall come from another provider; None
            for what always works. A GPU without SR-IOV gives a guest one
            vGPU, so mdevs come from different ones; a VF has but one anyway.
            VFs that are PCI devices may be of one card.
        :raises Refused: no alias is known for it.
        """
        if isolate is None:
            isolate = not self.is_pci
        return Wish(
            resource_class=self.resource_class,
            count=count,
            required=frozenset(filter(None, [self.trait])),
            isolate=isolate and count > 1,
            alias=self._alias() if self.is_pci else None,
        )

    def _alias(self) -> str:
        product = self.type.product
        if product and pci.class_of(product) == self.resource_class:
            return pci.alias_of(product)
        raise exception.Refused(
            [
                f'{self.resource_class}: no alias is known for this class, '
                'which nova-vgpu config pci would not give; write the flavor '
                'with openstack flavor set --property '
                'pci_passthrough:alias=ALIAS:COUNT'
            ]
        )

    def _is_named_for(self, product: str) -> bool:
        return self.resource_class in (
            pci.class_of(product),
            os_resource_classes.normalize_name(f'VGPU_{product}'),
        )

    def __str__(self) -> str:
        known = [self.type.id, self.type.product, self.resource_class]
        first, *rest = filter(None, known)
        return f'{first} ({", ".join(rest)})' if rest else first


def offers(found: Iterable[CloudGpu]) -> list[Offer]:
    """List what some GPUs offer, each kind once, in order of the names."""
    kinds: dict[tuple[str, str], Offer] = {}
    for gpu in found:
        name = gpus.resource_class(gpu)
        if name is None:
            continue
        offer = Offer(name, gpus.offered(gpu), gpu.is_pci)
        known = kinds.setdefault((offer.type.name, name), offer)
        if known.type.product is None:
            kinds[offer.type.name, name] = offer
    return sorted(kinds.values(), key=str)


def find(text: str, offered: Iterable[Offer]) -> Offer:
    """Find what a user names.

    :param text: a type, a product or a resource class.
    :raises NotFound: nothing of that name is offered.
    :raises Refused: the name stands for several classes.
    """
    offered = list(offered)
    by_class = [o for o in offered if o.resource_class == text]
    if by_class:
        return _of_class(by_class)
    wanted = text.casefold()
    found = [
        o
        for o in offered
        if wanted in (n.casefold() for n in (o.type.id, o.type.product) if n)
    ]
    if not found:
        raise exception.NotFound('vGPU type', text, [str(o) for o in offered])
    classes = sorted({o.resource_class for o in found})
    if len(classes) > 1:
        raise exception.Refused(
            [
                f'--type: {text} is offered as {" and as ".join(classes)}; '
                'give the class that the flavor shall have'
            ]
        )
    first = found[0]
    if len({o.type.id for o in found}) == 1:
        return first
    # Drivers number a product in different ways.
    alike = dataclasses.replace(first.type, id=None)
    return dataclasses.replace(first, type=alike)


def _of_class(found: list[Offer]) -> Offer:
    """Take a class, and no more of the type than the class says."""
    first = found[0]
    if len(found) == 1 and first.is_pci:
        return first
    return Offer(first.resource_class, is_pci=first.is_pci)


def traits_of(text: str) -> list[str]:
    """Name the traits by which GPUs of a type could be found.

    :param text: as of :func:`find`.
    """
    if request.is_class(text):
        return []
    trait = traits.type_trait(text)
    found = [trait] if gpus.type_ids([trait]) else []
    return _possible([*found, traits.product_trait(text)])


def classes_of(text: str) -> list[str]:
    """Name the resource classes by which GPUs of a type could be found.

    :param text: as of :func:`find`.
    """
    return _possible([text if request.is_class(text) else pci.class_of(text)])


def _possible(names: list[str]) -> list[str]:
    return [name for name in names if len(name) <= _LONGEST]
