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
"""Repairing what an audit has found, one request after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from nova_vgpu_ext import exception
from nova_vgpu_ext.osc.auditor import Auditor
from nova_vgpu_ext.placement import repair
from nova_vgpu_ext.placement.client import PlacementClient
from nova_vgpu_ext.plan import audit

#: How often a repair is planned anew while others write there.
_ATTEMPTS = 3

LEFT = 'left'
REPAIRED = 'repaired'
ALREADY_REPAIRED = 'already repaired'
HEALED = (REPAIRED, ALREADY_REPAIRED)


class Healer:
    """Repairs what is safe, and what it is told to.

    :param auditor: that has found what is wrong.
    :param client: writes.
    :param include_servers: whether allocations of servers that exist may be
        taken away.
    :param on_repair: called with a line after each repair.
    """

    def __init__(
        self,
        auditor: Auditor,
        client: PlacementClient,
        include_servers: bool,
        on_repair: Callable[[str], None],
    ) -> None:
        self._auditor = auditor
        self._client = client
        self._include_servers = include_servers
        self._on_repair = on_repair
        #: How many repairs were done, and are to be done in all.
        self.done = 0
        self.planned = 0

    def dry_run(
        self, findings: Iterable[audit.Finding]
    ) -> Iterator[tuple[audit.Finding, str]]:
        """Tell what would be done about each finding."""
        for finding in findings:
            planned = self._repair(finding)
            yield finding, f'would {planned}' if planned else LEFT

    def heal(
        self, findings: Sequence[audit.Finding]
    ) -> Iterator[tuple[audit.Finding, str]]:
        """Repair; give each finding and what became of it.

        A repair that fails does not stop the others.
        """
        self.planned = sum(self._repair(f) is not None for f in findings)
        for finding in findings:
            planned = self._repair(finding)
            if planned is None:
                yield finding, LEFT
                continue
            try:
                state = self._heal(finding)
            except exception.VgpuError as error:
                state = f'failed: {error}'
            self._on_repair(f'{state}: {planned}')
            self.done += 1
            yield finding, state

    def _repair(self, finding: audit.Finding) -> audit.Repair | None:
        planned = finding.repair
        if planned and planned.of_server and not self._include_servers:
            return None
        return planned

    def _heal(self, finding: audit.Finding) -> str:
        """Repair one finding, looking again where something has changed.

        :raises VgpuError: it failed, or others kept writing.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            planned = self._repair(finding)
            if planned is None:
                return LEFT
            try:
                is_ours = repair.apply(self._client, planned)
            except exception.PlanOutdated:
                if attempt == _ATTEMPTS:
                    raise
            else:
                return REPAIRED if is_ours else ALREADY_REPAIRED
            now = self._auditor.again(finding)
            if now is None:
                return ALREADY_REPAIRED
            finding = now
        raise AssertionError('the last attempt ends with a result or an error')
