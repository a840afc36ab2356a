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
"""Writes to sysfs that cannot hang the program that asks for them.

A write can wait in the kernel until a guest lets go, and no signal ends it.
So a small process of its own writes; when one does not answer in time, it is
left behind and the next write gets another one.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import select
import subprocess
import sys
import time
from types import TracebackType

_WORKER = pathlib.Path(__file__).with_name('write_worker.py')
_LIMIT = 4096
#: How long a process may take to end that has nothing to write.
_END_SECONDS = 5.0
#: How long one may take that is killed; in the kernel it stays until later.
_KILL_SECONDS = 0.2


class Timeout(Exception):
    """A write has not ended in time; it may still happen."""


class Writer:
    """Writes to files, one after the other.

    :param seconds: how long one write may take.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._worker: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def write(self, path: str, text: str) -> None:
        """Write a text to a file that is there, with one call.

        :raises OSError: the kernel refused.
        :raises Timeout: it has not answered.
        """
        if self._worker is not None and self._worker.poll() is not None:
            self._abandon(self._worker)
        worker = self._worker or self._start()
        request = json.dumps([path, text]).encode() + b'\n'
        try:
            answer = self._exchange(worker, request)
        except BaseException:
            # It may still answer, and that would be no answer to the next.
            self._abandon(worker)
            raise
        number = int(answer)
        if number:
            raise OSError(number, os.strerror(number), path)

    def close(self) -> None:
        """End the process, unless it hangs."""
        if self._worker is not None:
            worker, self._worker = self._worker, None
            _hang_up(worker)
            try:
                worker.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                self._abandon(worker)

    def _start(self) -> subprocess.Popen[bytes]:
        self._worker = subprocess.Popen(  # noqa: S603
            # No site, no environment: it starts in a few milliseconds.
            [sys.executable, '-I', '-S', str(_WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # One that is left behind must not hold the output of this
            # program open, for which somebody may wait.
            stderr=subprocess.DEVNULL,
            bufsize=0,
            # Ctrl-C is for the program that asks.
            start_new_session=True,
        )
        return self._worker

    def _exchange(
        self, worker: subprocess.Popen[bytes], request: bytes
    ) -> bytes:
        if worker.stdin is None or worker.stdout is None:
            raise Timeout
        worker.stdin.write(request)
        end = time.monotonic() + self._seconds
        answer = b''
        while not answer.endswith(b'\n'):
            left = max(0.0, end - time.monotonic())
            if not select.select([worker.stdout], [], [], left)[0]:
                raise Timeout
            more = os.read(worker.stdout.fileno(), _LIMIT)
            if not more:
                raise OSError('the process that writes to sysfs has ended')
            answer += more
        return answer

    def _abandon(self, worker: subprocess.Popen[bytes]) -> None:
        """Ask it to end; the kernel may let it only later."""
        self._worker = None
        worker.kill()
        _hang_up(worker)
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.wait(_KILL_SECONDS)


def _hang_up(worker: subprocess.Popen[bytes]) -> None:
    for stream in (worker.stdin, worker.stdout):
        if stream is not None:
            stream.close()
