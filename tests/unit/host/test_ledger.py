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
"""What is remembered of mdevs and functions, on disk."""

from __future__ import annotations

import errno
import json
import os
import pathlib

from nova_vgpu_ext import exception
from nova_vgpu_ext.host import ledger
from nova_vgpu_ext.models import LedgerEntry
from tests import base

UUID = 'd878445d-df99-4510-b467-c67a4c1a7c34'
OTHER = '0b7d9f4e-5f0b-4a52-9f61-6c1f5a3c2d10'
GUEST = '4f3c1a6e-8f57-4c7c-8d22-1f7c1b8e9a02'
VF = '0000:c1:00.4'

MDEV = LedgerEntry(UUID, '0000:1a:00.0', 'nvidia-194', 'vm-1', GUEST)
FREE = LedgerEntry(OTHER, 'mtty_mtty', 'mtty-2')
FUNCTION = LedgerEntry(VF, VF, '1153')


class LedgerTest(base.TestCase):
    """Kept as a whole, or refused as a whole."""

    def setUp(self) -> None:
        super().setUp()
        self.state = self.temp_dir()
        self.ledger = ledger.Ledger(str(self.state))
        self.file = pathlib.Path(self.ledger.path)

    def names(self) -> list[str]:
        """List what is kept."""
        return sorted(self.ledger.read())

    def refused(self) -> str:
        """Give the one line that says why it cannot be read."""
        before = self.file.is_symlink() or self.file.read_bytes()
        for call in (self.ledger.read, lambda: self.ledger.change([MDEV])):
            error = self.assertRaises(exception.HostError, call)
        self.assertNotIn('\n', str(error))
        self.assertLess(len(str(error)), 400)
        self.assertEqual(1, str(error).count(self.ledger.path))
        self.assertIn('move it away', str(error))
        after = self.file.is_symlink() or self.file.read_bytes()
        self.assertEqual(before, after)
        return str(error)

    def test_what_is_kept_is_read(self) -> None:
        """With the guest, or without one."""
        self.ledger.change([MDEV, FREE, FUNCTION])
        self.assertEqual(
            {UUID: MDEV, OTHER: FREE, VF: FUNCTION},
            ledger.Ledger(str(self.state)).read(),
        )

    def test_a_host_without_one(self) -> None:
        """Nothing is remembered, and nothing is made for that."""
        self.assertEqual({}, self.ledger.read())
        self.ledger.change([])
        self.assertEqual([], os.listdir(self.state))

    def test_others_stay(self) -> None:
        """A change names only what is new."""
        self.ledger.change([MDEV, FREE])
        moved = LedgerEntry(UUID, '0000:1b:00.0', 'nvidia-196')
        self.ledger.change([moved])
        self.assertEqual({UUID: moved, OTHER: FREE}, self.ledger.read())

    def test_entries_are_forgotten(self) -> None:
        """Those that are named, once; a list may be one that runs dry."""
        self.ledger.change([MDEV, FREE, FUNCTION])
        self.ledger.change([], forget=iter([UUID, VF, 'unknown']))
        self.assertEqual([OTHER], self.names())

    def test_what_is_added_is_not_forgotten(self) -> None:
        """Both in one change: it is there."""
        self.ledger.change([MDEV], forget=[UUID])
        self.assertEqual([UUID], self.names())

    def test_no_write_without_a_change(self) -> None:
        """The agent remembers the same thing in each cycle."""
        self.ledger.change([MDEV, FREE])
        before = self.file.stat()
        self.ledger.change([FREE, MDEV], forget=['unknown'])
        self.assertEqual(before, self.file.stat())

    def test_only_root_may_read_it(self) -> None:
        """It tells which guest is where."""
        self.ledger.change([MDEV])
        self.assertEqual(0o600, self.file.stat().st_mode & 0o777)

    def test_a_truncated_one(self) -> None:
        """It stays as it is, for a person to look at."""
        self.ledger.change([MDEV, FREE])
        whole = self.file.read_bytes()
        for size in (0, 1, len(whole) // 2, len(whole) - 3):
            self.file.write_bytes(whole[:size])
            self.refused()

    def test_one_from_the_future(self) -> None:
        """An older program must not take from it what it does not know."""
        self.ledger.change([MDEV])
        data = json.loads(self.file.read_text())
        data['version'] += 1
        self.file.write_text(json.dumps(data))
        self.assertIn('version', self.refused())

    def test_a_link(self) -> None:
        """Whoever could make it would choose what root trusts."""
        self.ledger.change([MDEV])
        self.file.rename(self.state / 'elsewhere')
        self.file.symlink_to('elsewhere')
        self.assertIn('symbolic link', self.refused())

    def test_something_else(self) -> None:
        """Other JSON, no JSON, bytes, and more than a ledger can have."""
        for data in (
            b'[]',
            b'null',
            b'{}',
            b'{"version": 1}',
            b'{"version": "1", "entries": {}}',
            b'{"version": 1, "entries": []}',
            b'\xff\xfe\x00',
            b'[' * 100_000,
            b' ' * (5 << 20),
        ):
            self.file.write_bytes(data)
            self.refused()

    def test_hostile_entries_are_left_out(self) -> None:
        """What they say would become paths; the good ones count."""
        self.ledger.change([MDEV])
        data = json.loads(self.file.read_text())
        good = data['entries'][UUID]
        for name, change in (
            ('../../etc', {}),
            (OTHER.upper(), {}),
            (OTHER, {'parent': '../../../etc'}),
            (OTHER, {'parent': None}),
            (OTHER, {'type': 'a/b'}),
            (OTHER, {'type': 7}),
            (OTHER, {'domain': 'a\nb'}),
            (OTHER, {'domain_uuid': 'x'}),
            (VF, {'type': '0'}),
            (VF, {'type': 'nvidia-194'}),
        ):
            data['entries'] = {UUID: good, name: {**good, **change}}
            self.file.write_text(json.dumps(data))
            self.assertEqual({UUID: MDEV}, self.ledger.read(), (name, change))

    def test_a_full_disk_leaves_the_old_one(self) -> None:
        """And no copy beside it; the line says what to do."""
        self.ledger.change([MDEV])

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        self.patch('os.fsync', full)
        error = self.assertRaises(
            exception.HostError, self.ledger.change, [FREE]
        )
        self.assertIn(self.ledger.path, str(error))
        self.assertIn('No space left', str(error))
        self.assertEqual({UUID: MDEV}, self.ledger.read())
        self.assertEqual([self.file.name], os.listdir(self.state))

    def test_a_missing_folder(self) -> None:
        """The lock makes it; without the lock there is nothing to write."""
        lost = ledger.Ledger(str(self.state / 'none'))
        self.assertEqual({}, lost.read())
        error = self.assertRaises(exception.HostError, lost.change, [MDEV])
        self.assertIn('[vgpu] state_path', str(error))
