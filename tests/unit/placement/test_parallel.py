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
"""Reads under way at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from nova_vgpu_ext.placement import parallel
from tests import base

TIMEOUT = 30.0


class EachTest(base.TestCase):
    """Results come in order, calls overlap, and little is held."""

    def test_order(self) -> None:
        """A slow call holds back what is behind it."""

        def slow_first(number: int) -> int:
            time.sleep(0.05 if number == 0 else 0)
            return number * 2

        self.assertEqual(
            [0, 2, 4, 6], list(parallel.each(slow_first, range(4), 3))
        )

    def test_nothing(self) -> None:
        self.assertEqual([], list(parallel.each(abs, [], 3)))

    def test_as_many_calls_at_once_as_there_are_readers(self) -> None:
        """No more, and no less where there is enough to do."""
        together = threading.Barrier(3, timeout=TIMEOUT)
        lock = threading.Lock()
        running: list[int] = []
        most: list[int] = []

        def call(number: int) -> None:
            with lock:
                running.append(number)
                most.append(len(running))
            together.wait()
            with lock:
                running.remove(number)

        list(parallel.each(call, range(9), 3))
        self.assertEqual(3, max(most))

    def test_items_are_taken_as_results_are_wanted(self) -> None:
        taken: list[int] = []

        def items() -> Iterator[int]:
            for number in range(100):
                taken.append(number)
                yield number

        results = parallel.each(abs, items(), 2)
        self.assertEqual([], taken)
        self.assertEqual(0, next(results))
        self.assertEqual(4, len(taken))
        self.assertEqual(1, next(results))
        self.assertEqual(5, len(taken))
        results.close()

    def test_error_of_a_call(self) -> None:
        """What came before it is given; what has not begun is dropped."""
        called: list[int] = []
        go_on = threading.Event()

        def call(number: int) -> int:
            called.append(number)
            if number == 1:
                raise LookupError(number)
            if number > 1:
                go_on.wait(TIMEOUT)
            return number

        results = parallel.each(call, range(100), 2)
        self.assertEqual(0, next(results))
        self.assertRaises(LookupError, next, results)
        go_on.set()
        self._wait_for_readers()
        # Two can have been under way; the fifth was only waiting.
        self.assertNotIn(4, called)

    def test_error_of_the_items(self) -> None:
        def items() -> Iterator[int]:
            yield 1
            raise LookupError

        self.assertRaises(LookupError, list, parallel.each(abs, items(), 2))

    def test_stop_does_not_wait(self) -> None:
        """As on Ctrl-C: a call that hangs does not hold the caller."""
        hang = threading.Event()
        self.addCleanup(self._wait_for_readers)
        self.addCleanup(hang.set)

        def call(number: int) -> None:
            if number:
                hang.wait(TIMEOUT)

        results = parallel.each(call, range(100), 2)
        next(results)
        start = time.monotonic()
        results.close()
        self.assertLess(time.monotonic() - start, TIMEOUT / 2)
        self.assertTrue(all(t.daemon for t in self._readers()))

    def test_readers_end(self) -> None:
        list(parallel.each(abs, range(10), 3))
        self._wait_for_readers()

    def _readers(self) -> list[threading.Thread]:
        return [t for t in threading.enumerate() if t.name == parallel.READER]

    def _wait_for_readers(self) -> None:
        for thread in self._readers():
            thread.join(TIMEOUT)
            self.assertFalse(thread.is_alive())
