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
"""Nova's own functional tests of vGPUs, with this project's plugins."""

from __future__ import annotations

from tests import base
from tests.functional import nova_process


class NovaVgpuSuiteTest(base.TestCase):
    """``nova.tests.functional.libvirt.test_vgpu``, from Nova's wheel."""

    def test_every_test_passes(self) -> None:
        """And one more, for a bug of Nova's that a policy keeps away."""
        nova_process.run(self, 19, 'vgpus')
