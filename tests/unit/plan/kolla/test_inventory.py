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
"""A description against an inventory."""

from __future__ import annotations

from nova_vgpu_ext.plan.kolla import inventory
from nova_vgpu_ext.plan.kolla.description import Description, Entry
from tests import base

INVENTORY = inventory.Inventory(
    'multinode',
    frozenset({'gpu01', 'gpu02', 'ctl1'}),
    {
        'all': frozenset({'gpu01', 'gpu02', 'ctl1'}),
        'compute': frozenset({'gpu01', 'gpu02'}),
        'a': frozenset({'gpu01', 'gpu02'}),
        'b': frozenset({'gpu02'}),
        'control': frozenset({'ctl1'}),
    },
)


def check(hosts: tuple[str, ...], groups: tuple[str, ...]) -> list[str]:
    """Check a description with these names; give the findings."""
    description = Description(
        tuple(map(Entry, hosts)), tuple(map(Entry, groups))
    )
    found = inventory.check('vgpu.yml', description, INVENTORY)
    return [str(finding) for finding in found]


class CheckTest(base.TestCase):
    """Names that do not fit."""

    def test_right(self) -> None:
        """A host of its own may be in several groups."""
        self.assertEqual([], check(('gpu02',), ('a', 'b')))

    def test_unknown(self) -> None:
        """Hosts and groups that are not there, with those that are."""
        host, group = check(('gpu1',), ('c',))
        self.assertEqual(
            'error: vgpu.yml: hosts.gpu1: found a name that multinode does '
            'not have, expected a host of the inventory: ctl1, gpu01, '
            'gpu02; mend the name, or add it to the inventory',
            host,
        )
        self.assertIn('a group of the inventory: a, b, compute', group)

    def test_two_groups(self) -> None:
        """A host would silently take the first one."""
        (found,) = check((), ('a', 'b'))
        self.assertIn(
            'groups.b: found gpu02, which groups.a has as well', found
        )

    def test_no_compute_host(self) -> None:
        """A warning: nothing would come of it."""
        found = check(('ctl1',), ('control',))
        self.assertEqual(2, len(found))
        for line in found:
            self.assertIn('warning: ', line)
            self.assertIn('ctl1, outside the group compute', line)
