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
"""Nova and this project write the same tree, and neither undoes the other."""

from __future__ import annotations

from tests.functional.fixtures import nova as nova_fixture  # isort: skip

from nova_vgpu_ext.conf import load
from nova_vgpu_ext.host import snapshot
from nova_vgpu_ext.placement import access, reporter
from nova_vgpu_ext.placement import client as placement_client
from nova_vgpu_ext.placement.tree import Tree, TreeReader
from nova_vgpu_ext.plan import inventory, report
from nova_vgpu_ext.sim import builder, profile
from tests import base
from tests.functional.fixtures import nova_report
from tests.functional.fixtures import placement as placement_fixture

NODE = nova_fixture.NODE

_CONFIGURATIONS = {
    'v100x8': '[devices]\nenabled_vgpu_types = nvidia-194\n',
    'v100x8-busy': (
        '[devices]\nenabled_mdev_types = nvidia-194,nvidia-197\n'
        '[mdev_nvidia-197]\ndevice_addresses = 0000:1a:00.0,0000:1b:00.0\n'
        'mdev_class = CUSTOM_BIG\n'
    ),
    # Room for eight of 32 virtual functions: which, is libvirt's order.
    'a40-sriov': (
        '[devices]\nenabled_mdev_types = nvidia-558\n'
        '[mdev_nvidia-558]\nmax_instances = 8\n'
    ),
    'mtty': (
        '[devices]\nenabled_mdev_types = mtty-1\n'
        '[mdev_mtty-1]\ndevice_addresses = mtty_mtty\n'
    ),
}

if not nova_fixture.KNOWS_VIRTUAL:
    del _CONFIGURATIONS['mtty']


class TestConvergence(base.TestCase):
    """Each order of the two ends in the same tree and in silence."""

    def setUp(self) -> None:
        super().setUp()
        self.server = self.useFixture(placement_fixture.PlacementServer())

    def _host(self, name: str) -> None:
        described = profile.load(name)
        conf = _CONFIGURATIONS[name]
        root = self.temp_dir() / 'sys'
        builder.build(described, str(root))
        # libvirt lists devices in an order of its own.
        order = [d.address for g in described.gpus for d in g.devices][::-1]
        host = self.useFixture(nova_fixture.NovaHost(described, order))
        self.nova = self.useFixture(
            nova_report.NovaReporter(host, self.server, conf)
        )
        options = load.load([self.write_conf(conf + self._placement())])
        config = load.devices_config(options)
        seen = snapshot.observe(str(root), None)

        def plan(tree: Tree) -> tuple[object, tuple[str, ...]]:
            wanted = inventory.plan(
                config, seen, NODE, ('type', 'series'), tree.with_inventory
            )
            self.assertFalse(wanted.is_fatal, wanted.findings)
            return wanted.providers, wanted.held

        self._plan = plan
        self.client = placement_client.PlacementClient(
            access.from_conf(options)
        )
        self.reporter = reporter.Reporter(
            self.client, TreeReader(self.client, NODE, 4)
        )

    def _placement(self) -> str:
        return self.server.config_text()

    def _report(self) -> tuple[report.Action, ...]:
        return self.reporter.run(self._plan, lambda action: None).actions

    def _inventories(self) -> dict[str, object]:
        return {
            name: found.inventories
            for name, found in self.server.providers(NODE).items()
        }

    def _assert_silence(self) -> None:
        with self.server.counting() as requests:
            for _ in range(2):
                self.assertEqual((), self._report())
                self.nova.periodic(stale=True)
        self.assertEqual([], [r for r in requests if r.is_write])

    def test_nova_first(self) -> None:
        """After nova-compute nothing is left to do but our traits."""
        for name in _CONFIGURATIONS:
            with self.subTest(name):
                self._fresh(name)
                self.nova.start()
                before = self._inventories()
                self.assertGreater(len(before), 1)
                actions = self._report()
                self.assertEqual(
                    {report.SetTraits}, {type(a) for a in actions}
                )
                self.assertEqual(before, self._inventories())
                self._assert_silence()

    def test_ours_first(self) -> None:
        """nova-compute finds its tree, and adds only its own trait."""
        for name in _CONFIGURATIONS:
            if name == 'a40-sriov':
                continue  # Nova alone chooses, see the next test.
            with self.subTest(name):
                self._fresh(name)
                self.server.create_provider(
                    NODE, uuid_=nova_report.root_uuid(NODE)
                )
                self._report()
                before = self.server.providers(NODE)
                self.nova.start()
                after = self.server.providers(NODE)
                self.assertEqual(set(before), set(after))
                for gpu in set(before) - {NODE}:
                    self.assertEqual(
                        before[gpu].inventories, after[gpu].inventories
                    )
                    self.assertEqual(
                        before[gpu].traits | nova_fixture.OWN_TRAITS,
                        after[gpu].traits,
                    )
                self._assert_silence()

    def test_cap_follows_novas_choice(self) -> None:
        """Where a cap leaves a choice, Nova's stands after one round."""
        self._host('a40-sriov')
        self.server.create_provider(NODE, uuid_=nova_report.root_uuid(NODE))
        self._report()
        self.nova.start()
        chosen = self._inventories()
        self.assertEqual(9, len(chosen))
        self._report()
        self.assertEqual(chosen, self._inventories())
        self._assert_silence()

    def _fresh(self, name: str) -> None:
        """Start over with an empty Placement."""
        for found in reversed(self.server.providers().values()):
            self.server.delete_provider(found.name)
        self._host(name)
