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
"""What the ledger shall remember of a host."""

from __future__ import annotations

from collections.abc import Iterator

from nova_vgpu_ext.models import (
    Framework,
    LedgerEntry,
    Snapshot,
    Usage,
)


def entries(snapshot: Snapshot, usage: Usage) -> tuple[LedgerEntry, ...]:
    """Give what is there now, and what is defined to come.

    An entry keeps the domain that used it last until another one does.
    """
    found = {entry.name: entry for entry in _entries(snapshot, usage)}
    return tuple(found.values())


def forgotten(snapshot: Snapshot, usage: Usage) -> tuple[str, ...]:
    """Name the entries that nothing needs any more.

    While a guest may still come back to a removed mdev, its entry is what
    the libvirt hook makes it from; so this is for a boot, not for a clean-up.
    """
    if not usage.has_domains:
        return ()
    known = {entry.name for entry in _entries(snapshot, usage)}
    return tuple(
        name
        for name in usage.ledger
        if name not in known and not any(usage.domains_of(name))
    )


def _entries(snapshot: Snapshot, usage: Usage) -> Iterator[LedgerEntry]:
    for definition in usage.definitions:
        yield _entry(
            definition.uuid, definition.parent, definition.type_id, usage
        )
    for mdev in snapshot.mdevs:
        if mdev.type_id is not None:
            yield _entry(mdev.uuid, mdev.parent, mdev.type_id, usage)
    for gpu in snapshot.gpus:
        if gpu.framework is Framework.VENDOR_VFIO:
            for vf in gpu.vfs:
                if vf.current_type is not None:
                    yield _entry(
                        vf.address, vf.address, vf.current_type, usage
                    )


def _entry(name: str, parent: str, type_id: str, usage: Usage) -> LedgerEntry:
    domain = next(usage.domains_of(name), None)
    if domain is not None:
        return LedgerEntry(name, parent, type_id, domain.name, domain.uuid)
    before = usage.ledger.get(name)
    if before is not None:
        return LedgerEntry(
            name, parent, type_id, before.domain, before.domain_uuid
        )
    return LedgerEntry(name, parent, type_id)
