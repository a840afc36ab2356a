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
"""What libvirt tells: domains and node devices that come, go or change."""

from __future__ import annotations

import functools
import logging
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

LOG = logging.getLogger(__name__)

FIRST_RETRY = 1.0
LAST_RETRY = 60.0

#: Node devices whose coming and going can matter; a guest's start makes
#: others.
_DEVICES = ('mdev_', 'pci_')

_loop_lock = threading.Lock()
#: The modules whose event loop runs; it cannot be ended.
_loops: list[Any] = []


def _start_loop(libvirt: Any) -> None:
    """Let libvirt's own event loop run, once in a process."""
    with _loop_lock:
        if any(libvirt is known for known in _loops):
            return
        libvirt.virEventRegisterDefaultImpl()
        threading.Thread(
            target=_run_loop, args=(libvirt,), name='libvirt', daemon=True
        ).start()
        _loops.append(libvirt)


def _run_loop(libvirt: Any) -> None:
    pause = threading.Event()
    while True:
        try:
            libvirt.virEventRunDefaultImpl()
        except Exception:
            LOG.exception("libvirt's event loop failed; it goes on")
            pause.wait(LAST_RETRY)


class LibvirtEvents:
    """Hears libvirt, and connects again when it was away.

    A new connection is an event as well: what happened before it was not
    heard.

    :param libvirt: the module.
    :param uri: where libvirt is.
    """

    def __init__(self, libvirt: Any, uri: str) -> None:
        self._libvirt = libvirt
        self._uri = uri
        self._read, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._guard = threading.Lock()
        self._found: str | None = None
        self._is_closed = False
        self._undo: list[Callable[[], object]] = []
        #: Set when the connection is lost, or shall go.
        self._wake = threading.Event()
        _start_loop(libvirt)
        self._thread = threading.Thread(
            target=self._keep, name='libvirt-connection', daemon=True
        )
        self._thread.start()

    def fileno(self) -> int:
        """Give what becomes readable when there is an event."""
        return self._read

    def read(self) -> str | None:
        """Give what has happened that matters, or None."""
        with self._guard:
            os.read(self._read, 1)
            found, self._found = self._found, None
        return found

    def close(self) -> None:
        """Hear no more; the connection is closed as soon as it can be."""
        with self._guard:
            if self._is_closed:
                return
            self._is_closed = True
            os.close(self._read)
            os.close(self._write)
        self._wake.set()

    def _tell(self, what: str) -> None:
        """Wake the loop, from any thread."""
        with self._guard:
            if self._is_closed or self._found is not None:
                return
            self._found = what
            os.write(self._write, b'.')

    def _keep(self) -> None:
        """Keep a connection."""
        failures = 0
        while True:
            self._wake.clear()
            if self._is_closed:
                return
            connection = self._try_connect(is_first=failures == 0)
            if connection is None:
                self._wake.wait(min(FIRST_RETRY * 2**failures, LAST_RETRY))
                failures = min(failures + 1, 16)
                continue
            failures = 0
            LOG.info('libvirt: connected to %s', self._uri)
            self._tell('libvirt is connected')
            self._wake.wait()
            self._disconnect(connection)

    def _try_connect(self, is_first: bool) -> Any:
        """Connect; say why it did not work, the first time.

        :returns: None if it did not.
        """
        try:
            return self._connect()
        except Exception as error:
            problem = error
        is_bug = not isinstance(problem, self._libvirt.libvirtError)
        if is_first:
            LOG.warning(
                'libvirt: %s: %s; its events are not heard until it is there',
                self._uri,
                problem,
                exc_info=problem if is_bug else None,
            )
        return None

    def _connect(self) -> Any:
        libvirt = self._libvirt
        connection = libvirt.openAuth(
            self._uri, [[], lambda *_: 0, None], libvirt.VIR_CONNECT_RO
        )
        try:
            connection.registerCloseCallback(self._lost, None)
            number = connection.domainEventRegisterAny(
                None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._domain, None
            )
            self._undo = [
                connection.unregisterCloseCallback,
                lambda: connection.domainEventDeregisterAny(number),
                *self._register_devices(connection),
            ]
        except BaseException:
            connection.close()
            raise
        return connection

    def _register_devices(
        self, connection: Any
    ) -> Iterator[Callable[[], object]]:
        """Hear of node devices, where there is a driver for them.

        :returns: what undoes it.
        """
        libvirt = self._libvirt
        for kind in (
            libvirt.VIR_NODE_DEVICE_EVENT_ID_LIFECYCLE,
            libvirt.VIR_NODE_DEVICE_EVENT_ID_UPDATE,
        ):
            try:
                number = connection.nodeDeviceEventRegisterAny(
                    None, kind, self._device, None
                )
            except libvirt.libvirtError as error:
                LOG.info('libvirt: no events of node devices: %s', error)
                return
            yield functools.partial(
                connection.nodeDeviceEventDeregisterAny, number
            )

    def _disconnect(self, connection: Any) -> None:
        if not self._is_closed:
            LOG.warning('libvirt: lost the connection to %s', self._uri)
        # What is registered would keep the connection open.
        for undo in (*self._undo, connection.close):
            try:
                undo()
            except Exception as error:
                LOG.debug('libvirt: %s', error)

    def _lost(self, *_: Any) -> None:
        self._tell('libvirt is gone')
        self._wake.set()

    def _domain(
        self, connection: Any, domain: Any, event: int, *_: Any
    ) -> None:
        self._tell(f'domain event {event}')

    def _device(self, connection: Any, device: Any, *_: Any) -> None:
        if device.name().startswith(_DEVICES):
            self._tell(f'node device {device.name()}')
