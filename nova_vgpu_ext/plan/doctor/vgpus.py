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
"""Checks of vGPUs: types, mediated devices, and who uses them."""

from __future__ import annotations

from collections.abc import Iterator

from nova_vgpu_ext.models import (
    Finding,
    Framework,
    Mdev,
    Severity,
    Unknown,
    Usage,
    VgpuDevice,
)
from nova_vgpu_ext.plan import (
    checks,
    functions,
    inventory,
    pci,
    removal,
    restore,
    types,
)
from nova_vgpu_ext.plan.actions import (
    CreateMdev,
    HostPlan,
    RemoveMdev,
    UndefineMdev,
)
from nova_vgpu_ext.plan.doctor.facts import (
    Facts,
    Verdict,
    count,
    error,
    known,
    ok,
    unknown,
    warning,
)

_PREPARE = 'nova-vgpu prepare'
_CLEAN = 'nova-vgpu mdev clean'


def config(facts: Facts) -> Verdict:
    """Check nova.conf against the host.

    What the plan finds at devices and files, other checks tell.
    """
    known(facts.config, is_own=True)
    known(facts.settings, is_own=True)
    in_part = checks.incomplete()
    findings = [
        f
        for f in plan_findings(facts)
        if f.option.startswith('[') and f != in_part
    ]
    if not findings:
        return ok('no findings')
    numbers = {
        severity: sum(f.severity is severity for f in findings)
        for severity in Severity
    }
    worst = next(s for s in Severity if numbers[s])
    first = next(f for f in findings if f.severity is worst)
    found = (
        ', '.join(f'{n} {s.value}' for s, n in numbers.items() if n)
        + f'; first {first.option}: {first.found}'
    )
    remedy = f'{first.remedy}; nova-vgpu config check shows all'
    if worst is Severity.WARNING:
        return warning(found, remedy)
    return error(found, remedy)


def plan_findings(facts: Facts) -> tuple[Finding, ...]:
    """Give what a report would find in configuration and host.

    :raises NotKnown: one of the two is not known.
    """
    # Names of providers do not matter here.
    plan = inventory.plan(known(facts.config), known(facts.snapshot), '', ())
    return plan.findings


def vendor_types(facts: Facts) -> Verdict:
    """Check the types of functions with vendor-specific VFIO."""
    snapshot = known(facts.snapshot)
    cards = [g for g in snapshot.gpus if g.framework is Framework.VENDOR_VFIO]
    if not cards:
        return ok('no vendor-specific VFIO')
    wanted = functions.parse_types(known(facts.settings).vf_types)
    plan = functions.set_types(snapshot, known(facts.usage), wanted)
    if plan.findings:
        return _of_finding(plan.findings)
    if plan.actions:
        return error(
            f'{count(len(plan.actions), "step")} missing, first: '
            f'{plan.actions[0]}',
            f'{_PREPARE} sets the types; nova-vgpu-prepare.service does at '
            'each boot',
        )
    findings = pci.plan(snapshot, '')[1]
    if findings:
        return _of_finding(findings)
    typed = sum(bool(vf.current_type) for g in cards for vf in g.vfs)
    return ok(f'{count(typed, "virtual function")} with a type')


def _of_finding(findings: list[Finding] | tuple[Finding, ...]) -> Verdict:
    worst = min(findings, key=lambda f: list(Severity).index(f.severity))
    found = f'{worst.option}: {worst.found}'
    if len(findings) > 1:
        found = f'{count(len(findings), "finding")}, first {found}'
    if worst.severity is Severity.WARNING:
        return warning(found, worst.remedy)
    return error(found, worst.remedy)


def leftovers(facts: Facts) -> Verdict:
    """Check for mdevs of a type that their GPU is not configured for."""
    type_map = _type_map(facts)
    found = list(_others(facts, type_map))
    if not found:
        return ok('none')
    device, mdev = found[0]
    usage = facts.usage
    users = [] if isinstance(usage, Unknown) else removal.users(mdev, usage)
    wanted = type_map.type_of(device.address)
    text = (
        f'{count(len(found), "mdev")}, first {mdev.uuid} of {mdev.type_id} '
        f'on {device.address}, which is configured for '
        f'{wanted.id if wanted else "none"}'
    )
    if users:
        text += f'; in use by {", ".join(users)}'
    remedy = (
        f'{_CLEAN} removes those that nothing uses; end the guests of the '
        'others, or configure their type'
    )
    for device, _ in found:
        offered = type_map.offered(device)
        if offered is not None and not offered.available:
            return error(text, remedy)
    return warning(text, remedy)


def _type_map(facts: Facts) -> types.TypeMap:
    """Give the type of each device.

    :raises NotKnown: nova-compute would refuse the configuration.
    """
    type_map, findings = types.resolve(
        known(facts.config), known(facts.snapshot)
    )
    if any(f.severity is Severity.FATAL for f in findings):
        raise unknown(
            'a configuration that nova-compute refuses', 'see the check config'
        )
    return type_map


def _others(
    facts: Facts, type_map: types.TypeMap
) -> Iterator[tuple[VgpuDevice, Mdev]]:
    for device in known(facts.snapshot).mdev_parents:
        wanted = type_map.type_of(device.address)
        for mdev in device.mdevs:
            if wanted and mdev.type_id not in (None, wanted.id):
                yield device, mdev


def orphans(facts: Facts) -> Verdict:
    """Check for mdevs that nothing uses any more."""
    snapshot = known(facts.snapshot)
    existing = sum(1 for _ in snapshot.mdevs)
    if not existing:
        return ok('no mdev')
    if not facts.sees_processes:
        raise unknown(
            'processes that this user may not look into', 'run this as root'
        )
    grace = known(facts.settings).orphan_grace
    plan = removal.clean(snapshot, _asked(facts), {}, grace)
    others = {m.uuid for _, m in _others(facts, _type_map(facts))}
    found = [
        action
        for action in plan.actions
        if isinstance(action, RemoveMdev) and action.uuid not in others
    ]
    if found:
        return warning(
            f'{count(len(found), "mdev")} of {existing}, first '
            f'{found[0].uuid} of {found[0].type_id} on {found[0].parent}',
            f'{_CLEAN} removes them, unless Placement counts on them; Nova '
            'uses them again for the same type',
        )
    return ok(f'none of {count(existing, "mdev")}')


def _asked(facts: Facts) -> Usage:
    """Give the usage.

    :raises NotKnown: libvirt was not asked.
    """
    usage = known(facts.usage)
    if not usage.has_domains:
        raise unknown(
            'libvirt is not asked', 'set [vgpu] libvirt_uri to its URI'
        )
    return usage


def domains(facts: Facts) -> Verdict:
    """Check that the mdevs of every domain are there."""
    usage = _asked(facts)
    plan = restore.restore(known(facts.snapshot), usage)
    coming = [a for a in plan.actions if isinstance(a, CreateMdev)]
    if plan.findings:
        return _of_finding(plan.findings)
    if coming:
        users = [str(d) for d in usage.domains_of(coming[0].uuid)]
        return error(
            f'{count(len(coming), "mdev")} missing, first {coming[0].uuid} '
            f'of {", ".join(users)}',
            f'{_PREPARE} makes them again; nova-vgpu-prepare.service does at '
            'each boot',
        )
    named = sum(len(domain.mdevs) for domain in usage.domains)
    return ok(f'{count(named, "mdev")} of domains, all there')


def definitions(facts: Facts) -> Verdict:
    """Check that every persistent mdev can be started."""
    usage = known(facts.usage)
    plan: HostPlan = restore.restore(known(facts.snapshot), usage)
    stale = [a for a in plan.actions if isinstance(a, UndefineMdev)]
    if stale:
        return error(
            f'{count(len(stale), "definition")} that cannot be started, '
            f'first {stale[0].definition.uuid}: {stale[0].reason}',
            f'{_PREPARE} puts them aside; nova-compute starts each and does '
            'not start if one fails',
        )
    return ok(count(len(usage.definitions), 'definition'))
