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
"""Extra specs of flavors, through nova-api."""

from __future__ import annotations

from nova.tests.functional import integrated_helpers
from nova.tests.functional.api import client

from nova_vgpu_ext.nova_plugins import validators


class ExtraSpecsTest(integrated_helpers.ProviderUsageBaseTestCase):
    """What an administrator sets, and what is refused."""

    compute_driver = 'fake.SmallFakeDriver'

    def setUp(self) -> None:
        super().setUp()
        self.flavor = self._create_flavor()

    def set(self, name: str, value: str) -> None:
        """Set an extra spec."""
        self.api.post_extra_spec(self.flavor, {'extra_specs': {name: value}})

    def refusal(self, name: str, value: str) -> str:
        """Have an extra spec refused; give what the API says."""
        error = self.assertRaises(
            client.OpenStackApiException, self.set, name, value
        )
        self.assertEqual(400, error.response.status_code)
        return str(error)

    def test_every_value_that_is_known(self) -> None:
        """They are kept."""
        for validator in validators.register():
            for value in validator.value['enum']:
                self.set(validator.name, value)
                kept = self.api.get_extra_specs(self.flavor)
                self.assertEqual(value, kept[validator.name])

    def test_mistakes(self) -> None:
        """The answer says what is wrong, and nothing is kept."""
        self.assertIn(
            "'pakc' is not one of: pack, spread",
            self.refusal('vgpu:gpu_policy', 'pakc'),
        )
        self.assertIn(
            "'yes' is not one of: 0, 1",
            self.refusal('vgpu:disable_vnc', 'yes'),
        )
        self.assertIn(
            "extra spec 'vgpu:gpu_polcy' does not appear to be a valid",
            self.refusal('vgpu:gpu_polcy', 'pack'),
        )
        self.assertEqual({}, self.api.get_extra_specs(self.flavor))
