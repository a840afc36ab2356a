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
"""What an audit finds, and the names of its checks."""

from __future__ import annotations

import dataclasses

from nova_vgpu_ext.models import Severity
from nova_vgpu_ext.plan.audit.repairs import Repair

#: An allocation of which, without a look at every move, only this is known.
LEAKED = 'leaked-allocation'

#: The checks; the names are stable.
CHECKS = (
    'empty-provider',
    'finished-move',
    'gone-gpu',
    'gone-host',
    'host-traits',
    LEAKED,
    'missing-traits',
    'missing-vgpu',
    'mixed-classes',
    'odd-total',
    'overcommitted',
    'root-vgpu',
    'stale-traits',
    'unasked-vgpu',
    'wrong-host',
)


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be."""

    check: str
    severity: Severity
    #: The compute node.
    host: str
    #: The GPU's address, or the UUID of a server or another consumer.
    object: str
    #: The evidence.
    found: str
    #: What a person does about it.
    remedy: str
    #: What --heal does about it; None where it leaves it.
    repair: Repair | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes it the same finding in another look."""
        return self.host, self.check, self.object


def listed(names: list[str], limit: int = 4) -> str:
    """Write some names with commas, and the number of what is left out."""
    text = ', '.join(names[:limit])
    more = len(names) - limit
    return f'{text} and {more} more' if more > 0 else text


def amounts(resources: dict[str, int]) -> str:
    """Write resources: ``1 VGPU, 2 VCPU``; ``none`` without any."""
    text = ', '.join(f'{n} {name}' for name, n in sorted(resources.items()))
    return text or 'none'
