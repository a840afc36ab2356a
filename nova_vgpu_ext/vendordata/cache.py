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
"""A cache with an end: of entries, and of their age."""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

_Key = TypeVar('_Key', bound=Hashable)
_Value = TypeVar('_Value')


class Cache(Generic[_Key, _Value]):
    """Remembers values for a while; threads may share it.

    :param limit: how many; the one that was not used for longest goes.
    :param seconds: how long each is remembered.
    :param clock: gives seconds.
    """

    def __init__(
        self,
        limit: int,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit = limit
        self._seconds = seconds
        self._clock = clock
        self._guard = threading.Lock()
        self._entries: collections.OrderedDict[_Key, tuple[float, _Value]] = (
            collections.OrderedDict()
        )

    def get(self, key: _Key) -> _Value | None:
        """Give what is remembered; None if nothing is."""
        with self._guard:
            entry = self._entries.get(key)
            if entry is None:
                return None
            end, value = entry
            if self._clock() >= end:
                del self._entries[key]
                return None
            self._entries.move_to_end(key)
            return value

    def put(self, key: _Key, value: _Value) -> None:
        """Remember a value."""
        with self._guard:
            self._entries[key] = (self._clock() + self._seconds, value)
            self._entries.move_to_end(key)
            while len(self._entries) > self._limit:
                self._entries.popitem(last=False)

    def __len__(self) -> int:
        return len(self._entries)
