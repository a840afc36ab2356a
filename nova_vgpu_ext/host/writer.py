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
        worker = self._worker or self._start()
        request = json.dumps([path, text]).encode() + b'\n'
        answer = self._exchange(worker, request)
        if answer is None:
            self._abandon(worker)
            raise Timeout
        number = int(answer)
        if number:
            raise OSError(number, os.strerror(number), path)

    def close(self) -> None:
        """End the process, unless it hangs."""
        if self._worker is not None:
            worker, self._worker = self._worker, None
            for stream in (worker.stdin, worker.stdout):
                if stream is not None:
                    stream.close()
            worker.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        self._worker = subprocess.Popen(  # noqa: S603
            # No site, no environment: it starts in a few milliseconds.
            [sys.executable, '-I', '-S', str(_WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            # Ctrl-C is for the program that asks.
            start_new_session=True,
        )
        return self._worker

    def _exchange(
        self, worker: subprocess.Popen[bytes], request: bytes
    ) -> bytes | None:
        if worker.stdin is None or worker.stdout is None:
            return None
        worker.stdin.write(request)
        end = time.monotonic() + self._seconds
        answer = b''
        while not answer.endswith(b'\n'):
            left = max(0.0, end - time.monotonic())
            if not select.select([worker.stdout], [], [], left)[0]:
                return None
            more = os.read(worker.stdout.fileno(), _LIMIT)
            if not more:
                raise OSError(
                    f'the process that writes to sysfs has ended '
                    f'({worker.wait()})'
                )
            answer += more
        return answer

    def _abandon(self, worker: subprocess.Popen[bytes]) -> None:
        """Ask it to end; the kernel may let it only later."""
        self._worker = None
        worker.kill()
        for stream in (worker.stdin, worker.stdout):
            if stream is not None:
                stream.close()
