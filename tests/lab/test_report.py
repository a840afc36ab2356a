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
"""Reporting from the guest to a real Placement, and what Nova would report."""

from __future__ import annotations

from typing import Any

from tests.lab import base

TWO_TYPES = """
[devices]
enabled_vgpu_types = nvidia-194, nvidia-196
[mdev_nvidia-196]
device_addresses = 0000:b2:00.0, 0000:b3:00.0
mdev_class = CUSTOM_BIG
"""

SRIOV = """
[devices]
enabled_mdev_types = nvidia-562
"""


class ReportTest(base.LabTestCase):
    """nova-vgpu report, as an operator runs it."""

    def setUp(self) -> None:
        super().setUp()
        self.server = self.with_placement()

    def configure(self, text: str) -> None:
        """Write nova.conf in the guest."""
        text = f'[libvirt]\nvirt_type = qemu\n{text}'
        self.guest.run(
            'mkdir -p /etc/nova && cat >/etc/nova/nova.conf',
            stdin=text + self.server.config_text(),
        )

    def reported(self) -> dict[str, dict[str, Any]]:
        """Give the inventories that Placement has of the GPUs."""
        return {
            name: provider.inventories
            for name, provider in self.server.providers(base.NODE).items()
            if name != base.NODE
        }

    def check_like_nova(self, providers: int) -> None:
        """Report, twice, and compare with Nova's own answer."""
        self.guest.run('systemctl restart libvirtd')
        self.guest.run('nova-vgpu report')
        ours = self.reported()
        self.assertEqual(providers, len(ours))
        self.assertEqual(
            self.guest.inside(
                'nova_inventories', '/etc/nova/nova.conf', base.NODE
            ),
            {
                name: {
                    resource_class: {
                        key: value
                        for key, value in record.items()
                        if key != 'resource_provider_generation'
                    }
                    for resource_class, record in inventories.items()
                }
                for name, inventories in ours.items()
            },
        )
        self.server.requests.clear()
        self.guest.run('nova-vgpu report')
        self.assertEqual([], [r for r in self.server.requests if r.is_write])

    def test_reference_host(self) -> None:
        """Eight GPUs of two types, one with an mdev."""
        self.guest.run(
            'cat /proc/sys/kernel/random/uuid >/sys/bus/pci/devices/'
            '0000:1a:00.0/mdev_supported_types/nvidia-194/create'
        )
        self.configure(TWO_TYPES)
        self.check_like_nova(8)
        name = f'{base.NODE}_pci_0000_b2_00_0'
        self.assertEqual({'CUSTOM_BIG': 8}, self.server.provider(name).totals)

    def test_sriov_host(self) -> None:
        """One provider per virtual function."""
        self.load('a40-sriov')
        self.configure(SRIOV)
        self.check_like_nova(32)
