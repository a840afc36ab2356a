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
"""Checks of libvirt and what it needs: QEMU, mdevctl, options, hook."""

from __future__ import annotations

from nova_vgpu_ext.models import (
    Framework,
    Hook,
    Libvirtd,
    Mount,
    Unknown,
    Version,
)
from nova_vgpu_ext.plan.doctor.facts import (
    Facts,
    Settings,
    Verdict,
    error,
    frameworks,
    known,
    ok,
    unknown,
    warning,
)
from nova_vgpu_ext.plan.doctor.machine import NO_LIVE_MIGRATION

#: ``MIN_LIBVIRT_PERSISTENT_MDEV`` of Nova, before it needed libvirt 8.0.
LIBVIRT_PERSISTENT: Version = (7, 3, 0)
#: ``MIN_MDEV_LIVEMIG_LIBVIRT_VERSION`` and ``_QEMU_`` of Nova 34.
LIBVIRT_MDEV: Version = (8, 6, 0)
QEMU_MDEV: Version = (8, 1, 0)
#: ``MIN_VFIO_PCI_VARIANT_QEMU_VERSION`` of Nova 34.
QEMU_VENDOR: Version = (8, 2, 2)
#: Tried: 9.0 wants a function to be bound to vfio-pci, 11.3 does not. Between
#: the two nobody has tried.
LIBVIRT_VENDOR_REFUSES: Version = (9, 0, 0)
LIBVIRT_VENDOR: Version = (11, 3, 0)

#: Nova's guide to virtual GPUs.
DOWNTIME = 500000
DOWNTIME_STEPS = 3
DOWNTIME_DELAY = 3

_HOOKS = '/etc/libvirt/hooks'
_SYSFS = '/sys'
_NOT_KEPT = frozenset({'tmpfs', 'ramfs', 'devtmpfs'})


def libvirt(facts: Facts) -> Verdict:
    """Check libvirt's version."""
    version = known(facts.hypervisor, is_own=True).libvirt
    kinds = frameworks(known(facts.snapshot))
    found = _text(version)
    if Framework.VENDOR_VFIO in kinds:
        if version <= LIBVIRT_VENDOR_REFUSES:
            return error(
                f'{found}, which starts no guest with vendor-specific VFIO',
                f'upgrade it to {_text(LIBVIRT_VENDOR)} or later',
            )
        if version < LIBVIRT_VENDOR:
            return warning(
                f'{found}, of which it is not known whether it starts guests '
                'with vendor-specific VFIO',
                f'upgrade it to {_text(LIBVIRT_VENDOR)} or later',
            )
    if Framework.MDEV in kinds:
        if version < LIBVIRT_PERSISTENT:
            return warning(
                f'{found}, which keeps no mdev over a reboot',
                f'upgrade it to {_text(LIBVIRT_MDEV)} or later',
            )
        if version < LIBVIRT_MDEV:
            return warning(found, _migration_remedy(LIBVIRT_MDEV))
    return ok(found)


def qemu(facts: Facts) -> Verdict:
    """Check QEMU's version."""
    version = known(facts.hypervisor).qemu
    kinds = frameworks(known(facts.snapshot))
    needed = QEMU_VENDOR if Framework.VENDOR_VFIO in kinds else QEMU_MDEV
    if version < needed and kinds - {Framework.NONE}:
        return warning(_text(version), _migration_remedy(needed))
    return ok(_text(version))


def _migration_remedy(version: Version) -> str:
    return f'{NO_LIVE_MIGRATION}; {_text(version)} or later is needed for it'


def _text(version: Version) -> str:
    return '.'.join(str(number) for number in version)


def live_migration_options(facts: Facts) -> Verdict:
    """Check Nova's options for live migration."""
    options = known(facts.live_migration)
    found = {
        'live_migration_downtime': (
            options.downtime,
            options.downtime >= DOWNTIME,
        ),
        'live_migration_downtime_steps': (
            options.downtime_steps,
            options.downtime_steps <= DOWNTIME_STEPS,
        ),
        'live_migration_downtime_delay': (
            options.downtime_delay,
            options.downtime_delay <= DOWNTIME_DELAY,
        ),
        'live_migration_permit_post_copy': (
            str(options.permit_post_copy).lower(),
            not options.permit_post_copy,
        ),
    }
    text = ', '.join(
        f'{name} = {value}'
        for name, (value, is_right) in found.items()
        if not is_right
    )
    if text:
        return warning(
            text,
            f'{NO_LIVE_MIGRATION}; if it shall, set them in [libvirt]',
        )
    return ok('as expected')


def mdevctl(facts: Facts) -> Verdict:
    """Check for mdevctl, through which libvirt makes mdevs."""
    path = known(facts.machine.mdevctl)
    kinds = frameworks(known(facts.snapshot))
    if path is not None:
        return ok(path)
    if Framework.MDEV not in kinds:
        return ok('none; no GPU has mediated devices')
    return error(
        'none where libvirt runs',
        'install the package mdevctl there (in the image of nova_libvirt, '
        'with kolla): without it libvirt, and so Nova, can make no mdev',
    )


def mdevctl_udev(facts: Facts) -> Verdict:
    """Check for the rule that starts persistent mdevs at boot."""
    path = known(facts.machine.mdevctl_rule)
    kinds = frameworks(known(facts.snapshot))
    if path is not None:
        return ok(path)
    if Framework.MDEV not in kinds:
        return ok('none; no GPU has mediated devices')
    return warning(
        'none, or turned off',
        'persistent mdevs do not start by themselves at boot: install the '
        'package mdevctl on the host, or enable nova-vgpu-prepare.service',
    )


def hook(facts: Facts) -> Verdict:
    """Check for this project's hook, and that libvirt has seen it."""
    file = known(facts.machine.hook, is_own=True)
    if file.state != 'yes':
        return _other_hook(file)
    if file.is_visible is False:
        return error(
            f"{file.path} on the host, but not in libvirt's container",
            f'mount {_HOOKS} into the container of libvirt',
        )
    daemon = known(facts.machine.libvirtd)
    if daemon and file.changed and daemon.started < file.changed:
        return warning(
            f'{file.path} is newer than the start of {daemon.name}',
            f'restart {daemon.name} (guests go on): it looks for hooks only '
            'when it starts',
        )
    return ok(file.path)


def _other_hook(file: Hook) -> Verdict:
    if file.state == 'no':
        return warning(
            'not installed',
            'nova-vgpu hook install; without it guests do not get the '
            'parameters of their flavor, nor mdevs back that the host forgot',
        )
    if file.state == 'newer':
        return warning(
            f'{file.path} of a later version', 'upgrade this program'
        )
    if file.state == 'foreign':
        return warning(
            f'something else at {file.path}',
            'move it away; nova-vgpu hook install',
        )
    return warning(
        f'{file.path} is not what would be written now',
        'nova-vgpu hook install',
    )


def mounts(facts: Facts) -> Verdict:
    """Check what containers keep, and whether libvirt may write sysfs."""
    machine = facts.machine
    daemon = known(machine.libvirtd)
    settings = known(facts.settings)
    if isinstance(daemon, Libvirtd) and daemon.mounts is not None:
        return _container("libvirt's container", daemon.mounts, settings)
    if machine.is_container:
        return _container('this container', machine.mounts, settings)
    return ok('no libvirt in a container')


def _container(
    name: str, seen: tuple[Mount, ...] | Unknown, settings: Settings
) -> Verdict:
    table = known(seen)
    sysfs = _mount_of(_SYSFS, table)
    if sysfs is None:
        raise unknown(f'no mounts of {name}', 'look into the container')
    if not sysfs.is_writable:
        return error(
            f'{name} may not write {_SYSFS}',
            'make the container privileged: no mdev can be made in it',
        )
    lost = []
    for path in (settings.mdevctl_path, _HOOKS, settings.state_path):
        mount = _mount_of(path, table)
        if mount is None or mount.path == '/' or mount.kind in _NOT_KEPT:
            lost.append(path)
    if lost:
        return warning(
            f'{name} has {", ".join(lost)} of its own, which goes with it',
            'mount the folders of the host (nova_libvirt_extra_volumes, '
            'nova_compute_extra_volumes)',
        )
    return ok(f'{name} has what it needs')


def _mount_of(path: str, table: tuple[Mount, ...]) -> Mount | None:
    """Find the mount that a path is on; of several the last one counts."""
    found = None
    for mount in table:
        inside = f'{path}/'.startswith(f'{mount.path.rstrip("/")}/')
        if inside and (found is None or len(mount.path) >= len(found.path)):
            found = mount
    return found
