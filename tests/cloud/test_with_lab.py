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
"""A server on real libvirt, QEMU and a mediated device of the kernel."""

from __future__ import annotations

from tests.cloud import base
from tools.minicloud import lab

#: Names the process that holds a vGPU open.
_HOLDERS = """\
for p in /proc/[0-9]*; do
    ls -l $p/fd 2>/dev/null | grep -q vfio-device && cat $p/comm
done
true
"""


class LabServerTest(base.CloudTestCase):
    """The virtual machine of tools/lab as a compute node."""

    def test_server_with_a_real_vgpu(self) -> None:
        """A QEMU process holds the mdev of a server until it is deleted."""
        self.addCleanup(self.cloud.leave_lab)
        guest = self.cloud.join_lab()
        (server,) = self.create_servers('real', host=lab.NAME, seconds=300)
        where = self.vgpus(server.id)
        self.assertEqual([1], list(where.values()))
        (provider,) = where
        mdevs = guest.run('nova-vgpu mdev list -f value -c gpu').split()
        device = provider.partition('_pci_')[2]
        self.assertEqual(
            [device], [m.replace(':', '_').replace('.', '_') for m in mdevs]
        )
        self.assertEqual('qemu-system-x86', guest.run(_HOLDERS).strip())
        self.delete_server(server)
        self.assertEqual('', guest.run(_HOLDERS).strip())
        self.assertEqual({}, self.used())
