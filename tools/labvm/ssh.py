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
"""Commands in a guest and copies to and from it, over SSH."""

from __future__ import annotations

import contextlib
import pathlib
import subprocess
from collections.abc import Sequence

from tools.labvm import host

_CONFIG = """\
Host guest
    HostName 127.0.0.1
    Port {port}
    User root
    HostKeyAlias guest
    BatchMode yes
    ConnectTimeout 10
    ControlMaster auto
    ControlPath {control}
    ControlPersist yes
    IdentitiesOnly yes
    IdentityFile "{key}"
    LogLevel ERROR
    ServerAliveInterval 15
    ServerAliveCountMax 8
    StrictHostKeyChecking yes
    UserKnownHostsFile "{known_hosts}"
"""


class Ssh:
    """The way to one guest; its connection is kept open.

    :param folder: where the configuration and the guest's key are kept.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self.config = folder / 'ssh_config'
        self._known_hosts = folder / 'known_hosts'

    def configure(
        self,
        port: int,
        control: pathlib.Path,
        key: pathlib.Path,
        host_key: pathlib.Path,
    ) -> None:
        """Say where the guest listens, and how it is known.

        :param port: of this machine's loopback.
        :param control: the socket of the connection that is kept; a path
            short enough for a socket.
        :param key: the private key that opens the guest.
        :param host_key: the guest's public key.
        """
        known = host_key.read_text(encoding='ascii')
        self._known_hosts.write_text(f'guest {known}', encoding='ascii')
        text = _CONFIG.format(
            port=port,
            control=control,
            key=_escaped(key),
            known_hosts=_escaped(self._known_hosts),
        )
        self.config.write_text(text, encoding='utf-8')

    def attach(self, *arguments: str) -> int:
        """Run a command with this process's own streams.

        :param arguments: the command, which the guest's shell reads; none
            for a shell of its own.
        :returns: its exit status.
        """
        command = self._command('ssh', 'guest')
        if arguments:
            command += ['--', *arguments]
        return subprocess.run(command, check=False).returncode  # noqa: S603

    def call(
        self, line: str, seconds: float, stdin: str = ''
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell line, and take its output.

        :param line: what the guest's shell reads.
        :param seconds: how long it may take.
        :param stdin: its standard input.
        :raises subprocess.TimeoutExpired: it took longer.
        """
        return subprocess.run(  # noqa: S603
            self._command('ssh', 'guest', '--', line),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def copy(self, sources: Sequence[str], target: str) -> int:
        """Copy files and folders; ``guest:`` begins a path in the guest.

        :returns: the exit status of scp.
        """
        command = self._command('scp', '-rpq', '--', *sources, target)
        return subprocess.run(command, check=False).returncode  # noqa: S603

    def close(self) -> None:
        """End the connection that is kept."""
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            subprocess.run(  # noqa: S603
                self._command('ssh', '-O', 'exit', 'guest'),
                capture_output=True,
                timeout=10,
                check=False,
            )

    def _command(self, program: str, *arguments: str) -> list[str]:
        return [host.program(program), '-F', str(self.config), *arguments]


def _escaped(path: pathlib.Path) -> str:
    return str(path).replace('%', '%%')
