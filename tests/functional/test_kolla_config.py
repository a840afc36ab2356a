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
"""What kolla render writes, merged by kolla-ansible and read by Nova."""

from __future__ import annotations

import pathlib
import tempfile
from typing import Any

from tests.functional.fixtures import nova as nova_fixture  # isort: skip

import nova.conf.devices
import yaml
from nova import objects
from nova.pci import request as pci_request
from nova.pci import whitelist
from nova.scheduler import filters, weights

from nova_vgpu_ext import models, runtime
from nova_vgpu_ext.plan.kolla import render
from nova_vgpu_ext.sim import builder, profile
from tests import base
from tests.functional.base import run_cli
from tests.functional.fixtures import kolla_config, nova_pci

#: By host: its simulated hardware, and the nova.conf that it has before
#: kolla-ansible comes; None for one that the description was written for.
HOSTS = {
    'gpu01': ('v100x8', None),
    'gpu02': (
        'v100x8-busy',
        '[devices]\nenabled_vgpu_types = nvidia-194, nvidia-197\n'
        '[mdev_nvidia-197]\ndevice_addresses = 0000:1a:00.0\n'
        'mdev_class = CUSTOM_BIG\n',
    ),
    'gpu03': (
        'l40s-vendor-vfio',
        '[pci]\nreport_in_placement = true\n'
        'device_spec = {"address": "0000:21:00.0"}\n'
        'alias = {"name": "nic", "vendor_id": "15b3", "product_id": "1017"}\n',
    ),
}
GROUPS = """\
[control]
ctl1
[compute]
gpu01
gpu02
gpu03 nova_pci_passthrough_whitelist='[{"vendor_id": "8086"}]'
cpu01
[gpu-v100]
gpu01
gpu02
"""
V100 = [
    f'0000:{bus}:00.0'
    for bus in ('1a', '1b', '3d', '3e', '88', '89', 'b2', 'b3')
]
#: The simplest case: eight V100, one type.
OWN = {
    'policy': 'pack',
    'groups': {'gpu-v100': {'gpus': {'all': 'V100DX-1Q'}}},
}
#: Lines of the operator in one of the files.
KEPT = '[DEFAULT]\nreserved_host_memory_mb = 4096\n'


def describe(folder: pathlib.Path) -> dict[str, Any]:
    """Make hosts, and let each that has a nova.conf describe itself."""
    described: dict[str, Any] = {**OWN, 'hosts': {}}
    for host, (name, conf) in HOSTS.items():
        builder.build(profile.load(name), str(folder / host))
        if conf is None:
            continue
        (folder / f'{host}.conf').write_text(conf)
        path = folder / f'{host}.yml'
        outcome = run_cli(
            *('--config-file', str(folder / f'{host}.conf')),
            *('--sysfs-root', str(folder / host), '--node', host),
            *('kolla', 'render', '--from-host', str(path)),
        )
        assert outcome.code == 0, outcome.err  # noqa: S101
        found = yaml.load(path.read_text(), yaml.BaseLoader)  # noqa: S506
        described['hosts'].update(found.pop('hosts'))
        described.update(found)
    return described


class TestKollaConfig(base.TestCase):
    """One deployment: the tests look at its files."""

    folder: pathlib.Path
    merged: kolla_config.KollaConfig
    inventory: pathlib.Path
    description: pathlib.Path
    custom: pathlib.Path

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        cls.inventory = cls.folder / 'inventory'
        kolla_config.write_inventory(cls.inventory, GROUPS)
        cls.description = cls.folder / 'vgpu.yml'
        cls.description.write_text(
            yaml.safe_dump(describe(cls.folder), sort_keys=False)
        )
        cls.custom = cls.folder / 'config'
        (cls.custom / 'nova').mkdir(parents=True)
        (cls.custom / 'nova/nova-compute.conf').write_text(KEPT)
        outcome = cls.write()
        assert outcome.code == 0, outcome.err  # noqa: S101
        cls.merged = kolla_config.KollaConfig(cls.custom, cls.inventory)
        cls.merged.setUp()
        cls.addClassCleanup(cls.merged.cleanUp)

    @classmethod
    def write(cls) -> Any:
        """Run the command on the deployment."""
        return run_cli(
            *('kolla', 'render', str(cls.description)),
            *('--inventory', str(cls.inventory)),
            *('--output', str(cls.custom)),
        )

    def setUp(self) -> None:
        super().setUp()
        objects.register_all()
        self.addCleanup(nova_fixture.reset_conf)
        self.addCleanup(pci_request.get_alias_from_config.cache_clear)

    def nova(self, host: str, service: str = render.COMPUTE) -> Any:
        """Let Nova read the file of a service."""
        nova_fixture.load_conf([self.merged.path(host, service)])
        pci_request.get_alias_from_config.cache_clear()
        nova.conf.devices.register_dynamic_opts(nova_fixture.CONF)
        return nova_fixture.CONF

    def host(self, name: str, conf: pathlib.Path) -> runtime.Runtime:
        """Look at a host with a nova.conf."""
        return runtime.Runtime(
            [str(conf)], sysfs_root=str(self.folder / name), node=name
        )

    def test_second_run(self) -> None:
        """It finds its own work, and the operator's lines are still there."""
        outcome = self.write()
        self.assertEqual((0, 'nothing to do\n'), (outcome.code, outcome.err))
        self.assertEqual(
            {'unchanged'},
            {line.rpartition(' ')[2] for line in outcome.out.splitlines()},
        )
        self.assertEqual(4096, self.nova('cpu01').reserved_host_memory_mb)

    def test_config_check(self) -> None:
        """Each host with GPUs has a nova.conf without a finding."""
        for host in HOSTS:
            path = self.merged.path(host, render.COMPUTE)
            outcome = run_cli(
                *('--config-file', str(path)),
                *('--sysfs-root', str(self.folder / host)),
                *('--node', host, 'config', 'check'),
            )
            self.assertEqual(
                (0, 'no findings\n'), (outcome.code, outcome.err), outcome.out
            )

    def test_same_providers(self) -> None:
        """A host that described itself reports what it has reported."""
        for name, (_, conf) in HOSTS.items():
            if conf is None:
                continue
            before = self.host(name, self.folder / f'{name}.conf').plan()
            merged = self.merged.path(name, render.COMPUTE)
            after = self.host(name, merged).plan()
            self.assertEqual(before.providers, after.providers)
            self.assertEqual(before.pci, after.pci)
            self.assertTrue(after.providers or after.pci, name)

    def test_eight_v100(self) -> None:
        """A group whose GPUs all have one product."""
        conf = self.nova('gpu01')
        self.assertEqual(['nvidia-194'], conf.devices.enabled_mdev_types)
        self.assertEqual([], conf['mdev_nvidia-194'].device_addresses)
        plan = self.host('gpu01', self.merged.path('gpu01', render.COMPUTE))
        self.assertEqual(
            {f'gpu01_{models.libvirt_name(a)}': 32 for a in V100},
            {p.name: p.inventory.total for p in plan.plan().providers},
        )

    def test_host_before_group(self) -> None:
        """The second host has its own types, with a class."""
        conf = self.nova('gpu02')
        self.assertEqual(
            ['nvidia-194', 'nvidia-197'], conf.devices.enabled_mdev_types
        )
        section = conf['mdev_nvidia-197']
        self.assertEqual(['0000:1a:00.0'], section.device_addresses)
        self.assertEqual('CUSTOM_BIG', section.mdev_class)

    def test_vendor_vfio(self) -> None:
        """Nova takes the VFs and the alias, and the operator's own."""
        conf = self.nova('gpu03')
        self.assertEqual([], conf.devices.enabled_mdev_types)
        self.assertTrue(conf.pci.report_in_placement)
        # Three functions, and one each that nova.conf and kolla-ansible had.
        specs = whitelist.Whitelist(conf.pci.device_spec)
        self.assertEqual(5, len(specs.specs))
        self.assertEqual(
            {'l40s-12q', 'nic'}, set(pci_request.get_alias_from_config())
        )
        card = profile.load('l40s-vendor-vfio').gpus[0]
        theirs = nova_pci.providers('gpu03', card)
        (provider,) = (
            self.host('gpu03', self.merged.path('gpu03', render.COMPUTE))
            .plan()
            .pci
        )
        self.assertEqual(
            {provider.name: (provider.resource_class, provider.total)},
            {n: (p.resource_class, p.total) for n, p in theirs.items()},
        )

    def test_host_without_gpus(self) -> None:
        """It offers nothing, and knows the aliases for servers that move."""
        conf = self.nova('cpu01')
        self.assertEqual([], conf.devices.enabled_mdev_types)
        self.assertEqual([], conf.pci.device_spec)
        self.assertFalse(conf.pci.report_in_placement)
        self.assertIn('l40s-12q', pci_request.get_alias_from_config())

    def test_api_and_conductor(self) -> None:
        """Both ask Placement for VFs; the API knows the aliases."""
        conf = self.nova('ctl1', render.API)
        self.assertTrue(conf.filter_scheduler.pci_in_placement)
        self.assertEqual(
            {'l40s-12q', 'nic'}, set(pci_request.get_alias_from_config())
        )
        conf = self.nova('ctl1', 'nova-conductor')
        self.assertTrue(conf.filter_scheduler.pci_in_placement)

    def test_scheduler(self) -> None:
        """Nova loads its own plugins and ours; its defaults stay."""
        nova_fixture.reset_conf()
        default = list(nova_fixture.CONF.filter_scheduler.enabled_filters)
        self.assertEqual(default, list(render.ENABLED_FILTERS))
        conf = self.nova('ctl1', render.SCHEDULER)
        scheduler = conf.filter_scheduler
        self.assertTrue(scheduler.pci_in_placement)
        self.assertEqual(
            [*default, 'PciPassthroughFilter', 'VgpuPolicyFilter'],
            scheduler.enabled_filters,
        )
        loaded = filters.HostFilterHandler().get_matching_classes(
            scheduler.available_filters
        )
        names = {one.__name__ for one in loaded}
        self.assertEqual(set(), set(scheduler.enabled_filters) - names)
        loaded = weights.HostWeightHandler().get_matching_classes(
            scheduler.weight_classes
        )
        names = {one.__name__ for one in loaded}
        self.assertLessEqual(
            {'VgpuPolicyWeigher', 'GpuHostWeigher', 'RAMWeigher'}, names
        )
