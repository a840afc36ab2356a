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
"""The agent's loop: it listens, and lets cycles run.

Cycles run in a thread of their own, one at a time, so that signals, events
and systemd's watchdog are answered while Placement is slow.
"""

from __future__ import annotations

import logging
import selectors
import signal
import time
from collections.abc import Callable, Sequence

from nova_vgpu_ext import exception
from nova_vgpu_ext.agent.cycle import Outcome
from nova_vgpu_ext.agent.notify import Notifier
from nova_vgpu_ext.agent.schedule import Due, Schedule
from nova_vgpu_ext.agent.session import Session, Source
from nova_vgpu_ext.agent.signals import Signals
from nova_vgpu_ext.agent.worker import Worker

LOG = logging.getLogger(__name__)

STOP = frozenset({signal.SIGTERM, signal.SIGINT})
RELOAD = signal.SIGHUP
CYCLE = signal.SIGUSR1
SIGNALS = (*STOP, RELOAD, CYCLE)

#: systemd hears that the agent is ready after the first cycle, but does not
#: wait for a Placement that does not answer.
_READY_SECONDS = 20.0
#: A cycle that takes longer hangs; systemd's watchdog shall see it.
_CYCLE_SECONDS = 900.0
#: How long a cycle may go on after it was asked to end.
_END_SECONDS = 0.5
#: Sources that failed are opened again after this many seconds.
_REOPEN_SECONDS = 60.0


class Loop:
    """Waits for events, signals and time.

    :param load: reads the configuration; called again at SIGHUP.
    :param worker: runs the cycles.
    :param signals: entered.
    :param notifier: tells systemd.
    :param clock: seconds that only grow.
    :param selector: waits for files, and no longer than it is told.
    :raises ConfigError: the configuration cannot be used.
    """

    def __init__(
        self,
        load: Callable[[], Session],
        worker: Worker[Outcome],
        signals: Signals,
        notifier: Notifier,
        clock: Callable[[], float] = time.monotonic,
        selector: selectors.BaseSelector | None = None,
    ) -> None:
        self._load = load
        self._worker = worker
        self._signals = signals
        self._notifier = notifier
        self._clock = clock
        self._session = load()
        self._started = self._cycle_started = clock()
        self._schedule = Schedule(self._session.interval, self._started)
        self._sources: Sequence[Source] = ()
        self._reopen: float | None = self._started
        self._watchdog: float | None = None
        self._is_ready = False
        self._is_stopping = False
        self._is_reload_due = False
        self._selector = selector or selectors.DefaultSelector()

    def run(self) -> bool:
        """Go on until a signal says stop.

        :returns: whether no cycle is left behind.
        """
        with self._selector:
            self._selector.register(
                self._signals, selectors.EVENT_READ, self._take_signals
            )
            self._selector.register(
                self._worker, selectors.EVENT_READ, self._end_cycle
            )
            while not self._is_stopping:
                self._turn()
                self._wait(self._next())
            self._notifier.stopping()
            LOG.info('ending')
            self._close_sources()
            return self._end()

    def _turn(self) -> None:
        """Do what is due."""
        now = self._clock()
        if self._reopen is not None and now >= self._reopen:
            self._open_sources()
        if not self._worker.is_busy:
            if self._is_reload_due:
                self._reload()
            due = self._schedule.begin(self._clock())
            if due is not Due.NOTHING:
                self._begin_cycle(due)
        if not self._is_ready and now >= self._started + _READY_SECONDS:
            self._tell_ready()
        self._feed_watchdog(now)

    def _next(self) -> float:
        """Give the time at which something is due."""
        times = [t for t in (self._reopen, self._watchdog) if t is not None]
        if not self._is_ready:
            times.append(self._started + _READY_SECONDS)
        if not self._worker.is_busy:
            times.append(self._schedule.next)
        return min(times, default=self._clock() + _CYCLE_SECONDS)

    def _wait(self, until: float) -> None:
        """Wait for files, but not longer."""
        timeout = max(0.0, until - self._clock())
        for key, _ in self._selector.select(timeout):
            key.data()

    def _take_signals(self) -> None:
        seen = self._signals.take()
        self._is_stopping |= bool(seen & STOP)
        self._is_reload_due |= RELOAD in seen
        if CYCLE in seen:
            LOG.debug('woken by SIGUSR1')
            self._schedule.at_once()

    def _begin_cycle(self, due: Due) -> None:
        work = self._session.work
        everything = due is Due.EVERYTHING
        self._cycle_started = self._clock()
        self._worker.start(lambda: work.run(everything))

    def _end_cycle(self) -> None:
        try:
            outcome = self._worker.take()
        except Exception as error:
            LOG.exception('a cycle failed')
            outcome = Outcome(True, repr(error))
        self._schedule.end(self._clock(), outcome.is_retry_due)
        self._notifier.status(outcome.status)
        if not self._is_ready:
            self._tell_ready()

    def _tell_ready(self) -> None:
        self._is_ready = True
        self._notifier.ready()

    def _feed_watchdog(self, now: float) -> None:
        seconds = self._notifier.watchdog_seconds
        if seconds is None or (
            self._watchdog is not None and now < self._watchdog
        ):
            return
        self._watchdog = now + seconds
        is_late = now > self._cycle_started + _CYCLE_SECONDS
        if self._worker.is_busy and is_late:
            LOG.error('a cycle hangs; the watchdog is not fed')
            return
        self._notifier.watchdog()

    def _reload(self) -> None:
        self._is_reload_due = False
        self._notifier.reloading()
        problem: Exception | None = None
        try:
            self._session = self._load()
        except Exception as error:
            problem = error
        if problem is None:
            LOG.info('SIGHUP: the configuration was read again')
            # No event is lost: a whole cycle follows.
            self._schedule = Schedule(self._session.interval, self._clock())
            self._open_sources()
        else:
            is_bug = not isinstance(problem, exception.VgpuError)
            LOG.error(
                'SIGHUP: the configuration stays as it was: %s',
                problem,
                exc_info=problem if is_bug else None,
            )
        self._notifier.ready()

    def _open_sources(self) -> None:
        self._close_sources()
        self._reopen = None
        try:
            self._sources = self._session.open_sources()
        except Exception as error:
            self._try_sources_later(error)
        for source in self._sources:
            self._selector.register(
                source,
                selectors.EVENT_READ,
                lambda source=source: self._hear(source),
            )

    def _close_sources(self) -> None:
        for source in self._sources:
            self._selector.unregister(source)
            source.close()
        self._sources = ()

    def _hear(self, source: Source) -> None:
        if source not in self._sources:
            return
        try:
            found = source.read()
        except Exception as error:
            self._close_sources()
            self._try_sources_later(error)
            found = 'a source that failed'
        if found is not None:
            LOG.debug('woken by %s', found)
            self._schedule.event(self._clock())

    def _try_sources_later(self, error: Exception) -> None:
        LOG.error(
            'events cannot be heard; tried again in %d s',
            _REOPEN_SECONDS,
            exc_info=error,
        )
        self._reopen = self._clock() + _REOPEN_SECONDS

    def _end(self) -> bool:
        """Let a cycle end, or leave it where nothing is half done.

        :returns: whether it has ended.
        """
        if not self._worker.is_busy:
            return True
        self._session.work.stop(0)
        until = self._clock() + _END_SECONDS
        while self._worker.is_busy and self._clock() < until:
            self._wait(until)
        if self._worker.is_busy:
            self._session.work.stop(self._session.write_timeout + 1)
        return not self._worker.is_busy
