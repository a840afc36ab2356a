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
"""The role for kolla-ansible, as an operator runs it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import Any

import yaml

from nova_vgpu_ext.host import hook_file
from nova_vgpu_ext.sim import kernel, profile
from tests import base
from tests.functional.fixtures import kolla

AGENT = 'nova_vgpu_agent'
PRECHECK = 'nova_vgpu_precheck'
PREPARE = 'nova-vgpu-prepare.service'
CARD = {
    'vendor_vfio': {
        '0000:c1:00.0': {'type': 'L40S-12Q', 'vfs': ['0000:c1:00.4']}
    }
}
VOLUMES = """\
- hosts: compute
  gather_facts: false
  roles:
    - role: nova-cell
      when: false
  tasks:
    - ansible.builtin.copy:
        content: "{{ nova_cell_services['nova-libvirt'].volumes | to_json }}"
        dest: "{{ playbook_dir }}/{{ inventory_hostname }}.json"
        mode: "0644"
"""


class KollaRoleTest(base.TestCase):
    """Actions of ``kolla-ansible -p vgpu.yml``."""

    def setUp(self) -> None:
        super().setUp()
        self.kolla = self.useFixture(kolla.KollaHost())

    def simulate(self) -> str:
        """Make a simulated host with a kernel; give its folder."""
        root = str(self.temp_dir() / 'gpu01')
        kernel.build(profile.load('v100x8'), root)
        return root

    def calls(self) -> list[list[str]]:
        """Take what the engine was asked to do."""
        found: list[list[str]] = self.kolla.state()['calls']
        self.kolla.change(calls=[])
        return found

    def succeed(
        self, action: str, *arguments: str, playbook: str = 'vgpu.yml'
    ) -> kolla.Outcome:
        """Run kolla-ansible, which must succeed."""
        outcome = self.kolla.run(action, *arguments, playbook=playbook)
        self.assertEqual(0, outcome.code, outcome.output)
        return outcome

    def refuse(
        self, action: str, *texts: str, playbook: str = 'vgpu.yml'
    ) -> None:
        """Find errors, and that nothing on the host is changed."""
        outcome = self.kolla.run(action, playbook=playbook)
        self.assertNotEqual(0, outcome.code, outcome.output)
        for text in texts:
            self.assertIn(text, outcome.output)
        self.assertEqual([], self.calls())
        self.assertEqual([], list(self.kolla.units.iterdir()))
        self.assertFalse((self.kolla.node / 'nova-vgpu-agent').exists())
        self.assertEqual(
            ['usr-lib-nvidia'], [x.name for x in self.kolla.host.iterdir()]
        )

    def test_missing(self) -> None:
        """What the role needs is named, before anything is changed."""
        self.refuse(
            'deploy',
            f'gpu01 has no {self.kolla.node}/nova-compute/nova.conf.',
        )
        self.kolla.nova_conf()
        self.refuse(
            'validate-config',
            'Action config_validate does not exist for vgpu.yml. It has ',
        )
        linked, self.kolla.playbooks = (
            self.kolla.playbooks,
            kolla.CONFIGS / 'ansible',
        )
        self.refuse(
            'deploy', 'Missing: container_config_directory, ', 'is not linked'
        )
        self.kolla.playbooks = linked
        # An older release of kolla-ansible.
        variables = self.kolla.playbooks / 'group_vars'
        variables.unlink()
        shutil.copytree(kolla.INSTALLED / 'group_vars', variables)
        common = variables / 'all/common.yml'
        common.write_text(
            common.read_text().replace('default_container_dimensions:', 'x:')
        )
        self.refuse(
            'deploy', 'Missing: default_container_dimensions. Those that'
        )

    def inventory(self, group: str) -> None:
        """Write the inventory, with other lines for the group."""
        self.kolla.inventory.write_text(
            kolla.INVENTORY.replace('[nova-vgpu]\ngpu01\n', group)
        )

    def test_inventory(self) -> None:
        """A missing group is an error, an empty one a warning."""
        self.kolla.nova_conf()
        for playbook in ('vgpu.yml', 'vgpu-remove.yml'):
            self.inventory('')
            self.refuse(
                'deploy',
                'The inventory has no group nova-vgpu (nova_vgpu_group of',
                playbook=playbook,
            )
            self.inventory('[nova-vgpu]\n')
            outcome = self.succeed('deploy', playbook=playbook)
            self.assertIn('WARNING: the group nova-vgpu of', outcome.output)
        self.inventory('[nova-vgpu:children]\ngpu-v100\n')
        self.refuse(
            'deploy',
            'The inventory has no hosts. Ansible could not read it',
            "undefined group 'gpu-v100'",
        )

    def test_description(self) -> None:
        """Hosts and groups with GPUs are looked for in the inventory."""
        self.kolla.nova_conf()
        self.render({'gpu-v100': {'gpus': {'all': 'V100DX-1Q'}}}, {})
        self.refuse('deploy', 'The inventory has no group gpu-v100, for which')
        self.render({}, {'gpu8': {'gpus': {'all': 'V100DX-1Q'}}})
        self.refuse('deploy', 'The inventory has no host gpu8, for which')
        self.render(
            {'compute': {'gpus': {'all': 'V100DX-1Q'}}},
            {'cpu01': CARD},
        )
        self.refuse(
            'prechecks',
            'cpu01 has GPUs in',
            'gpu02 has GPUs in',
            'but is not in the group nova-vgpu of the inventory',
        )
        # What others have written there may need facts.
        with open(self.kolla.etc / 'config/nova/nova-compute.conf', 'a') as f:
            f.write('[DEFAULT]\nmy_ip = {{ ansible_facts.x.address }}\n')
        self.succeed('prechecks')

    def render(self, groups: dict[str, Any], hosts: dict[str, Any]) -> None:
        """Give a description to ``nova-vgpu kolla render``."""
        path = self.kolla.folder / 'vgpu-hosts.yml'
        path.write_text(yaml.safe_dump({'groups': groups, 'hosts': hosts}))
        subprocess.run(  # noqa: S603
            [
                os.path.join(os.path.dirname(sys.executable), 'nova-vgpu'),
                *('kolla', 'render', str(path)),
                *('--output', str(self.kolla.etc / 'config')),
            ],
            capture_output=True,
            check=True,
            timeout=60,
        )

    def test_lost_volumes(self) -> None:
        """Volumes that one file takes from another are named."""
        self.kolla.nova_conf()
        with open(self.kolla.etc / 'globals.yml', 'a') as file:
            file.write('nova_libvirt_extra_volumes: ["/srv:/srv"]\n')
        self.refuse(
            'deploy', 'sets nova_libvirt_extra_volumes, which globals.d/'
        )
        options = self.kolla.etc / 'globals.yml'
        options.rename(self.kolla.etc / 'globals.d/zz.yml')
        options.write_text('{}\n')
        self.refuse(
            'prechecks',
            'nova_libvirt_extra_volumes has no /etc/libvirt/hooks:',
        )

    def test_precheck(self) -> None:
        """The doctor looks at the host, with the nova.conf that is to be."""
        conf = '[mdev_nvidia-194]\ndevice_addresses = 0000:99:00.0\n'
        root = self.simulate()
        self.kolla.nova_conf(root)
        self.succeed('pull')
        self.assertEqual([['pull', f'{kolla.IMAGE}:1.0']], self.calls())
        nic = '{"vendor_id": "15b3", "product_id": "1018"}'
        self.render({}, {'gpu01': CARD, 'cpu01': {'device_specs': [nic]}})
        outcome = self.succeed('prechecks')
        self.assertEqual(0, outcome.count('changed'), outcome.output)
        run = [[verb, PRECHECK] for verb in ('create', 'start', 'remove')]
        self.assertEqual(run, self.calls())
        # One that was interrupted has left its container.
        left = {'State': {'Status': 'running'}, 'Log': ['[]', '']}
        self.kolla.change(containers={PRECHECK: left})
        self.kolla.nova_conf(root, conf)
        outcome = self.kolla.run('prechecks')
        self.assertEqual(2, outcome.code, outcome.output)
        self.assertRegex(outcome.output, r'error: config: .*0000:99:00\.0')
        self.assertEqual(
            [['stop', PRECHECK], ['remove', PRECHECK], *run], self.calls()
        )
        self.assertEqual({}, self.kolla.state()['containers'])

    def test_life(self) -> None:
        """From a deployment that breaks off to the removal."""
        self.kolla.nova_conf(self.simulate())
        self.kolla.change(broken=[AGENT])
        outcome = self.kolla.run('deploy')
        self.assertNotEqual(0, outcome.code)
        self.assertIn('no space left on device', outcome.output)
        self.kolla.change(broken=[], calls=[])
        self.succeed('deploy')
        self.assertEqual([['create', AGENT], ['start', AGENT]], self.calls())
        self.check_container()
        self.check_host()
        outcome = self.succeed('deploy')
        self.assertEqual(0, outcome.count('changed'), outcome.output)
        self.assertEqual([], self.calls())

        conf = self.kolla.node / 'nova-compute/nova.conf'
        conf.write_text(f'{conf.read_text()}traits = type\n')
        self.succeed('reconfigure')
        self.assertEqual([['restart', AGENT], ['start', AGENT]], self.calls())
        self.check_host()

        self.succeed('upgrade', '-e', 'openstack_tag=2.0')
        self.assertEqual(
            ['pull', 'stop', 'remove', 'create', 'start'],
            [call[0] for call in self.calls()],
        )
        unit = (self.kolla.units / PREPARE).read_text()
        self.assertIn(f'{kolla.IMAGE}:2.0', unit)

        outcome = self.succeed('check')
        self.assertEqual(0, outcome.count('changed'), outcome.output)
        self.assertIn('warning: live-migration-options: ', outcome.output)
        (self.kolla.units / f'{PREPARE}.enabled').unlink()
        outcome = self.kolla.run('check')
        self.assertEqual(2, outcome.code, outcome.output)
        self.assertIn(
            f'{PREPARE} is not enabled on gpu01 (disabled): kolla-ansible '
            'deploy with',
            outcome.output,
        )

        self.succeed('stop', '--yes-i-really-really-mean-it')
        self.assertEqual([['stop', AGENT]], self.calls())
        self.check_removal()

    def check_removal(self) -> None:
        """What is ours goes, another's hook stays; again, nothing is done."""
        hook = self.kolla.host / 'hooks/qemu.d/nova-vgpu'
        hook_file.install(str(hook.parents[1]), {})
        outcome = self.succeed('deploy', playbook='vgpu-remove.yml')
        self.assertNotEqual(0, outcome.count('changed'))
        self.assertEqual({}, self.kolla.state()['containers'])
        self.assertEqual([], list(self.kolla.units.iterdir()))
        self.assertFalse((self.kolla.node / 'nova-vgpu-agent').exists())
        self.assertFalse(hook.exists())
        hook.write_text('#!/bin/sh\n# no nova-vgpu-ext: libvirt hook\n')
        outcome = self.succeed('deploy', playbook='vgpu-remove.yml')
        self.assertEqual(0, outcome.count('changed'), outcome.output)
        self.assertTrue(hook.exists())

    def check_container(self) -> None:
        """The agent sees and writes what it must."""
        container = self.kolla.state()['containers'][AGENT]
        config = container['HostConfig']
        self.assertEqual(
            (True, 'host'), (config['Privileged'], config['PidMode'])
        )
        host = self.kolla.host
        self.assertEqual(
            {
                f'{self.kolla.node}/nova-vgpu-agent/'
                ':/var/lib/kolla/config_files/:ro',
                'kolla_logs:/var/log/kolla/:rw',
                '/etc/localtime:/etc/localtime:ro',
                '/lib/modules:/lib/modules:ro',
                '/run/libvirt:/run/libvirt:rw',
                f'{host}/hooks:{host}/hooks:rw',
                f'{host}/mdevctl.d:{host}/mdevctl.d:rw',
                f'{host}/state:{host}/state:rw',
                f'{host}/usr-lib-nvidia:{host}/usr-lib-nvidia:ro',
                '/own:/own:rw',
            },
            set(config['Binds']),
        )

    def check_host(self) -> None:
        """The configuration is nova-compute's, and the unit is enabled."""
        folder = self.kolla.node / 'nova-vgpu-agent'
        self.assertEqual(
            (self.kolla.node / 'nova-compute/nova.conf').read_text(),
            (folder / 'nova.conf').read_text(),
        )
        self.assertEqual(0o660, (folder / 'nova.conf').stat().st_mode & 0o777)
        config = json.loads((folder / 'config.json').read_text())
        self.assertEqual('nova-vgpu-agent', config['command'])
        self.assertTrue((self.kolla.units / f'{PREPARE}.enabled').exists())

    def test_volumes(self) -> None:
        """libvirt gets our volumes beside the operator's, on GPU hosts."""
        playbook = self.kolla.playbooks / 'volumes.yml'
        playbook.write_text(VOLUMES)
        self.kolla.inventory.write_text(
            kolla.INVENTORY.replace('[nova-vgpu]\n', '[nova-vgpu]\ngpu02\n')
        )
        self.succeed('deploy', playbook=playbook.name)
        ours = [
            '/etc/libvirt/hooks:/etc/libvirt/hooks:ro',
            '/etc/mdevctl.d:/etc/mdevctl.d',
            '/var/lib/nova-vgpu-ext:/var/lib/nova-vgpu-ext',
        ]
        for name, expected in (
            ('gpu01', ['/own:/own', *ours]),
            ('gpu02', ['/srv:/srv', *ours]),
            ('cpu01', ['/own:/own']),
        ):
            path = self.kolla.playbooks / f'{name}.json'
            found = json.loads(path.read_text())
            self.assertEqual(expected, found[-len(expected) :])
            self.assertEqual(
                'nova_libvirt_qemu:/etc/libvirt/qemu',
                found[-len(expected) - 2],
            )
            self.assertNotIn('nova-vgpu', str(found[: -len(expected)]))
