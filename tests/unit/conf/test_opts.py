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
"""The configuration reference, as oslo-config-generator makes it."""

from __future__ import annotations

import pathlib
import subprocess
import sys

from nova_vgpu_ext.conf import load, opts, placement
from tests import base


class GeneratorTest(base.TestCase):
    """The entry point ``oslo.config.opts``."""

    def generate(self) -> str:
        """Run the real generator."""
        program = pathlib.Path(sys.executable).with_name(
            'oslo-config-generator'
        )
        done = subprocess.run(  # noqa: S603
            [str(program), '--namespace', 'nova_vgpu_ext'],
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual((0, ''), (done.returncode, done.stderr))
        return done.stdout

    def test_every_option_is_in_the_sample(self) -> None:
        """The sample names each option that can be set, with its help."""
        sample = self.generate()
        listed = [
            (getattr(group, 'name', group), opt)
            for group, group_opts in opts.list_opts()
            for opt in group_opts
        ]
        self.assertGreater(len(listed), 20)
        for group, opt in listed:
            self.assertIn(f'\n[{group}]\n', sample)
            self.assertIn(f'\n#{opt.dest} =', sample)
            self.assertTrue(opt.help, opt.dest)

    def test_the_sample_is_a_configuration(self) -> None:
        """It can be read, and sets nothing."""
        conf = load.load([self.write_conf(self.generate())])
        self.assertEqual((), load.devices_config(conf).types)
        self.assertIsNone(conf.vgpu.node_name)


class PlacementOptionsTest(base.TestCase):
    """``[placement]``."""

    def test_versions_cannot_be_set(self) -> None:
        """Which microversions are used is no matter of configuration."""
        conf = load.load(
            [
                self.write_conf(
                    '[placement]\nversion = 2\nmin_version = 1.1\n'
                    'max_version = 1.2\n'
                )
            ]
        )
        placement.register_opts(conf)
        for name in ('version', 'min_version', 'max_version'):
            self.assertIsNone(conf.placement[name])

    def test_defaults_are_nova_s(self) -> None:
        """Without a word Placement is looked up as Nova does it."""
        conf = load.load([self.write_conf('')])
        placement.register_opts(conf)
        self.assertEqual('placement', conf.placement.service_type)
        self.assertEqual(
            ['internal', 'public'], conf.placement.valid_interfaces
        )
