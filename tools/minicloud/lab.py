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
"""A nova-compute in the virtual machine of tools/lab, as a part of the cloud.

Real libvirt, QEMU and mediated devices of the kernel. The guest reaches the
services on its own loopback, at the ports that they have on this machine's.
"""

from __future__ import annotations

import contextlib
import pathlib
import shutil
import tempfile

from tools.labvm import LabError, images, machine
from tools.minicloud import CloudError, files
from tools.minicloud.settings import Compute, Settings

#: The compute node, and the host name of the guest.
NAME = 'lab01'
PROFILE = 'v100x8'
#: What nova-compute needs of the cloud.
_PORTS = ('amqp', 'keystone', 'placement', 'glance', 'neutron')
_NOVA = '/opt/openstack/bin'
_CONF = '/etc/nova/nova.conf'
_DEVICES = '[devices]\nenabled_mdev_types = nvidia-194\n'
#: In MiB: for the guest, nova-compute and two servers.
_MEMORY = 3072


class LabCompute:
    """The guest of one cloud.

    :param cloud: the cloud.
    """

    def __init__(self, cloud: Settings) -> None:
        self._cloud = cloud
        folder = images.ROOT / '.lab'
        self.machine = machine.Machine(
            folder / 'machines' / f'cloud-{cloud.folder.name}',
            images.Builder(folder),
        )

    def start(self) -> None:
        """Start the guest and nova-compute in it.

        :raises CloudError: the guest does not start, or refuses a step.
        """
        ports = tuple(self._cloud.ports[name] for name in _PORTS)
        try:
            self.machine.start(
                machine.Settings(
                    profile=PROFILE, memory=_MEMORY, forward=ports
                )
            )
            self.run(
                'mkdir -p /etc/nova /var/lib/nova/instances && '
                f'hostname {NAME}'
            )
            self._copy(
                files.nova_compute_in_lab(
                    self._cloud, Compute(NAME, PROFILE, _DEVICES), _NOVA
                )
            )
        except LabError as error:
            raise CloudError(str(error)) from error
        # libvirt reads the host's name once.
        self.run('systemctl restart libvirtd')
        self.run(
            'systemd-run --quiet --unit nova-compute --setenv '
            'OS_NOVA_DISABLE_EVENTLET_PATCHING=true '
            f'{_NOVA}/nova-compute --config-file {_CONF}'
        )

    def stop(self) -> None:
        """End the guest and forget all of it."""
        with contextlib.suppress(LabError):
            self.machine.stop()
            shutil.rmtree(self.machine.folder, ignore_errors=True)

    def check(self) -> None:
        """Say so if nova-compute has ended.

        :raises CloudError: with the end of what it wrote.
        """
        if self.machine.running() is None:
            raise CloudError(
                f'The guest has died; its console: {self.machine.console}'
            )
        unit = 'nova-compute'
        done = self.machine.call(f'systemctl is-active {unit}')
        if done.stdout.strip() not in ('active', 'activating'):
            log = self.machine.call(f'journalctl -u {unit} -n 15 -o cat')
            raise CloudError(f'nova-compute has ended:\n{log.stdout}')

    def report(self) -> None:
        """Run ``nova-vgpu report`` in the guest."""
        self.run(f'nova-vgpu --config-file {_CONF} report')

    def run(self, line: str, seconds: float = 180) -> str:
        """Run a shell line in the guest; it must succeed.

        :returns: its output.
        """
        done = self.machine.call(line, seconds)
        if done.returncode:
            raise CloudError(
                f'In the guest: {line}\n{done.stdout}{done.stderr}'
            )
        return done.stdout

    def _copy(self, conf: str) -> None:
        """Write nova.conf, which has the password in it."""
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, 'nova.conf')
            path.touch(mode=0o600)
            path.write_text(conf)
            if self.machine.copy([str(path)], f'guest:{_CONF}'):
                raise CloudError(f'Cannot copy {_CONF} into the guest.')
