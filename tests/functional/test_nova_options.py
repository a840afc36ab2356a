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
"""The options that are Nova's are the same in Nova itself."""

from __future__ import annotations

from typing import Any

import nova.conf.compute
import nova.conf.devices
import nova.conf.libvirt
import nova.conf.pci
import nova.conf.utils
from oslo_config import cfg

from nova_vgpu_ext.conf import devices, load, placement
from nova_vgpu_ext.conf import nova as nova_opts
from tests import base
from tests.functional.fixtures import nova as nova_fixture

FILE = """\
[devices]
enabled_vgpu_types = nvidia-35, nvidia-36
[vgpu_nvidia-35]
device_addresses = 0000:84:00.0
"""


def described(conf: cfg.ConfigOpts, group: str) -> dict[str, Any]:
    """Give everything but the help of each option of a group."""
    found = {}
    for name, info in conf._groups[group]._opts.items():
        opt = info['opt']
        found[name] = (
            type(opt),
            opt.type,
            opt.default,
            opt.required,
            opt.secret,
            sorted((d.group or '', d.name or '') for d in opt.deprecated_opts),
        )
    return found


class NovaOptionsTest(base.TestCase):
    """Name, kind, type, limits, default and old spellings."""

    def confs(self) -> tuple[cfg.ConfigOpts, cfg.ConfigOpts]:
        """Read one file with our options and with Nova's."""
        path = self.write_conf(FILE)
        ours = load.load([path])
        theirs = cfg.ConfigOpts()
        nova.conf.devices.register_opts(theirs)
        nova.conf.compute.register_opts(theirs)
        nova.conf.pci.register_opts(theirs)
        nova.conf.libvirt.register_opts(theirs)
        theirs([], default_config_files=[path], default_config_dirs=[])
        return ours, theirs

    def test_devices(self) -> None:
        """[devices] is Nova's, option for option."""
        ours, theirs = self.confs()
        self.assertEqual(
            described(theirs, 'devices'), described(ours, 'devices')
        )

    def test_sections_of_types(self) -> None:
        """So are the sections that the types bring."""
        ours, theirs = self.confs()
        nova.conf.devices.register_dynamic_opts(theirs)
        for type_id in ('nvidia-35', 'nvidia-36'):
            devices.register_mdev_opts(ours, type_id)
            group = f'mdev_{type_id}'
            self.assertEqual(described(theirs, group), described(ours, group))
            self.assertEqual(dict(theirs[group]), dict(ours[group]))

    def test_other_sections(self) -> None:
        """What is read of other sections is as Nova has it."""
        ours, theirs = self.confs()
        for group, opts in nova_opts.opts.items():
            expected = described(theirs, group)
            for name, found in described(ours, group).items():
                self.assertEqual(expected[name], found, name)
            self.assertEqual(len(opts), len(described(ours, group)))

    def test_placement(self) -> None:
        """A nova-compute's [placement] section has no option too many."""
        ours = cfg.ConfigOpts()
        placement.register_opts(ours)
        expected = described(nova_fixture.CONF, 'placement')
        found = described(ours, 'placement')
        # Nova's options are global: an authentication plugin that another
        # test loaded may have left its own there.
        self.assertLessEqual(set(found), set(expected))
        for opt in nova.conf.utils.get_ksa_adapter_opts('placement'):
            self.assertIn(opt.dest, found)
        for name in set(found) - {'version', 'min_version', 'max_version'}:
            self.assertEqual(expected[name], found[name], name)

    def test_the_fixture_uses_these_options(self) -> None:
        """Nova's own CONF reads the same file to the same values."""
        path = self.write_conf(FILE)
        self.addCleanup(nova_fixture.reset_conf)
        nova_fixture.load_conf([path])
        ours = load.load([path])
        self.assertEqual(
            nova_fixture.CONF.devices.enabled_mdev_types,
            ours.devices.enabled_mdev_types,
        )
