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
"""libvirt's events, with a module that a test drives."""

from __future__ import annotations

import select
import threading
from typing import Any

from nova_vgpu_ext.agent import libvirt_events
from tests import base

URI = 'qemu:///system'


class libvirtError(Exception):
    """As libvirt's."""


class _Device:
    def __init__(self, name: str) -> None:
        self._name = name

    def name(self) -> str:
        return self._name


class _Connection:
    def __init__(self, libvirt: _Libvirt) -> None:
        self._libvirt = libvirt
        self.callbacks: dict[tuple[str, int], Any] = {}
        self.is_closed = False

    def registerCloseCallback(self, callback: Any, opaque: object) -> None:
        self.callbacks['close', 0] = callback

    def unregisterCloseCallback(self) -> None:
        if self._libvirt.undo_fails:
            raise libvirtError('the connection is gone')
        del self.callbacks['close', 0]

    def domainEventRegisterAny(
        self, domain: None, kind: int, callback: Any, opaque: object
    ) -> int:
        self.callbacks['domain', kind] = callback
        return kind

    def domainEventDeregisterAny(self, number: int) -> None:
        del self.callbacks['domain', number]

    def nodeDeviceEventRegisterAny(
        self, device: None, kind: int, callback: Any, opaque: object
    ) -> int:
        if self._libvirt.device_error:
            raise self._libvirt.device_error
        self.callbacks['device', kind] = callback
        return kind

    def nodeDeviceEventDeregisterAny(self, number: int) -> None:
        del self.callbacks['device', number]

    def close(self) -> None:
        self.is_closed = True


class _Libvirt:
    """The module."""

    VIR_CONNECT_RO = 1
    VIR_DOMAIN_EVENT_ID_LIFECYCLE = 0
    VIR_NODE_DEVICE_EVENT_ID_LIFECYCLE = 0
    VIR_NODE_DEVICE_EVENT_ID_UPDATE = 1

    def __init__(self) -> None:
        self.libvirtError = libvirtError
        self.error: Exception | None = None
        self.device_error: Exception | None = None
        self.undo_fails = False
        self.connections: list[_Connection] = []
        self.attempts = 0
        self.registered = 0
        self.runs = threading.Semaphore(0)
        self.turns = 0

    def registerErrorHandler(self, handler: Any, context: None) -> None:
        handler(context, 'an error')

    def virEventRegisterDefaultImpl(self) -> None:
        self.registered += 1

    def virEventRunDefaultImpl(self) -> None:
        self.turns += 1
        self.runs.acquire()
        raise libvirtError('the loop failed')

    def openAuth(self, uri: str, auth: Any, flags: int) -> _Connection:
        self.attempts += 1
        if self.error is not None:
            raise self.error
        self.connections.append(_Connection(self))
        return self.connections[-1]


class LibvirtEventsTest(base.TestCase):
    """From libvirt's threads to the loop."""

    def setUp(self) -> None:
        super().setUp()
        self.libvirt = _Libvirt()
        for name in ('FIRST_RETRY', 'LAST_RETRY'):
            self.patch(f'nova_vgpu_ext.agent.libvirt_events.{name}', 0.01)

    def open(self) -> libvirt_events.LibvirtEvents:
        """Listen until the end of the test."""
        source = libvirt_events.LibvirtEvents(self.libvirt, URI)
        self.addCleanup(source._thread.join)
        self.addCleanup(source.close)
        return source

    def connected(self) -> libvirt_events.LibvirtEvents:
        """Listen, and wait for the connection."""
        source = self.open()
        self.assertEqual('libvirt is connected', self.heard(source))
        return source

    def heard(
        self, source: libvirt_events.LibvirtEvents, seconds: float = 30
    ) -> str | None:
        """Wait for an event."""
        if not select.select([source], [], [], seconds)[0]:
            return None
        return source.read()

    def call(self, what: str, *arguments: object, kind: int = 0) -> None:
        """Call back, as libvirt does."""
        connection = self.libvirt.connections[-1]
        connection.callbacks[what, kind](connection, *arguments, None)

    def test_events(self) -> None:
        """Domains, and node devices that can matter."""
        source = self.connected()
        self.call('domain', None, 2, 0)
        self.assertEqual('domain event 2', self.heard(source))
        for kind in (0, 1):
            self.call('device', _Device('pci_0000_1a_00_0'), kind=kind)
            self.assertEqual(
                'node device pci_0000_1a_00_0', self.heard(source)
            )
        self.call('device', _Device('net_tap0'), 0, 0)
        self.assertIsNone(self.heard(source, 0.05))

    def test_many_events(self) -> None:
        """They are told as one."""
        source = self.connected()
        for number in range(100000):
            self.call('domain', None, number, 0)
        self.assertEqual('domain event 0', self.heard(source))
        self.assertIsNone(self.heard(source, 0.05))

    def test_loss(self) -> None:
        """It connects again, and that is an event."""
        source = self.connected()
        self.libvirt.error = libvirtError('Connection refused')
        self.call('close', 1)
        self.assertEqual('libvirt is gone', self.heard(source))
        self.await_attempts(4)
        self.libvirt.error = None
        self.assertEqual('libvirt is connected', self.heard(source))
        first, second = self.libvirt.connections
        self.assertTrue(first.is_closed)
        self.assertEqual({}, first.callbacks)
        self.assertFalse(second.is_closed)
        said = [x for x in self.logs.lines if 'Connection refused' in x]
        self.assertLessEqual(len(said), 1)

    def await_attempts(self, number: int) -> None:
        """Wait until it has tried so often to connect."""
        end = threading.Event()
        for _ in range(3000):
            if self.libvirt.attempts >= number:
                return
            end.wait(0.01)
        self.fail('no attempt')

    def test_dead_connection(self) -> None:
        """What cannot be taken back is left."""
        source = self.connected()
        self.libvirt.undo_fails = True
        self.call('close', 1)
        self.await_attempts(2)
        self.assertIsNotNone(self.heard(source))
        self.assertTrue(self.libvirt.connections[0].is_closed)

    def test_no_node_devices(self) -> None:
        """The rest is heard."""
        self.libvirt.device_error = libvirtError('not supported')
        source = self.connected()
        self.call('domain', None, 0, 0)
        self.assertIsNotNone(self.heard(source))
        said = [x for x in self.logs.lines if 'not supported' in x]
        self.assertEqual(1, len(said))

    def test_a_bug(self) -> None:
        """It is said with its traceback, and tried again."""
        self.libvirt.device_error = RuntimeError('a bug')
        source = self.open()
        self.await_attempts(3)
        self.assertTrue(self.libvirt.connections[0].is_closed)
        self.libvirt.device_error = None
        self.assertEqual('libvirt is connected', self.heard(source))

    def test_one_event_loop(self) -> None:
        """It is started once, also for a second connection."""
        self.connected()
        self.connected()
        self.assertEqual(1, self.libvirt.registered)

    def test_failing_event_loop(self) -> None:
        """It goes on."""
        self.connected()
        self.libvirt.runs.release()
        end = threading.Event()
        while self.libvirt.turns < 2:
            end.wait(0.01)

    def test_close(self) -> None:
        """The connection goes; a late callback does no harm."""
        source = self.connected()
        late = self.libvirt.connections[0].callbacks['domain', 0]
        source.close()
        source._thread.join()
        self.assertTrue(self.libvirt.connections[0].is_closed)
        late(None, None, 0, 0, None)

    def test_close_while_it_is_away(self) -> None:
        """Nothing is tried any more."""
        self.libvirt.error = libvirtError('Connection refused')
        source = self.open()
        self.await_attempts(1)
        source.close()
        source._thread.join()
        attempts = self.libvirt.attempts
        threading.Event().wait(0.1)
        self.assertEqual(attempts, self.libvirt.attempts)
