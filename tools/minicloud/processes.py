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
"""Starting and ending what a cloud runs, each by its own number."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

from tools.labvm import host
from tools.minicloud import CloudError

#: How long a process has to end by itself, in seconds.
_PATIENCE = 15.0


class Processes:
    """The processes of one cloud, remembered in a folder.

    :param folder: where a file for each of them is kept.
    :param log: where they write.
    """

    def __init__(self, folder: pathlib.Path, log: pathlib.Path) -> None:
        self._folder = folder
        self._log = log

    def start(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start a process in a session of its own.

        It survives this one; its output goes to a log file.
        """
        self._start(name, command, environment)

    def run(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start a process as well, and wait for its end.

        :raises CloudError: it failed; with the end of what it wrote.
        """
        started = self._start(name, command, environment)
        try:
            code = started.wait()
        finally:
            self.stop([name])
        if code:
            raise CloudError(
                f'{name} ended with {code}; {self._last_words(name)}'
            )

    def _start(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str] | None,
    ) -> subprocess.Popen[bytes]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(self._log / f'{name}.out', 'ab') as out:
            started = subprocess.Popen(  # noqa: S603
                command,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        record = [started.pid, host.began(started.pid)]
        self._file(name).write_text(json.dumps(record))
        return started

    def names(self) -> list[str]:
        """List what was started and not ended."""
        return sorted(path.stem for path in self._folder.glob('*.json'))

    def is_running(self, name: str) -> bool:
        """Tell whether a process still is the one that was started."""
        pid, began = self._record(name)
        # A child of this very process stays until it is asked about.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        # One that had ended before it was looked at began never.
        return bool(began) and host.began(pid) == began

    def check(self, name: str) -> None:
        """Say so if a process has ended.

        :raises CloudError: with the end of what it wrote.
        """
        if not self.is_running(name):
            raise CloudError(f'{name} has ended; {self._last_words(name)}')

    def _last_words(self, name: str) -> str:
        out = self._log / f'{name}.out'
        lines = out.read_text(errors='replace').splitlines()[-8:]
        return f'the last of {out}:\n' + '\n'.join(lines)

    def stop(self, names: Iterable[str]) -> None:
        """End processes and what they started, all at the same time.

        Each is asked first; what is still there after some seconds is
        killed.
        """
        names = [name for name in names if self._file(name).exists()]
        for name in names:
            self._signal(name, signal.SIGTERM)
        end = time.monotonic() + _PATIENCE
        left = names
        while left and time.monotonic() < end:
            left = [name for name in left if any(self._members(name))]
            if left:
                time.sleep(0.1)
        for name in left:
            while any(self._members(name)):
                self._signal(name, signal.SIGKILL)
                time.sleep(0.05)
        for name in names:
            self._file(name).unlink(missing_ok=True)

    def _signal(self, name: str, number: signal.Signals) -> None:
        for pid in self._members(name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _members(self, name: str) -> Iterator[int]:
        """Give a process and what it started, also where it has ended.

        Its number is nobody else's as long as its session has a member.
        """
        pid, _ = self._record(name)
        # A child of this very process stays until it is asked about.
        runs = self.is_running(name)
        if pid and (runs or not host.began(pid)):
            yield from _session(pid)

    def _record(self, name: str) -> tuple[int, int]:
        try:
            pid, began = json.loads(self._file(name).read_text())
        except (OSError, ValueError):
            return 0, 0
        return int(pid), int(began)

    def _file(self, name: str) -> pathlib.Path:
        return self._folder / f'{name}.json'


def _session(leader: int) -> Iterator[int]:
    """Give the processes of a session; ``man 5 proc`` has the fields."""
    for path in pathlib.Path('/proc').glob('[0-9]*/stat'):
        try:
            fields = path.read_text(errors='replace').rpartition(')')[2]
        except OSError:
            continue
        state, _, _, session = fields.split()[:4]
        if int(session) == leader and state != 'Z':
            yield int(path.parent.name)
