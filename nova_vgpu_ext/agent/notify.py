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
"""Telling systemd how the agent is: the protocol of sd_notify(3)."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping

#: systemd reads at once; where it does not, the agent goes on.
_SECONDS = 1.0


class Notifier:
    """Sends to the socket that systemd names; without one, to nobody.

    :param environment: that of the process.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        address = environment.get('NOTIFY_SOCKET', '')
        if address.startswith('@'):
            address = '\0' + address[1:]
        self._address = address
        self.watchdog_seconds = _watchdog(environment)

    def ready(self) -> None:
        """Say that the agent works, at first or after a reload."""
        self._send('READY=1')

    def reloading(self) -> None:
        """Say that the configuration is read again."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f'RELOADING=1\nMONOTONIC_USEC={now}')

    def stopping(self) -> None:
        """Say that the agent ends."""
        self._send('STOPPING=1')

    def status(self, text: str) -> None:
        """Say what systemctl status shows, on one line."""
        self._send('STATUS=' + ' '.join(text.split()))

    def watchdog(self) -> None:
        """Say that the agent is alive."""
        self._send('WATCHDOG=1')

    def _send(self, message: str) -> None:
        if not self._address:
            return
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender,
        ):
            sender.settimeout(_SECONDS)
            sender.connect(self._address)
            sender.send(message.encode(errors='replace'))


def _watchdog(environment: Mapping[str, str]) -> float | None:
    """Find how often systemd wants to hear; half of its limit is wise."""
    text = environment.get('WATCHDOG_USEC', '')
    if environment.get('WATCHDOG_PID', str(os.getpid())) != str(os.getpid()):
        return None
    if not (text.isascii() and text.isdigit()) or int(text) == 0:
        return None
    return int(text) / 1e6 / 2
