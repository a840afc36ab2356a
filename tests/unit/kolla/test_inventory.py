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
"""The inventory, read by Ansible's own program."""

from __future__ import annotations

import os
import sys

import fixtures

from nova_vgpu_ext import exception
from nova_vgpu_ext.kolla import inventory
from tests import base

TEXT = """\
lonely ansible_connection=local
[gpu-a]
gpu[01:02]
[gpus:children]
gpu-a
[empty]
"""


class InventoryTest(base.TestCase):
    """Hosts and groups."""

    def test_groups(self) -> None:
        """Ranges and children are Ansible's business."""
        found = inventory.load(self.write_conf(TEXT, 'hosts'))
        gpus = frozenset({'gpu01', 'gpu02'})
        self.assertEqual('hosts', found.source)
        self.assertEqual({*gpus, 'lonely'}, found.hosts)
        self.assertEqual(gpus, found.groups['gpus'])
        self.assertEqual(gpus, found.groups['gpu-a'])
        self.assertEqual(frozenset(), found.groups['empty'])
        self.assertEqual(found.hosts, found.groups['all'])

    def refused(self, path: str) -> str:
        """Load what cannot be loaded."""
        error = self.assertRaises(exception.ConfigError, inventory.load, path)
        self.assertNotIn('\n', str(error))
        return str(error)

    def test_no_inventory(self) -> None:
        """Ansible itself would only warn."""
        path = self.write_conf('[a\nx: {', 'hosts')
        self.assertIn('what ansible-inventory refuses: ', self.refused(path))
        self.assertIn('no such file', self.refused(f'{path}.none'))

    def test_no_program(self) -> None:
        """It says which one, and where it comes from."""
        empty = str(self.temp_dir())
        self.useFixture(fixtures.EnvironmentVariable('PATH', empty))
        self.patch('sys.executable', os.path.join(empty, 'python'))
        path = self.write_conf(TEXT)
        self.assertIn('no ansible-inventory on the PATH', self.refused(path))

    def test_strange_answer(self) -> None:
        """A program that is another."""
        folder = self.temp_dir()
        self.useFixture(
            fixtures.EnvironmentVariable(
                'PATH', f'{folder}:{os.path.dirname(sys.executable)}'
            )
        )
        path = self.write_conf(TEXT)
        program = folder / 'ansible-inventory'
        for answer in ('no json', '[]', '{"a": 1}', '{"a": {"hosts": 1}}'):
            program.write_text(f"#!/bin/sh\necho '{answer}'\n")
            program.chmod(0o755)
            self.assertIn('an answer that is no', self.refused(path))
