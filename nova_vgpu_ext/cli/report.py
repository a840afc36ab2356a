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
"""``nova-vgpu report``: make Placement say what this host offers."""

from __future__ import annotations

import argparse
import functools
import signal
import time
from typing import Any

from nova_vgpu_ext import exception, reporting
from nova_vgpu_ext.cli.base import Command


class _Stop:
    """A signal handler that also remembers.

    Python drops an exception that a handler raises while an object is being
    finalised or a callback runs.
    """

    def __init__(self) -> None:
        self.asked = False

    def __call__(self, number: int, frame: object) -> None:
        self.asked = True
        raise KeyboardInterrupt


class Report(Command):
    """Report the vGPU inventories of this host to Placement.

    Creates the missing providers of GPUs, sets inventories and this
    project's traits, and removes providers of GPUs that are gone or not
    configured, unless something is allocated on them. Each write is printed;
    the last line sums up. The exit code is 1 where nova-compute would refuse
    the configuration (nothing is written then), where a part of it does not
    do what it says, or where an allocation is in the way.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            '--dry-run',
            action='store_true',
            help='print what would be written, and write nothing',
        )
        parser.add_argument(
            '--watch',
            metavar='SECONDS',
            type=_seconds,
            help='report again every so many seconds, until interrupted; a '
            'cycle in which nothing changed costs one request',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Run one cycle, or one after the other."""
        plan = self.app.host.plan()
        if plan.is_fatal:
            self.app.show_findings(plan.findings)
            return 1
        if parsed_args.watch is None:
            return self._cycle(parsed_args.dry_run)
        return self._watch(parsed_args.dry_run, parsed_args.watch)

    @functools.cached_property
    def _reporting(self) -> reporting.Reporting:
        return reporting.Reporting(self.app.host)

    def _cycle(self, dry_run: bool) -> int:
        """Report once.

        :returns: 1 where something is not as the configuration says.
        """
        outcome = self._reporting.run(self._print, dry_run)
        if outcome.is_news:
            self.app.show_findings(outcome.findings)
        self._print(outcome)
        return int(not outcome.is_right)

    def _watch(self, dry_run: bool, seconds: float) -> int:
        """Report until SIGINT or SIGTERM; a cycle that fails is not the end.

        :returns: the exit code of the last cycle.
        """
        code = 0
        stop = _Stop()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        try:
            while not stop.asked:
                try:
                    code = self._cycle(dry_run)
                except exception.ConfigError:
                    raise
                except exception.VgpuError as exc:
                    self.app.stderr.write(f'{exc}\n')
                    code = 1
                time.sleep(0 if stop.asked else seconds)
        except KeyboardInterrupt:
            pass
        return code

    def _print(self, line: Any) -> None:
        self.app.stdout.write(f'{line}\n')
        self.app.stdout.flush()


def _seconds(text: str) -> float:
    """Parse the time between two cycles."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 1 <= seconds <= 86400:
        raise argparse.ArgumentTypeError(
            f'found {text!r}, expected seconds from 1 to 86400'
        )
    return seconds
