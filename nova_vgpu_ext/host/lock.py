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
"""The one lock that everything takes that changes this host."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from nova_vgpu_ext import exception
from nova_vgpu_ext.hook import qemu


@contextlib.contextmanager
def host_lock(state_path: str, seconds: float) -> Iterator[None]:
    """Hold the host's lock.

    :param state_path: ``[vgpu] state_path``; the folder is made if missing.
    :param seconds: how long to wait for another program.
    :raises HostError: the folder cannot be written, or the other program
        has not ended.
    """
    # The library is slow to import, and most of the program only reads.
    from oslo_concurrency import lockutils

    path = os.path.join(state_path, qemu.LOCK)
    try:
        os.makedirs(state_path, mode=0o700, exist_ok=True)
        lock = lockutils.external_lock(qemu.LOCK, lock_path=state_path)
        got = lock.acquire(timeout=seconds)
    except OSError as error:
        raise exception.HostError(
            path,
            error.strerror or str(error),
            'a file that can be written',
            'run this as root, or correct [vgpu] state_path',
        ) from error
    if not got:
        raise exception.HostError(
            path,
            'another program that changes this host',
            f'its end within {seconds:g} s',
            'wait for it, or end it (fuser shows which it is)',
        )
    try:
        yield
    finally:
        lock.release()
