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
"""The socket on which systemd hears a service."""

from __future__ import annotations

import socket
import tempfile
import time
from collections.abc import Callable

import fixtures

_SECONDS = 60.0


class NotifySocket(fixtures.Fixture):
    """What systemd listens to.

    :param is_abstract: whether it has a name in no folder.
    """

    def __init__(self, is_abstract: bool = False) -> None:
        super().__init__()
        self._is_abstract = is_abstract

    def _setUp(self) -> None:
        # A socket's path is short.
        folder = tempfile.TemporaryDirectory(prefix='notify-')
        self.addCleanup(folder.cleanup)
        path = f'{folder.name}/socket'
        self.address = f'@{path}' if self._is_abstract else path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self._socket.close)
        self._socket.bind('\0' + path if self._is_abstract else path)
        self.messages: list[str] = []

    def wait(
        self, condition: Callable[[str], bool], seconds: float = _SECONDS
    ) -> str:
        """Read until a message fulfils a condition; give it."""
        end = time.monotonic() + seconds
        while True:
            self._socket.settimeout(max(0.01, end - time.monotonic()))
            message = self._socket.recv(4096).decode()
            self.messages.append(message)
            if condition(message):
                return message

    def wait_for(self, message: str) -> None:
        """Read until exactly this comes."""
        self.wait(lambda m: m == message)

    def cycle(self) -> str:
        """Wait until a cycle has ended; give its status."""
        found = self.wait(lambda m: m.startswith('STATUS='))
        return found.removeprefix('STATUS=')
