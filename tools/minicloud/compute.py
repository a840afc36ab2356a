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
"""nova-compute on a simulated host: Nova's real driver, its own fake libvirt.

usage: compute.py NODE HOST_FOLDER --config-file FILE...

Devices are those of the simulated host in HOST_FOLDER, at each moment: what
Nova makes is made there, and what is changed there Nova sees. Domains and
disks are those of the fake libvirt that comes with Nova's own tests.
"""

from __future__ import annotations

import io
import sys
from typing import Any
from xml.etree import ElementTree

import fixtures
from nova import monkey_patch

# Before anything imports eventlet, as nova-compute itself does it.
monkey_patch.patch(backend='threading')

from nova.cmd import compute as nova_compute  # noqa: E402
from nova.tests import fixtures as nova_fixtures  # noqa: E402

from nova_vgpu_ext.sim import kernel  # noqa: E402
from tests.functional.fixtures import nova as simulated  # noqa: E402

_DISK = {'total': 1280, 'used': 0, 'free': 1280}
_DRIVER = 'nova.virt.libvirt.LibvirtDriver'
_HOST = 'nova.virt.libvirt.host.Host'


class _Defined:
    """A persistent device that was just defined."""

    def name(self) -> str:
        return 'mdev'

    def setAutostart(self, autostart: int) -> int:
        return 0


class Connection(simulated.SimulatedConnection):
    """A connection to the libvirt of a host that can change."""

    def __init__(self, folder: str, node: str) -> None:
        self._kernel = kernel.SimulatedKernel(folder)
        super().__init__((), node)
        self.host_info = simulated.fakelibvirt.HostInfo(
            cpu_nodes=2, cpu_sockets=1, cpu_cores=16, cpu_threads=2
        )

    def _look(self) -> None:
        with self._kernel.locked() as profile:
            self.show(simulated.node_devices(profile))

    def listDevices(self, cap: str, flags: int = 0) -> list[str]:
        self._look()
        return super().listDevices(cap, flags)

    def listAllDevices(self, flags: int = 0) -> list[Any]:
        """Give none: Nova asks for what is defined and does not run."""
        return []

    def nodeDeviceLookupByName(self, name: str) -> Any:
        self._look()
        return super().nodeDeviceLookupByName(name)

    def nodeDeviceCreateXML(self, xml: str, flags: int = 0) -> Any:
        """Make an mdev through the host's sysfs, as libvirt's mdevctl does."""
        device = ElementTree.fromstring(xml)  # noqa: S314 - Nova wrote it.
        parent = str(device.findtext('parent'))
        address = _address(parent)
        kinds = [kind.get('id') for kind in device.iterfind('capability/type')]
        path = (
            f'{self._kernel.root}/class/mdev_bus/{address}/'
            f'mdev_supported_types/{kinds[0]}/create'
        )
        try:
            self._kernel.write(path, str(device.findtext('capability/uuid')))
        except OSError as error:
            raise simulated.fakelibvirt.make_libvirtError(
                simulated.fakelibvirt.libvirtError,
                f'Unable to create mdev: {error}',
                error_code=simulated.fakelibvirt.VIR_ERR_INTERNAL_ERROR,
            ) from error
        return _Defined()

    def nodeDeviceDefineXML(self, xml: str, flags: int = 0) -> Any:
        return _Defined()


def _address(name: str) -> str:
    """Give the address of libvirt's name of a PCI device."""
    domain, bus, slot, function = name.removeprefix('pci_').split('_')
    return f'{domain}:{bus}:{slot}.{function}'


def _install(connection: Connection) -> None:
    """Put the simulated host where Nova looks for a real one."""
    used: list[fixtures.Fixture] = [
        nova_fixtures.LibvirtImageBackendFixture(),
        nova_fixtures.CGroupsFixture(),
        nova_fixtures.LibvirtFixture(),
        nova_fixtures.OSBrickFixture(),
    ]
    for name, value in (
        (f'{_DRIVER}._create_image', (False, False)),
        (f'{_DRIVER}._get_local_gb_info', _DISK),
        (f'{_DRIVER}._get_instance_disk_info', []),
        # There are no disks to move; as in Nova's own tests.
        (f'{_DRIVER}.migrate_disk_and_power_off', '{}'),
        ('nova.virt.libvirt.driver.libvirt_utils.is_valid_hostname', True),
        ('nova.privsep.utils.supports_direct_io', True),
        (f'{_HOST}.get_online_cpus', set(range(32))),
        (f'{_HOST}.get_connection', connection),
    ):
        used.append(fixtures.MockPatch(name, return_value=value))
    used.append(
        fixtures.MockPatch(
            'nova.virt.libvirt.driver.libvirt_utils.file_open',
            side_effect=lambda *a, **k: io.BytesIO(b''),
        )
    )
    for fixture in used:
        fixture.setUp()


def main() -> None:
    """Run nova-compute until a signal ends it."""
    node, folder = sys.argv[1:3]
    del sys.argv[1:3]
    _install(Connection(folder, node))
    sys.argv[0] = 'nova-compute'
    nova_compute.main()


main()
