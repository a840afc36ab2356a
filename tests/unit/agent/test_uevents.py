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
"""The kernel's uevents."""

from __future__ import annotations

import errno
import os
import socket

from hypothesis import given
from hypothesis import strategies as st

from nova_vgpu_ext.agent import uevents
from tests import base

MDEV = (
    b'add@/devices/pci0000:00/0000:1a:00.0/d878445d-df99-4510-b467-'
    b'c67a4c1a7c34\0ACTION=add\0DEVPATH=/devices/pci0000:00/0000:1a:00.0/'
    b'd878445d-df99-4510-b467-c67a4c1a7c34\0SUBSYSTEM=mdev\0SEQNUM=4711\0'
)
GPU = (
    b'bind@/devices/pci0000:00/0000:1a:00.0\0ACTION=bind\0'
    b'DEVPATH=/devices/pci0000:00/0000:1a:00.0\0SUBSYSTEM=pci\0'
    b'DRIVER=nvidia\0PCI_CLASS=30200\0PCI_ID=10DE:1DB5\0SEQNUM=4712\0'
)
NETWORK = GPU.replace(b'30200', b'20000').replace(b'10DE', b'8086')
PARENT = (
    b'change@/devices/virtual/mtty/mtty\0ACTION=change\0'
    b'DEVPATH=/devices/virtual/mtty/mtty\0SUBSYSTEM=mtty\0'
    b'MDEV_STATE=registered\0SEQNUM=4713\0'
)


class ParseTest(base.TestCase):
    """Messages, good and bad."""

    def test_good(self) -> None:
        """As the kernel writes them."""
        fields = uevents.parse(GPU)
        self.assertEqual('bind', fields['ACTION'])
        self.assertEqual('10DE:1DB5', fields['PCI_ID'])

    def test_matters(self) -> None:
        """What can change the vGPUs of a host."""
        for expected, message in (
            (True, MDEV),
            (True, GPU),
            (True, GPU.replace(b'10DE', b'10de').replace(b'30200', b'0')),
            (True, GPU.replace(b'10DE', b'8086')),
            (True, PARENT),
            (False, NETWORK),
            (False, GPU.replace(b'=pci', b'=drm')),
            (False, PARENT.replace(b'MDEV_STATE', b'STATE')),
        ):
            found = uevents.matters(uevents.parse(message))
            self.assertEqual(expected, found, message)

    def test_hostile(self) -> None:
        """They are nothing, or harmless."""
        for message in (
            b'',
            b'\0',
            b'libudev\0\xfe\xed\xca\xfe' + MDEV,
            MDEV.partition(b'\0')[2],
            b'add@',
            b'add@/x\0SUBSYSTEM\0=mdev\0',
            b'add@/x\0SUBSYSTEM=MDEV\0',
            b'add@/x\0SUBSYSTEM=pci\0SUBSYSTEM=mdev\0',
            b'add@/x\0SUBSYSTEM=mdev\xff\0',
            b'add@/x\0' * 1000,
        ):
            self.assertFalse(uevents.matters(uevents.parse(message)), message)

    @given(st.binary(max_size=300))
    def test_any_bytes(self, message: bytes) -> None:
        """Nothing raises, and fields are text."""
        for prefix in (b'', b'add@/x\0SUBSYSTEM=mdev\0'):
            fields = uevents.parse(prefix + message)
            uevents.matters(fields)
            ''.join(fields.values()).encode()


class _Socket:
    """A netlink socket with what a test puts in."""

    def __init__(self, *received: object) -> None:
        self._received = list(received)

    def recvfrom(self, size: int) -> tuple[bytes, tuple[int, int]]:
        """Give the next message, or raise the next error."""
        if not self._received:
            raise BlockingIOError
        found = self._received.pop(0)
        if isinstance(found, OSError):
            raise found
        if isinstance(found, tuple):
            return found
        assert isinstance(found, bytes)  # noqa: S101
        return found, (0, 1)


class UeventsTest(base.TestCase):
    """The socket."""

    def heard(self, *received: object) -> str | None:
        """Read what a test puts in."""
        source = self.open()
        source._socket.close()
        source._socket = _Socket(*received)  # type: ignore[assignment]
        return source.read()

    def open(self) -> uevents.Uevents:
        """Listen, if this machine lets anybody."""
        try:
            return uevents.Uevents()
        except OSError as error:
            self.skipTest(f'no uevents here: {error}')
            raise

    def test_messages(self) -> None:
        """The first that matters is told; all are read."""
        self.assertIsNone(self.heard())
        self.assertIsNone(self.heard(NETWORK))
        self.assertEqual(
            'uevent bind 0000:1a:00.0', self.heard(NETWORK, GPU, MDEV)
        )

    def test_others_are_not_believed(self) -> None:
        """Only the kernel has the port 0."""
        self.assertIsNone(self.heard((MDEV, (4711, 0)), (GPU, (1, 1))))

    def test_too_many(self) -> None:
        """What could not be heard may have mattered."""
        lost = OSError(errno.ENOBUFS, 'No buffer space available')
        found = self.heard(lost, NETWORK)
        self.assertEqual('more uevents than could be heard', found)

    def test_other_errors(self) -> None:
        """They are for the loop."""
        gone = OSError(errno.ENETDOWN, 'down')
        self.assertEqual(gone, self.assertRaises(OSError, self.heard, gone))

    def test_flood(self) -> None:
        """The loop gets a turn."""
        source = self.open()
        source.close()
        flood = _Socket(*[NETWORK] * 1000)
        source._socket = flood  # type: ignore[assignment]
        source.read()
        self.assertGreater(len(flood._received), 500)

    def test_spoofed(self) -> None:
        """A real message of another process."""
        source = self.open()
        self.addCleanup(source.close)
        sender = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW, uevents._NETLINK_KOBJECT_UEVENT
        )
        self.addCleanup(sender.close)
        try:
            sender.sendto(MDEV, (source.port, 0))
        except PermissionError as error:
            self.skipTest(f'no sending here: {error}')
        self.assertEqual(MDEV, source._socket.recv(8192, socket.MSG_PEEK))
        self.assertIsNone(source.read())

    def test_closed(self) -> None:
        """No file stays open."""
        before = len(os.listdir('/proc/self/fd'))
        self.open().close()
        self.assertEqual(before, len(os.listdir('/proc/self/fd')))
