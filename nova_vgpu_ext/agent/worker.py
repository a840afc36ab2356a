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
"""A thread for what takes its time, while the loop goes on to listen."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Generic, NoReturn, Protocol, TypeVar

_Result = TypeVar('_Result')


class Worker(Protocol[_Result]):
    """Runs one job at a time."""

    def fileno(self) -> int:
        """Give what becomes readable when the job has ended."""

    @property
    def is_busy(self) -> bool:
        """Whether a job has begun, and has not been taken back."""

    def start(self, job: Callable[[], _Result]) -> None:
        """Begin a job."""

    def take(self) -> _Result:
        """Take back a job that has ended.

        :returns: what it returned.
        :raises Exception: what it raised.
        """


class ThreadWorker(Generic[_Result]):
    """Runs each job in a thread that does not keep the program alive."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._thread: threading.Thread | None = None
        self._outcome: Callable[[], _Result] | None = None

    def close(self) -> None:
        """Give the files back; no job must be running."""
        os.close(self._read)
        os.close(self._write)

    def fileno(self) -> int:
        """Give what becomes readable when the job has ended."""
        return self._read

    @property
    def is_busy(self) -> bool:
        """Whether a job has begun, and has not been taken back."""
        return self._thread is not None

    def start(self, job: Callable[[], _Result]) -> None:
        """Begin a job."""
        self._thread = threading.Thread(
            target=self._run, args=(job,), name='cycle', daemon=True
        )
        self._thread.start()

    def take(self) -> _Result:
        """Take back a job that has ended."""
        os.read(self._read, 1)
        if self._thread is None or self._outcome is None:
            raise RuntimeError('no job has ended')
        self._thread.join()
        outcome, self._outcome = self._outcome, None
        self._thread = None
        return outcome()

    def _run(self, job: Callable[[], _Result]) -> None:
        try:
            result = job()
        except BaseException as error:
            self._outcome = _raising(error)
        else:
            self._outcome = lambda: result
        os.write(self._write, b'.')


def _raising(error: BaseException) -> Callable[[], NoReturn]:
    def outcome() -> NoReturn:
        raise error

    return outcome
