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
"""Signals as something that a loop can wait for."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Iterable
from types import TracebackType
from typing import Any


class Signals:
    """Collects signals, from the main thread, while it is entered.

    :param numbers: which ones.
    """

    def __init__(self, numbers: Iterable[signal.Signals]) -> None:
        self._numbers = tuple(numbers)
        self._seen: set[signal.Signals] = set()
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Signals:
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)
        self._wakeup = signal.set_wakeup_fd(
            self._write.fileno(), warn_on_full_buffer=False
        )
        for number in self._numbers:
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        signal.set_wakeup_fd(self._wakeup)
        self._read.close()
        self._write.close()

    def _note(self, number: int, frame: object) -> None:
        # The bytes only wake the loop: of many, some would be lost.
        self._seen.add(signal.Signals(number))

    def fileno(self) -> int:
        """Give what becomes readable when a signal has come."""
        return self._read.fileno()

    def take(self) -> set[signal.Signals]:
        """Give the signals that have come since the last call."""
        with contextlib.suppress(BlockingIOError):
            while self._read.recv(4096):
                pass
        seen, self._seen = self._seen, set()
        return seen
