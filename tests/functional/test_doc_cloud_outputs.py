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
"""The administrator's guide shows what ``openstack vgpu`` prints today."""

from __future__ import annotations

import shlex

from tests.functional import osc_base
from tools import doc_outputs


class CloudOutputsTest(osc_base.OscTestCase):
    """Runs every command of the guide, one after the other, in one cloud."""

    maxDiff = None

    def make(self) -> dict[str, str]:
        """Give the text of each output by its name."""
        self.texts: dict[str, str] = {}
        first = self.gpu_host('gpu01.example.org')
        second = self.gpu_host('gpu02.example.org', type_=196, total=8)
        self.show(
            'gpu-list',
            'gpu list -c host -c address -c type -c total -c used -c free',
        )
        self.show('type-list', 'type list')
        create = '--ram 8192 --vcpus 4 --disk 40'
        self.show(
            'flavor-create',
            f'flavor create vgpu-1q --type nvidia-194 {create} --dry-run',
            f'flavor create vgpu-1q --type nvidia-194 {create}',
        )
        self.show(
            'flavor-two',
            f'flavor create vgpu-2x4q --type V100DX-4Q --count 2 {create}',
        )
        self.show('flavor-show', 'flavor show vgpu-1q')
        self.show('flavor-sync', f'flavor sync --prefix auto- {create}')
        self.show_any(
            'flavor-by-hand',
            'flavor create vgpu.1q --vcpus 4 --ram 8192 --disk 40 '
            '-c name -c vcpus -c ram',
            'flavor set vgpu.1q --property resources:VGPU=1 '
            '--property trait:CUSTOM_NVIDIA_194=required',
        )
        for name, specification in (
            ('plain', 'resources:VGPU=1'),
            ('param', 'vgpu:frame_rate_limiter=0'),
            ('policy', 'vgpu:gpu_policy=spread'),
        ):
            self.show_any(
                f'flavor-{name}',
                f'flavor set vgpu.1q --property {specification}',
            )
        self.wrong_flavors()
        self.show('flavor-check', 'flavor check -f yaml')
        one = {'VGPU': 1}
        for name, gpu in (('web', first[0]), ('cad', first[1])):
            self.server(name, 'vgpu-1q', 'gpu01.example.org', {gpu: one})
        self.server(
            'render',
            'vgpu-2x4q',
            'gpu02.example.org',
            dict.fromkeys(second, one),
        )
        self.show(
            'server-list',
            'server list -c name -c flavor -c host -c gpu -c class -c count',
        )
        self.show('usage', 'usage show --by host', 'usage show --by type')
        self.show('audit-clean', 'audit')
        self.placement.allocate({first[0]: one})
        self.placement.set_traits(second[1], {'OWNER_NOVA'})
        self.show('audit', 'audit -f yaml')
        self.show(
            'audit-forms',
            'audit --host gpu01.example.org -f csv -c check -c object',
            'audit --heal --dry-run -f csv -c check -c state',
        )
        self.show('audit-heal', 'audit --heal -f yaml')
        return self.texts

    def wrong_flavors(self) -> None:
        """Make flavors by hand that cannot work."""
        for name, key, value in (
            ('wrong-trait', 'trait:CUSTOM_NVIDIA_999', 'required'),
            ('wrong-key', 'resources:VGPUS', '1'),
        ):
            self.run_osc(
                *('flavor', 'create', name, '--ram', '1024', '--vcpus', '1'),
                *('--property', 'resources:VGPU=1'),
                *('--property', f'{key}={value}'),
            )

    def show(self, name: str, *commands: str) -> None:
        """Run commands of ``openstack vgpu`` as a page shows them."""
        self.show_any(name, *(f'vgpu {command}' for command in commands))

    def show_any(self, name: str, *commands: str) -> None:
        """Run any commands of ``openstack`` as a page shows them."""
        text = ''
        for command in commands:
            done = self.run_osc(*shlex.split(command))
            text += f'$ openstack {command}\n{done.out}{done.err}'
        self.texts[f'cloud-{name}'] = text

    def test_outputs(self) -> None:
        """Each file is what its commands print, UUIDs aside."""
        made = self.make()
        written = {
            path.stem: path.read_text()
            for path in doc_outputs.FOLDER.glob('cloud-*.txt')
        }
        self.assertEqual(
            {n: doc_outputs.normalise(t) for n, t in made.items()},
            {n: doc_outputs.normalise(t) for n, t in written.items()},
            'run python -m tools.doc_outputs with .venv/bin on the PATH',
        )

    def write(self) -> None:
        """Write the files, for tools.doc_outputs."""
        for name, text in self.make().items():
            (doc_outputs.FOLDER / f'{name}.txt').write_text(text)
