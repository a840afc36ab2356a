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
"""Questions to Placement that fail, or take too long."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import fixtures

from nova_vgpu_ext import exception
from nova_vgpu_ext.models import Capacity, ReportedProvider
from nova_vgpu_ext.nova_plugins import lookup
from tests import base

_ANSWER = {'gpu': (frozenset({'CUSTOM_X'}), {'VGPU': Capacity(8, 3)})}
_SLOTS = {('gpu', 'VGPU'): Capacity(8, 3)}
_PROVIDERS = [
    ReportedProvider('root', 'host', 1, None),
    ReportedProvider('gpu', 'host_pci_0000_1a_00_0', 1, 'root'),
]


class _Clock:
    """The time as the lookup sees it."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


class _Client:
    """Answers as it is told to."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.act: Callable[[], None] = lambda: None

    def summaries(self, *arguments: Any) -> Any:
        self.asked.append(arguments)
        self.act()
        return _ANSWER

    def providers(self) -> Any:
        self.asked.append('providers')
        self.act()
        return _PROVIDERS


class LookupTest(base.TestCase):
    """One lookup, with a Placement that does as the test says."""

    def setUp(self) -> None:
        super().setUp()
        self.clock = _Clock()
        self.useFixture(
            fixtures.MonkeyPatch(f'{lookup.__name__}.time', self.clock)
        )
        self.client = _Client()
        self.connected = 0
        self.lookup = lookup.Lookup(self.connect, 5, 60)

    def connect(self) -> Any:
        """Make the way to Placement."""
        self.connected += 1
        return self.client

    def ask(self) -> Any:
        """Ask how full the GPUs are."""
        return self.lookup.capacities('VGPU', ['CUSTOM_X'], 'root')

    def fail(self) -> None:
        """Be a Placement that is down."""
        raise exception.PlacementUnavailable('http://p', 'down', 'start it')

    def warnings(self) -> list[str]:
        """Give the log lines about failures."""
        return [w for w in self.logs.lines if 'without a GPU policy' in w]

    def test_an_answer(self) -> None:
        """The question is passed on, the answer is by slot."""
        self.assertEqual(_SLOTS, self.ask())
        self.assertEqual(_SLOTS, self.ask())
        self.assertEqual(
            [('root', 'VGPU', ['CUSTOM_X'])] * 2, self.client.asked
        )
        self.assertEqual(1, self.connected)
        self.assertEqual([], self.warnings())

    def test_a_failure_is_followed_by_silence(self) -> None:
        """One line says why; half a minute later all is well again."""
        self.client.act = self.fail
        for _ in range(3):
            self.assertIsNone(self.ask())
        self.assertIsNone(self.lookup.places(wait=True))
        self.assertEqual(1, len(self.client.asked))
        self.assertEqual(
            [
                'guests are scheduled without a GPU policy for 30 s: '
                'http://p: down; start it'
            ],
            self.warnings(),
        )
        self.client.act = lambda: None
        self.clock.now += lookup.PAUSE
        self.assertEqual(_SLOTS, self.ask())

    def test_no_way_to_placement(self) -> None:
        """What connecting raises is a failure like any other."""
        bad = exception.ConfigError('[placement]', 'nothing', 'something')
        self.lookup = lookup.Lookup(self.raising(bad), 5, 60)
        self.assertIsNone(self.ask())
        self.assertIn('[placement]: found nothing', self.warnings()[0])

    def test_any_error_is_survived(self) -> None:
        """A mistake in this program must not stop a guest either."""
        for number, error in enumerate((KeyError('x'), RuntimeError()), 1):
            self.client.act = self.raising(error)
            self.clock.now += lookup.PAUSE
            self.assertIsNone(self.ask())
            self.assertEqual(number, len(self.warnings()))
            self.assertFalse(self.warnings()[-1].endswith(': '))

    def hold(self) -> threading.Event:
        """Make Placement wait until the test lets it go on."""
        go_on = threading.Event()
        self.addCleanup(go_on.set)
        self.begun = threading.Event()

        def act() -> None:
            self.begun.set()
            self.assertTrue(go_on.wait(30))

        self.client.act = act
        return go_on

    def raising(self, error: Exception) -> Callable[[], Any]:
        """Make a function that raises an error."""

        def act() -> Any:
            raise error

        return act

    def test_a_late_answer_is_not_waited_for(self) -> None:
        """The caller goes on, and the late answer harms nobody."""
        self.hold()
        self.lookup = lookup.Lookup(self.connect, 0.05, 60)
        self.assertIsNone(self.ask())
        self.assertIsNone(self.ask())
        self.assertTrue(self.begun.wait(30))
        self.assertEqual(1, len(self.client.asked))
        self.assertIn('not answered within 0.05 s', self.warnings()[0])

    def test_places_are_kept(self) -> None:
        """They are read once, and again when they are old."""
        first = self.lookup.places(wait=True)
        self.assertEqual({'root'}, first.hosts)
        self.assertIs(first, self.lookup.places(wait=True))
        self.assertEqual(['providers'], self.client.asked)

    def test_old_places_serve_while_new_ones_are_read(self) -> None:
        """Nobody waits, and one reader is enough."""
        old = self.lookup.places(wait=True)
        self.clock.now += 60
        go_on = self.hold()
        for _ in range(3):
            self.assertIs(old, self.lookup.places(wait=True))
        self.assertTrue(self.begun.wait(30))
        self.assertEqual(['providers'] * 2, self.client.asked)
        go_on.set()
        self.lookup._reading.result(30)
        self.assertIsNot(old, self.lookup.places(wait=True))
        self.assertEqual(['providers'] * 2, self.client.asked)

    def test_the_first_places_need_not_be_waited_for(self) -> None:
        """They are there for the next one."""
        go_on = self.hold()
        self.assertIsNone(self.lookup.places(wait=False))
        go_on.set()
        self.lookup._reading.result(30)
        self.assertEqual({'root'}, self.lookup.places(wait=False).hosts)

    def test_places_are_read_again_after_a_failure(self) -> None:
        """A failed reader does not stand in the way of the next."""
        self.client.act = self.fail
        self.assertIsNone(self.lookup.places(wait=True))
        self.client.act = lambda: None
        self.clock.now += lookup.PAUSE
        self.assertEqual({'root'}, self.lookup.places(wait=True).hosts)
