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
"""How the scheduler's plugins ask the real Placement, and what goes wrong."""

from __future__ import annotations

import time
import uuid
from typing import Any
from unittest import mock

from nova_vgpu_ext.models import Capacity
from nova_vgpu_ext.nova_plugins import adviser
from nova_vgpu_ext.plan.policy import Slot
from tests import base
from tests.functional.fixtures import placement

_TYPE = 'CUSTOM_NVIDIA_194'


class AskingTest(base.TestCase):
    """A scheduler that was started with a nova.conf, and three hosts."""

    def setUp(self) -> None:
        super().setUp()
        self.server = self.useFixture(placement.PlacementServer())
        text = '[vgpu]\ngpu_policy = pack\ngpu_policy_timeout = 2\n'
        path = self.write_conf(text + self.server.config_text())
        conf = mock.Mock(config_file=[path], config_dir=[])
        self.patch('nova.conf.CONF', conf)
        adviser.shared.cache_clear()
        self.addCleanup(adviser.shared.cache_clear)
        self.uuids: dict[str, str] = {}
        for host in ('one', 'two', 'three'):
            self.make(host, None, {'MEMORY_MB': 1024})
        self.gpu('one', '1a', used=3)
        self.gpu('one', '1b', used=8)
        self.gpu('two', '1a', used=0)
        self.gpu('three', '1a', used=8)
        self.server.add_traits('two_pci_0000_1a_00_0', _TYPE)

    def make(self, name: str, parent: str | None, totals: Any) -> None:
        """Make a provider."""
        self.uuids[name] = self.server.create_provider(
            name, self.uuids[parent] if parent else None
        )
        self.server.set_inventories(name, totals)

    def gpu(self, host: str, bus: str, used: int) -> None:
        """Make a GPU with eight vGPUs."""
        name = f'{host}_pci_0000_{bus}_00_0'
        self.make(name, host, {'VGPU': 8})
        if used:
            taken = {self.uuids[name]: {'resources': {'VGPU': used}}}
            self.server.api(
                'PUT',
                f'/allocations/{uuid.uuid4()}',
                {
                    'allocations': taken,
                    'consumer_generation': None,
                    'project_id': 'a-project',
                    'user_id': 'a-user',
                    'consumer_type': 'INSTANCE',
                },
            )

    def ask(self, *required: str, host: str | None = None) -> Any:
        """Ask how full the GPUs are; give it by their names."""
        found: dict[Slot, Capacity] | None = (
            adviser.shared()._lookup.capacities(
                'VGPU', required, self.uuids[host] if host else None
            )
        )
        if found is None:
            return None
        names = {
            u: n.replace('_pci_0000_', ' ') for n, u in self.uuids.items()
        }
        return {
            names[provider].removesuffix('_00_0'): has.used
            for (provider, name), has in found.items()
            if name == 'VGPU'
        }

    def warnings(self) -> list[str]:
        """Give the log lines about failures."""
        return [w for w in self.logs.lines if 'without a GPU policy' in w]

    def test_one_request_for_all_hosts(self) -> None:
        """A host without a free vGPU is left out."""
        self.ask()  # Connects.
        with self.server.counting() as requests:
            self.assertEqual(
                {'one 1a': 3, 'one 1b': 8, 'two 1a': 0}, self.ask()
            )
        self.assertEqual(1, len(requests))

    def test_a_type_and_a_host_narrow_it(self) -> None:
        """To hosts that have the type, and to the one that is left."""
        self.assertEqual({'two 1a': 0}, self.ask(_TYPE))
        self.assertEqual({'one 1a': 3, 'one 1b': 8}, self.ask(host='one'))
        self.assertEqual({}, self.ask(host='three'))
        self.assertEqual([], self.warnings())

    def test_places(self) -> None:
        """One request tells which hosts have GPUs, full ones too."""
        self.ask()
        with self.server.counting() as requests:
            places = adviser.shared()._lookup.places(wait=True)
        self.assertEqual(1, len(requests))
        self.assertEqual(
            {self.uuids[host] for host in ('one', 'two', 'three')},
            places.hosts,
        )

    def test_faults(self) -> None:
        """Each is one line, is not repeated, and is over when it is over."""
        for make, said in (
            (lambda: self.server.fault_status(503, times=9), '503'),
            (lambda: self.server.fault_status(401, times=9), '401'),
            (lambda: self.server.fault_login_page(times=9), 'text/html'),
            (lambda: self.server.fault_truncate(times=9), ''),
            (lambda: self.server.fault_close(times=9), 'no answer'),
            (lambda: self.server.fault_slow(4, times=9), '2 s'),
        ):
            self.assertIsNotNone(self.ask())
            self.logs.lines.clear()
            make()
            began = time.monotonic()
            with self.server.counting() as requests:
                self.assertIsNone(self.ask(), said)
                self.assertIsNone(self.ask(), said)
            self.assertLess(time.monotonic() - began, 4)
            self.assertLessEqual(len(requests), 1)
            (line,) = self.warnings()
            self.assertIn(said, line)
            self.assertNotIn('\n', line)
            self.server.clear_faults()
            adviser.shared()._lookup._quiet_until = 0.0
