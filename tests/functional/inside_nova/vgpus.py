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
"""Nova's own functional tests of vGPUs, with the plugins enabled.

Their computes are the libvirt driver's, over Nova's fake libvirt.
"""

from __future__ import annotations

import collections
import inspect
import unittest
from typing import Any

from nova.tests.functional.libvirt import test_vgpu

from tests.functional.inside_nova import plugins

#: How often each plugin was at work in all tests.
CALLS: collections.Counter[str] = collections.Counter()


#: It holds a bug of Nova's fast (1874664): the scheduler tries the GPU that
#: the first guest of a request has filled for the second one as well, and
#: gives up. With a policy that GPU comes last.
_BUG = 'test_multiple_instance_create_filling_up_capacity'


class _WithPlugins(plugins.WithPlugins):
    def tearDown(self: Any) -> None:
        """Count."""
        super().tearDown()  # type: ignore[misc]
        CALLS.update(self.plugins.calls)


class FillingUpTest(_WithPlugins, test_vgpu.VGPUTests):  # type: ignore[misc]
    """The request of the test that holds the bug fast."""

    def test_both_guests_fit(self) -> None:
        """Each guest gets a whole GPU."""
        flavor = self._create_flavor(extra_spec={'resources:VGPU': '16'})
        body = self._build_server(
            flavor_id=flavor, networks='auto', host=self.compute1.host
        )
        body['min_count'] = 2
        self.api.post_server({'server': body})
        servers = self.api.get_servers()
        self.assertEqual(2, len(servers))
        for server in servers:
            self._wait_for_state_change(server, 'ACTIVE')


def _with(case: type, options: str) -> type:
    """Mix the plugins into a test case."""
    body = {'__module__': __name__, 'OPTIONS': options}
    return type(f'{case.__name__}WithPlugins', (_WithPlugins, case), body)


def load_tests(
    loader: unittest.TestLoader, _: unittest.TestSuite, __: str | None
) -> unittest.TestSuite:
    """Take every test of Nova's module, with a policy if it can be."""
    suite = unittest.TestSuite([FillingUpTest('test_both_guests_fit')])
    for _, case in inspect.getmembers(test_vgpu, inspect.isclass):
        if case.__module__ != test_vgpu.__name__:
            continue
        for name in loader.getTestCaseNames(case):
            options = '' if name == _BUG else 'gpu_policy = pack'
            suite.addTest(_with(case, options)(name))
    return suite


def tearDownModule() -> None:
    """Prove that the plugins were there."""
    print('plugins at work:', dict(CALLS))
    if not CALLS['VgpuPolicyFilter']:
        msg = 'the filter was never asked'
        raise AssertionError(msg)
