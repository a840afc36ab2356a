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
"""A host on which all is well, and how to make it another one."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

from nova_vgpu_ext import models
from nova_vgpu_ext.models import Service, Unknown
from nova_vgpu_ext.plan import doctor
from tests.unit.plan import hosts

UUID = 'd878445d-df99-4510-b467-c67a4c1a7c34'
HIDDEN = Unknown('permission denied', 'run this as root')
BROKEN = Unknown('something broken', 'mend it', is_fault=True)

OK, WARNING = doctor.Status.OK, doctor.Status.WARNING
ERROR, UNKNOWN = doctor.Status.ERROR, doctor.Status.UNKNOWN

ACTIVE = Service('loaded', 'active', 'success', 'enabled')
ENDED = Service('loaded', 'inactive', 'success', 'enabled')
FAILED = Service('loaded', 'failed', 'exit-code', 'enabled')
DISABLED = Service('loaded', 'inactive', 'success', 'disabled')
ABSENT = Service('not-found', 'inactive', 'success', '')
MASKED = Service('masked', 'inactive', 'success', 'masked')

UNITS = {
    'nvidia-vgpud.service': ENDED,
    'nvidia-vgpu-mgr.service': ACTIVE,
    'nova-vgpu-prepare.service': ENDED,
    'nova-vgpu-agent.service': ACTIVE,
}

MACHINE = models.System(
    kernel='6.1.0-42-amd64',
    command_line='BOOT_IMAGE=/vmlinuz root=/dev/sda1 ro',
    has_iommu_groups=True,
    modules=frozenset({'nvidia', 'nvidia_vgpu_vfio', 'mdev', 'vfio'}),
    driver='535.161.05',
    catalog='/usr/share/nvidia/vgpu/vgpuConfig.xml',
    services=UNITS,
    mdevctl='/usr/sbin/mdevctl',
    mdevctl_rule='/usr/lib/udev/rules.d/60-mdevctl.rules',
    libvirtd=models.Libvirtd('libvirtd', 4711, started=2000.0),
    hook=models.Hook('/etc/libvirt/hooks/qemu.d/nova-vgpu', 'yes', 1000.0),
    is_container=False,
    mounts=(models.Mount('/', 'ext4', True),),
)

ROOT = models.Mount('/', 'overlay', True)
SYSFS = models.Mount('/sys', 'sysfs', True)
KEPT = (
    models.Mount('/etc/mdevctl.d', 'ext4', True),
    models.Mount('/etc/libvirt', 'ext4', True),
    models.Mount('/var/lib/nova-vgpu-ext', 'ext4', True),
)


def facts(**changes: Any) -> doctor.Facts:
    """Make a host on which all is well, but for some facts."""
    well: dict[str, Any] = {
        'snapshot': hosts.host(hosts.gpu()),
        'config': hosts.config(['nvidia-194']),
        'settings': doctor.Settings(),
        'live_migration': doctor.LiveMigration(500000, 3, 3, False),
        'usage': models.Usage(),
        'state': models.Folder('/var/lib/nova-vgpu-ext', exists=True),
        'ledger': 3,
        'placement': doctor.PlacementView(9),
        'hypervisor': models.Hypervisor((11, 3, 0), (10, 0, 0)),
        'system': MACHINE,
    }
    return doctor.Facts(**{**well, **changes})


def on(**changes: Any) -> doctor.Facts:
    """Make a host on which all is well, but for the machine."""
    return facts(system=dataclasses.replace(MACHINE, **changes))


def with_host(*gpus: models.Gpu, **machine: Any) -> doctor.Facts:
    """Make a host with other GPUs, and maybe another machine."""
    return facts(
        snapshot=hosts.host(*gpus),
        system=dataclasses.replace(MACHINE, **machine),
    )


def unit(name: str, service: Service) -> doctor.Facts:
    """Make a host one of whose units is in another state."""
    return on(services={**UNITS, f'{name}.service': service})


def held(*mdevs: models.Mdev, **offers: int) -> models.Gpu:
    """Make a GPU that holds mdevs."""
    return dataclasses.replace(
        hosts.gpu(
            offers={t.replace('_', '-'): n for t, n in offers.items()}
            or {'nvidia-194': 30, 'nvidia-196': 0}
        ),
        mdevs=mdevs,
    )


def mdev(type_id: str = 'nvidia-194', uuid: str = UUID) -> models.Mdev:
    """Make an mdev."""
    return models.Mdev(uuid, type_id, hosts.GPU_1)


def domain(*uuids: str) -> models.Domain:
    """Make a domain that names mdevs."""
    return models.Domain('instance-1', 'uuid-of-it', True, uuids)


def finding(severity: models.Severity, option: str) -> models.Finding:
    """Make what a report may find."""
    return models.Finding(severity, option, 'this', 'that', 'do something')


class Case(NamedTuple):
    """What one check says of one host."""

    check: str
    facts: doctor.Facts
    status: doctor.Status
    #: Parts of what it says.
    found: str
    remedy: str = ''
