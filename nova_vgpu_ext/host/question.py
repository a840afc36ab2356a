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
"""Questions that must not hang, and whose failure is an answer too."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from nova_vgpu_ext import exception
from nova_vgpu_ext.models import Unknown

T = TypeVar('T')

RUN_AS_ROOT = 'run this as root'
PRIVILEGED = 'run this on the host itself, or in a privileged container'
_LIMIT = 300


class Question(Generic[T]):
    """Something that is asked in the background from now on.

    What does not answer in time is left behind; it does not keep the program
    from ending.

    :param what: names it in the answer, if there is none.
    :param function: asks.
    """

    def __init__(self, what: str, function: Callable[[], T]) -> None:
        self._what = what
        self._function = function
        self._answer: T | Unknown | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def answer(self, end: float) -> T | Unknown:
        """Wait for the answer.

        :param end: until when, by the monotonic clock.
        """
        self._thread.join(max(0.0, end - time.monotonic()))
        if self._thread.is_alive():
            return Unknown(
                f'{self._what}: no answer in time',
                'see what keeps it from answering',
            )
        return self._answer  # type: ignore[return-value]

    def _run(self) -> None:
        self._answer = ask(self._function)


def ask(function: Callable[[], T]) -> T | Unknown:
    """Ask something; an error becomes an answer.

    :param function: asks.
    """
    try:
        return function()
    except Exception as error:
        return _unknown(error)


def _unknown(error: Exception) -> Unknown:
    causes = _causes(error)
    denied = any(isinstance(e, PermissionError) for e in causes)
    if denied and os.geteuid() != 0:
        return Unknown(_one_line(_found(error)), RUN_AS_ROOT)
    if isinstance(error, exception.LibvirtError):
        if any(isinstance(e, ImportError) for e in causes):
            return Unknown(_one_line(_found(error)), error.remedy)
        is_hidden = os.geteuid() != 0
        return Unknown(
            _one_line(_found(error)),
            RUN_AS_ROOT if is_hidden else error.remedy,
            is_fault=not is_hidden,
        )
    if isinstance(error, exception.VgpuError):
        return Unknown(
            _one_line(_found(error)),
            str(getattr(error, 'remedy', '')) or 'correct what is named there',
            is_fault=not isinstance(error, exception.FatalFindings),
        )
    if isinstance(error, OSError):
        remedy = PRIVILEGED if denied else 'look at the file'
        return Unknown(_one_line(_found(error)), remedy)
    return Unknown(
        _one_line(f'{type(error).__name__}: {error}'),
        'this is a bug; report it',
    )


def _causes(error: BaseException | None) -> list[BaseException]:
    causes: list[BaseException] = []
    while error is not None and error not in causes:
        causes.append(error)
        error = error.__cause__
    return causes


def _found(error: Exception) -> str:
    if isinstance(error, OSError):
        found = (error.strerror or str(error)).lower()
        return f'{error.filename}: {found}' if error.filename else found
    remedy = getattr(error, 'remedy', '')
    return str(error).removesuffix(f'; {remedy}') if remedy else str(error)


def _one_line(text: str) -> str:
    line = ' '.join(text.split())
    shown = ''.join(c if c.isprintable() else '?' for c in line)
    return shown if len(shown) <= _LIMIT else f'{shown[:_LIMIT]}...'
