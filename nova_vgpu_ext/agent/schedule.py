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
"""When the next cycle is due. Nothing here has a clock of its own."""

from __future__ import annotations

import enum
import math

#: A change of the host comes as many events. A cycle follows once they have
#: stopped for a moment, but not for ever.
QUIET = 0.2
LONGEST = 1.0

#: After a failure: one second, then twice as long each time.
FIRST_RETRY = 1.0
LAST_RETRY = 60.0


class Due(enum.Enum):
    """Which part of a cycle is due."""

    NOTHING = 'nothing'
    #: What failed the last time.
    FAILED = 'failed'
    EVERYTHING = 'everything'


class Schedule:
    """Puts events, the timer and retries together.

    :param interval: seconds from the end of a cycle to the next one.
    :param now: the first cycle is due at once.
    """

    def __init__(self, interval: float, now: float) -> None:
        self._interval = interval
        self._timer = now
        self._is_asked = False
        self._first_event: float | None = None
        self._last_event: float | None = None
        self._retry: float | None = None
        self._failures = 0
        self._is_full = False

    def at_once(self) -> None:
        """Let a cycle be due without waiting for more events."""
        self._is_asked = True

    def event(self, now: float) -> None:
        """Take note that something has happened."""
        if self._first_event is None:
            self._first_event = now
        self._last_event = now

    @property
    def next(self) -> float:
        """The time at which something is due; it may be in the past."""
        full = self._next_full()
        return full if self._retry is None else min(full, self._retry)

    def _next_full(self) -> float:
        if self._is_asked:
            return -math.inf
        if self._first_event is None or self._last_event is None:
            return self._timer
        quiet = min(self._last_event + QUIET, self._first_event + LONGEST)
        return min(self._timer, quiet)

    def begin(self, now: float) -> Due:
        """Tell what is due, and count it as begun."""
        if now < self.next:
            return Due.NOTHING
        self._is_full = now >= self._next_full()
        self._retry = None
        if not self._is_full:
            return Due.FAILED
        self._is_asked = False
        self._first_event = self._last_event = None
        return Due.EVERYTHING

    def end(self, now: float, failed: bool) -> None:
        """Take note of how what was begun has ended.

        :param failed: whether it is worth trying again soon.
        """
        if self._is_full:
            self._timer = now + self._interval
        if not failed:
            self._failures = 0
            return
        # No further than needed: a power of a large number is no float.
        doublings = min(self._failures, 16)
        self._retry = now + min(FIRST_RETRY * 2**doublings, LAST_RETRY)
        self._failures += 1
