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
"""Nova is the reference: the lines that gpu retype prints, read by Nova."""

from __future__ import annotations

import pathlib
import tempfile

import hypothesis
import testtools
from hypothesis import strategies as st

from nova_vgpu_ext import models
from nova_vgpu_ext.models import DevicesConfig, Snapshot
from nova_vgpu_ext.plan import retype
from nova_vgpu_ext.sim import description
from tests import base
from tests.functional.fixtures import nova as nova_fixture
from tests.unit.plan import test_retype as random_input


@testtools.skipUnless(
    nova_fixture.KNOWS_VIRTUAL, 'Nova before 34 knows no virtual parents'
)
class NovaRetypeTest(base.TestCase):
    """The GPU has the type then, and every other one what it had."""

    def setUp(self) -> None:
        super().setUp()
        mtty = description.GpuSpec(
            'mtty_mtty', driver=None, vendor_id='0000', class_id='000000'
        )
        self.nova = self.useFixture(
            nova_fixture.NovaHost(description.Profile('mtty', (mtty,)))
        )

    def test_any_configuration(self) -> None:
        """As Nova's driver resolves it, before and after."""
        changes = [0]

        @hypothesis.settings(
            max_examples=100,
            deadline=None,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(
            random_input.configurations(),
            random_input.machines(),
            st.sampled_from(random_input.TYPES),
            st.data(),
        )
        def check(
            config: DevicesConfig,
            host: Snapshot,
            type_id: str,
            data: st.DataObject,
        ) -> None:
            gpu = data.draw(st.sampled_from(host.gpus))
            lines = retype.configuration(config, host, gpu, type_id)
            before = self._types(host, random_input.text_of(config))
            after = self._types(
                host, random_input.text_of(config), '\n'.join(lines) + '\n'
            )
            mine = {d.address for d in gpu.devices}
            wanted = {
                address: type_id if address in mine else old
                for address, old in before.items()
            }
            self.assertEqual(wanted, after, (config, lines))
            changes[0] += bool(lines)

        check()
        self.assertGreater(changes[0], 20)

    def _types(self, host: Snapshot, *confs: str) -> dict[str, str | None]:
        with tempfile.TemporaryDirectory() as folder:
            files = []
            for number, text in enumerate(confs):
                files.append(pathlib.Path(folder, f'{number}.conf'))
                files[-1].write_text(text)
            driver = self.nova.driver(*files)
        return {
            device.address: driver._get_vgpu_type_per_pgpu(
                models.libvirt_name(device.address)
            )
            or None
            for device in host.devices
            if device.types
        }
