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
"""What an administrator types in a cloud, and what it takes."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from tools.benchmarks.clouds_fill import FilledCloud

_BIN = pathlib.Path(sys.executable).parent
_OPENSTACK = str(_BIN / 'openstack')
_MEASURED = pathlib.Path(__file__).with_name('measured.py')
_SECONDS = 900
#: How long a web server has to write what it answered.
_LOG_SECONDS = 0.3


@dataclasses.dataclass(frozen=True)
class Taken:
    """What one or more commands took."""

    seconds: float
    #: To Placement and Nova.
    requests: float
    #: The most that a process needed at once.
    mebibytes: float

    def __add__(self, other: Taken) -> Taken:
        """Take one after the other."""
        return Taken(
            self.seconds + other.seconds,
            self.requests + other.requests,
            max(self.mebibytes, other.mebibytes),
        )

    def times(self, number: float) -> Taken:
        """Take so many of the same."""
        return Taken(
            self.seconds * number, self.requests * number, self.mebibytes
        )


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a command printed, and what it took."""

    text: str
    #: The end of what it said on standard error.
    errors: str
    taken: Taken
    #: Negative for a command that was ended.
    status: int

    def rows(self) -> list[dict[str, Any]]:
        """Read what a command printed with ``-f json``."""
        found: list[dict[str, Any]] = json.loads(self.text)
        return found


class Commands:
    """Runs commands in a cloud, each in a process.

    :param cloud: where the administrator works.
    """

    def __init__(self, cloud: FilledCloud) -> None:
        self._cloud = cloud
        self._output = cloud.settings.data / 'output'

    def openstack(self, *words: str) -> Answer:
        """Run ``openstack`` with a command.

        :raises RuntimeError: it failed.
        """
        answer = self._run(
            [_OPENSTACK, *words], _SECONDS, self._cloud.environment
        )
        if answer.status:
            msg = f'{" ".join(words)}: {answer.status}, {answer.errors}'
            raise RuntimeError(msg)
        return answer

    def prompt(self, lines: Sequence[str]) -> Taken:
        """Type commands at the prompt of one ``openstack``.

        Its exit status says nothing: it is 1 in any case.

        :raises RuntimeError: not every command asked for something.
        """
        text = '\n'.join([*lines, 'quit', ''])
        taken = self._run(
            [_OPENSTACK], _SECONDS, self._cloud.environment, text
        ).taken
        if taken.requests < len(lines):
            msg = f'{lines[0]}... made {taken.requests} requests'
            raise RuntimeError(msg)
        return taken

    def nova_manage(self, *words: str, seconds: int) -> Answer:
        """Run ``nova-manage`` for some time at most."""
        conf = ('--config-file', self._cloud.nova_conf)
        environment = {
            **self._cloud.environment,
            'OS_NOVA_DISABLE_EVENTLET_PATCHING': 'true',
        }
        command = [str(_BIN / 'nova-manage'), *conf, *words]
        return self._run(command, seconds, environment)

    def _run(
        self,
        command: Sequence[str],
        seconds: int,
        environment: Mapping[str, str],
        typed: str = '',
    ) -> Answer:
        before = self._cloud.requests()
        done = subprocess.run(  # noqa: S603
            [
                *(sys.executable, '-IS', str(_MEASURED)),
                *(str(seconds), str(self._output), *command),
            ],
            input=typed,
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        )
        taken, kibibytes, status = json.loads(done.stdout)
        time.sleep(_LOG_SECONDS)
        requests = self._cloud.requests() - before
        return Answer(
            self._output.read_text(encoding='utf-8'),
            done.stderr[-1000:],
            Taken(taken, requests, kibibytes / 1024),
            status,
        )


class Typing:
    """Commands for single providers, each typed in a process of its own.

    :param commands: where to run them.
    :param providers: UUIDs of those that they are typed for.
    """

    def __init__(self, commands: Commands, providers: Sequence[str]) -> None:
        self._commands = commands
        self._providers = providers
        self._known: dict[Sequence[str], Taken] = {}

    def once(self, *words: str) -> Taken:
        """Take what one command takes."""
        return self._commands.openstack(*words).taken

    def each(self, *words: str) -> Taken:
        """Take what a command takes for one provider."""
        if words not in self._known:
            self._known[words] = self._all(words).times(
                1 / len(self._providers)
            )
        return self._known[words]

    def _all(self, words: Sequence[str]) -> Taken:
        taken = Taken(0, 0, 0)
        for provider in self._providers:
            taken += self.once(*words, provider)
        return taken


class OneProcess(Typing):
    """The same, all of them at the prompt of one process.

    Its start counts for :meth:`once` only.
    """

    def _all(self, words: Sequence[str]) -> Taken:
        lines = [' '.join([*words, p]) for p in self._providers]
        started = self._commands.prompt([])
        both = self._commands.prompt(lines)
        return Taken(
            both.seconds - started.seconds,
            both.requests - started.requests,
            both.mebibytes,
        )
