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
"""Repairs, against a real Placement: what must not be done is not done."""

from __future__ import annotations

from nova_vgpu_ext import exception, models
from nova_vgpu_ext.placement import repair
from nova_vgpu_ext.plan import audit
from tests.functional import base

OTHER = 'gpu02.example.org'
CPU = {'VCPU': 1}
VGPU = {'VGPU': 1}


class RepairTest(base.PlacementTestCase):
    """One repair at a time."""

    def setUp(self) -> None:
        super().setUp()
        self.server.create_provider(OTHER)
        for node in (base.NODE, OTHER):
            self.server.set_inventories(node, {'VCPU': 8})
            self.process(node).run([base.gpu(0, node=node)])
        self.client = self.process().client
        self.here, self.there = base.gpu_name(0), base.gpu_name(0, OTHER)

    def uuid(self, name: str) -> str:
        """Give a provider's UUID."""
        return self.server.provider(name).uuid

    def consumer(self, uuid: str) -> models.Consumer:
        """Read what a consumer holds."""
        found = self.client.consumer(uuid)
        assert found is not None  # noqa: S101
        return found

    def leave(self, consumer: models.Consumer) -> audit.LeaveHost:
        """Let a server leave the first host."""
        return audit.LeaveHost(consumer, base.NODE, self.uuid(base.NODE))

    def gpu(self) -> models.CloudGpu:
        """Give the GPU of the first host as a look saw it."""
        found = self.server.provider(self.here)
        return models.CloudGpu(
            uuid=found.uuid,
            name=found.name,
            generation=found.generation,
            host=base.NODE,
            host_uuid=found.root_uuid,
            address='0000:01:00.0',
            traits=found.traits,
        )

    def refused(self, wanted: audit.Repair) -> None:
        """Try a repair that must not be done."""
        self.assertRaises(
            exception.PlanOutdated, repair.apply, self.client, wanted
        )

    def test_release(self) -> None:
        """All goes; a second time there is nothing to do."""
        uuid = self.server.allocate({base.NODE: CPU, self.there: VGPU})
        wanted = audit.Release(self.consumer(uuid))
        self.assertTrue(repair.apply(self.client, wanted))
        self.assertIsNone(self.client.consumer(uuid))
        self.assertFalse(repair.apply(self.client, wanted))

    def test_release_of_what_has_changed(self) -> None:
        """Also where the generation is the same again."""
        uuid = self.server.allocate({base.NODE: CPU})
        seen = self.consumer(uuid)
        self.server.release(uuid)
        self.server.allocate({OTHER: CPU}, uuid)
        now = self.consumer(uuid)
        self.assertEqual(seen.generation, now.generation)
        self.refused(audit.Release(seen))
        self.refused(self.leave(seen))
        self.assertEqual(now, self.consumer(uuid))

    def test_leave(self) -> None:
        """Everything on the host's tree goes, the rest stays."""
        uuid = self.server.allocate(
            {base.NODE: CPU, self.here: VGPU, OTHER: CPU, self.there: VGPU}
        )
        wanted = self.leave(self.consumer(uuid))
        self.assertTrue(repair.apply(self.client, wanted))
        self.assertEqual(
            {self.uuid(OTHER): CPU, self.uuid(self.there): VGPU},
            self.consumer(uuid).resources,
        )

    def test_leave_with_nothing_kept(self) -> None:
        """A server does not lose all that it has."""
        uuid = self.server.allocate({base.NODE: CPU, self.here: VGPU})
        seen = self.consumer(uuid)
        self.refused(self.leave(seen))
        self.assertEqual(seen, self.consumer(uuid))

    def test_leave_of_a_host_that_is_gone(self) -> None:
        """There is nothing to leave."""
        uuid = self.server.allocate({OTHER: CPU})
        seen = self.consumer(uuid)
        wanted = self.leave(seen)
        self.server.delete_provider(self.here)
        self.server.delete_provider(base.NODE)
        self.refused(wanted)

    def test_delete(self) -> None:
        """A second time there is nothing to do."""
        wanted = audit.DeleteProvider(self.gpu())
        self.assertTrue(repair.apply(self.client, wanted))
        self.assertIsNone(self.server.find(self.here))
        self.assertFalse(repair.apply(self.client, wanted))

    def test_delete_of_what_has_changed(self) -> None:
        """It may be wanted again."""
        wanted = audit.DeleteProvider(self.gpu())
        self.server.add_traits(self.here, 'CUSTOM_NEW')
        self.refused(wanted)
        self.assertIsNotNone(self.server.find(self.here))

    def test_delete_of_what_is_used(self) -> None:
        """Placement refuses it, whatever was seen."""
        self.server.allocate({self.here: VGPU})
        self.refused(audit.DeleteProvider(self.gpu()))
        self.assertIsNotNone(self.server.find(self.here))

    def test_traits(self) -> None:
        """Those of others stay; what has changed is left."""
        gpu = self.gpu()
        wanted = audit.SetTraits(
            gpu.uuid,
            gpu.name,
            gpu.traits,
            add=frozenset({'CUSTOM_NVIDIA_194'}),
            remove=frozenset({'CUSTOM_VGPU_SERIES_Q'}),
        )
        self.assertTrue(repair.apply(self.client, wanted))
        self.assertEqual(wanted.after, self.server.provider(self.here).traits)
        self.refused(wanted)
        self.server.delete_provider(self.here)
        self.refused(wanted)
