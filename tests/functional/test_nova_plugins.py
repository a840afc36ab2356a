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
"""This project's plugins in Nova's API and scheduler.

Nova's API, conductor, scheduler and computes, and Placement, run together in a
process of their own: Nova's own functional tests do it so.
"""

from __future__ import annotations

from tests import base
from tests.functional import nova_process


class PluginsTest(base.TestCase):
    """Each test runs some of :mod:`tests.functional.inside_nova`."""

    def test_pack(self) -> None:
        """The GPU and the host of new guests."""
        nova_process.run(self, 6, 'policies', 'PackTest')

    def test_spread_and_no_policy(self) -> None:
        """The other policy, none, and guests without a vGPU."""
        nova_process.run(self, 3, 'policies', 'SpreadTest', 'GpuHostTest')

    def test_moves(self) -> None:
        """Migration, resize, evacuation, rebuild, a host that is forced."""
        nova_process.run(self, 8, 'policies', 'MoveTest')

    def test_placement_does_not_answer(self) -> None:
        """Guests start all the same."""
        nova_process.run(self, 2, 'policies', 'DownTest', 'SilentTest')

    def test_extra_specs(self) -> None:
        """nova-api keeps what is known and refuses the rest."""
        nova_process.run(self, 2, 'extra_specs')
