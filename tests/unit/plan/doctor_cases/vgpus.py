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
"""Types, mdevs, and who uses them."""

from __future__ import annotations

import dataclasses

from nova_vgpu_ext import models
from nova_vgpu_ext.plan import doctor
from tests.unit.plan import hosts
from tests.unit.plan.doctor_cases.hosts import (
    BROKEN,
    ERROR,
    HIDDEN,
    OK,
    UNKNOWN,
    UUID,
    WARNING,
    Case,
    domain,
    facts,
    held,
    mdev,
    with_host,
)

_HIDES = models.ReadProblem(
    '/sys/bus/pci/devices', 'permission denied', 'a list', hides=True
)
_OLD = models.Usage(ages={UUID: 7200.0})
_LOST = models.MdevDefinition(UUID, hosts.GPU_1, 'nvidia-194', True)
_ELSEWHERE = dataclasses.replace(_LOST, parent=hosts.GPU_2)

CASES = (
    Case('config', facts(), OK, 'no findings'),
    Case(
        'config',
        facts(config=hosts.config(['nvidia-999'])),
        ERROR,
        '1 error; first [devices] enabled_mdev_types',
        'nova-vgpu config check',
    ),
    Case(
        'config',
        facts(config=hosts.config([])),
        WARNING,
        '1 warning',
        'config check',
    ),
    Case(
        'config',
        facts(
            config=hosts.config(
                {
                    'nvidia-194': hosts.at(hosts.GPU_1, hosts.GPU_1),
                    'nvidia-999': {},
                },
                unused_sections=('vgpu_nvidia-1',),
            )
        ),
        ERROR,
        '1 fatal, 1 error, 1 warning; first [mdev_nvidia-194]',
    ),
    Case(
        'config',
        # Another check tells what is wrong at an address.
        facts(
            snapshot=hosts.host(
                hosts.gpu(), hosts.no_types(address=hosts.GPU_2)
            )
        ),
        OK,
        'no findings',
    ),
    Case(
        'config',
        # So does one when the host could be read in part only.
        facts(snapshot=hosts.host(hosts.gpu(), problems=(_HIDES,))),
        OK,
        'no findings',
    ),
    Case('config', facts(config=BROKEN), ERROR, 'something broken', 'mend'),
    Case('config', facts(settings=BROKEN), ERROR, 'something broken'),
    Case('config', facts(config=HIDDEN), UNKNOWN, 'denied'),
    Case('types', facts(), OK, 'no vendor-specific VFIO'),
    Case('types', with_host(hosts.vendor('1145', '1145')), OK, '2 virtual'),
    Case(
        'types',
        with_host(hosts.vendor(None, None)),
        WARNING,
        hosts.CARD,
        'nova-vgpu type list',
    ),
    Case(
        'types',
        with_host(hosts.vendor('1145', '1153')),
        ERROR,
        '1145, 1153',
    ),
    *(
        Case(
            'types',
            facts(
                snapshot=hosts.host(hosts.vendor(*current)),
                usage=usage,
                settings=doctor.Settings(vf_types=(wanted,)),
            ),
            status,
            found,
            remedy,
        )
        for current, usage, wanted, status, found, remedy in (
            (('1153',), models.Usage(), '1153', OK, '1 virtual', ''),
            (
                (None, '1153'),
                models.Usage(),
                'L40S-12Q',
                ERROR,
                '1 step missing, first: set vGPU type 1153',
                'nova-vgpu prepare',
            ),
            (
                ('1145',),
                models.Usage(
                    domains=(
                        models.Domain('vm', 'u', functions=('0000:41:00.4',)),
                    )
                ),
                '1153',
                ERROR,
                'in use by domain vm',
                'left as it is',
            ),
            ((None,), models.Usage(), 'A40-1Q', ERROR, 'A40-1Q', 'type list'),
            ((None,), models.Usage(), '=', ERROR, '[vgpu] vf_types', ''),
            ((None,), HIDDEN, '1153', UNKNOWN, 'denied', 'root'),
        )
    ),
    Case('leftovers', facts(), OK, 'none'),
    Case('leftovers', with_host(held(mdev())), OK, 'none'),
    Case('leftovers', facts(config=hosts.config([])), OK, 'none'),
    Case(
        'leftovers',
        with_host(held(mdev('nvidia-196'), nvidia_194=3, nvidia_196=1)),
        WARNING,
        f'1 mdev, first {UUID} of nvidia-196 on {hosts.GPU_1}, which is '
        'configured for nvidia-194',
        'nova-vgpu mdev clean',
    ),
    Case(
        'leftovers',
        facts(
            snapshot=hosts.host(
                held(mdev('nvidia-196'), nvidia_194=0, nvidia_196=1)
            ),
            usage=models.Usage(domains=(domain(UUID),)),
        ),
        ERROR,
        'in use by domain instance-1 (running)',
        'end the guests',
    ),
    Case(
        'leftovers',
        facts(
            snapshot=hosts.host(
                held(mdev('nvidia-196'), nvidia_194=0, nvidia_196=1)
            ),
            usage=HIDDEN,
        ),
        ERROR,
        'nvidia-196',
    ),
    Case('leftovers', facts(config=BROKEN), UNKNOWN, 'something broken'),
    Case(
        'leftovers',
        facts(
            config=hosts.config(
                {'nvidia-194': hosts.at(hosts.GPU_1, hosts.GPU_1)}
            )
        ),
        UNKNOWN,
        'nova-compute refuses',
        'config',
    ),
    Case('orphans', facts(), OK, 'no mdev'),
    Case('orphans', with_host(held(mdev())), OK, 'none of 1 mdev'),
    Case(
        'orphans',
        facts(snapshot=hosts.host(held(mdev())), usage=_OLD),
        WARNING,
        f'1 mdev of 1, first {UUID} of nvidia-194 on {hosts.GPU_1}',
        'nova-vgpu mdev clean',
    ),
    Case(
        'orphans',
        facts(
            snapshot=hosts.host(held(mdev())),
            usage=dataclasses.replace(_OLD, holders={UUID: ('qemu (1)',)}),
        ),
        OK,
        'none of 1 mdev',
    ),
    Case(
        'orphans',
        # It is a leftover, and told there.
        facts(snapshot=hosts.host(held(mdev('nvidia-196'))), usage=_OLD),
        OK,
        'none of 1 mdev',
    ),
    Case(
        'orphans',
        facts(
            snapshot=hosts.host(held(mdev())),
            usage=_OLD,
            sees_processes=False,
        ),
        UNKNOWN,
        'processes',
        'root',
    ),
    Case(
        'orphans',
        facts(
            snapshot=hosts.host(held(mdev())),
            usage=models.Usage(has_domains=False),
        ),
        UNKNOWN,
        'libvirt is not asked',
        'libvirt_uri',
    ),
    Case(
        'orphans',
        facts(snapshot=hosts.host(held(mdev())), usage=BROKEN),
        UNKNOWN,
        'something broken',
    ),
    Case('domains', facts(), OK, '0 mdevs of domains, all there'),
    Case(
        'domains',
        facts(
            snapshot=hosts.host(held(mdev())),
            usage=models.Usage(domains=(domain(UUID),)),
        ),
        OK,
        '1 mdev of domains, all there',
    ),
    Case(
        'domains',
        facts(
            usage=models.Usage(domains=(domain(UUID),), definitions=(_LOST,))
        ),
        ERROR,
        f'1 mdev missing, first {UUID} of domain instance-1',
        'nova-vgpu prepare',
    ),
    Case(
        'domains',
        facts(usage=models.Usage(domains=(domain(UUID),))),
        ERROR,
        'neither the ledger nor a persistent definition',
        'by hand',
    ),
    Case(
        'domains',
        facts(usage=models.Usage(has_domains=False)),
        UNKNOWN,
        'libvirt is not asked',
    ),
    Case('domains', facts(usage=BROKEN), UNKNOWN, 'something broken'),
    Case(
        'definitions',
        facts(usage=models.Usage(definitions=(_LOST,))),
        OK,
        '1 definition',
    ),
    Case(
        'definitions',
        facts(usage=models.Usage(definitions=(_ELSEWHERE,))),
        ERROR,
        f'first {UUID}: there is no GPU {hosts.GPU_2}',
        'nova-compute',
    ),
    Case('definitions', facts(usage=BROKEN), UNKNOWN, 'something broken'),
)
