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
"""libvirt, QEMU, mdevctl, the hook and containers."""

from __future__ import annotations

from nova_vgpu_ext import models
from nova_vgpu_ext.plan import doctor
from tests.unit.plan import hosts
from tests.unit.plan.doctor_cases.hosts import (
    BROKEN,
    ERROR,
    HIDDEN,
    KEPT,
    OK,
    ROOT,
    SYSFS,
    UNKNOWN,
    WARNING,
    Case,
    facts,
    on,
    with_host,
)

CASES = (
    Case('mdevctl', facts(), OK, '/usr/sbin/mdevctl'),
    Case('mdevctl', on(mdevctl=None), ERROR, 'none', 'install'),
    Case('mdevctl', with_host(hosts.vendor(None), mdevctl=None), OK, 'none'),
    Case('mdevctl', on(mdevctl=HIDDEN), UNKNOWN, 'denied'),
    Case('mdevctl-udev', facts(), OK, '60-mdevctl.rules'),
    Case('mdevctl-udev', on(mdevctl_rule=None), WARNING, 'none', 'prepare'),
    Case(
        'mdevctl-udev',
        with_host(hosts.vendor(None), mdevctl_rule=None),
        OK,
        'none',
    ),
    Case('mdevctl-udev', on(mdevctl_rule=HIDDEN), UNKNOWN, 'denied'),
    *(
        Case(
            check,
            facts(
                snapshot=hosts.host(gpu),
                hypervisor=models.Hypervisor(
                    versions if check == 'libvirt' else (99, 0, 0),
                    versions if check == 'qemu' else (99, 0, 0),
                ),
            ),
            status,
            found,
            remedy,
        )
        for check, gpu, versions, status, found, remedy in (
            ('libvirt', hosts.gpu(), (8, 6, 0), OK, '8.6.0', ''),
            ('libvirt', hosts.gpu(), (8, 5, 9), WARNING, '8.5.9', 'live'),
            ('libvirt', hosts.gpu(), (7, 2, 0), WARNING, 'no mdev', '8.6.0'),
            ('libvirt', hosts.vendor(None), (11, 3, 0), OK, '11.3.0', ''),
            (
                'libvirt',
                hosts.vendor(None),
                (10, 0, 0),
                WARNING,
                'not known',
                '11.3.0',
            ),
            (
                'libvirt',
                hosts.vendor(None),
                (9, 0, 0),
                ERROR,
                'starts no guest',
                '11.3.0',
            ),
            ('libvirt', hosts.no_types(), (6, 0, 0), OK, '6.0.0', ''),
            ('qemu', hosts.gpu(), (8, 1, 0), OK, '8.1.0', ''),
            ('qemu', hosts.gpu(), (7, 2, 0), WARNING, '7.2.0', '8.1.0'),
            ('qemu', hosts.vendor(None), (8, 2, 1), WARNING, '8.2.1', '8.2.2'),
            ('qemu', hosts.vendor(None), (8, 2, 2), OK, '8.2.2', ''),
            ('qemu', hosts.no_types(), (6, 2, 0), OK, '6.2.0', ''),
        )
    ),
    Case('libvirt', facts(hypervisor=BROKEN), ERROR, 'something broken'),
    Case('libvirt', facts(hypervisor=HIDDEN), UNKNOWN, 'denied', 'root'),
    Case('qemu', facts(hypervisor=BROKEN), UNKNOWN, 'something broken'),
    Case('live-migration-options', facts(), OK, 'as expected'),
    *(
        Case(
            'live-migration-options',
            facts(live_migration=doctor.LiveMigration(*values)),
            status,
            found,
        )
        for values, status, found in (
            ((600000, 3, 3, False), OK, 'as expected'),
            ((499999, 3, 3, False), WARNING, 'downtime = 499999'),
            ((500000, 4, 3, False), WARNING, 'downtime_steps = 4'),
            ((500000, 3, 75, False), WARNING, 'downtime_delay = 75'),
            ((500000, 3, 3, True), WARNING, 'permit_post_copy = true'),
            ((), WARNING, 'downtime = 500, live_migration_downtime_steps'),
        )
    ),
    Case(
        'live-migration-options',
        facts(live_migration=BROKEN),
        UNKNOWN,
        'something broken',
    ),
    Case('hook', facts(), OK, 'qemu.d/nova-vgpu'),
    *(
        Case(
            'hook',
            on(hook=models.Hook('/hook', state, 1000.0)),
            WARNING,
            found,
            remedy,
        )
        for state, found, remedy in (
            ('no', 'not installed', 'nova-vgpu hook install'),
            ('outdated', 'not what would be', 'nova-vgpu hook install'),
            ('newer', 'later version', 'upgrade'),
            ('foreign', 'something else', 'move it away'),
        )
    ),
    Case(
        'hook',
        on(hook=models.Hook('/hook', 'yes', 2000.5)),
        WARNING,
        'newer than the start of libvirtd',
        'restart libvirtd',
    ),
    Case('hook', on(libvirtd=None), OK, 'nova-vgpu'),
    Case(
        'hook',
        on(hook=models.Hook('/hook', 'yes', 1000.0, is_visible=False)),
        ERROR,
        "not in libvirt's container",
        'mount /etc/libvirt/hooks',
    ),
    Case(
        'hook',
        on(hook=models.Hook('/hook', 'yes', 1000.0, is_visible=True)),
        OK,
        '/hook',
    ),
    Case('hook', on(hook=HIDDEN), UNKNOWN, 'denied', 'root'),
    Case('hook', on(hook=BROKEN), ERROR, 'something broken', 'mend'),
    Case('hook', on(libvirtd=HIDDEN), UNKNOWN, 'denied', 'root'),
    Case('mounts', facts(), OK, 'no libvirt in a container'),
    Case('mounts', on(libvirtd=None), OK, 'no libvirt in a container'),
    *(
        Case(
            'mounts',
            on(
                **(
                    {'is_container': True, 'mounts': mounts}
                    if is_own
                    else {
                        'libvirtd': models.Libvirtd('libvirtd', 1, 0.0, mounts)
                    }
                )
            ),
            status,
            found,
            remedy,
        )
        for is_own in (True, False)
        for mounts, status, found, remedy in (
            ((ROOT, SYSFS, *KEPT), OK, 'has what it needs', ''),
            (
                (ROOT, SYSFS, *KEPT[1:]),
                WARNING,
                'has /etc/mdevctl.d of its own',
                'nova_libvirt_extra_volumes',
            ),
            (
                (ROOT, SYSFS, KEPT[0], KEPT[2]),
                WARNING,
                'has /etc/libvirt/hooks of its own',
                '',
            ),
            (
                (
                    ROOT,
                    SYSFS,
                    *KEPT[:2],
                    models.Mount('/var/lib', 'tmpfs', True),
                ),
                WARNING,
                'has /var/lib/nova-vgpu-ext of its own',
                '',
            ),
            (
                (
                    ROOT,
                    SYSFS,
                    *KEPT[1:],
                    models.Mount('/etc', 'ext4', True),
                    models.Mount('/etc/mdevctl', 'tmpfs', True),
                ),
                OK,
                'has what it needs',
                '',
            ),
            (
                (ROOT, models.Mount('/sys', 'sysfs', False), *KEPT),
                ERROR,
                'may not write /sys',
                'privileged',
            ),
            (
                # Mounted again, over the first one.
                (
                    ROOT,
                    models.Mount('/sys', 'sysfs', False),
                    SYSFS,
                    *KEPT,
                ),
                OK,
                'has what it needs',
                '',
            ),
            ((), UNKNOWN, 'no mounts', ''),
            (HIDDEN, UNKNOWN, 'denied', 'root'),
        )
    ),
    Case('mounts', on(libvirtd=HIDDEN), UNKNOWN, 'denied', 'root'),
)
