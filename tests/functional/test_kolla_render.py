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
"""nova-vgpu kolla render, as an operator meets it."""

from __future__ import annotations

import pathlib

from tests import base
from tests.functional.base import HostTestCase, Outcome, run_cli
from tests.functional.host_base import contents

SAMPLE = pathlib.Path(__file__).parents[2] / 'kolla_configs/vgpu.yml.sample'
INVENTORY = """\
[compute]
gpu[01:11]
[gpu-v100]
gpu[01:08]
"""
GOOD = 'groups: {gpu-v100: {gpus: {all: V100DX-1Q}}}\n'
BAD = """\
hosts:
  gpu10:
    gpus:
      0000:3d:00.0: nvidia-194
      0000:3d:00.0: nvidia-196
      all: V100DX-3Q
  gpu99: {gpus: {all: nvidia-194}}
groups:
  nowhere: {gpus: {all: nvidia-194}}
"""


class TestRender(base.TestCase):
    """From a description to files."""

    def setUp(self) -> None:
        super().setUp()
        self.folder = self.temp_dir()
        self.output = self.folder / 'config'
        (self.folder / 'inventory').write_text(INVENTORY)

    def render(self, text: str, *arguments: str) -> Outcome:
        """Run the command on a description."""
        path = self.folder / 'vgpu.yml'
        path.write_text(text)
        return run_cli(
            *('kolla', 'render', str(path), '--output', str(self.output)),
            *arguments,
        )

    def test_sample(self) -> None:
        """The sample that is shipped can be used, commented parts too."""
        text = SAMPLE.read_text()
        inventory = ('--inventory', str(self.folder / 'inventory'))
        for variant in (text, _uncommented(text)):
            outcome = self.render(variant, *inventory, '--dry-run')
            self.assertEqual((0, ''), (outcome.code, outcome.err))
        self.assertIn(
            '+enabled_filters = ComputeFilter,ImagePropertiesFilter,Mine,',
            outcome.out,
        )
        self.assertFalse(self.output.exists())

    def test_life(self) -> None:
        """Dry run, write, nothing to do, change, remove."""
        path = self.output / 'nova/nova-compute.conf'
        outcome = self.render(GOOD, '--dry-run')
        self.assertIn(f'+++ {path}\n', outcome.out)
        self.assertFalse(self.output.exists())
        outcome = self.render(GOOD)
        self.assertEqual((0, f'{path}: written\n'), outcome[:2])
        self.assertIn('kolla-ansible reconfigure', outcome.err)
        before = contents(str(self.output)), path.stat().st_mtime_ns
        outcome = self.render(GOOD)
        self.assertEqual(
            (0, f'{path}: unchanged\n', 'nothing to do\n'), outcome
        )
        after = contents(str(self.output)), path.stat().st_mtime_ns
        self.assertEqual(before, after)
        self.render(GOOD.replace('1Q', '4Q'))
        self.assertIn('nvidia-196', path.read_text())
        outcome = self.render('hosts: {}\n')
        self.assertEqual((0, f'{path}: removed\n'), outcome[:2])
        self.assertFalse(path.exists())

    def test_bad_input(self) -> None:
        """All that is wrong is said at once, and nothing is written."""
        self.render(GOOD)
        before = contents(str(self.output))
        with open(self.output / 'nova.conf', 'w') as stream:
            stream.write('[devices]\nenabled_vgpu_types = nvidia-35\n')
        before['nova.conf'] = '[devices]\nenabled_vgpu_types = nvidia-35\n'
        outcome = self.render(
            BAD, '--inventory', str(self.folder / 'inventory')
        )
        self.assertEqual((1, ''), outcome[:2])
        for part in (
            'hosts.gpu10.gpus: found 0000:3d:00.0 twice, again in line 5',
            "hosts.gpu10.gpus.all: found type 'V100DX-3Q', expected",
            'hosts.gpu99: found a name that inventory does not have',
            'groups.nowhere: found a name that inventory does not have',
            'nova.conf: [devices] enabled_vgpu_types: found an option that',
        ):
            self.assertIn(part, outcome.err)
        self.assertEqual(5, len(outcome.errors), outcome.err)
        self.assertEqual(before, contents(str(self.output)))

    def test_half_written(self) -> None:
        """A run that fails half-way is completed by the next one."""
        text = SAMPLE.read_text()
        (self.output / 'nova').mkdir(parents=True)
        blocked = self.output / 'nova/.nova-scheduler.conf.new'
        blocked.mkdir()
        outcome = self.render(text)
        self.assertEqual(1, outcome.code)
        self.assertIn('a second run writes what is missing', outcome.err)
        blocked.rmdir()
        outcome = self.render(text)
        self.assertEqual(0, outcome.code)
        self.assertIn('nova-api.conf: unchanged\n', outcome.out)
        self.assertIn('nova-scheduler.conf: written\n', outcome.out)


class TestFromHost(HostTestCase):
    """From a host to a description."""

    def describe(self, profile: str, conf: str, *more: str) -> Outcome:
        """Describe a simulated host."""
        self.path = self.temp_dir() / 'vgpu.yml'
        return run_cli(
            *('--config-file', self.write_conf(conf), '--node', 'gpu01'),
            *('--sysfs-root', self.host(profile)),
            *('kolla', 'render', '--from-host', str(self.path), *more),
        )

    def test_types(self) -> None:
        """Types stay by address, with the names that the driver gives."""
        outcome = self.describe(
            'v100x8',
            '[devices]\nenabled_vgpu_types = nvidia-196, nvidia-194\n'
            '[vgpu_nvidia-196]\ndevice_addresses = 0000:3d:00.0\n'
            '[mdev_nvidia-194]\nmax_instances = 300\n',
            '--dry-run',
        )
        self.assertEqual(
            "---\nhosts:\n  'gpu01':\n    gpus:\n"
            "      '0000:3d:00.0': nvidia-196  # GRID V100DX-4Q\n"
            '      all: {type: nvidia-194, max_instances: 300}'
            '  # GRID V100DX-1Q\n',
            outcome.out,
        )
        self.assertFalse(self.path.exists())

    def test_other_devices_are_kept(self) -> None:
        """Also on a host whose vGPUs are mediated devices."""
        spec = '{"vendor_id": "15b3", "product_id": "1018"}'
        alias = '{"name": "nic", "vendor_id": "15b3", "product_id": "1018"}'
        outcome = self.describe(
            'v100x8',
            '[devices]\nenabled_vgpu_types = nvidia-194\n'
            f'[pci]\ndevice_spec = {spec}\nalias = {alias}\n',
            '--dry-run',
        )
        self.assertIn(f"aliases:\n  - '{alias}'\n", outcome.out)
        self.assertIn(f"device_specs:\n      - '{spec}'\n", outcome.out)

    def test_live_migration(self) -> None:
        """The words of nova.conf come back out of the description."""
        conf = self.write_conf('')
        host = (
            '--sysfs-root',
            self.host('l40s-vendor-vfio'),
            '--node',
            'gpu01',
        )
        shown = run_cli('--config-file', conf, *host, 'config', 'pci').out
        shown = shown.replace(
            '"managed": "no"}', '"managed": "no", "live_migratable": "yes"}'
        ).replace('"type-VF"}', '"type-VF", "live_migratable": "yes"}')
        outcome = self.describe('l40s-vendor-vfio', shown)
        self.assertEqual((0, ''), (outcome.code, outcome.err))
        text = self.path.read_text()
        self.assertIn('live_migratable: yes\n', text)
        self.assertNotIn('device_specs', text)
        self.assertNotIn('aliases', text)
        output = self.temp_dir()
        self.assertEqual(
            0,
            run_cli(
                *('kolla', 'render', str(self.path)),
                *('--output', str(output)),
            ).code,
        )
        rendered = (output / 'nova/nova-compute.conf').read_text()
        for line in shown.splitlines():
            if line.startswith(('device_spec', 'alias')):
                self.assertIn(f'{line}\n', rendered)

    def test_options_of_the_other_way(self) -> None:
        """Nothing that is given is passed over."""
        for option in ('--inventory', '--output'):
            outcome = self.describe('v100x8', '', option, 'x')
            self.assertEqual(1, outcome.code)
            self.assertIn(f'--from-host with {option}', outcome.err)

    def test_not_over_another(self) -> None:
        """A file that is there stays."""
        conf = '[devices]\nenabled_vgpu_types = nvidia-194\n'
        self.assertEqual(0, self.describe('v100x8', conf).code)
        outcome = run_cli(
            *('--config-file', self.write_conf(conf), '--node', 'gpu02'),
            *('--sysfs-root', self.host('v100x8')),
            *('kolla', 'render', '--from-host', str(self.path)),
        )
        self.assertEqual(1, outcome.code)
        self.assertIn('found a file, expected none', outcome.err)
        self.assertIn("'gpu01'", self.path.read_text())

    def test_what_cannot_be_said(self) -> None:
        """A nova.conf that Nova does not follow is to be mended first."""
        for conf, part in (
            ('[devices]\n', 'found no type, and no virtual function has'),
            (
                '[devices]\nenabled_vgpu_types = nvidia-194, nvidia-195\n',
                'at most one type without addresses',
            ),
            (
                '[devices]\nenabled_vgpu_types = nvidia-194\n'
                '[mdev_nvidia-194]\nmdev_class = CUSTOM_A\n',
                'found class CUSTOM_A for all GPUs',
            ),
        ):
            outcome = self.describe('v100x8', conf)
            self.assertEqual(1, outcome.code)
            self.assertIn(part, outcome.err)
            self.assertFalse(self.path.exists())


def _uncommented(text: str) -> str:
    """Take the commented keys of the sample for ones that are set."""
    lines = []
    for line in text.splitlines():
        indent, mark, rest = line.partition('# ')
        is_key = mark and not indent.strip() and _is_yaml(rest)
        lines.append(f'{indent}{rest}' if is_key else line)
    return '\n'.join(lines)


def _is_yaml(text: str) -> bool:
    first = text.strip().split(' ')[0]
    return first.endswith(':') or first == '-'
