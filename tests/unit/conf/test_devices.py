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
"""What nova.conf says of vGPUs, in either spelling."""

from __future__ import annotations

from nova_vgpu_ext import exception, models
from nova_vgpu_ext.conf import load
from tests import base


class DevicesConfigTest(base.TestCase):
    """``[devices]`` and the sections of the types."""

    def config(self, text: str) -> models.DevicesConfig:
        """Read a configuration."""
        return load.devices_config(load.load([self.write_conf(text)]))

    def test_new_spelling(self) -> None:
        """Everything that a section can say is read, in order."""
        config = self.config(
            '[devices]\nenabled_mdev_types = nvidia-196, nvidia-194\n'
            '[mdev_nvidia-194]\n'
            'device_addresses = 0000:1b:00.0,0000:1a:00.0\n'
            'mdev_class = CUSTOM_SMALL\nmax_instances = 12\n'
            '[compute]\nresource_provider_association_refresh = 0\n'
            '[pci]\nreport_in_placement = yes\n'
        )
        self.assertEqual(
            models.DevicesConfig(
                types=(
                    models.TypeConfig('nvidia-196'),
                    models.TypeConfig(
                        'nvidia-194',
                        ('0000:1b:00.0', '0000:1a:00.0'),
                        'CUSTOM_SMALL',
                        12,
                    ),
                ),
                association_refresh=0,
                pci_in_placement=True,
            ),
            config,
        )

    def test_nothing_is_enabled_by_default(self) -> None:
        """An empty nova.conf asks for nothing, with Nova's defaults."""
        self.assertEqual(models.DevicesConfig(), self.config(''))

    def test_old_spelling(self) -> None:
        """enabled_vgpu_types and [vgpu_<type>] mean the same."""
        config = self.config(
            '[devices]\nenabled_vgpu_types = nvidia-35, nvidia-36\n'
            '[vgpu_nvidia-35]\ndevice_addresses = 0000:84:00.0\n'
            '[mdev_nvidia-36]\ndevice_addresses = 0000:85:00.0\n'
        )
        self.assertEqual(
            (
                models.TypeConfig('nvidia-35', ('0000:84:00.0',)),
                models.TypeConfig('nvidia-36', ('0000:85:00.0',)),
            ),
            config.types,
        )
        self.assertEqual((), config.unused_sections)

    def test_the_new_spelling_wins(self) -> None:
        """With both spellings in one file the new one counts, as in Nova."""
        config = self.config(
            '[devices]\nenabled_vgpu_types = nvidia-1\n'
            'enabled_mdev_types = nvidia-2\n'
            '[vgpu_nvidia-2]\ndevice_addresses = 0000:84:00.0\n'
            '[mdev_nvidia-2]\ndevice_addresses = 0000:85:00.0\n'
        )
        self.assertEqual(
            (models.TypeConfig('nvidia-2', ('0000:85:00.0',)),), config.types
        )

    def test_repetitions_stay(self) -> None:
        """Nova refuses some of them, so the plan must see them."""
        config = self.config(
            '[devices]\nenabled_mdev_types = nvidia-1, nvidia-1\n'
            '[mdev_nvidia-1]\ndevice_addresses = a, a\n'
        )
        self.assertEqual(('nvidia-1',) * 2, tuple(t.id for t in config.types))
        self.assertEqual(('a', 'a'), config.types[0].device_addresses)

    def test_options_that_old_sections_do_not_have(self) -> None:
        """mdev_class and max_instances of [vgpu_<type>] are ignored."""
        config = self.config(
            '[devices]\nenabled_mdev_types = nvidia-35\n'
            '[vgpu_nvidia-35]\nmdev_class = CUSTOM_A\nmax_instances = 3\n'
        )
        self.assertEqual((models.TypeConfig('nvidia-35'),), config.types)
        self.assertEqual(
            ('[vgpu_nvidia-35] mdev_class', '[vgpu_nvidia-35] max_instances'),
            config.ignored_options,
        )

    def test_unused_sections(self) -> None:
        """Sections of types that are not enabled are named, no others."""
        config = self.config(
            '[devices]\nenabled_mdev_types = nvidia-35\n'
            '[mdev_nvidia-35]\n[mdev_nvidia-36]\n[vgpu_nvidia-37]\n'
            '[vgpu]\n[DEFAULT]\n[mdevices]\n'
        )
        self.assertEqual(
            ('mdev_nvidia-36', 'vgpu_nvidia-37'), config.unused_sections
        )

    def test_values_that_nova_refuses(self) -> None:
        """Each is one fatal finding with the value as it is written."""
        for name, written in (
            ('mdev_class', 'vgpu'),
            ('mdev_class', 'VGPU1'),
            ('mdev_class', 'custom_a'),
            ('mdev_class', 'CUSTOM_a'),
            ('mdev_class', 'CUSTOM_' + 'A' * 249),
            ('max_instances', '0'),
            ('max_instances', '-3'),
            ('max_instances', 'four'),
            ('max_instances', '1.5'),
        ):
            config = self.config(
                '[devices]\nenabled_mdev_types = nvidia-35, nvidia-35\n'
                f'[mdev_nvidia-35]\n{name} = {written}\n'
            )
            (finding,) = config.invalid
            self.assertIs(models.Severity.FATAL, finding.severity)
            self.assertEqual(f'[mdev_nvidia-35] {name}', finding.option)
            self.assertEqual(repr(written), finding.found)
            self.assertIn('refuses to start', finding.remedy)
            self.assertIn(
                {'mdev_class': 'CUSTOM_', 'max_instances': 'whole number'}[
                    name
                ],
                finding.expected,
            )

    def test_all_bad_values_are_found_at_once(self) -> None:
        """One look shows every one of them."""
        config = self.config(
            '[devices]\nenabled_mdev_types = nvidia-1, nvidia-2\n'
            '[mdev_nvidia-1]\nmdev_class = x\nmax_instances = 0\n'
            '[mdev_nvidia-2]\nmax_instances = no\n'
        )
        self.assertEqual(
            [
                '[mdev_nvidia-1] mdev_class',
                '[mdev_nvidia-1] max_instances',
                '[mdev_nvidia-2] max_instances',
            ],
            [f.option for f in config.invalid],
        )

    def test_bad_values_beside_the_types(self) -> None:
        """What the checks need from other sections must be right as well."""
        for group, name in (
            ('compute', 'resource_provider_association_refresh'),
            ('pci', 'report_in_placement'),
        ):
            error = self.assertRaises(
                exception.ConfigError,
                self.config,
                f'[{group}]\n{name} = nonsense\n',
            )
            self.assertEqual(f'[{group}] {name}', error.option)
            self.assertEqual("'nonsense'", error.found)
