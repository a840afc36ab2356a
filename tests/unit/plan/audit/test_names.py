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
"""The names of the checks."""

from __future__ import annotations

import pathlib
import re

from nova_vgpu_ext.plan import audit
from tests import base

PAGE = pathlib.Path(__file__).parents[4] / 'doc/source/reference/audit.rst'


class NamesTest(base.TestCase):
    """They are for scripts and for readers."""

    def test_page(self) -> None:
        """The page describes each check once, in order."""
        rows = re.findall(r'^   \* - ``([a-z-]+)``$', PAGE.read_text(), re.M)
        self.assertEqual(list(audit.CHECKS), rows)
