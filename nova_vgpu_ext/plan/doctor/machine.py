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
"""Checks of the machine: IOMMU, kernel, driver and its services."""

from __future__ import annotations

import re

from nova_vgpu_ext.models import Framework, Gpu
from nova_vgpu_ext.plan import functions
from nova_vgpu_ext.plan.doctor.facts import (
    SIMULATOR,
    Facts,
    Verdict,
    count,
    error,
    frameworks,
    has_cards,
    known,
    ok,
    unknown,
    warning,
)

#: What a migration of guests with mdevs needs. Source: Nova's guide to
#: virtual GPUs.
KERNEL = (5, 18)
NO_LIVE_MIGRATION = 'live migration of guests with vGPUs will not work'

_RELEASE = re.compile(r'([0-9]{1,4})\.([0-9]{1,4})', re.ASCII)
_NO_CARD = 'no GPU that needs it'
_MANAGER = 'nvidia-vgpu-mgr.service'
_DAEMON = 'nvidia-vgpud.service'


def sysfs(facts: Facts) -> Verdict:
    """Check what could be read of the devices."""
    snapshot = known(facts.snapshot, is_own=True)
    if not snapshot.is_whole:
        raise unknown(
            f'a list of devices that cannot be read: {snapshot.problems[0]}',
            'run this as root',
        )
    if snapshot.problems:
        return warning(
            f'{count(len(snapshot.problems), "file")} that cannot be used, '
            f'first {snapshot.problems[0]}',
            'their values are left out; check the driver and the permissions',
        )
    if not snapshot.gpus:
        return warning(
            'no GPU',
            'lspci -d 10de: lists the cards that the machine has; load the '
            'driver',
        )
    mdevs = sum(1 for _ in snapshot.mdevs)
    vfs = sum(len(gpu.vfs) for gpu in snapshot.gpus)
    return ok(
        f'{count(len(snapshot.gpus), "GPU")}, '
        f'{count(vfs, "virtual function")}, {count(mdevs, "mdev")}'
    )


def iommu(facts: Facts) -> Verdict:
    """Check that the IOMMU is on."""
    machine = facts.machine
    if known(machine.has_iommu_groups):
        return ok('on')
    snapshot = known(facts.snapshot)
    if facts.has_simulator:
        return ok(f'off; {SIMULATOR} needs none')
    if not has_cards(snapshot):
        return ok(f'off; {_NO_CARD}')
    command_line = machine.command_line
    remedy = (
        'enable VT-d (Intel) or AMD-Vi in the firmware; on Intel add '
        'intel_iommu=on to the kernel command line; reboot'
    )
    if isinstance(command_line, str) and re.search(
        r'\b(intel_iommu=on|amd_iommu=(on|force))', command_line
    ):
        remedy = (
            'the kernel was told to use it: enable VT-d (Intel) or AMD-Vi in '
            'the firmware'
        )
    for gpu in snapshot.gpus:
        if gpu.total_vfs or gpu.framework is Framework.VENDOR_VFIO:
            return error(
                f'off; the virtual functions of {gpu.address} need it', remedy
            )
    return warning('off; these GPUs work without it, others do not', remedy)


def kernel(facts: Facts) -> Verdict:
    """Check the kernel's release."""
    release = known(facts.machine.kernel)
    match = _RELEASE.match(release)
    if match is None:
        raise unknown(repr(release[:40]), 'uname -r tells the release')
    if (int(match[1]), int(match[2])) < KERNEL:
        return warning(
            release,
            f'{NO_LIVE_MIGRATION}; a newer kernel is needed for it',
        )
    return ok(release)


def modules(facts: Facts) -> Verdict:
    """Check the kernel's modules."""
    loaded = known(facts.machine.modules)
    if SIMULATOR in loaded:
        return ok(f'{SIMULATOR}, which stands in for the driver')
    snapshot = known(facts.snapshot)
    if not has_cards(snapshot):
        return ok(_NO_CARD)
    if 'nouveau' in loaded:
        return error(
            'nouveau',
            'blacklist it (/etc/modprobe.d), make the initial RAM disk '
            'again, and reboot',
        )
    needed = ['nvidia_vgpu_vfio', 'vfio']
    if Framework.VENDOR_VFIO not in frameworks(snapshot):
        needed.insert(1, 'mdev')
    missing = [name for name in needed if name not in loaded]
    if missing:
        return error(
            f'{", ".join(missing)} not loaded',
            'install the vGPU host driver (not the driver for guests), and '
            'reboot',
        )
    return ok(f'{", ".join(needed)} loaded')


def driver(facts: Facts) -> Verdict:
    """Check that the driver is one for vGPU hosts."""
    version = known(facts.machine.driver)
    snapshot = known(facts.snapshot)
    if facts.has_simulator:
        return ok(SIMULATOR)
    if not has_cards(snapshot):
        return ok(_NO_CARD)
    idle = [
        gpu
        for gpu in snapshot.gpus
        if gpu.framework is Framework.NONE
        and gpu.driver in (None, 'nvidia', 'nouveau')
        and not _waits_for_vfs(gpu)
    ]
    if version is None and idle:
        return error(
            f'none; {idle[0].address} offers no vGPU types',
            'install the vGPU host driver',
        )
    if idle:
        return error(
            f'NVIDIA {version}, but {idle[0].address} offers no vGPU types',
            'install the vGPU host driver: the drivers for guests and for '
            'data centers look alike but offer none; see the kernel log '
            '(dmesg)',
        )
    return ok(f'NVIDIA {version}' if version else 'none; no GPU lacks it')


def _waits_for_vfs(gpu: Gpu) -> bool:
    return bool(gpu.driver and gpu.total_vfs and not gpu.vfs)


def services(facts: Facts) -> Verdict:
    """Check the services of NVIDIA's driver."""
    units = known(facts.machine.services)
    snapshot = known(facts.snapshot)
    if facts.has_simulator:
        return ok(f'{SIMULATOR} needs none')
    if not has_cards(snapshot):
        return ok(_NO_CARD)
    manager, daemon = units[_MANAGER], units[_DAEMON]
    found = f'{_MANAGER} {manager}, {_DAEMON} {daemon}'
    if not manager.is_installed:
        return error(found, 'install the vGPU host driver')
    if manager.active_state != 'active':
        return error(
            found,
            f'systemctl restart {_MANAGER}; journalctl -u {_MANAGER} tells '
            'why it ended',
        )
    # The daemon may have done its work, and ended.
    if daemon.active_state == 'failed' or not daemon.is_installed:
        return error(
            found,
            f'systemctl restart {_DAEMON}; journalctl -u {_DAEMON} tells '
            'why it failed',
        )
    return ok(found)


def catalog(facts: Facts) -> Verdict:
    """Check the driver's list of types."""
    path = known(facts.machine.catalog)
    snapshot = known(facts.snapshot)
    if path is not None:
        return ok(path)
    if facts.has_simulator or not has_cards(snapshot):
        return ok('none; none is needed')
    return warning(
        'none',
        'what sysfs leaves out of a type (heads, frame buffer, maximum) is '
        'not known; install the vGPU host driver, or correct [vgpu] '
        'driver_catalog',
    )


def vfs(facts: Facts) -> Verdict:
    """Check that cards have their virtual functions."""
    snapshot = known(facts.snapshot)
    waiting = functions.enable(snapshot).actions
    if waiting:
        return error(
            f'{count(len(waiting), "card")} without: {waiting[0]}',
            'nova-vgpu prepare enables them; nova-vgpu-prepare.service does '
            'at each boot',
        )
    cards = [gpu for gpu in snapshot.gpus if gpu.total_vfs]
    if not cards:
        return ok('no card that has them')
    return ok(
        f'{sum(len(g.vfs) for g in cards)} on {count(len(cards), "card")}'
    )
