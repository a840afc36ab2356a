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
"""When a cycle is due."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nova_vgpu_ext.agent import schedule
from nova_vgpu_ext.agent.schedule import Due
from tests import base

INTERVAL = 600.0


class ScheduleTest(base.TestCase):
    """With a clock that the test moves."""

    def setUp(self) -> None:
        super().setUp()
        self.schedule = schedule.Schedule(INTERVAL, 1000)
        self.assertEqual(Due.EVERYTHING, self.schedule.begin(1000))
        self.schedule.end(1001, failed=False)

    def test_timer(self) -> None:
        """It counts from the end of a cycle."""
        self.assertEqual(1601, self.schedule.next)
        self.assertEqual(Due.NOTHING, self.schedule.begin(1600.9))
        self.assertEqual(Due.EVERYTHING, self.schedule.begin(1601))

    def test_one_event(self) -> None:
        """A cycle follows once it is quiet, and only one."""
        self.schedule.event(1010)
        self.assertEqual(Due.NOTHING, self.schedule.begin(1010.1))
        self.assertEqual(Due.EVERYTHING, self.schedule.begin(1010.2))
        self.schedule.end(1010.3, failed=False)
        self.assertEqual(1610.3, self.schedule.next)

    def test_events_without_end(self) -> None:
        """They put a cycle off for a second at most."""
        for tenth in range(20):
            self.schedule.event(1010 + tenth / 10)
        self.assertEqual(1011, self.schedule.next)

    def test_event_during_a_cycle(self) -> None:
        """It may have come too late for the cycle: another one follows."""
        self.schedule.event(1010)
        self.schedule.begin(1010.2)
        self.schedule.event(1010.3)
        self.schedule.end(1012, failed=False)
        self.assertEqual(Due.EVERYTHING, self.schedule.begin(1012))

    def test_at_once(self) -> None:
        """It does not wait, also if it was asked for during a cycle."""
        self.schedule.at_once()
        self.assertEqual(Due.EVERYTHING, self.schedule.begin(1002))
        self.schedule.at_once()
        self.schedule.end(1003, failed=False)
        self.assertEqual(Due.EVERYTHING, self.schedule.begin(1003))
        self.schedule.end(1003, failed=False)
        self.assertEqual(Due.NOTHING, self.schedule.begin(1004))

    def test_retries(self) -> None:
        """They come later and later, and only with what failed."""
        now = 1100.0
        waits = []
        self.schedule.at_once()
        self.schedule.begin(now)
        for _ in range(40):
            self.schedule.end(now, failed=True)
            waits.append(self.schedule.next - now)
            now = self.schedule.next
            if self.schedule.begin(now) is not Due.FAILED:
                break
        self.assertEqual([1, 2, 4, 8, 16, 32, 60, 60], waits[:8])
        # They do not put the timer off.
        self.assertEqual(1700, now)

    def test_success_forgets_failures(self) -> None:
        """The next failure is a first one."""
        self.schedule.at_once()
        self.schedule.begin(1100)
        self.schedule.end(1100, failed=True)
        self.schedule.begin(1101)
        self.schedule.end(1101, failed=False)
        self.schedule.at_once()
        self.schedule.begin(1200)
        self.schedule.end(1200, failed=True)
        self.assertEqual(1201, self.schedule.next)

    def test_event_while_it_fails(self) -> None:
        """It is a reason for a whole cycle."""
        self.schedule.at_once()
        self.schedule.begin(1100)
        self.schedule.end(1100, failed=True)
        self.schedule.event(1100.1)
        self.assertEqual(Due.EVERYTHING, self.schedule.begin(1100.3))
        self.schedule.end(1100.3, failed=True)
        self.assertEqual(1102.3, self.schedule.next)

    def test_very_many_failures(self) -> None:
        """No number grows without end."""
        for _ in range(2000):
            self.schedule.end(1100, failed=True)
        self.assertEqual(1160, self.schedule.next)

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(('event', 'ask', 'fail', 'work')),
                st.floats(0, 300),
            ),
            max_size=60,
        )
    )
    def test_no_event_is_lost(self, steps: list[tuple[str, float]]) -> None:
        """Whatever happens, a whole cycle begins after each event."""
        tried = schedule.Schedule(INTERVAL, 0)
        now, heard, begun = 0.0, -1.0, -1.0
        for step, pause in steps:
            now += pause
            if step == 'event':
                tried.event(now)
                heard = now
            elif step == 'ask':
                tried.at_once()
                heard = now
            elif tried.begin(now) is Due.EVERYTHING:
                begun = now
                tried.end(now, step == 'fail')
        if heard > begun:
            self.assertLessEqual(tried.next, heard + schedule.LONGEST)
            now = max(now, heard + schedule.LONGEST)
            self.assertIs(Due.EVERYTHING, tried.begin(now))
        self.assertLessEqual(tried.next, now + INTERVAL)
