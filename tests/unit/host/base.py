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
"""Simulated hosts for tests."""

import os

import fixtures
import testtools

from nova_vgpu_ext.host import snapshot
from nova_vgpu_ext.host import sysfs as files
from nova_vgpu_ext.sim import builder
from nova_vgpu_ext.sim import profile as profiles


class FaultySysfs(files.Sysfs):
    """Raises or answers what a test says, at the boundary to the files.

    ``faults`` maps the end of a path to an exception or to bytes.
    """

    def __init__(self, root, faults):
        super().__init__(root)
        self.faults = faults

    def _fault(self, path):
        for end, fault in self.faults.items():
            if path.endswith(end):
                if isinstance(fault, OSError):
                    raise fault
                return fault
        return None

    def _read(self, path):
        fault = self._fault(path)
        return super()._read(path) if fault is None else fault

    def _list(self, path):
        self._fault(path)
        return super()._list(path)

    def _link(self, path):
        self._fault(path)
        return super()._link(path)


class HostTestCase(testtools.TestCase):
    def setUp(self):
        super().setUp()
        self.temp = self.useFixture(fixtures.TempDir()).path
        self.root = os.path.join(self.temp, 'sys')
        self.catalog = os.path.join(self.temp, 'vgpuConfig.xml')

    def build(self, profile):
        if isinstance(profile, str):
            profile = profiles.load(profile)
        builder.build(profile, self.root)
        builder.write_catalog(profile, self.catalog)
        return profile

    def observe(self, faults=None, catalog=None):
        return snapshot.observe_sysfs(
            FaultySysfs(self.root, faults or {}), catalog
        )

    def write(self, path, text):
        with open(os.path.join(self.root, path), 'w') as stream:
            stream.write(text)

    def assert_problem(self, observed, path, found):
        """Assert that there is exactly one problem, and which."""
        self.assertEqual(1, len(observed.problems), observed.problems)
        problem = observed.problems[0]
        self.assertTrue(problem.path.endswith(path), problem)
        self.assertIn(found, problem.found)
