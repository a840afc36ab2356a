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
"""The parts of a cycle: how they fail, and what is said of it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

from nova_vgpu_ext import exception, models
from nova_vgpu_ext.agent import cycle
from nova_vgpu_ext.plan.actions import HostPlan, RemoveMdev
from tests import base

ACTIONS = tuple(
    RemoveMdev(f'{n}0000000-aaaa-4bbb-8ccc-dddddddddddd', '0000:1a:00.0', 't')
    for n in range(3)
)


def unavailable(text: str = 'no answer') -> exception.PlacementError:
    """Make an error of an outage."""
    return exception.PlacementUnavailable('http://x', text, 'wait')


class _Host:
    """A host whose parts fail when a test says so."""

    def __init__(self) -> None:
        self.has_placement = True
        self.libvirt_error: Exception | None = None
        self.clean_error: Exception | None = None
        self.findings: tuple[models.Finding, ...] = ()
        self.calls: list[str] = []
        self.applied: list[RemoveMdev] = []
        self.on_apply: Callable[[], None] = lambda: None
        self.on_lock: Callable[[], None] = lambda: None
        self.placement_error: Exception | None = unavailable()

    def observe(self) -> models.Snapshot:
        return models.Snapshot()

    def usage(self, snapshot: models.Snapshot) -> models.Usage:
        self.calls.append('ledger')
        if self.libvirt_error is not None:
            raise self.libvirt_error
        return models.Usage()

    def placement(self) -> Any:
        self.calls.append('report')
        raise self.placement_error or AssertionError

    def plan_clean(self) -> HostPlan:
        self.calls.append('orphans')
        if self.clean_error is not None:
            raise self.clean_error
        left = tuple(a for a in ACTIONS if a not in self.applied)
        return HostPlan(left, self.findings)

    @contextlib.contextmanager
    def changing(self) -> Iterator[_Host]:
        self.on_lock()
        yield self

    def run(self, actions: tuple[RemoveMdev, ...]) -> Iterator[RemoveMdev]:
        for action in actions:
            self.on_apply()
            self.applied.append(action)
            yield action


class _Clock:
    """Stands in for the module time."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class CycleTest(base.TestCase):
    """With a host that a test drives."""

    def setUp(self) -> None:
        super().setUp()
        self.host = _Host()

    def make(self, remove_orphans: bool = False) -> cycle.Cycle:
        """Make a cycle."""
        return cycle.Cycle(self.host, remove_orphans)  # type: ignore[arg-type]

    def said(self, text: str) -> int:
        """Count the lines of the log with a text."""
        return sum(text in line for line in self.logs.lines)

    def ready_to_remove(self, remove_orphans: bool = True) -> cycle.Cycle:
        """Make a cycle that does not report."""
        made = self.make(remove_orphans)
        made._parts = [part for part in made._parts if part.name != 'report']
        return made

    def test_an_outage_is_said_once(self) -> None:
        """Whatever words it has; another kind is said again."""
        made = self.make()
        for number in range(5):
            self.host.placement_error = unavailable(f'no answer {number}')
            outcome = made.run()
            self.assertTrue(outcome.is_retry_due)
            self.assertIn(f'report: http://x: no answer {number}; wait',
                          outcome.status)  # fmt: skip
        self.assertEqual(1, self.said('no answer'))
        self.host.placement_error = exception.PlacementError('u', '401', 'r')
        made.run()
        self.assertEqual(1, self.said('401'))

    def test_only_what_failed(self) -> None:
        """The other parts are left alone."""
        made = self.make()
        made.run()
        self.assertEqual(['report', 'ledger'], self.host.calls)
        made.run(everything=False)
        self.assertEqual(['report', 'ledger', 'report'], self.host.calls)

    def test_recovery_is_said(self) -> None:
        """With how often it failed."""
        made = self.ready_to_remove()
        self.host.libvirt_error = exception.LibvirtError('u', 'f', 'r')
        for _ in range(3):
            self.assertTrue(made.run().is_retry_due)
        self.host.libvirt_error = None
        self.assertFalse(made.run().is_retry_due)
        self.assertEqual(1, self.said('ledger: works again, after 3 failures'))
        self.host.libvirt_error = exception.LibvirtError('u', 'f', 'r')
        made.run()
        self.assertEqual(2, self.said('[vgpu] libvirt_uri = u: f; r'))

    def test_a_bug(self) -> None:
        """It ends nothing; the same one is said once."""
        made = self.make()
        self.host.placement_error = ZeroDivisionError('a bug')
        for _ in range(3):
            self.assertTrue(made.run().is_retry_due)
        self.assertEqual(1, self.said('report: this is a bug'))
        self.assertEqual(3, self.host.calls.count('ledger'))

    def test_what_trying_again_does_not_mend(self) -> None:
        """It waits for an event, and is said line by line, once."""
        made = self.make()
        for error in (
            exception.FatalFindings(['one', 'two']),
            exception.ConfigError('[placement]', 'three', 'four'),
        ):
            self.host.placement_error = error
            for _ in range(2):
                self.assertFalse(made.run().is_retry_due)
        for text in ('report: one', 'report: two', 'found three'):
            self.assertEqual(1, self.said(text))

    def test_no_placement(self) -> None:
        """Nothing is reported, and nothing removed."""
        self.host.has_placement = False
        made = self.make(remove_orphans=True)
        made.run()
        self.assertEqual(['ledger'], self.host.calls)
        self.assertEqual(1, self.said('no section [placement]'))

    def test_removal(self) -> None:
        """Each step is said."""
        self.ready_to_remove().run()
        self.assertEqual(list(ACTIONS), self.host.applied)
        self.assertEqual(3, self.said('remove mdev'))

    def test_old_plan(self) -> None:
        """A slow removal, or a long wait for the lock: it is made anew."""
        clock = _Clock()
        self.patch('nova_vgpu_ext.agent.cycle.time', clock)
        waits = [20.0, 0.0]

        def wait() -> None:
            clock.sleep(waits.pop(0) if waits else 0)

        self.host.on_lock = wait
        self.host.on_apply = lambda: clock.sleep(0.7)
        made = self.ready_to_remove()
        made.run()
        self.assertEqual(list(ACTIONS), self.host.applied)
        # None in 20 s, two in 1.4 s, one, and none left.
        self.assertEqual(4, self.host.calls.count('orphans'))

    def test_lock_that_is_never_free_in_time(self) -> None:
        """The cycle ends all the same."""
        clock = _Clock()
        self.patch('nova_vgpu_ext.agent.cycle.time', clock)
        self.host.on_lock = lambda: clock.sleep(20)
        self.ready_to_remove().run()
        self.assertEqual([], self.host.applied)

    def test_no_removal_by_default(self) -> None:
        """Nobody even asks for orphans."""
        self.ready_to_remove(remove_orphans=False).run()
        self.assertEqual(['ledger'], self.host.calls)

    def test_no_removal_in_doubt(self) -> None:
        """Placement or libvirt cannot be asked."""
        made = self.make(remove_orphans=True)
        made.run()
        self.assertNotIn('orphans', self.host.calls)
        made = self.ready_to_remove()
        self.host.libvirt_error = exception.LibvirtError('u', 'f', 'r')
        made.run()
        self.assertNotIn('orphans', self.host.calls)
        self.host.libvirt_error = None
        self.host.clean_error = unavailable()
        made.run()
        self.assertEqual([], self.host.applied)

    def test_kept_orphans_are_said_once(self) -> None:
        """And again when something has changed."""
        made = self.ready_to_remove()
        for found in ('one', 'one', 'two', 'one'):
            self.host.findings = (
                models.Finding(models.Severity.WARNING, 'x', found, 'y', 'z'),
            )
            made.run()
        self.assertEqual(2, self.said('found one'))
        self.assertEqual(1, self.said('found two'))

    def test_stopped_before(self) -> None:
        """No part begins."""
        made = self.make(remove_orphans=True)
        made.stop(0)
        made.run()
        self.assertEqual([], self.host.calls)

    def test_stopped_in_a_write(self) -> None:
        """It ends; the next one does not begin."""
        begun, may_end = threading.Event(), threading.Event()

        def write() -> None:
            begun.set()
            may_end.wait(30)

        self.host.on_apply = write
        made = self.ready_to_remove()
        thread = threading.Thread(target=made.run)
        thread.start()
        begun.wait(30)
        made.stop(0)
        self.assertEqual([], self.host.applied)
        threading.Timer(0.1, may_end.set).start()
        made.stop(30)
        self.assertTrue(made._is_stopped)
        self.assertEqual(list(ACTIONS[:1]), self.host.applied)
        thread.join(30)
        self.assertFalse(thread.is_alive())
        self.assertEqual(list(ACTIONS[:1]), self.host.applied)
        # A second call does not wait for itself.
        made.stop(30)
