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
"""What the commands make of the client's connection."""

from __future__ import annotations

import types

from keystoneauth1 import session

from nova_vgpu_ext.osc import cloud
from tests import base


class TimeoutTest(base.TestCase):
    """No request waits for ever."""

    def test_timeout(self) -> None:
        """There is one, and that of the user stays."""
        for given, expected in ((None, 60.0), (5, 5.0)):
            http = session.Session(timeout=given)
            cloud.Cloud(types.SimpleNamespace(session=http))
            self.assertEqual(expected, http.timeout)
