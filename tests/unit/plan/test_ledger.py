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
"""What is remembered of a host, and what is forgotten."""

from __future__ import annotations

from nova_vgpu_ext.models import LedgerEntry, Usage
from nova_vgpu_ext.plan import ledger
from tests import base
from tests.unit.plan import hosts
from tests.unit.plan.hosts import GPU_1, GPU_2, UUIDS

VF = '0000:41:00.4'


class EntriesTest(base.TestCase):
    """What a reboot must be able to bring back."""

    def entries(
        self, *gpus: hosts.models.Gpu, **usage: object
    ) -> dict[str, LedgerEntry]:
        """Remember a host; by name."""
        found = ledger.entries(hosts.host(*gpus), Usage(**usage))
        self.assertEqual(len({e.name for e in found}), len(found))
        return {e.name: e for e in found}

    def test_mdevs(self) -> None:
        """Where each is, of which type, and whose it is."""
        gpu = hosts.holding(hosts.gpu(), hosts.mdev(0), hosts.mdev(1))
        self.assertEqual(
            {
                UUIDS[0]: LedgerEntry(
                    UUIDS[0], GPU_1, 'nvidia-194', 'vm', 'vm-uuid'
                ),
                UUIDS[1]: LedgerEntry(UUIDS[1], GPU_1, 'nvidia-194'),
            },
            self.entries(gpu, domains=(hosts.domain('vm', 0),)),
        )

    def test_functions_with_a_type(self) -> None:
        """Those without one have nothing to bring back."""
        self.assertEqual(
            {VF: LedgerEntry(VF, VF, '1153', 'vm', 'vm-uuid')},
            self.entries(
                hosts.vendor('1153', None),
                domains=(hosts.domain('vm', VF),),
            ),
        )

    def test_functions_that_hand_out_mdevs(self) -> None:
        """They have no type of their own."""
        self.assertEqual({}, self.entries(hosts.sriov()))

    def test_definitions(self) -> None:
        """Of mdevs that are not there now."""
        self.assertEqual(
            {UUIDS[0]: LedgerEntry(UUIDS[0], GPU_2, 'nvidia-196')},
            self.entries(
                hosts.gpu(),
                definitions=(hosts.definition(0, GPU_2, 'nvidia-196'),),
            ),
        )

    def test_what_is_there_counts_more_than_what_is_defined(self) -> None:
        """The guest that runs has the one that is there."""
        found = self.entries(
            hosts.holding(hosts.gpu(), hosts.mdev(0)),
            definitions=(hosts.definition(0, GPU_2, 'nvidia-196'),),
        )
        self.assertEqual(GPU_1, found[UUIDS[0]].parent)
        self.assertEqual('nvidia-194', found[UUIDS[0]].type_id)

    def test_the_last_guest_is_kept(self) -> None:
        """Nova undefines a domain in a hard reboot, and defines it again."""
        gpu = hosts.holding(hosts.gpu(), hosts.mdev(0))
        before = {
            UUIDS[0]: LedgerEntry(
                UUIDS[0], GPU_1, 'nvidia-194', 'old', 'old-uuid'
            )
        }
        self.assertEqual(before, self.entries(gpu, ledger=before))
        found = self.entries(
            gpu, ledger=before, domains=(hosts.domain('new', 0),)
        )
        self.assertEqual('new', found[UUIDS[0]].domain)

    def test_an_mdev_whose_type_is_not_known(self) -> None:
        """It vanished while it was read; what was known of it stays."""
        gpu = hosts.holding(hosts.gpu(), hosts.mdev(0, None))
        self.assertEqual({}, self.entries(gpu))

    def test_nothing(self) -> None:
        """An empty host."""
        self.assertEqual({}, self.entries())


class ForgottenTest(base.TestCase):
    """Entries that nobody comes back to."""

    def forgotten(self, *gpus: hosts.models.Gpu, **usage: object) -> set[str]:
        """Forget what can be forgotten of entries 0 to 3."""
        entries = {
            name: entry
            for number in range(4)
            for name, entry in hosts.entry(number).items()
        }
        found = Usage(ledger=entries, **usage)
        return set(ledger.forgotten(hosts.host(*gpus), found))

    def test_what_is_there_defined_or_named_stays(self) -> None:
        """Each alone is a reason."""
        self.assertEqual(
            {UUIDS[3]},
            self.forgotten(
                hosts.holding(hosts.gpu(), hosts.mdev(0)),
                definitions=(hosts.definition(1),),
                domains=(hosts.domain('vm', 2),),
            ),
        )

    def test_without_libvirt_nothing_is_forgotten(self) -> None:
        """Nobody knows what its domains name."""
        self.assertEqual(set(), self.forgotten(has_domains=False))

    def test_an_empty_host(self) -> None:
        """All of them, where libvirt says that it has no domains."""
        self.assertEqual(set(UUIDS[:4]), self.forgotten())

    def test_functions(self) -> None:
        """By their address."""
        entries = {VF: LedgerEntry(VF, VF, '1153')}
        for current, domains, expected in (
            ('1153', (), ()),
            (None, (hosts.domain('vm', VF),), ()),
            (None, (), (VF,)),
        ):
            usage = Usage(ledger=entries, domains=domains)
            snapshot = hosts.host(hosts.vendor(current))
            self.assertEqual(expected, ledger.forgotten(snapshot, usage))
