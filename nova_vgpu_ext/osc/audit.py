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
"""``openstack vgpu audit``: what is wrong in Placement, and its repair."""

from __future__ import annotations

import argparse
import functools
from typing import Any

from nova_vgpu_ext.osc import auditor, base, healer
from nova_vgpu_ext.plan import audit

_COLUMNS = ('check', 'severity', 'host', 'object', 'found', 'remedy')

_FINDINGS_LEFT = 2
_INTERRUPTED = 130


class Audit(base.Lister):
    """Find what is wrong with vGPUs in Placement, and repair it.

    Compares Placement with the servers and moves that Nova knows, and the
    GPUs of the cloud with each other; with --host, those of that host only.
    A finding is one that a second look some seconds later has found again,
    so that this can be run while the cloud works. Each row has the evidence
    and what a person does about it.

    --heal repairs what is safe: it deletes allocations of servers and moves
    that are gone, deletes providers of GPUs that are gone or offer nothing,
    and sets traits of this project where no other GPU contradicts. Each
    repair is one request, made only if nothing has changed since the look,
    and printed on standard error; the column state has what became of each
    finding. Several administrators can do it at once, and after Ctrl-C it
    can be run again.

    The exit code is 0 if nothing is wrong or all is repaired, 2 if findings
    are left, 1 if the cloud cannot be asked, and 130 after Ctrl-C.

    Examples:

      openstack vgpu audit -f csv
      openstack vgpu audit --heal --dry-run
      openstack vgpu audit --heal --skip odd-total
    """

    _code = 0
    _rows = 0
    _healer: healer.Healer | None = None

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the options."""
        parser = super().get_parser(prog_name)
        base.add_host(parser)
        parser.add_argument(
            '--skip',
            metavar='<check>',
            action='append',
            default=[],
            choices=audit.CHECKS,
            help='leave a check out, of --heal and the exit code as well; '
            f'may be repeated: {", ".join(audit.CHECKS)}',
        )
        parser.add_argument(
            '--heal',
            action='store_true',
            help='repair what is safe',
        )
        parser.add_argument(
            '--include-servers',
            action='store_true',
            help='with --heal or --dry-run: also what servers that exist '
            'hold beside what they hold on their host, and all that they '
            'hold if they are on none',
        )
        parser.add_argument(
            '--dry-run',
            action='store_true',
            help='say what --heal would do, and change nothing',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Any:
        """Look, and repair if that is wanted."""
        reader = auditor.Auditor(
            self.cloud,
            parsed_args.host,
            functools.partial(self.track, parsed_args),
        )
        findings = (
            finding
            for finding in reader.findings()
            if finding.check not in parsed_args.skip
        )
        if not (parsed_args.heal or parsed_args.dry_run):
            return _COLUMNS, (self._row(finding) for finding in findings)
        self._healer = healer.Healer(
            reader,
            self.cloud.placement,
            parsed_args.include_servers,
            self._say,
        )
        outcomes = (
            self._healer.dry_run(findings)
            if parsed_args.dry_run
            else self._healer.heal(list(findings))
        )
        return (*_COLUMNS, 'state'), (
            self._row(finding, state) for finding, state in outcomes
        )

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Exit with what was found and what became of it."""
        try:
            code: int = super().run(parsed_args)
        except KeyboardInterrupt:
            if self._healer is None or not self._healer.planned:
                self._say('interrupted; nothing was changed')
            else:
                self._say(
                    f'interrupted after {self._healer.done} of '
                    f'{self._healer.planned} repairs; run it again'
                )
            return _INTERRUPTED
        if self._rows == 0:
            self._say('no findings')
        return code or self._code

    def _row(self, finding: audit.Finding, *state: str) -> tuple[str, ...]:
        self._rows += 1
        if not set(state) & set(healer.HEALED):
            self._code = _FINDINGS_LEFT
        return (
            finding.check,
            finding.severity.value,
            finding.host,
            finding.object,
            finding.found,
            finding.remedy,
            *state,
        )

    def _say(self, line: str) -> None:
        self.app.stderr.write(f'{line}\n')
