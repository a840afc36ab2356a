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
"""What the tests of ``openstack vgpu audit`` share."""

from __future__ import annotations

import json
from typing import Any

from tests.functional import osc_base

VGPU_1 = {'VGPU': 1}


class AuditTestCase(osc_base.OscTestCase):
    """Two hosts of two GPUs each, and a flavor."""

    def setUp(self) -> None:
        super().setUp()
        self.patch('nova_vgpu_ext.osc.auditor.SETTLE', 0.0)
        self.host('gpu01', 'service-1')
        self.here = [self.gpu('gpu01', number) for number in range(2)]
        self.there = self.gpu_host('gpu02')
        self.nova.create_flavor('vgpu_1', {'resources:VGPU': '1'})
        self.nova.create_flavor('plain', {})

    def audit(
        self, *arguments: str, code: int | None = None
    ) -> list[dict[str, Any]]:
        """Run it; give the rows of what it prints as JSON.

        :param code: the exit code; None where findings decide.
        """
        outcome = self.run_osc('vgpu', 'audit', *arguments, '-f', 'json')
        rows: list[dict[str, Any]] = json.loads(outcome.out or '[]')
        expected = (2 if rows else 0) if code is None else code
        self.assertEqual(expected, outcome.code, outcome.err)
        self.last = outcome
        return rows

    def found(self, *expected: tuple[str, str, str]) -> list[dict[str, Any]]:
        """Compare what is found: check, host and object."""
        rows = self.audit()
        keys = [(r['check'], r['host'], r['object']) for r in rows]
        self.assertEqual(list(expected), keys)
        return rows

    def vgpu_server(self, name: str, number: int = 0, **kwargs: Any) -> str:
        """Make a server on a GPU of the first host."""
        return self.server(
            name, 'vgpu_1', 'gpu01', {self.here[number]: VGPU_1}, **kwargs
        )

    def uuid_of(self, provider: str) -> str:
        """Give the UUID of a provider."""
        return self.placement.provider(provider).uuid

    def held_by(self, consumer: str) -> dict[str, dict[str, int]]:
        """Give what a consumer holds, by the provider's name."""
        found = self.placement.api('GET', f'/allocations/{consumer}')
        names = {
            p['uuid']: p['name']
            for p in self.placement.api('GET', '/resource_providers')[
                'resource_providers'
            ]
        }
        return {
            names[uuid]: item['resources']
            for uuid, item in found['allocations'].items()
        }


def on(host: str, gpu: str) -> dict[str, dict[str, int]]:
    """Give what a server with a vGPU holds on a host."""
    return {host: osc_base.SERVER_AMOUNTS, gpu: VGPU_1}
