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
"""The kernel's side of a write, and NVIDIA's program for VFs."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import types
from typing import Protocol

import tenacity

from nova_vgpu_ext import exception
from nova_vgpu_ext.host import writer

#: The first seconds after boot race with the driver's start: "Cannot obtain
#: unbindLock". Source: NVIDIA's vGPU user guide, and users' reports.
_ATTEMPTS = 6
_FIRST_WAIT = 1.0
_PROGRAM_SECONDS = 120.0
_RACE = 'Cannot obtain unbindLock'
_OUTPUT_LIMIT = 1 << 16


class Kernel(Protocol):
    """What takes writes: a real kernel, or a simulated one."""

    def write(self, path: str, text: str) -> None:
        """Write to a file with one call.

        :raises OSError: it is refused.
        :raises writer.Timeout: there is no answer.
        """

    def enable_vfs(self, address: str) -> None:
        """Enable the virtual functions of a card.

        :raises ActionFailed: it does not work.
        """


class RealKernel:
    """This machine's kernel.

    :param sriov_manage: the path of NVIDIA's program.
    :param seconds: how long one write may take.
    """

    def __init__(self, sriov_manage: str, seconds: float) -> None:
        self._sriov_manage = sriov_manage
        self._writer = writer.Writer(seconds)

    def __enter__(self) -> RealKernel:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        self._writer.close()

    def write(self, path: str, text: str) -> None:
        """Write to a file with one call."""
        self._writer.write(path, text)

    def enable_vfs(self, address: str) -> None:
        """Run NVIDIA's program, again if the driver is not ready."""
        for attempt in tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_NotReady),
            stop=tenacity.stop_after_attempt(_ATTEMPTS),
            wait=tenacity.wait_exponential(multiplier=_FIRST_WAIT, max=10),
            reraise=True,
        ):
            with attempt:
                self._enable_vfs(address)

    def _enable_vfs(self, address: str) -> None:
        try:
            status, said = _run([self._sriov_manage, '-e', address])
        except subprocess.TimeoutExpired as error:
            found = f'no end within {_PROGRAM_SECONDS:g} s'
            raise self._failed(exception.ActionFailed, address, found) from (
                error
            )
        except OSError as error:
            raise exception.HostError(
                f'[vgpu] sriov_manage = {self._sriov_manage}',
                error.strerror or str(error),
                "NVIDIA's program",
                'install the vGPU host driver, or set its path',
            ) from error
        if status or _RACE in said:
            lines = said.strip().splitlines()
            found = lines[-1].strip() if lines else f'status {status}'
            raise self._failed(_NotReady, address, found)

    def _failed(
        self, kind: type[exception.ActionFailed], address: str, found: str
    ) -> exception.ActionFailed:
        return kind(
            f'{self._sriov_manage} -e {address}',
            found,
            'virtual functions',
            'see the kernel log; give the command again once the driver is up',
        )


class _NotReady(exception.ActionFailed):
    """NVIDIA's program has failed, as it may while the driver starts."""


def _run(command: list[str]) -> tuple[int, str]:
    """Run a program that may hang in the kernel, where no signal ends it.

    :returns: its status and what it said.
    :raises OSError: it cannot be run.
    :raises subprocess.TimeoutExpired: it has not ended; it is left behind.
    """
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = process.wait(_PROGRAM_SECONDS)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
        output.seek(0)
        return status, output.read(_OUTPUT_LIMIT).decode(errors='replace')
