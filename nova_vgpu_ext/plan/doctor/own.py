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
"""Checks of this project's own files and services, and of Placement."""

from __future__ import annotations

from nova_vgpu_ext.models import Severity
from nova_vgpu_ext.plan.doctor.facts import (
    Facts,
    Verdict,
    count,
    error,
    known,
    ok,
    warning,
)
from nova_vgpu_ext.plan.doctor.vgpus import plan_findings

_PREPARE = 'nova-vgpu-prepare.service'
_AGENT = 'nova-vgpu-agent.service'
_OTHERS_WRITE = 0o022


def state(facts: Facts) -> Verdict:
    """Check the folder of ledger and lock."""
    folder = known(facts.state, is_own=True)
    if not folder.is_writable:
        return error(
            f'{folder.path} cannot be written',
            'mount its file system writable, or correct [vgpu] state_path',
        )
    if not folder.exists:
        return ok(f'{folder.path} is made with the first change')
    if not folder.is_folder:
        return error(
            f'{folder.path} is no folder',
            'move it away, or correct [vgpu] state_path',
        )
    if folder.mode & _OTHERS_WRITE:
        return warning(
            f'{folder.path} has mode {folder.mode:04o}',
            f'chmod go-w {folder.path}: who writes there says which vGPU a '
            'guest gets',
        )
    return ok(folder.path)


def ledger(facts: Facts) -> Verdict:
    """Check that the ledger can be read."""
    entries = known(facts.ledger, is_own=True)
    return ok('1 entry' if entries == 1 else f'{entries} entries')


def prepare(facts: Facts) -> Verdict:
    """Check that a boot brings back what it takes away."""
    unit = known(facts.machine.services)[_PREPARE]
    if not unit.is_installed:
        return warning(
            f'no {_PREPARE}',
            'install it from the package; until then give nova-vgpu prepare '
            'after each boot, before nova-compute starts',
        )
    if unit.active_state == 'failed':
        return error(
            f'{_PREPARE} {unit}',
            f'journalctl -u {_PREPARE} tells why; nova-vgpu prepare runs it '
            'again',
        )
    if unit.file_state != 'enabled':
        return warning(
            f'{_PREPARE} {unit.file_state or unit}',
            f'systemctl enable {_PREPARE}',
        )
    return ok(f'{_PREPARE} enabled')


def agent(facts: Facts) -> Verdict:
    """Check the agent; nobody has to run it."""
    unit = known(facts.machine.services)[_AGENT]
    if unit.active_state == 'failed':
        return error(
            f'{_AGENT} {unit}',
            f'journalctl -u {_AGENT} tells why; systemctl restart {_AGENT}',
        )
    if unit.active_state == 'active':
        return ok(f'{_AGENT} runs')
    return ok(
        f'{_AGENT} does not run; nova-vgpu report keeps Placement up to date'
    )


def placement(facts: Facts) -> Verdict:
    """Check what Placement says of this host."""
    view = known(facts.placement, is_own=True)
    others = set(plan_findings(facts))
    findings = [f for f in view.findings if f not in others]
    remedy = 'nova-vgpu report --dry-run shows all'
    if findings:
        worst = min(findings, key=lambda f: list(Severity).index(f.severity))
        found = f'{worst.option}: {worst.found}'
        if len(findings) > 1:
            found = f'{count(len(findings), "finding")}, first {found}'
        say = warning if worst.severity is Severity.WARNING else error
        return say(found, f'{worst.remedy}; {remedy}')
    if view.changes:
        return warning(
            f'{count(len(view.changes), "change")} to make, first: '
            f'{view.changes[0]}',
            f'nova-vgpu report makes them; {remedy}',
        )
    return ok(f'{count(view.providers, "provider")}, nothing to change')
