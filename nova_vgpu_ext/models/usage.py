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
"""Who uses a host's vGPUs, and who shall."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping


@dataclasses.dataclass(frozen=True)
class Domain:
    """A guest that libvirt knows."""

    name: str
    uuid: str
    #: Whether it runs now; if not, it is only defined.
    is_active: bool = False
    #: The UUIDs of the mdevs that it names, running or as defined.
    mdevs: tuple[str, ...] = ()
    #: The addresses of the PCI functions that it names.
    functions: tuple[str, ...] = ()

    def __str__(self) -> str:
        state = 'running' if self.is_active else 'defined'
        return f'domain {self.name} ({state})'


@dataclasses.dataclass(frozen=True)
class MdevDefinition:
    """A persistent mdev, as mdevctl and libvirt keep it."""

    uuid: str
    #: The address of the device that it is made on.
    parent: str
    type_id: str
    #: Whether it is made as soon as its parent is there.
    autostart: bool = False


@dataclasses.dataclass(frozen=True)
class LedgerEntry:
    """What is remembered of an mdev, or of a VF with a vendor's type."""

    #: The UUID of an mdev, or the address of a VF.
    name: str
    #: The address of the device that an mdev is made on; that of the VF.
    parent: str
    type_id: str
    #: The name of the domain that used it last.
    domain: str | None = None
    domain_uuid: str | None = None


@dataclasses.dataclass(frozen=True)
class Usage:
    """What is known of the use of a host's vGPUs at one moment."""

    domains: tuple[Domain, ...] = ()
    #: Whether libvirt was asked; if not, domains may be missing.
    has_domains: bool = True
    #: By the UUID of an mdev or the address of a VF: the processes that hold
    #: it open, as ``qemu-system-x86 (4711)``.
    holders: Mapping[str, tuple[str, ...]] = dataclasses.field(
        default_factory=dict
    )
    definitions: tuple[MdevDefinition, ...] = ()
    #: By name.
    ledger: Mapping[str, LedgerEntry] = dataclasses.field(default_factory=dict)
    #: By UUID: seconds since an mdev was made, at least; it may be older.
    ages: Mapping[str, float] = dataclasses.field(default_factory=dict)
    #: By address of a GPU or VF: how many vGPUs Placement has allocated on
    #: it. None where Placement was not asked.
    allocated: Mapping[str, int] | None = None

    def domains_of(self, name: str) -> Iterator[Domain]:
        """Give the domains that name an mdev or a VF."""
        for domain in self.domains:
            if name in domain.mdevs or name in domain.functions:
                yield domain

    def definition(self, uuid: str) -> MdevDefinition | None:
        """Find the persistent definition of an mdev."""
        return next((d for d in self.definitions if d.uuid == uuid), None)
