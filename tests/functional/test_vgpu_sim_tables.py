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
"""The tables of the kernel module, which are made from the profiles."""

from __future__ import annotations

from tests import base
from tools import vgpu_sim_tables


class TestTables(base.TestCase):
    """devstack/vgpu_sim/tables.c."""

    def test_is_what_the_profiles_say(self) -> None:
        """The module offers the cards and hosts of nova_vgpu_ext.sim."""
        self.assertEqual(
            vgpu_sim_tables.tables(),
            vgpu_sim_tables.FILE.read_text(),
            'run python -m tools.vgpu_sim_tables with .venv/bin on the PATH',
        )
