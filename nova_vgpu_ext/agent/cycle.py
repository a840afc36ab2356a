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
"""What the agent does when it is woken."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from nova_vgpu_ext import exception, models, reporting

if TYPE_CHECKING:
    from nova_vgpu_ext.plan.actions import Action
    from nova_vgpu_ext.runtime import Runtime

LOG = logging.getLogger(__name__)

#: Trying again alone does not mend these; an event, the timer or a reload
#: may.
_LASTING = (exception.FatalFindings, exception.ConfigError)

#: One outage has many messages.
_REMOTE = (exception.PlacementError, exception.LibvirtError)


#: How long a plan to remove orphans is good for, the wait for the lock
#: included; and how often a new one is made in one cycle.
_FRESH_SECONDS = 1.0
_ROUNDS = 100


class Stopped(Exception):
    """The agent ends; what has not begun must not."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a cycle ended."""

    #: Whether something failed that may work if it is tried again.
    is_retry_due: bool
    #: For systemctl status.
    status: str


class Cycle:
    """Keeps Placement and the ledger in line, and removes orphans.

    Each part fails on its own, and says so once; it also says when it works
    again.

    :param host: the host.
    :param remove_orphans: ``[vgpu_agent] remove_orphans``.
    """

    def __init__(self, host: Runtime, remove_orphans: bool) -> None:
        self._host = host
        self._guard = threading.Lock()
        self._is_stopping = False
        self._is_stopped = False
        self._reporting = reporting.Reporting(host)
        self._reported = ''
        self._kept: tuple[models.Finding, ...] = ()
        self._parts: list[_Part] = []
        self._orphans = _Part('orphans', self._remove_orphans)
        if host.has_placement:
            # First, because a libvirt that hangs does so for ever.
            self._parts.append(_Part('report', self._report))
        else:
            LOG.warning(
                'no section [placement]: nothing is reported, and no orphan '
                'is removed'
            )
        self._parts.append(_Part('ledger', self._keep_ledger))
        if remove_orphans and host.has_placement:
            LOG.info('orphans are removed ([vgpu_agent] remove_orphans)')
            self._parts.append(self._orphans)

    def run(self, everything: bool = True) -> Outcome:
        """Run once.

        :param everything: False for what failed the last time only.
        """
        for part in self._parts:
            if not everything and part.error is None:
                continue
            if part is self._orphans and self._is_doubtful():
                continue
            if self._is_stopping:
                break
            try:
                part.run()
            except Stopped:
                break
        failed = [part for part in self._parts if part.error is not None]
        status = '; '.join(f'{p.name}: {p.error}' for p in failed)
        return Outcome(
            any(part.is_retry_due for part in failed),
            status or self._reported or 'waiting for events',
        )

    def stop(self, seconds: float) -> None:
        """Let no further write to the host begin, ever.

        :param seconds: how long to wait for one that has begun.
        """
        self._is_stopping = True
        if not self._is_stopped:
            self._is_stopped = self._guard.acquire(timeout=seconds)

    def _writing(self) -> threading.Lock:
        """Give what is held during a write to the host.

        :raises Stopped: the agent ends.
        """
        if self._is_stopping:
            raise Stopped
        return self._guard

    def _is_doubtful(self) -> bool:
        """Whether something that knows of users could not be asked."""
        return any(
            part.error is not None
            for part in self._parts
            if part is not self._orphans
        )

    def _keep_ledger(self) -> None:
        from nova_vgpu_ext.plan import ledger

        host = self._host
        snapshot = host.observe()
        usage = host.usage(snapshot)
        entries = ledger.entries(snapshot, usage)
        if all(usage.ledger.get(entry.name) == entry for entry in entries):
            return
        # libvirt is not asked again: it answers nobody while a guest starts,
        # and the guest's hook waits for this lock.
        with host.changing(), self._writing():
            now = dataclasses.replace(usage, ledger=host.ledger.read())
            host.ledger.change(ledger.entries(snapshot, now))
        LOG.debug('ledger: %d entries', len(entries))

    def _report(self) -> None:
        outcome = self._reporting.run(lambda a: LOG.info('%s', a))
        if outcome.is_news:
            _tell(outcome.findings)
            if not outcome.findings:
                LOG.info('nothing is wrong any more')
        LOG.debug('report: %s', outcome)
        self._reported = f'reported {outcome}'

    def _remove_orphans(self) -> None:
        """Remove them, with a plan that is never old.

        Nova takes an mdev that nobody uses at any moment, so what was asked
        of users is soon no longer true.
        """
        for _ in range(_ROUNDS):
            plan = self._host.plan_clean()
            until = time.monotonic() + _FRESH_SECONDS
            if plan.findings != self._kept:
                self._kept = plan.findings
                _tell(plan.findings)
            if not plan.actions:
                return
            with self._host.changing() as applier:
                for action in self._apply(applier.run(plan.actions), until):
                    LOG.info('%s', action)

    def _apply(self, done: Iterator[Action], until: float) -> Iterator[Action]:
        """Apply one step after the other, unless the agent ends."""
        while time.monotonic() < until:
            with self._writing():
                action = next(done, None)
            if action is None:
                return
            yield action


def _tell(findings: Iterable[models.Finding]) -> None:
    for finding in findings:
        is_warning = finding.severity is models.Severity.WARNING
        LOG.log(
            logging.WARNING if is_warning else logging.ERROR, '%s', finding
        )


class _Part:
    """One thing that a cycle does, and how it went the last time."""

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        self.name = name
        self._work = work
        #: What is wrong, on one line; None if nothing is.
        self.error: str | None = None
        self.is_retry_due = False
        self._kind: object = None
        self._failures = 0

    def run(self) -> None:
        """Do it; nothing but the end of the agent is raised."""
        caught: Exception | None = None
        try:
            self._work()
        except Stopped:
            raise
        except Exception as error:
            caught = error
        # Only now, because oslo.log adds what is being handled to each line.
        if caught is None:
            self._worked()
        elif isinstance(caught, exception.VgpuError):
            self._failed(caught)
        else:
            self._broke(caught)

    def _failed(self, error: exception.VgpuError) -> None:
        if self._is_new(error):
            for line in str(error).splitlines():
                LOG.error('%s: %s', self.name, line)
        self._note(str(error), not isinstance(error, _LASTING))

    def _broke(self, error: Exception) -> None:
        if self._is_new(error):
            LOG.error(
                '%s: this is a bug; report it', self.name, exc_info=error
            )
        self._note(f'a bug: {error!r}', True)

    def _is_new(self, error: Exception) -> bool:
        """Tell whether this has not been said yet."""
        kind: object = type(error)
        if not isinstance(error, _REMOTE):
            kind = kind, str(error)
        before, self._kind = self._kind, kind
        return before != kind

    def _note(self, text: str, is_retry_due: bool) -> None:
        self.error = ' '.join(text.split())
        self.is_retry_due = is_retry_due
        self._failures += 1

    def _worked(self) -> None:
        if self.error is not None:
            LOG.info(
                '%s: works again, after %d failures',
                self.name,
                self._failures,
            )
        self.error = self._kind = None
        self.is_retry_due = False
        self._failures = 0
