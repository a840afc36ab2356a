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
"""The loop, with a clock, sources and cycles that a test drives."""

from __future__ import annotations

import os
import selectors
import signal
from collections.abc import Callable
from typing import Any

from nova_vgpu_ext import exception
from nova_vgpu_ext.agent import loop
from nova_vgpu_ext.agent.cycle import Outcome
from nova_vgpu_ext.agent.session import Session
from tests import base

INTERVAL = 600.0


class _Pipe:
    """Something that a loop can wait for."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()

    def fileno(self) -> int:
        return self._read

    def wake(self) -> None:
        os.write(self._write, b'.')

    def drain(self) -> None:
        os.read(self._read, 1)

    def close(self) -> None:
        os.close(self._read)
        os.close(self._write)


class _Source(_Pipe):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str | Exception | None] = []
        self.is_closed = False

    def happen(self, what: str | Exception | None) -> None:
        self.found.append(what)
        self.wake()

    def read(self) -> str | None:
        self.drain()
        found = self.found.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    def close(self) -> None:
        self.is_closed = True
        super().close()


class _Signals(_Pipe):
    def __init__(self) -> None:
        super().__init__()
        self._seen: set[signal.Signals] = set()

    def send(self, number: signal.Signals) -> None:
        self._seen.add(number)
        self.wake()

    def take(self) -> set[signal.Signals]:
        self.drain()
        seen, self._seen = self._seen, set()
        return seen


class _Worker(_Pipe):
    """Ends each job at once, or when a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.job: Callable[[], Outcome] | None = None
        self.is_held = False

    @property
    def is_busy(self) -> bool:
        return self.job is not None

    def start(self, job: Callable[[], Outcome]) -> None:
        assert self.job is None  # noqa: S101
        self.job = job
        if not self.is_held:
            self.wake()

    def take(self) -> Outcome:
        self.drain()
        job, self.job = self.job, None
        assert job is not None  # noqa: S101
        return job()


class _Notifier:
    def __init__(self) -> None:
        self.watchdog_seconds: float | None = None
        self.told: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *text: self.told.append(' '.join((name, *text)))


class _Work:
    def __init__(self, times: list[tuple[float, bool]], clock: Any) -> None:
        self._times = times
        self._clock = clock
        self.outcome = Outcome(False, 'good')
        self.error: Exception | None = None
        self.stopped: list[float] = []

    def run(self, everything: bool = True) -> Outcome:
        self._times.append((self._clock(), everything))
        if self.error is not None:
            raise self.error
        return self.outcome

    def stop(self, seconds: float) -> None:
        self.stopped.append(seconds)


class _Selector(selectors.DefaultSelector):
    """Lets time pass instead of waiting, up to the next thing to happen."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.steps: list[tuple[float, Callable[[], None]]] = []
        self.waits = 0

    def clock(self) -> float:
        return self.now

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if ready:
            return ready
        assert timeout is not None  # noqa: S101
        self.waits += 1
        until = self.now + timeout
        if self.steps and self.steps[0][0] <= until:
            time, step = self.steps.pop(0)
            self.now = max(self.now, time)
            step()
        else:
            self.now = until
        return super().select(0)


class LoopTest(base.TestCase):
    """Each test says what happens when, and looks at the cycles."""

    def setUp(self) -> None:
        super().setUp()
        self.time = _Selector()
        self.signals = _Signals()
        self.worker = _Worker()
        for pipe in (self.signals, self.worker):
            self.addCleanup(pipe.close)
        self.notifier = _Notifier()
        #: When cycles ran, and whether whole ones.
        self.cycles: list[tuple[float, bool]] = []
        self.work = _Work(self.cycles, self.time.clock)
        self.sources: list[_Source] = []
        self.load_error: Exception | None = None
        self.open_error: Exception | None = None
        self.interval = INTERVAL
        self.loads = 0

    def load(self) -> Session:
        """Stand in for reading the configuration."""
        self.loads += 1
        if self.load_error is not None:
            raise self.load_error
        return Session(self.work, self.interval, 30, self.open)

    def open(self) -> list[_Source]:
        """Open one source."""
        if self.open_error is not None:
            raise self.open_error
        self.sources.append(_Source())
        return [self.sources[-1]]

    def at(self, time: float, step: Callable[[], None]) -> None:
        """Let something happen at a time."""
        self.time.steps.append((time, step))

    def event(self, time: float, what: str | Exception | None = 'it') -> None:
        """Let the source that is open tell something."""
        self.at(time, lambda: self.sources[-1].happen(what))

    def run_until(self, time: float) -> bool:
        """Run the loop; SIGTERM comes at that time."""
        self.at(time, lambda: self.signals.send(signal.SIGTERM))
        agent = loop.Loop(
            self.load,
            self.worker,
            self.signals,  # type: ignore[arg-type]
            self.notifier,  # type: ignore[arg-type]
            self.time.clock,
            self.time,
        )
        done = agent.run()
        self.assertTrue(all(s.is_closed for s in self.sources))
        return done

    def times(self) -> list[float]:
        """Give when cycles ran."""
        return [round(time, 3) for time, _ in self.cycles]

    def test_timer(self) -> None:
        """One cycle at first, then one after each interval."""
        self.assertTrue(self.run_until(1500))
        self.assertEqual([0, 600, 1200], self.times())
        self.assertEqual(
            ['status good', 'ready', 'status good', 'status good', 'stopping'],
            self.notifier.told,
        )

    def test_idle(self) -> None:
        """Between two cycles nothing wakes it."""
        self.run_until(599)
        self.assertLessEqual(self.time.waits, 3)

    def test_events(self) -> None:
        """They are gathered, and what does not matter wakes nobody."""
        for tenth in range(5):
            self.event(100 + tenth / 10)
        self.event(200, None)
        self.run_until(300)
        self.assertEqual([0, 100.6], self.times())

    def test_event_during_a_cycle(self) -> None:
        """Another cycle follows."""
        self.at(50, lambda: setattr(self.worker, 'is_held', True))
        self.event(100)
        self.event(101)
        self.at(110, lambda: setattr(self.worker, 'is_held', False))
        self.at(110, self.worker.wake)
        self.run_until(300)
        self.assertEqual([0, 110, 110], self.times())

    def test_signal_for_a_cycle(self) -> None:
        """SIGUSR1 does not wait."""
        self.at(100, lambda: self.signals.send(signal.SIGUSR1))
        self.run_until(300)
        self.assertEqual([0, 100], self.times())

    def test_retries(self) -> None:
        """What failed is tried again, later and later."""
        self.work.outcome = Outcome(True, 'bad')
        self.run_until(20)
        self.assertEqual([0, 1, 3, 7, 15], self.times())
        self.assertEqual(
            [True, False, False, False, False], [w for _, w in self.cycles]
        )

    def test_a_bug_in_a_cycle(self) -> None:
        """It is said, and tried again."""
        self.work.error = ZeroDivisionError('a bug')
        self.run_until(2)
        self.assertEqual([0, 1], self.times())
        self.assertIn('a cycle failed', self.logs.lines)

    def test_ready_without_placement(self) -> None:
        """systemd does not wait for a cycle that takes long."""
        self.worker.is_held = True
        self.assertFalse(self.run_until(25))
        self.assertEqual(['ready', 'stopping'], self.notifier.told)

    def test_end_during_a_cycle(self) -> None:
        """It may end in time, ..."""
        self.worker.is_held = True
        self.at(10, lambda: self.signals.send(signal.SIGINT))
        self.at(10.3, self.worker.wake)
        self.assertTrue(self.run_until(99))
        self.assertEqual([0], self.work.stopped)
        self.assertLess(self.time.now, 11)

    def test_end_during_a_long_cycle(self) -> None:
        """... or is left behind, but not in the middle of a write."""
        self.worker.is_held = True
        self.assertFalse(self.run_until(10))
        self.assertEqual([0, 31], self.work.stopped)
        self.assertLess(self.time.now, 11)

    def test_reload(self) -> None:
        """New sources, a new interval, and a cycle at once."""

        def change() -> None:
            self.interval = 100
            self.signals.send(signal.SIGHUP)

        self.at(250, change)
        self.event(270)
        self.run_until(400)
        self.assertEqual([0, 250, 270.2, 370.2], self.times())
        self.assertEqual(2, len(self.sources))
        self.assertEqual(['reloading', 'ready'], self.notifier.told[2:4])

    def test_reload_waits_for_a_cycle(self) -> None:
        """One configuration at a time."""
        self.worker.is_held = True
        self.at(5, lambda: self.signals.send(signal.SIGHUP))
        self.at(6, lambda: self.assertEqual(1, self.loads))
        self.at(7, self.worker.wake)
        self.run_until(8)
        self.assertEqual(2, self.loads)

    def check_bad_reload(self, error: Exception) -> None:
        """Everything goes on as before."""

        def spoil() -> None:
            self.load_error = error
            self.signals.send(signal.SIGHUP)

        self.at(250, spoil)
        self.event(270)
        self.run_until(700)
        self.assertEqual([0, 270.2], self.times())
        self.assertEqual(1, len(self.sources))
        (line,) = [x for x in self.logs.lines if 'stays as it was' in x]
        self.assertIn(str(error), line)
        self.assertEqual('ready', self.notifier.told[3])

    def test_bad_reload(self) -> None:
        """A configuration that cannot be used."""
        self.check_bad_reload(exception.ConfigError('x', 'y', 'z'))

    def test_bug_in_reload(self) -> None:
        """An error that nobody thought of."""
        self.check_bad_reload(ZeroDivisionError('a bug'))

    def test_bad_start(self) -> None:
        """It is for the caller."""
        self.load_error = exception.ConfigError('x', 'y', 'z')
        self.assertRaises(exception.ConfigError, self.run_until, 1)

    def test_failing_source(self) -> None:
        """It is opened again later; a cycle looks at what it missed."""
        self.event(100, OSError('gone'))
        self.event(170)
        self.run_until(300)
        self.assertEqual([0, 100.2, 170.2], self.times())
        self.assertEqual(2, len(self.sources))

    def test_sources_that_cannot_be_opened(self) -> None:
        """They are tried again; cycles go on meanwhile."""
        self.open_error = ZeroDivisionError('a bug')
        self.at(100, lambda: setattr(self, 'open_error', None))
        self.event(150)
        self.run_until(300)
        self.assertEqual([0, 150.2], self.times())
        lines = [x for x in self.logs.lines if 'cannot be heard' in x]
        self.assertEqual(2, len(lines))

    def test_watchdog(self) -> None:
        """It is fed in time, also during a cycle."""
        self.notifier.watchdog_seconds = 50
        self.worker.is_held = True
        self.run_until(810)
        self.assertEqual(17, self.notifier.told.count('watchdog'))

    def test_watchdog_of_a_cycle_that_hangs(self) -> None:
        """It is not fed for ever."""
        self.notifier.watchdog_seconds = 50
        self.worker.is_held = True
        self.run_until(2000)
        self.assertEqual(19, self.notifier.told.count('watchdog'))
        self.assertIn(
            'a cycle hangs; the watchdog is not fed', self.logs.lines
        )
