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
"""The settings of devstack's plugin, and the files that it writes.

The rest of it runs in ``tests/lab``, with a kernel and libvirt.
"""

from __future__ import annotations

import configparser
import json
import pathlib
import re
import shlex
import subprocess
import sys
from typing import Any, cast

from oslo_utils import importutils

from nova_vgpu_ext.osc import flavor
from nova_vgpu_ext.plan import traits
from nova_vgpu_ext.sim import builder, profile
from tests import base

ROOT = pathlib.Path(__file__).parents[2]

_SCRIPT = """\
set -o errexit -o pipefail
DEST=$PWD DATA_DIR=$PWD DEVSTACK_VENV={prefix}
ENABLED_SERVICES=n-cpu,n-api,n-sch NOVA_FILTERS=ComputeFilter
REGION_NAME=RegionOne NOVA_CONF=$PWD/nova.conf TEMPEST_CONFIG=$PWD/tempest.conf
touch nova.conf tempest.conf
source {root}/tests/devstack/functions
function sudo {{ "$@"; }}
function openstack {{ printf '%s\\n' "$*"; }}
{localrc}
source {root}/devstack/settings
source {root}/devstack/plugin.sh none
vgpu_check_settings
{line}
"""

ADDRESS = '0000:1a:00.0'
TWO = 'VGPU_TYPES="nvidia-194 nvidia-196=0000:1a:00.0,0000:1b:00.0"'


class DevstackTestCase(base.TestCase):
    """A test with a folder and bash."""

    def setUp(self) -> None:
        super().setUp()
        self.folder = self.temp_dir()

    def bash(
        self, localrc: str, line: str = ''
    ) -> subprocess.CompletedProcess[str]:
        """Run a line where devstack would, with what localrc says."""
        script = _SCRIPT.format(
            root=shlex.quote(str(ROOT)),
            prefix=shlex.quote(sys.prefix),
            localrc=localrc,
            line=line,
        )
        return subprocess.run(  # noqa: S603
            ['bash', '-c', script],  # noqa: S607
            cwd=self.folder,
            env={'PATH': '/usr/bin:/bin'},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def run_line(self, localrc: str, line: str) -> str:
        """Run a line that must succeed; give its output."""
        done = self.bash(localrc, line)
        self.assertEqual((0, ''), (done.returncode, done.stderr))
        return done.stdout.strip()

    def conf(self, name: str) -> configparser.ConfigParser:
        """Read a file that was written."""
        parser = configparser.ConfigParser(strict=False, interpolation=None)
        parser.read(self.folder / name)
        return parser


class SettingsTest(DevstackTestCase):
    """What may stand in local.conf."""

    def test_bad_values(self) -> None:
        """Each is refused with what it is, before anything is done."""
        for localrc, expected in (
            ('VGPU_GPUS=fake', 'VGPU_GPUS="fake" .* sim or real'),
            ('VGPU_GPUS=real', 'VGPU_TYPES="".* such as'),
            ('VGPU_SIM_HOST=v100', 'VGPU_SIM_HOST="v100".* large,'),
            ('VGPU_SIM_HOST=mtty', 'VGPU_SIM_HOST="mtty"'),
            ("VGPU_SIM_HOST='.*'", 'VGPU_SIM_HOST="..".* a40-sriov,'),
            ('VGPU_SIM_HOST=mixed', 'VGPU_TYPES=""'),
            ('VGPU_SIM_GPUS=a40', 'VGPU_SIM_GPUS="a40".* CARD@ADDRESS'),
            ("VGPU_TYPES='nvidia-194;ls'", 'nvidia-194;ls" is neither'),
            ('VGPU_TYPES=nvidia-194=1a:00.0', '"nvidia-194=1a:00.0" is'),
            ("VGPU_TYPES='nvidia-194 nvidia-195'", 'one type without'),
            (
                f"VGPU_TYPES='nvidia-1={ADDRESS} nvidia-2={ADDRESS}'",
                f'each address once; {ADDRESS} is there twice',
            ),
            (
                f"VGPU_TYPES='nvidia-1 nvidia-1={ADDRESS}'",
                'each type once; nvidia-1 is there twice',
            ),
            ('VGPU_HOOK=maybe', 'VGPU_HOOK="maybe".* True or False'),
            ('VGPU_SCHEDULER=2', 'VGPU_SCHEDULER="2"'),
            ('VGPU_GPU_POLICY=fill', 'VGPU_GPU_POLICY="fill".* pack'),
            ('VGPU_FLAVOR_RAM=4G', 'VGPU_FLAVOR_RAM="4G".* a number'),
            ('VGPU_FLAVOR_VCPUS=0', 'VGPU_FLAVOR_VCPUS="0"'),
            ('VGPU_FLAVOR_DISK=-1', 'VGPU_FLAVOR_DISK="-1"'),
        ):
            done = self.bash(localrc, 'echo went on')
            self.assertNotEqual(0, done.returncode, localrc)
            self.assertRegex(done.stderr, expected)
            self.assertEqual('', done.stdout)

    def test_good_values(self) -> None:
        """What the README shows is taken."""
        for localrc in (
            '',
            TWO,
            'VGPU_GPUS=real VGPU_TYPES=L40S-12Q',
            f'VGPU_SIM_GPUS=a40@{ADDRESS}/4,l40s@0001:c1:00.0 VGPU_TYPES=1148',
            'VGPU_HOOK=yes VGPU_FLAVORS=0 VGPU_FLAVOR_DISK=0',
            'VGPU_GPU_POLICY=spread',
        ):
            self.run_line(localrc, '')

    def test_type_of_each_host(self) -> None:
        """The default is a type that all GPUs of the host offer."""
        for name in ('v100x8', 'v100x8-busy', 'a40-sriov', 'large'):
            line = f'VGPU_SIM_HOST={name}'
            chosen = self.run_line(line, 'echo "$VGPU_TYPES"')
            self.assertIn(chosen, profile.load(name).types)
        chosen = self.run_line(
            'VGPU_SIM_HOST=l40s-vendor-vfio', 'echo "$VGPU_TYPES"'
        )
        types = profile.load('l40s-vendor-vfio').types.values()
        self.assertIn(f'NVIDIA {chosen}', {t.name for t in types})

    def test_agent_can_be_left_out(self) -> None:
        """As any service of devstack."""
        enabled = 'echo "$ENABLED_SERVICES"'
        self.assertIn('vgpu-agent', self.run_line('', enabled))
        done = self.bash('disable_service vgpu-agent', enabled)
        self.assertNotIn('vgpu-agent', done.stdout)

    def test_host_without_nova_compute(self) -> None:
        """Nothing of GPUs is asked for."""
        self.run_line(
            'ENABLED_SERVICES=n-api,n-sch VGPU_SIM_HOST=mixed',
            'vgpu_configure',
        )
        self.assertNotIn('devices', self.conf('nova.conf'))


class FilesTest(DevstackTestCase):
    """nova.conf, tempest.conf and flavors."""

    def test_types(self) -> None:
        """Types of both kinds, with and without addresses."""
        self.run_line(
            'VGPU_TYPES="nvidia-194 nvidia-196=0000:1a:00.0,0000:1b:00.0 '
            'L40S-12Q 1148=0000:c1:00.0,0000:c2:00.0"',
            'vgpu_configure_compute; vgpu_configure_compute',
        )
        conf = self.conf('nova.conf')
        self.assertEqual(
            'nvidia-194,nvidia-196', conf['devices']['enabled_mdev_types']
        )
        self.assertEqual(
            '0000:1a:00.0,0000:1b:00.0',
            conf['mdev_nvidia-196']['device_addresses'],
        )
        self.assertNotIn('mdev_nvidia-194', conf)
        self.assertEqual(
            'L40S-12Q,0000:c1:00.0=1148,0000:c2:00.0=1148',
            conf['vgpu']['vf_types'],
        )

    def test_scheduler(self) -> None:
        """The plugins are there once, beside what was there before."""
        (self.folder / 'nova.conf').write_text(
            '[filter_scheduler]\nenabled_filters = First,Second\n'
        )
        self.run_line(
            'VGPU_TYPES="nvidia-194 L40S-12Q=0000:c1:00.0" '
            'VGPU_GPU_POLICY=pack',
            'vgpu_configure_scheduler; vgpu_configure_scheduler',
        )
        text = (self.folder / 'nova.conf').read_text()
        available = re.findall('^available_filters = (.*)$', text, re.M)
        self.assertEqual('nova.scheduler.filters.all_filters', available[0])
        options = self.conf('nova.conf')['filter_scheduler']
        names = options['weight_classes'].split(',')
        self.assertEqual('nova.scheduler.weights.all_weighers', names[0])
        self.assertEqual((2, 3), (len(available), len(names)))
        for name in (*available, *names):
            self.assertIsNotNone(importutils.import_class(name))
        self.assertEqual(
            'First,Second,PciPassthroughFilter,VgpuPolicyFilter',
            options['enabled_filters'],
        )
        self.assertEqual('pack', self.conf('nova.conf')['vgpu']['gpu_policy'])

    def test_filters_of_devstack(self) -> None:
        """Where nova.conf has none, they are those that devstack names."""
        self.run_line('', 'vgpu_configure_scheduler')
        options = self.conf('nova.conf')['filter_scheduler']
        self.assertEqual(
            'ComputeFilter,VgpuPolicyFilter', options['enabled_filters']
        )

    def test_tempest(self) -> None:
        """The tests of several types only where there are several."""
        self.run_line(TWO, 'vgpu_configure_tempest')
        self.assertEqual(
            {
                'vgpu_vendor_id': '10de',
                'vgpu_type_mapping': 'CUSTOM_NVIDIA_194:nvidia-194,'
                'CUSTOM_NVIDIA_196:nvidia-196',
            },
            dict(self.conf('tempest.conf')['whitebox-hardware']),
        )
        self.assertIn('VGPUMultiTypes', self.selected())
        (self.folder / 'tempest.conf').write_text('')
        self.run_line('', 'vgpu_configure_tempest')
        self.assertEqual(
            {'vgpu_vendor_id': '10de'},
            dict(self.conf('tempest.conf')['whitebox-hardware']),
        )
        self.assertEqual(
            {'VGPUSmoke', 'VGPUResizeInstance', 'VGPUColdMigration'},
            self.selected(),
        )

    def selected(self) -> set[str]:
        """Name the test classes that the regular expressions choose."""
        lines = (self.folder / 'vgpu-tests.txt').read_text().splitlines()
        module = 'whitebox_tempest_plugin.api.compute.test_vgpu'
        return {
            name
            for name in (
                'VGPUColdMigration',
                'VGPUMultiTypes',
                'VGPUResizeInstance',
                'VGPUServerEvacuation',
                'VGPUSmoke',
            )
            if any(
                re.search(line, f'{module}.{name}.test_something[id-1]')
                for line in lines
            )
        }

    def test_traits(self) -> None:
        """Those of nova-vgpu report."""
        for type_id in ('nvidia-194', 'i915-GVTg_V5_4', 'mtty-2'):
            self.assertEqual(
                traits.type_trait(type_id),
                self.run_line('', f'vgpu_trait {type_id}'),
            )

    def test_flavors(self) -> None:
        """The command is one that openstack knows."""
        line = self.run_line('VGPU_FLAVOR_DISK=0', 'vgpu_create_flavors')
        before, _, words = line.partition(' vgpu flavor sync ')
        self.assertEqual(
            '--os-cloud devstack-admin --os-region-name RegionOne', before
        )
        command = flavor.FlavorSync(cast(Any, None), None)
        given = command.get_parser('sync').parse_args(words.split())
        self.assertEqual((512, 1, 0), (given.ram, given.vcpus, given.disk))


class HostTest(DevstackTestCase):
    """nova-vgpu, as the plugin calls it, on a simulated host."""

    def simulate(self, name: str) -> None:
        """Make a host, and a nova.conf that names it."""
        root = self.folder / 'host'
        builder.build(profile.load(name), str(root))
        (self.folder / 'nova.conf').write_text(
            f'[vgpu]\nsysfs_root = {root}\nnode_name = gpu01\n'
            f'libvirt_uri =\nstate_path = {self.folder}/state\n'
        )

    def test_vendor_vfio(self) -> None:
        """Types are set, and Nova is told of the functions."""
        self.simulate('l40s-vendor-vfio')
        self.run_line(
            'VGPU_SIM_HOST=l40s-vendor-vfio',
            'vgpu_configure_compute; vgpu_prepare; vgpu_configure_pci; '
            'vgpu_check_config 2>&1; vgpu_configure_scheduler',
        )
        text = (self.folder / 'nova.conf').read_text()
        specs = re.findall('^device_spec = (.*)$', text, re.M)
        self.assertEqual(
            {'CUSTOM_NVIDIA_L40S_12Q'},
            {json.loads(spec)['resource_class'] for spec in specs},
        )
        conf = self.conf('nova.conf')
        self.assertEqual(
            'type-VF', json.loads(conf['pci']['alias'])['device_type']
        )
        self.assertEqual('true', conf['pci']['report_in_placement'])
        options = conf['filter_scheduler']
        self.assertEqual('true', options['pci_in_placement'])
        self.assertIn('PciPassthroughFilter', options['enabled_filters'])

    def test_no_function_has_a_type(self) -> None:
        """nova-compute is not started without GPUs."""
        self.simulate('v100x8')
        done = self.bash('VGPU_TYPES=L40S-12Q', 'vgpu_configure_pci')
        self.assertNotEqual(0, done.returncode)
        self.assertIn('no virtual function has a type of', done.stderr)

    def test_type_that_the_host_does_not_have(self) -> None:
        """The finding is shown, and nothing goes on."""
        self.simulate('v100x8')
        done = self.bash(
            'VGPU_TYPES="nvidia-194 nvidia-999=0000:1a:00.0"',
            'vgpu_configure_compute; vgpu_check_config; echo went on',
        )
        self.assertNotEqual(0, done.returncode)
        self.assertIn(
            'nova-vgpu-ext: Nova cannot use VGPU_TYPES="n', done.stderr
        )
        self.assertIn('[devices] enabled_mdev_types', done.stderr)
        self.assertNotIn('went on', done.stdout)
        self.run_line('', 'vgpu_configure_compute; vgpu_check_config 2>&1')
