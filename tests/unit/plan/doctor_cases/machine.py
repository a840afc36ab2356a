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
"""Kernel, driver and services."""

from __future__ import annotations

import dataclasses

from nova_vgpu_ext import models
from tests.unit.plan import hosts
from tests.unit.plan.doctor_cases.hosts import (
    ABSENT,
    BROKEN,
    ENDED,
    ERROR,
    FAILED,
    HIDDEN,
    MACHINE,
    MASKED,
    OK,
    UNITS,
    UNKNOWN,
    WARNING,
    Case,
    facts,
    on,
    unit,
    with_host,
)

_PROBLEM = models.ReadProblem('/sys/x/name', 'bytes', 'text')
_HIDES = models.ReadProblem(
    '/sys/bus/pci/devices', 'permission denied', 'a list', hides=True
)
_PASSED_THROUGH = hosts.no_types('vfio-pci')

CASES = (
    Case('sysfs', facts(), OK, '1 GPU, 0 virtual functions, 0 mdevs'),
    Case('sysfs', facts(snapshot=hosts.host()), WARNING, 'no GPU', 'lspci'),
    Case(
        'sysfs',
        facts(snapshot=hosts.host(hosts.gpu(), problems=(_PROBLEM,))),
        WARNING,
        '1 file that cannot be used, first /sys/x/name',
    ),
    Case(
        'sysfs',
        facts(snapshot=hosts.host(hosts.gpu(), problems=(_HIDES,))),
        UNKNOWN,
        '/sys/bus/pci/devices',
        'root',
    ),
    Case('sysfs', facts(snapshot=BROKEN), ERROR, 'something broken', 'mend'),
    Case('sysfs', facts(snapshot=HIDDEN), UNKNOWN, 'permission', 'root'),
    Case('iommu', facts(), OK, 'on'),
    Case(
        'iommu',
        on(has_iommu_groups=False),
        WARNING,
        'work without it',
        'add intel_iommu=on',
    ),
    Case(
        'iommu',
        with_host(hosts.sriov(), has_iommu_groups=False),
        ERROR,
        hosts.CARD,
        'add intel_iommu=on',
    ),
    Case(
        'iommu',
        with_host(hosts.vendor(None), has_iommu_groups=False),
        ERROR,
        hosts.CARD,
    ),
    *(
        Case(
            'iommu',
            on(has_iommu_groups=False, command_line=line),
            WARNING,
            'off',
            remedy,
        )
        for line, remedy in (
            ('ro intel_iommu=on iommu=pt', 'the kernel was told to'),
            ('amd_iommu=on', 'the kernel was told to'),
            ('amd_iommu=off', 'add intel_iommu=on'),
            (HIDDEN, 'add intel_iommu=on'),
        )
    ),
    Case(
        'iommu',
        with_host(
            hosts.sriov(),
            has_iommu_groups=False,
            modules=frozenset({'vgpu_sim'}),
        ),
        OK,
        'vgpu_sim',
    ),
    Case('iommu', with_host(hosts.mtty(), has_iommu_groups=False), OK, 'off'),
    Case('iommu', on(has_iommu_groups=HIDDEN), UNKNOWN, 'denied', 'root'),
    Case(
        'iommu',
        facts(
            snapshot=HIDDEN,
            system=dataclasses.replace(MACHINE, has_iommu_groups=False),
        ),
        UNKNOWN,
        'denied',
    ),
    Case('kernel', facts(), OK, '6.1.0-42-amd64'),
    Case('kernel', on(kernel='5.18.0'), OK, '5.18.0'),
    Case('kernel', on(kernel='5.15.0-91-generic'), WARNING, '5.15', 'live'),
    Case('kernel', on(kernel='4.18.0-553.el8'), WARNING, '4.18', 'live'),
    Case('kernel', on(kernel='\x00' * 9), UNKNOWN, 'x00'),
    Case('kernel', on(kernel=HIDDEN), UNKNOWN, 'denied'),
    Case('modules', facts(), OK, 'nvidia_vgpu_vfio, mdev, vfio loaded'),
    Case(
        'modules',
        with_host(
            hosts.vendor(None),
            modules=frozenset({'nvidia', 'nvidia_vgpu_vfio', 'vfio'}),
        ),
        OK,
        'nvidia_vgpu_vfio, vfio loaded',
    ),
    Case(
        'modules',
        on(modules=frozenset({'vgpu_sim', 'nouveau'})),
        OK,
        'vgpu_sim',
    ),
    Case('modules', with_host(hosts.mtty()), OK, 'no GPU'),
    Case(
        'modules',
        on(modules=frozenset({'nvidia', 'vfio'})),
        ERROR,
        'nvidia_vgpu_vfio, mdev not loaded',
        'vGPU host driver',
    ),
    Case(
        'modules',
        on(modules=MACHINE.modules | {'nouveau'}),
        ERROR,
        'nouveau',
        'blacklist',
    ),
    Case('modules', on(modules=HIDDEN), UNKNOWN, 'denied'),
    Case('driver', facts(), OK, 'NVIDIA 535.161.05'),
    Case('driver', with_host(hosts.mtty(), driver=None), OK, 'no GPU'),
    Case('driver', with_host(_PASSED_THROUGH, driver=None), OK, 'none'),
    Case(
        'driver',
        with_host(
            hosts.no_types(), driver=None, modules=frozenset({'vgpu_sim'})
        ),
        OK,
        'vgpu_sim',
    ),
    Case(
        'driver',
        with_host(hosts.no_types(), driver=None),
        ERROR,
        f'none; {hosts.GPU_1}',
        'install the vGPU host driver',
    ),
    Case(
        'driver',
        with_host(hosts.no_types('nvidia')),
        ERROR,
        f'NVIDIA 535.161.05, but {hosts.GPU_1}',
        'guests',
    ),
    Case('driver', with_host(hosts.no_types('nvidia', 16)), OK, 'NVIDIA'),
    Case('driver', on(driver=HIDDEN), UNKNOWN, 'denied'),
    Case(
        'services',
        facts(),
        OK,
        'nvidia-vgpu-mgr.service active, nvidia-vgpud.service inactive',
    ),
    Case('services', with_host(hosts.mtty(), services=UNITS), OK, 'no GPU'),
    Case('services', on(modules=frozenset({'vgpu_sim'})), OK, 'needs none'),
    Case(
        'services',
        unit('nvidia-vgpu-mgr', ABSENT),
        ERROR,
        'nvidia-vgpu-mgr.service not-found',
        'install',
    ),
    *(
        Case(
            'services',
            unit('nvidia-vgpu-mgr', state),
            ERROR,
            f'nvidia-vgpu-mgr.service {state}',
            'journalctl -u nvidia-vgpu-mgr.service',
        )
        for state in (FAILED, ENDED, MASKED)
    ),
    *(
        Case(
            'services',
            unit('nvidia-vgpud', state),
            ERROR,
            f'nvidia-vgpud.service {state}',
            'journalctl -u nvidia-vgpud.service',
        )
        for state in (FAILED, ABSENT)
    ),
    Case('services', on(services=HIDDEN), UNKNOWN, 'denied'),
    Case('catalog', facts(), OK, 'vgpuConfig.xml'),
    Case('catalog', on(catalog=None), WARNING, 'none', 'driver_catalog'),
    Case('catalog', with_host(hosts.mtty(), catalog=None), OK, 'none'),
    Case(
        'catalog',
        on(catalog=None, modules=frozenset({'vgpu_sim'})),
        OK,
        'none',
    ),
    Case('catalog', on(catalog=HIDDEN), UNKNOWN, 'denied'),
    Case('vfs', facts(), OK, 'no card'),
    Case('vfs', with_host(hosts.sriov(4)), OK, '4 on 1 card'),
    Case(
        'vfs',
        with_host(hosts.no_types('nvidia', 16)),
        ERROR,
        hosts.GPU_1,
        'nova-vgpu prepare',
    ),
    Case('vfs', with_host(hosts.no_types('vfio-pci', 16)), OK, '0 on 1'),
    Case('vfs', facts(snapshot=HIDDEN), UNKNOWN, 'denied'),
)
