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
"""What the operator wants of the hosts of a deployment, as plain data."""

from __future__ import annotations

import dataclasses

from nova_vgpu_ext.models import TypeConfig


@dataclasses.dataclass(frozen=True)
class Card:
    """A card whose virtual functions are PCI devices to Nova."""

    #: The physical function.
    address: str
    product: str
    #: Its type in ``[vgpu] vf_types``: the product, or a number.
    type: str
    #: The functions that get the type.
    vfs: tuple[str, ...]
    #: Whether guests with them may migrate live.
    live_migratable: bool = False


@dataclasses.dataclass(frozen=True)
class Entry:
    """One host, or the hosts of one group."""

    name: str
    #: Mediated devices: what ``[devices]`` and ``[mdev_<type>]`` say.
    types: tuple[TypeConfig, ...] = ()
    #: Vendor-specific VFIO.
    cards: tuple[Card, ...] = ()
    #: Other values of ``[pci] device_spec``.
    device_specs: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Scheduler:
    """What nova-scheduler has beside the plugins of this project."""

    #: ``[vgpu] gpu_policy``; None for no plugin at all.
    policy: str | None = None
    #: None where Nova's default is wanted.
    available_filters: tuple[str, ...] | None = None
    enabled_filters: tuple[str, ...] | None = None
    weight_classes: tuple[str, ...] | None = None


@dataclasses.dataclass(frozen=True)
class Description:
    """The whole of it."""

    hosts: tuple[Entry, ...] = ()
    #: A host that has an entry of its own takes nothing from its groups.
    groups: tuple[Entry, ...] = ()
    #: Other values of ``[pci] alias``.
    aliases: tuple[str, ...] = ()
    scheduler: Scheduler = Scheduler()

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All of them, in the order in which the first match counts."""
        return (*self.hosts, *self.groups)

    @property
    def live_migratable(self) -> frozenset[str]:
        """Of the :attr:`products`, those whose guests may migrate live."""
        return frozenset(
            card.product
            for e in self.entries
            for card in e.cards
            if card.live_migratable
        )

    @property
    def products(self) -> tuple[str, ...]:
        """The products of vendor-specific VFIO, each once."""
        found = (card.product for e in self.entries for card in e.cards)
        return tuple(dict.fromkeys(found))
