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
"""The table of checks, and how it is run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Sequence

from nova_vgpu_ext import exception
from nova_vgpu_ext.plan.doctor import libvirt, machine, own, vgpus
from nova_vgpu_ext.plan.doctor.facts import (
    Facts,
    NotKnown,
    Result,
    Status,
    Verdict,
)

_LIMIT = 500
_CORRECT = 'correct what is named there'


@dataclasses.dataclass(frozen=True)
class Check:
    """One check; names and order are stable."""

    name: str
    #: What is right.
    expected: str
    function: Callable[[Facts], Verdict]
    #: Whether it looks at this machine, which a simulated host is not.
    of_machine: bool = False


CHECKS: tuple[Check, ...] = (
    Check('sysfs', 'GPUs that can be read', machine.sysfs),
    Check('iommu', 'on', machine.iommu, of_machine=True),
    Check(
        'kernel',
        'Linux 5.18 or later, for live migration',
        machine.kernel,
        of_machine=True,
    ),
    Check(
        'modules',
        'those of the vGPU host driver, and no nouveau',
        machine.modules,
        of_machine=True,
    ),
    Check('driver', 'the vGPU host driver', machine.driver, of_machine=True),
    Check(
        'services',
        'nvidia-vgpu-mgr active, nvidia-vgpud not failed',
        machine.services,
        of_machine=True,
    ),
    Check(
        'catalog',
        "the driver's vgpuConfig.xml",
        machine.catalog,
        of_machine=True,
    ),
    Check('vfs', 'virtual functions on each card', machine.vfs),
    Check('config', 'nova.conf that fits the host', vgpus.config),
    Check(
        'types',
        'the types of [vgpu] vf_types on virtual functions',
        vgpus.vendor_types,
    ),
    Check(
        'leftovers',
        'mdevs of the type that their GPU is configured for',
        vgpus.leftovers,
    ),
    Check(
        'orphans',
        'no old mdev that nothing uses',
        vgpus.orphans,
    ),
    Check('domains', 'the mdevs of each domain', vgpus.domains),
    Check(
        'definitions',
        'persistent mdevs that can be started',
        vgpus.definitions,
    ),
    Check(
        'mdevctl',
        'the program mdevctl where libvirt runs',
        libvirt.mdevctl,
        of_machine=True,
    ),
    Check(
        'mdevctl-udev',
        "udev's rule 60-mdevctl.rules",
        libvirt.mdevctl_udev,
        of_machine=True,
    ),
    Check(
        'libvirt',
        '8.6 or later; 11.3 or later for vendor-specific VFIO',
        libvirt.libvirt,
        of_machine=True,
    ),
    Check(
        'qemu',
        '8.1 or later for live migration; 8.2.2 with vendor-specific VFIO',
        libvirt.qemu,
        of_machine=True,
    ),
    Check(
        'live-migration-options',
        'live_migration_downtime 500000, _steps 3, _delay 3, no post-copy',
        libvirt.live_migration_options,
    ),
    Check(
        'hook',
        "this version's hook, older than the start of libvirt",
        libvirt.hook,
        of_machine=True,
    ),
    Check(
        'mounts',
        'containers that write sysfs and keep what must stay',
        libvirt.mounts,
        of_machine=True,
    ),
    Check('state', 'a folder that only its owner writes', own.state),
    Check('ledger', 'a ledger of this version', own.ledger),
    Check('prepare', 'the unit enabled', own.prepare, of_machine=True),
    Check('agent', 'running, or not wanted', own.agent, of_machine=True),
    Check('placement', 'what this host offers', own.placement),
)


def run(
    facts: Facts,
    skip: Collection[str] = (),
    checks: Sequence[Check] = CHECKS,
) -> tuple[Result, ...]:
    """Make the checks; one that fails hides no other.

    For a simulated host those are left out that look at the machine.

    :param skip: names of checks that are not wanted.
    """
    return tuple(
        _run(check, facts)
        for check in checks
        if check.name not in skip
        and not (check.of_machine and facts.system is None)
    )


def exit_code(results: Iterable[Result]) -> int:
    """Sum results up.

    :returns: 2 with an error, else 1 with a warning or something unknown,
        else 0.
    """
    found = {result.status for result in results}
    if Status.ERROR in found:
        return 2
    return int(bool(found - {Status.OK}))


def _run(check: Check, facts: Facts) -> Result:
    try:
        verdict = check.function(facts)
    except NotKnown as missing:
        reason = missing.unknown
        verdict = Verdict(missing.status, reason.found, reason.remedy)
    except exception.VgpuError as error:
        remedy = str(getattr(error, 'remedy', ''))
        found = str(error).removesuffix(f'; {remedy}')
        verdict = Verdict(Status.ERROR, found, remedy or _CORRECT)
    except Exception as error:
        verdict = Verdict(
            Status.UNKNOWN,
            f'{type(error).__name__}: {error}',
            'this is a bug; report it',
        )
    return Result(
        check.name,
        verdict.status,
        _line(verdict.found),
        check.expected,
        _line(verdict.remedy),
    )


def _line(text: str) -> str:
    """Make a text one printable line of a limited length."""
    shown = ''.join(c if c.isprintable() else ' ' for c in text[: 2 * _LIMIT])
    line = ' '.join(shown.split())
    return line if len(line) <= _LIMIT else f'{line[:_LIMIT]}...'
