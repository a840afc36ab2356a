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
"""nova-vgpu-agent, woken by the real kernel and the real libvirt."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from testtools import content

from tests.lab import base, test_host
from tests.lab.test_guests import GPU, GUEST, MDEV, OTHER

PROVIDER = f'{base.NODE}_{test_host.NOVA_GPU}'
UNIT = 'nova-vgpu-agent.service'
SECONDS = 60
MIB = 1024


class AgentTest(test_host.HostTestCase):
    """The daemon, as its unit starts it."""

    def setUp(self) -> None:
        super().setUp()
        self.server = self.with_placement()
        self.addOnException(
            lambda _: self.addDetail(
                'agent', content.text_content(self.journal())
            )
        )
        self.guest.run(
            f'cp {test_host.UNITS}/{UNIT} /etc/systemd/system/ && '
            f'systemctl daemon-reload && systemctl start {UNIT}'
        )
        self.addCleanup(
            self.guest.run,
            f'systemctl stop {UNIT}; rm /etc/systemd/system/{UNIT}; '
            'systemctl daemon-reload',
        )
        self.wait(lambda: self.total() == 32)

    def journal(self) -> str:
        """Give what the agent said."""
        return self.guest.run(f'journalctl -n 200 -u {UNIT}')

    def total(self) -> int | None:
        """Give how many vGPUs Placement has of the GPU."""
        if self.server.find(PROVIDER) is None:
            return None
        return self.server.provider(PROVIDER).totals.get('VGPU')

    def wait(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so."""
        end = time.monotonic() + SECONDS
        while not condition():
            self.assertLess(time.monotonic(), end)
            time.sleep(0.1)

    def remembered(self) -> str | None:
        """Give the domain that the ledger knows of the mdev."""
        text = self.guest.run(
            'cat /var/lib/nova-vgpu-ext/ledger.json 2>/dev/null || echo {}'
        )
        entry = json.loads(text).get('entries', {}).get(MDEV, {})
        return entry.get('domain')

    def test_events_of_the_kernel(self) -> None:
        """What it says is in Placement; nothing is asked without need."""
        self.guest.run(
            f'nova-vgpu mdev create --gpu {GPU} --type nvidia-194 --count 32'
        )
        started = time.monotonic()
        self.guest.run(
            f'echo {OTHER} >/sys/bus/pci/devices/0000:88:00.0/'
            'mdev_supported_types/nvidia-197/create'
        )
        name = f'{base.NODE}_pci_0000_88_00_0'
        self.wait(lambda: self.server.find(name) is None)
        self.addDetail(
            'seconds from event to Placement',
            content.text_content(f'{time.monotonic() - started:.1f}'),
        )
        # A full GPU is counted, not lost.
        self.assertEqual(32, self.total())
        time.sleep(5)
        self.server.requests.clear()
        time.sleep(5)
        self.assertEqual([], list(self.server.requests))
        pid = self.guest.run(f'systemctl show -p MainPID --value {UNIT}')
        status = self.guest.run(f'grep VmRSS /proc/{pid}/status')
        self.assertLess(int(status.split()[1]), 80 * MIB)

    def test_events_of_libvirt(self) -> None:
        """After a restart too; orphans stay until the operator allows it."""
        self.create()
        self.create(OTHER)
        self.guest.run('systemctl restart libvirtd')
        self.define()
        self.wait(lambda: self.remembered() == GUEST)
        self.assertEqual({MDEV: '', OTHER: ''}, self.mdevs())
        self.configure(
            f'{test_host.CONF}[vgpu]\norphan_grace = 0\n'
            '[vgpu_agent]\nremove_orphans = true\n' + self.server.config_text()
        )
        self.guest.run(f'systemctl reload {UNIT}')
        self.guest.run(base.until(f'[ ! -e /sys/bus/mdev/devices/{OTHER} ]'))
        self.assertEqual({MDEV: ''}, self.mdevs())
