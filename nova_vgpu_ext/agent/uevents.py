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
"""What the kernel tells of devices: its uevents, over netlink."""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Mapping

_NETLINK_KOBJECT_UEVENT = 15
#: The group of the kernel's own messages; udev sends to another one.
_KERNEL_GROUP = 1
#: The kernel's largest, UEVENT_BUFFER_SIZE, and a path.
_LARGEST = 8192
#: Read at one go, so that a flood does not keep the loop from all else.
_MOST = 256

_NVIDIA = re.compile(r'10DE:', re.ASCII | re.IGNORECASE)
#: Base class 03, display controllers. The kernel prints no leading zero.
_DISPLAY = re.compile(r'0?3[0-9A-F]{4}', re.ASCII | re.IGNORECASE)


def parse(message: bytes) -> dict[str, str]:
    """Take a message of the kernel apart.

    :returns: its fields, such as ACTION, SUBSYSTEM and DEVPATH; nothing if
        it is not of the kernel's form.
    """
    head, *pairs = message.split(b'\0')
    if b'@' not in head:
        return {}
    fields: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition(b'=')
        if equals and name:
            fields.setdefault(
                name.decode('ascii', 'replace'),
                value.decode('ascii', 'replace'),
            )
    return fields


def matters(fields: Mapping[str, str]) -> bool:
    """Tell whether a change of this device can change its vGPUs."""
    if fields.get('SUBSYSTEM') == 'mdev':
        return True
    # A driver begins, or ends, to offer mdev types on a device.
    if 'MDEV_STATE' in fields:
        return True
    return fields.get('SUBSYSTEM') == 'pci' and bool(
        _NVIDIA.match(fields.get('PCI_ID', ''))
        or _DISPLAY.fullmatch(fields.get('PCI_CLASS', ''))
    )


class Uevents:
    """Hears the kernel, but nobody who speaks in its place.

    :raises OSError: this process may not listen.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK,
            socket.SOCK_RAW | socket.SOCK_NONBLOCK,
            _NETLINK_KOBJECT_UEVENT,
        )
        try:
            self._socket.bind((0, _KERNEL_GROUP))
        except OSError:
            self._socket.close()
            raise

    @property
    def port(self) -> int:
        """The netlink port, by which others reach the socket."""
        return int(self._socket.getsockname()[0])

    def fileno(self) -> int:
        """Give what becomes readable when there is a message."""
        return self._socket.fileno()

    def read(self) -> str | None:
        """Read what has come.

        :returns: what has happened that matters, or None.
        :raises OSError: the socket cannot be used any more.
        """
        found = None
        for _ in range(_MOST):
            try:
                message, sender = self._socket.recvfrom(_LARGEST)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                found = 'more uevents than could be heard'
                continue
            if sender[0] == 0 and found is None:
                found = _describe(parse(message))
        return found

    def close(self) -> None:
        """Hear no more."""
        self._socket.close()


def _describe(fields: Mapping[str, str]) -> str | None:
    if not matters(fields):
        return None
    name = fields.get('DEVPATH', '').rpartition('/')[2]
    return f'uevent {fields.get("ACTION")} {name}'
