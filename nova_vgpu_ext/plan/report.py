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
"""From what Placement shall say to the writes that make it say so."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterable, Mapping

from nova_vgpu_ext.models import (
    DesiredProvider,
    Finding,
    InventoryRecord,
    ReportedProvider,
    Severity,
)
from nova_vgpu_ext.plan import traits
from nova_vgpu_ext.plan.gpus import VGPU

#: The end of a GPU's provider is libvirt's name of the device; the names of
#: other services' children have a colon or a space there.
_DEVICE_NAME = re.compile('[A-Za-z0-9_-]+', re.ASCII)

#: What certainly is the name of a GPU: a PCI device, or mtty, the one virtual
#: parent that libvirt knows.
_GPU_NAME = re.compile(
    r'_(pci_[0-9a-f]{4}_[0-9a-f]{2}_[0-9a-f]{2}_[0-7]|mtty_mtty)$', re.ASCII
)

#: Set by the service that owns a provider; Nova marks its own since 34.
_OWNER = re.compile(r'OWNER_(?!NOVA$)|COMPUTE_MANAGED_PCI_DEVICE$')


@dataclasses.dataclass(frozen=True)
class CreateProvider:
    """Create a child of the compute node's provider."""

    name: str

    def __str__(self) -> str:
        return f'create provider {self.name}'


@dataclasses.dataclass(frozen=True)
class SetTraits:
    """Add and remove traits that this project owns."""

    name: str
    add: frozenset[str]
    remove: frozenset[str] = frozenset()

    def __str__(self) -> str:
        parts = []
        if self.add:
            parts.append(f'add {", ".join(sorted(self.add))}')
        if self.remove:
            parts.append(f'remove {", ".join(sorted(self.remove))}')
        return f'set traits of {self.name}: {"; ".join(parts)}'


@dataclasses.dataclass(frozen=True)
class SetInventory:
    """Set one inventory of a provider, and remove others."""

    name: str
    resource_class: str
    record: InventoryRecord
    #: Classes that go with it.
    remove: frozenset[str] = frozenset()

    def __str__(self) -> str:
        text = (
            f'set inventory of {self.name}: {self.resource_class} '
            f'total {self.record.total}'
        )
        if self.remove:
            text += f'; remove {", ".join(sorted(self.remove))}'
        return text


@dataclasses.dataclass(frozen=True)
class DeleteProvider:
    """Delete the provider of a GPU that is gone or not configured."""

    name: str

    def __str__(self) -> str:
        return f'delete provider {self.name}'


Action = CreateProvider | SetTraits | SetInventory | DeleteProvider


@dataclasses.dataclass(frozen=True)
class Changes:
    """The writes that bring Placement in line.

    Inventories come after everything else that makes a provider, so that a
    GPU can be asked for only once its traits are there.
    """

    providers: tuple[CreateProvider | SetTraits, ...] = ()
    inventories: tuple[SetInventory, ...] = ()
    deletions: tuple[DeleteProvider, ...] = ()
    #: What cannot be written, because something is allocated.
    findings: tuple[Finding, ...] = ()

    @property
    def actions(self) -> tuple[Action, ...]:
        """Every write, in order."""
        return (*self.providers, *self.inventories, *self.deletions)


def may_be_gpu(name: str, node: str) -> bool:
    """Tell whether a child of a node is named as Nova names those of GPUs."""
    prefix = f'{node}_'
    return name.startswith(prefix) and bool(
        _DEVICE_NAME.fullmatch(name, len(prefix))
    )


def shrinking(
    desired: Iterable[DesiredProvider],
    reported: Mapping[str, ReportedProvider],
    held: tuple[str, ...],
) -> list[str]:
    """Name the providers whose usage decides what may be written.

    They lose a class or a part of a total, or shall be deleted.

    :param reported: the providers of GPUs, by name.
    """
    wanted = {provider.name: provider for provider in desired}
    names = []
    for name, has in reported.items():
        if name not in wanted:
            if not name.startswith(held) and _removable(has):
                names.append(name)
        elif _lost_classes(wanted[name], has) or _is_lowered(
            wanted[name], has
        ):
            names.append(name)
    return names


def changes(
    desired: Iterable[DesiredProvider],
    reported: Mapping[str, ReportedProvider],
    held: tuple[str, ...],
) -> Changes:
    """Compare what shall be with what is.

    :param desired: one for each GPU or VF that offers something.
    :param reported: the providers of GPUs, by name; ``used`` must be known
        for those that :func:`shrinking` names.
    :param held: beginnings of names of providers to leave as they are.
    """
    providers: list[CreateProvider | SetTraits] = []
    inventories: list[SetInventory] = []
    deletions: list[DeleteProvider] = []
    findings: list[Finding] = []
    wanted = {provider.name: provider for provider in desired}
    for name, provider in sorted(wanted.items()):
        has = reported.get(name)
        if has is None:
            providers.append(CreateProvider(name))
            if provider.traits:
                providers.append(SetTraits(name, provider.traits))
            inventories.append(
                SetInventory(name, provider.resource_class, provider.inventory)
            )
            continue
        lost = _lost_classes(provider, has)
        if _in_use(has, lost):
            # The traits stay too: they describe what is offered.
            findings.append(_class_in_use(provider, has, lost))
            continue
        traits_action = _traits(provider, has)
        if traits_action:
            providers.append(traits_action)
        inventory_action, finding = _inventory(provider, has)
        if inventory_action:
            inventories.append(inventory_action)
        if finding:
            findings.append(finding)
    for name, has in sorted(reported.items()):
        if name in wanted or name.startswith(held) or not _removable(has):
            continue
        if _in_use(has, has.inventories):
            findings.append(_still_used(has))
            providers += _marked_as_gone(has)
            inventories += _only_what_is_used(has)
        else:
            deletions.append(DeleteProvider(name))
    return Changes(
        tuple(providers),
        tuple(inventories),
        tuple(deletions),
        tuple(findings),
    )


def _removable(has: ReportedProvider) -> bool:
    """Tell whether a provider is a GPU's, and all of it Nova's or ours."""
    return (
        _GPU_NAME.search(has.name) is not None
        and not any(_OWNER.match(t) for t in has.traits)
        and all(c == VGPU or c.startswith('CUSTOM_') for c in has.inventories)
    )


def _lost_classes(
    wanted: DesiredProvider, has: ReportedProvider
) -> frozenset[str]:
    """Name the classes that go.

    VGPU goes for another class. Other classes go only with the step from one
    class to the next: those that stand beside the wanted one are somebody
    else's, such as those of Nova's provider configuration files.
    """
    others = frozenset(has.inventories) - {wanted.resource_class}
    if wanted.resource_class in has.inventories:
        return others & {VGPU}
    return others


def _is_lowered(wanted: DesiredProvider, has: ReportedProvider) -> bool:
    now = has.inventories.get(wanted.resource_class)
    return now is not None and wanted.inventory.total < now.total


def _in_use(has: ReportedProvider, classes: Collection[str]) -> bool:
    return any((has.used or {}).get(name) for name in classes)


def _traits(
    wanted: DesiredProvider, has: ReportedProvider
) -> SetTraits | None:
    owned = {
        trait
        for trait in has.traits
        if trait.startswith(traits.PREFIX) or trait in wanted.owned_traits
    }
    add = wanted.traits - has.traits
    remove = frozenset(owned - wanted.traits)
    return SetTraits(wanted.name, add, remove) if add or remove else None


def _inventory(
    wanted: DesiredProvider, has: ReportedProvider
) -> tuple[SetInventory | None, Finding | None]:
    lost = _lost_classes(wanted, has)
    now = has.inventories.get(wanted.resource_class)
    used = (has.used or {}).get(wanted.resource_class, 0)
    record = wanted.inventory
    finding = None
    if used > record.total:
        finding = _used_beyond(wanted, used)
        if now is not None and now.total > record.total:
            # Never below what is used; and never raised to it either, for
            # Nova would lower it again.
            kept = min(now.total, used)
            record = dataclasses.replace(record, total=kept, max_unit=kept)
    if now == record and not lost:
        return None, finding
    return (
        SetInventory(wanted.name, wanted.resource_class, record, lost),
        finding,
    )


def _marked_as_gone(has: ReportedProvider) -> list[SetTraits]:
    """Let everybody see that a provider goes once nothing is allocated."""
    ours = {trait for trait in has.traits if trait.startswith(traits.PREFIX)}
    if ours == {traits.GONE}:
        return []
    return [
        SetTraits(
            has.name,
            frozenset({traits.GONE} - ours),
            frozenset(ours - {traits.GONE}),
        )
    ]


def _only_what_is_used(has: ReportedProvider) -> list[SetInventory]:
    """Offer no more of a provider that goes once nothing is allocated."""
    actions = []
    for name, record in sorted(has.inventories.items()):
        used = (has.used or {}).get(name, 0)
        if used and used < record.total:
            kept = dataclasses.replace(record, total=used, max_unit=used)
            actions.append(SetInventory(has.name, name, kept))
    return actions


def _usage(has: ReportedProvider) -> str:
    return ', '.join(
        f'{amount} {name}'
        for name, amount in sorted((has.used or {}).items())
        if amount
    )


def _still_used(has: ReportedProvider) -> Finding:
    return Finding(
        Severity.ERROR,
        has.name,
        f'{_usage(has)} allocated, while its GPU is gone, not configured or '
        'has no room for the configured type',
        'no allocation, so that the provider can be deleted',
        'move or delete those servers: openstack resource provider show '
        f'--allocations {has.uuid}',
    )


def _class_in_use(
    wanted: DesiredProvider, has: ReportedProvider, lost: Collection[str]
) -> Finding:
    return Finding(
        Severity.ERROR,
        has.name,
        f'{_usage(has)} allocated, while {", ".join(sorted(lost))} shall '
        f'become {wanted.resource_class}',
        'no allocation of the old class',
        'move or delete those servers: openstack resource provider show '
        f'--allocations {has.uuid}',
    )


def _used_beyond(wanted: DesiredProvider, used: int) -> Finding:
    return Finding(
        Severity.ERROR,
        wanted.name,
        f'{used} {wanted.resource_class} allocated of '
        f'{wanted.inventory.total} that the GPU has',
        'no more allocated than there is',
        'the total is not lowered below what is used; look for servers that '
        'are gone (nova-manage placement audit) or hold another type',
    )
