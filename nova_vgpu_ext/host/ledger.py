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
"""The ledger: which mdev or type belonged where, and to whom.

Its format is that of the libvirt hook, which has to be one file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from nova_vgpu_ext import exception
from nova_vgpu_ext.hook import qemu
from nova_vgpu_ext.models import LedgerEntry

_REMEDY = (
    'mend it, or move it away: it is made again from libvirt, mdevctl and '
    'sysfs'
)


class Ledger:
    """The ledger below one folder; whoever writes holds the host's lock.

    :param state_path: ``[vgpu] state_path``.
    """

    def __init__(self, state_path: str) -> None:
        self.path = os.path.join(state_path, qemu.LEDGER)

    def read(self) -> dict[str, LedgerEntry]:
        """Read every entry by its name; nothing if there is no ledger.

        :raises HostError: it cannot be used.
        """
        try:
            entries = qemu.read_ledger(self.path)
        except (qemu.LedgerError, OSError) as error:
            said = str(error).removeprefix(f'{self.path}: found ')
            found, _, expected = said.partition(', expected ')
            raise exception.HostError(
                self.path, found, expected or 'a ledger', _REMEDY
            ) from error
        return {
            name: LedgerEntry(
                name,
                str(entry['parent']),
                str(entry['type']),
                entry['domain'],
                entry['domain_uuid'],
            )
            for name, entry in entries.items()
        }

    def change(
        self, entries: Iterable[LedgerEntry], forget: Iterable[str] = ()
    ) -> None:
        """Add or replace entries, and drop others.

        :raises HostError: it cannot be read or written.
        """
        before = self.read()
        forgotten = set(forget)
        after = {k: v for k, v in before.items() if k not in forgotten}
        after.update({entry.name: entry for entry in entries})
        if after != before:
            self._write(after)

    def _write(self, entries: Mapping[str, LedgerEntry]) -> None:
        try:
            qemu.write_ledger(
                self.path,
                {
                    name: {
                        'parent': entry.parent,
                        'type': entry.type_id,
                        'domain': entry.domain,
                        'domain_uuid': entry.domain_uuid,
                    }
                    for name, entry in entries.items()
                },
            )
        except OSError as error:
            raise exception.HostError(
                self.path,
                error.strerror or str(error),
                'a file that can be written',
                'free some space, or correct [vgpu] state_path',
            ) from error
