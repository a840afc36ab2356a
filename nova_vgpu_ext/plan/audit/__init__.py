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
"""What is not as it should be in Placement, and how it is set right.

Pure functions: :func:`suspects` says of a host that was read what must be
looked at by itself, :func:`check` gives the findings.
"""

from __future__ import annotations

from nova_vgpu_ext.plan.audit import (
    allocations,
    labels,
    providers,
    servers,
    totals,
)
from nova_vgpu_ext.plan.audit.census import Census, take
from nova_vgpu_ext.plan.audit.findings import CHECKS, LEAKED, Finding
from nova_vgpu_ext.plan.audit.providers import root_vgpu
from nova_vgpu_ext.plan.audit.repairs import (
    DeleteProvider,
    LeaveHost,
    Release,
    Repair,
    SetTraits,
)
from nova_vgpu_ext.plan.audit.states import IN_PROGRESS, find_moves
from nova_vgpu_ext.plan.audit.totals import odd
from nova_vgpu_ext.plan.audit.view import HostView, Suspect

__all__ = [
    'CHECKS',
    'IN_PROGRESS',
    'LEAKED',
    'Census',
    'DeleteProvider',
    'Finding',
    'HostView',
    'LeaveHost',
    'Release',
    'Repair',
    'SetTraits',
    'Suspect',
    'check',
    'find_moves',
    'odd',
    'root_vgpu',
    'suspects',
    'take',
]


def suspects(view: HostView, census: Census) -> list[str]:
    """Name the consumers to look at by themselves before they are judged."""
    return sorted(
        {*allocations.strangers(view), *servers.doubtful(view, census)}
    )


def check(view: HostView, census: Census) -> list[Finding]:
    """Find what is wrong on a host, in a stable order.

    :param view: with all that :func:`suspects` has named looked at.
    :param census: of the hosts that are audited.
    """
    found = [*providers.check(view), *allocations.check(view)]
    if view.in_nova:
        found += totals.check(view, census)
        found += labels.check(view, census)
        found += servers.check(view, census)
    return sorted(found, key=lambda finding: (finding.key, finding.found))
