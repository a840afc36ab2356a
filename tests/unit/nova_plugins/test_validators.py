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
"""What nova-api lets through of ``vgpu:``."""

from __future__ import annotations

from nova import exception
from nova.api.validation.extra_specs import validators as nova_validators

from nova_vgpu_ext.nova_plugins import asked, validators
from nova_vgpu_ext.plan import parameters
from tests import base


class ValidatorsTest(base.TestCase):
    """Through Nova's own validation, which loads the entry point."""

    def refused(self, name: str, value: str) -> str:
        """Have Nova refuse an extra spec; give what it says."""
        error = self.assertRaises(
            exception.ValidationError, nova_validators.validate, name, value
        )
        return str(error)

    def test_good_values(self) -> None:
        """Every value that the hook, or the scheduler, takes."""
        for key, values in parameters.KNOWN.items():
            for value in values:
                nova_validators.validate(f'vgpu:{key}', value)
        for value in ('pack', 'spread'):
            nova_validators.validate(asked.POLICY_KEY, value)

    def test_bad_values(self) -> None:
        """The message has the value, and the values that would be taken."""
        for value in ('2', '', 'true', ' 1', '1,disable_vnc=1'):
            text = self.refused('vgpu:enable_uvm', value)
            self.assertIn(f"'{value}' is not one of: 0, 1", text)
        for value in ('Pack', 'none', ''):
            text = self.refused('vgpu:gpu_policy', value)
            self.assertIn(f"'{value}' is not one of: pack, spread", text)

    def test_bad_keys(self) -> None:
        """A key of the prefix that nothing reads is a mistake."""
        for name in ('vgpu:policy', 'vgpu:Enable_uvm', 'vgpu:', 'vgpu:a:b'):
            self.assertIn(f"'{name}'", self.refused(name, '1'))

    def test_other_prefixes_are_left_alone(self) -> None:
        """What is not this project's passes as before."""
        for name in ('vgpus:x', 'my:enable_uvm', 'vgpu', 'resources:VGPU'):
            nova_validators.validate(name, '1')

    def test_they_describe_themselves(self) -> None:
        """Each has a name of its own, a text and its values."""
        found = validators.register()
        names = [validator.name for validator in found]
        self.assertEqual(
            {f'vgpu:{key}' for key in parameters.KNOWN} | {asked.POLICY_KEY},
            set(names),
        )
        self.assertEqual(len(names), len(set(names)))
        for validator in found:
            self.assertTrue(validator.description.endswith('.'))
            self.assertEqual(
                ' or '.join(validator.value['enum']),
                validator.value['description'],
            )
