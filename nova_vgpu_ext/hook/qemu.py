#!/bin/sh
# nova-vgpu-ext: libvirt hook, version 1
#
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
""":"
# Most calls need nothing, and most guests little: a shell starts in a tenth
# of Python's time, and Python in half the time that it compiles this file in.
case $2-$3 in
prepare-begin | release-end) ;;
*) exit 0 ;;
esac
exec /usr/bin/python3 -IS -c '
import sys
data = open(0, "rb").read((4 << 20) + 1)
if b"<hostdev" in data:
    hook = {"__name__": "hook"}
    with open(sys.argv[1], "rb") as file:
        exec(compile(file.read(), sys.argv[1], "exec"), hook)
    sys.exit(hook["main"](sys.argv[2:], data))
' "$0" "$@"

libvirt's hook ``qemu``, and the format of the ledger.

Before a guest starts, its mediated devices are made if the host forgot them,
virtual functions get the type that they had, and the plugin parameters of its
flavor are set. After it has ended they are cleared, because Nova gives the
same device to the next tenant.

This file is copied to the host and runs there alone, in the path of every
guest: Python 3.8, the standard library, and each module is imported where it
is needed. It must not call libvirt, which waits for it. The XML is not
trusted. https://libvirt.org/hooks.html has the calls.
"""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    Entry = dict[str, str | None]
    Note = Callable[[int, str], None]

#: What ``nova-vgpu hook install`` replaces.
SETTINGS: dict[str, Any] = {
    'sysfs_root': '/sys',
    'state_path': '/var/lib/nova-vgpu-ext',
    'mdevctl_path': '/etc/mdevctl.d',
    'refuse': True,
}

#: Names of files below ``state_path``.
LEDGER = 'ledger.json'
LOCK = 'lock'

#: In seconds: for all writes to sysfs together, and for the lock, whose holder
#: may itself wait until libvirt can say something of the guest that starts.
WRITE_SECONDS = 20.0
LOCK_SECONDS = 2.0

XML_LIMIT = 4 << 20
LEDGER_LIMIT = 4 << 20
DEFINITION_LIMIT = 1 << 16
ATTRIBUTE_LIMIT = 1 << 12
HOSTDEV_LIMIT = 64
DEPTH_LIMIT = 64
TEXT_LIMIT = 256
SHOWN_LIMIT = 60
IGNORED_LIMIT = 5

SYSLOG = '/dev/log'
TAG = 'nova-vgpu-hook'
ERROR, WARNING, INFO = 3, 4, 6
_DAEMON = 3 << 3

PREPARE = ('prepare', 'begin')
RELEASE = ('release', 'end')

#: The plugin parameters that a flavor may set, to 0 or 1.
PARAMETERS = frozenset(
    (
        'frame_rate_limiter',
        'disable_vnc',
        'enable_uvm',
        'enable_debugging',
        'enable_profiling',
    )
)
PREFIX = 'vgpu:'

#: What else a flavor may say: it is for nova-scheduler.
_FOR_OTHERS = frozenset(('gpu_policy',))

_HEX = frozenset('0123456789abcdef')
_DIGITS = frozenset('0123456789')
_WORD = frozenset(
    'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-'
)

_NOVA = 'http://openstack.org/xmlns/libvirt/nova/1.1'
_NAME = ('domain', 'name')
_UUID = ('domain', 'uuid')
_HOSTDEV = ('domain', 'devices', 'hostdev')
_ADDRESS = (*_HOSTDEV, 'source', 'address')
_INSTANCE = ('domain', 'metadata', f'{_NOVA} instance')
_FLAVOR = (*_INSTANCE, f'{_NOVA} flavor')
_EXTRA_SPECS = (*_FLAVOR, f'{_NOVA} extraSpecs')
_EXTRA_SPEC = (*_EXTRA_SPECS, f'{_NOVA} extraSpec')
_TEXTS = frozenset((_NAME, _UUID, _EXTRA_SPEC))
_ONCE = frozenset(
    (_NAME, _UUID, _INSTANCE[:2], _INSTANCE, _FLAVOR, _EXTRA_SPECS)
)


class LedgerError(Exception):
    """A ledger cannot be used, and must be left as it is."""


class LedgerBroken(LedgerError):
    """A ledger is no ledger any more; nothing is lost with it."""


class BadXml(Exception):
    """The XML of a guest is not what libvirt writes."""


class Refusal(Exception):
    """It would be wrong to start the guest."""


def printable(text: str, limit: int = SHOWN_LIMIT) -> str:
    """Make a text safe to show: short, on one line, without controls."""
    shown = ''.join(c if c.isprintable() else '?' for c in text[:limit])
    return shown if len(text) <= limit else f'{shown}...'


def is_uuid(text: object) -> bool:
    """Tell whether this is a UUID in lower case, as the kernel writes it."""
    return (
        isinstance(text, str)
        and [len(part) for part in text.split('-')] == [8, 4, 4, 4, 12]
        and _HEX.issuperset(text.replace('-', ''))
    )


def is_address(text: object) -> bool:
    """Tell whether this is a PCI address such as ``0000:1a:00.0``."""
    if not isinstance(text, str) or not 12 <= len(text) <= 16:
        return False
    return (
        (text[-8], text[-5], text[-2]) == (':', ':', '.')
        and _HEX.issuperset(text[:-8] + text[-7:-5] + text[-3])
        and text[-4] in '01'
        and text[-1] in '01234567'
    )


def is_word(text: object, limit: int) -> bool:
    """Tell whether this can be a name in sysfs, and leads nowhere else."""
    return (
        isinstance(text, str)
        and 1 <= len(text) <= limit
        and _WORD.issuperset(text)
        and text[0] != '.'
    )


def is_parent(text: object) -> bool:
    """Tell whether this can be a device that mdevs are made on."""
    return is_address(text) or is_word(text, 128)


def is_vendor_type(text: object) -> bool:
    """Tell whether this is the number of a vendor's type; 0 is none."""
    return (
        isinstance(text, str)
        and 1 <= len(text) <= 9
        and _DIGITS.issuperset(text)
        and int(text) > 0
    )


def is_label(text: object) -> bool:
    """Tell whether this can be the name of a domain."""
    return (
        isinstance(text, str)
        and 1 <= len(text) <= TEXT_LIMIT
        and not any(
            c < ' ' or '\x7f' <= c <= '\x9f' or '\ud800' <= c <= '\udfff'
            for c in text
        )
    )


def read_file(path: str, limit: int) -> bytes:
    """Read a regular file that is no symbolic link.

    :raises OSError: it cannot be read, or is something else (ELOOP, EINVAL),
        or is larger than the limit (EFBIG).
    """
    import stat

    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    handle = os.open(path, flags)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, 'no regular file')
        data = _read(handle, limit)
    finally:
        os.close(handle)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f'more than {limit} bytes')
    return data


def _read(handle: int, limit: int) -> bytes:
    """Read to the end, or one byte more than the limit."""
    data = b''
    while len(data) <= limit:
        more = os.read(handle, min(limit + 1 - len(data), 1 << 16))
        if not more:
            break
        data += more
    return data


def read_ledger(path: str) -> dict[str, Entry]:
    """Read what is remembered of mdevs and virtual functions.

    :param path: the ledger; without it nothing is remembered.
    :returns: by the UUID of an mdev or the address of a function: ``parent``,
        ``type``, ``domain`` and ``domain_uuid``. Entries that are not valid
        are left out.
    :raises LedgerBroken: the file is truncated, or something else.
    :raises LedgerError: it cannot be read, is a symbolic link, too large, or
        of a later version.
    """
    import json

    try:
        data = json.loads(read_file(path, LEDGER_LIMIT))
    except FileNotFoundError:
        return {}
    except OSError as error:
        found = error.strerror
        if error.errno == errno.ELOOP:
            found = 'a symbolic link'
        raise LedgerError(
            f'{path}: found {found}, expected a regular file of at most '
            f'{LEDGER_LIMIT} bytes'
        ) from error
    except (ValueError, RecursionError) as error:
        raise LedgerBroken(
            f'{path}: found {printable(str(error))}, expected JSON'
        ) from error
    version = data.get('version') if isinstance(data, dict) else None
    if type(version) is int and version > 1:
        raise LedgerError(f'{path}: found version {version}, expected 1')
    entries = data.get('entries') if isinstance(data, dict) else None
    if type(version) is not int or version != 1 or type(entries) is not dict:
        raise LedgerBroken(
            f'{path}: found other JSON, expected "version" 1 and "entries"'
        )
    checked = ((name, _entry(name, value)) for name, value in entries.items())
    return {name: entry for name, entry in checked if entry is not None}


def _entry(name: str, value: object) -> Entry | None:
    """Check an entry of the ledger."""
    if not isinstance(value, dict):
        return None
    entry = {
        key: value.get(key)
        for key in ('parent', 'type', 'domain', 'domain_uuid')
    }
    if is_uuid(name):
        fits = is_parent(entry['parent']) and is_word(entry['type'], 64)
    else:
        fits = (
            is_address(name)
            and is_address(entry['parent'])
            and is_vendor_type(entry['type'])
        )
    domain, uuid = entry['domain'], entry['domain_uuid']
    fits = fits and (domain is None or is_label(domain))
    return entry if fits and (uuid is None or is_uuid(uuid)) else None


def write_ledger(path: str, entries: dict[str, Entry]) -> None:
    """Replace the ledger as a whole; whoever does holds the lock.

    :param entries: as of :func:`read_ledger`.
    :raises OSError: it cannot be written; the old one stays.
    """
    import json

    data = json.dumps(
        {'version': 1, 'entries': entries}, indent=1, sort_keys=True
    ).encode()
    if len(data) > LEDGER_LIMIT:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f'.{name}.new')
    if os.path.lexists(temporary):
        os.unlink(temporary)  # A writer that was killed has left it.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    handle = os.open(temporary, flags, 0o600)
    try:
        try:
            while data:
                data = data[os.write(handle, data) :]
            os.fsync(handle)
        finally:
            os.close(handle)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    handle = os.open(folder or '.', os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write(path: str, text: str, seconds: float) -> None:
    """Write to a file of sysfs, and do not wait for ever.

    The kernel may hold a writer for as long as it likes, so a child writes.

    :param path: a file that exists.
    :param seconds: how long to wait; the child may be left behind.
    :raises OSError: the kernel refused.
    :raises TimeoutError: it has not answered; it may still do it.
    """
    import select

    readable, writable = os.pipe()
    try:
        try:
            child = os.fork()
            if child == 0:
                _write_and_exit(path, text, writable)
        finally:
            os.close(writable)
        if not select.select([readable], [], [], max(0.0, seconds))[0]:
            os.kill(child, 9)
            raise TimeoutError(
                errno.ETIMEDOUT, 'no answer from the kernel in time', path
            )
        answer = os.read(readable, 1)
    finally:
        os.close(readable)
    os.waitpid(child, 0)
    number = answer[0] if answer else errno.EIO
    if number:
        raise OSError(number, os.strerror(number), path)


def _write_and_exit(path: str, text: str, answers: int) -> None:
    """Write with one call, and send the error number as one byte."""
    number = errno.EIO
    try:
        # libvirt waits until nobody has its standard streams open.
        os.closerange(0, answers)
        handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        os.write(handle, f'{text}\n'.encode())
        os.close(handle)
        number = 0
    except OSError as error:
        number = error.errno or errno.EIO
    finally:
        os.write(answers, bytes([number]))
        os._exit(0)


class Log:
    """Tells syslog what happens, and standard error what is wrong.

    libvirt shows standard error where the guest is refused.

    :param guest: the name of the guest.
    """

    def __init__(self, guest: str) -> None:
        self._guest = printable(guest, TEXT_LIMIT)

    def __call__(self, severity: int, text: str) -> None:
        """Log a line, with one of syslog's severities."""
        line = f'{self._guest}: {printable(text, 1000)}'
        if severity <= WARNING:
            self._show(f'{TAG}: {line}\n'.encode())
        self._send(severity, line)

    def _show(self, line: bytes) -> None:
        try:
            os.write(2, line)
        except OSError:
            return

    def _send(self, severity: int, line: str) -> None:
        try:
            # "socket" costs as much as the rest of a call; syslog(3) waits
            # for a daemon that hangs.
            import _socket
            import time

            stamp = time.strftime('%b %e %H:%M:%S')
            head = f'<{_DAEMON | severity}>{stamp} {TAG}[{os.getpid()}]: '
            sender = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM)
            sender.setblocking(False)
            sender.connect(SYSLOG)
            sender.send((head + line).encode())
            sender.close()
        except (ImportError, OSError):
            return


class Guest:
    """What the XML says of a guest."""

    def __init__(self) -> None:
        self.name: str | None = None
        self.uuid: str | None = None
        #: The UUIDs of its mediated devices, and the addresses of the PCI
        #: functions that it is given as they are.
        self.mdevs: list[str] = []
        self.functions: list[str] = []
        #: Whether it is one of Nova's.
        self.is_instance = False
        #: Those with our prefix; None where the flavor is not said, as by
        #: Nova before 32.
        self.extra_specs: dict[str, str] | None = None

    def parameters(self) -> tuple[list[str] | None, list[str]]:
        """Give the parameters that the flavor asks for.

        :returns: them, in order, None where the XML does not say; and what
            is ignored.
        """
        if self.extra_specs is None:
            return None, []
        wanted, ignored = [], []
        for name, value in sorted(self.extra_specs.items()):
            key = name[len(PREFIX) :]
            if key in PARAMETERS and value in ('0', '1'):
                wanted.append(f'{key}={value}')
            elif key not in _FOR_OTHERS:
                ignored.append(f'{printable(name)}={printable(value)}')
        return wanted, ignored


class _Reader:
    """Takes what expat finds in the XML of a guest."""

    def __init__(self) -> None:
        self.guest = Guest()
        self._path: tuple[str, ...] = ()
        self._seen: set[tuple[str, ...]] = set()
        self._text: str | None = None
        self._addresses = 0
        self._hostdev: dict[str, str] = {}
        self._spec = ''

    def doctype(self, *_: object) -> None:
        """Refuse what libvirt never writes: it could declare entities."""
        raise BadXml('found a DOCTYPE, expected none')

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """Take the start of an element."""
        path = self._path = (*self._path, name)
        if len(path) > DEPTH_LIMIT:
            raise BadXml(f'found more than {DEPTH_LIMIT} levels')
        if path in self._seen:
            raise BadXml(f'found {printable(name)} twice')
        if path in _ONCE:
            self._seen.add(path)
        self._text = '' if path in _TEXTS else None
        if path == _HOSTDEV:
            self._hostdev = attributes
        elif path == _ADDRESS:
            self._source(attributes)
        elif path == _INSTANCE:
            self.guest.is_instance = True
        elif path == _EXTRA_SPECS:
            self.guest.extra_specs = {}
        elif path == _EXTRA_SPEC:
            self._spec = attributes.get('name', '')

    def end(self, _: str) -> None:
        """Take the end of an element."""
        text = self._text or ''
        if self._path == _NAME:
            self.guest.name = text if is_label(text) else None
        elif self._path == _UUID:
            self.guest.uuid = text if is_uuid(text) else None
        elif self._path == _EXTRA_SPEC:
            self._add_spec(self._spec, text)
        self._path = self._path[:-1]

    def text(self, text: str) -> None:
        """Take text; of a long one only as much as shows that it is long."""
        if self._text is not None and len(self._text) <= TEXT_LIMIT:
            self._text += text[: TEXT_LIMIT + 1]

    def _add_spec(self, name: str, value: str) -> None:
        specs = self.guest.extra_specs
        if specs is None or not name.startswith(PREFIX):
            return
        if name in specs:
            raise BadXml(f'found extra spec {printable(name)} twice')
        specs[name] = value

    def _source(self, attributes: dict[str, str]) -> None:
        """Take the address of a host device."""
        self._addresses += 1
        if self._addresses > HOSTDEV_LIMIT:
            raise BadXml(f'found more than {HOSTDEV_LIMIT} host devices')
        kind = self._hostdev.get('type')
        if kind == 'mdev':
            uuid = attributes.get('uuid', '')
            if not is_uuid(uuid):
                raise BadXml(
                    f'found mdev {printable(uuid)!r}, expected a UUID in '
                    'lower case'
                )
            if uuid not in self.guest.mdevs:
                self.guest.mdevs.append(uuid)
        elif kind == 'pci' and self._hostdev.get('managed', 'no') == 'no':
            address = _pci_address(attributes)
            if address and address not in self.guest.functions:
                self.guest.functions.append(address)


def _pci_address(attributes: dict[str, str]) -> str | None:
    """Put the parts of an address together; None if it is none."""
    numbers = []
    for name in ('domain', 'bus', 'slot', 'function'):
        text = attributes.get(name, '')
        digits = text[2:]
        if not text.startswith('0x') or not 1 <= len(digits) <= 8:
            return None
        if not _HEX.issuperset(digits):
            return None
        numbers.append(int(digits, 16))
    domain, bus, slot, function = numbers
    address = f'{domain:04x}:{bus:02x}:{slot:02x}.{function:x}'
    return address if is_address(address) else None


def parse(data: bytes) -> Guest:
    """Read the XML of a domain.

    :raises BadXml: it is not what libvirt writes.
    """
    from xml.parsers import expat

    if len(data) > XML_LIMIT:
        raise BadXml(f'found more than {XML_LIMIT} bytes')
    reader = _Reader()
    parser = expat.ParserCreate('utf-8', ' ')
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = reader.doctype
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise BadXml(f'found malformed XML: {error}') from error
    return reader.guest


class Device:
    """A mediated device, or a virtual function with a vendor's types.

    :param folder: where it is in sysfs.
    :param type_id: of a function as the driver shows it, 0 for none.
    """

    def __init__(
        self, name: str, folder: str, parent: str, type_id: str
    ) -> None:
        self.name = name
        self.parent = parent
        self.type_id = type_id
        self.parameters_path = f'{folder}/nvidia/vgpu_params'
        self.type_path = f'{folder}/nvidia/current_vgpu_type'

    @property
    def parameters(self) -> list[str] | None:
        """What is set, in order; None where that cannot be read."""
        text = _attribute(self.parameters_path)
        return None if text is None else sorted(text.replace(',', ' ').split())

    def entry(self, guest: Guest) -> Entry | None:
        """Say what the ledger shall remember, if anything."""
        entry: Entry = {
            'parent': self.parent,
            'type': self.type_id,
            'domain': guest.name,
            'domain_uuid': guest.uuid,
        }
        return _entry(self.name, entry)


def _attribute(path: str) -> str | None:
    """Read a file of sysfs, without white space at its ends."""
    try:
        return read_file(path, ATTRIBUTE_LIMIT).decode().strip()
    except (OSError, ValueError):
        return None


class Host:
    """The vGPUs of this host, as sysfs shows them.

    :param root: where sysfs is.
    """

    def __init__(self, root: str) -> None:
        self._root = os.path.realpath(root)
        self._end: float | None = None

    def mdev(self, uuid: str) -> Device | None:
        """Find a mediated device."""
        folder = self._folder(f'bus/mdev/devices/{uuid}')
        if folder is None:
            return None
        parent, type_path = os.path.dirname(folder), f'{folder}/mdev_type'
        virtual = f'{self._root}/devices/virtual/'
        if parent.startswith(virtual):
            name = parent[len(virtual) :].replace('/', '_')
        else:
            name = os.path.basename(parent)
        type_id = os.path.basename(os.path.realpath(type_path))
        return Device(uuid, folder, name, type_id)

    def function(self, address: str) -> Device | None:
        """Find a virtual function that takes a vendor's types."""
        folder = self._folder(f'bus/pci/devices/{address}')
        if folder is None:
            return None
        device = Device(address, folder, address, '')
        if not os.path.exists(device.type_path):
            return None
        device.type_id = _attribute(device.type_path) or ''
        return device

    def create(self, uuid: str, parent: str, type_id: str) -> None:
        """Make a mediated device.

        :raises OSError: the kernel refuses, or the device or type is not
            there.
        """
        where = f'devices/virtual/{parent.replace("_", "/", 1)}'
        folder = self._folder(f'class/mdev_bus/{parent}')
        folder = folder or self._folder(where)
        path = f'{folder}/mdev_supported_types/{type_id}/create'
        if folder is None or not os.path.exists(path):
            raise OSError(errno.ENOENT, f'{parent} offers no such type')
        try:
            self.write(path, uuid)
        except FileExistsError:
            # Another program that restores mdevs was faster.
            return

    def write(self, path: str, text: str) -> None:
        """Write, in what is left of the time for all writes.

        :raises OSError: the kernel refuses, or does not answer.
        """
        import time

        now = time.monotonic()
        if self._end is None:
            self._end = now + WRITE_SECONDS
        write(path, text, self._end - now)

    def _folder(self, path: str) -> str | None:
        """Follow a path to a folder that is below the root as well."""
        folder = os.path.realpath(f'{self._root}/{path}')
        inside = folder.startswith(f'{self._root}/')
        return folder if inside and os.path.isdir(folder) else None


def defined(folder: str, uuid: str) -> tuple[str, str] | None:
    """Find a mediated device in the definitions of mdevctl.

    :param folder: ``/etc/mdevctl.d``; it need not exist.
    :returns: its parent and its type.
    """
    import json

    try:
        parents = sorted(os.listdir(folder))
    except OSError:
        return None
    for parent in parents:
        path = f'{folder}/{parent}/{uuid}'
        try:
            data = json.loads(read_file(path, DEFINITION_LIMIT))
        except (OSError, ValueError, RecursionError):
            continue
        type_id = data.get('mdev_type') if isinstance(data, dict) else None
        if is_parent(parent) and is_word(type_id, 64):
            return parent, str(type_id)
    return None


class Ledger:
    """The ledger of this host, as far as it can be used.

    :param folder: where it and the lock are.
    """

    def __init__(self, folder: str, log: Note) -> None:
        self._folder = folder
        self._log = log
        self._entries: dict[str, Entry] | None = None
        self._is_broken = False
        self._is_usable = True
        self.path = f'{folder}/{LEDGER}'

    @property
    def entries(self) -> dict[str, Entry]:
        """What it says; nothing where it cannot be used."""
        if self._entries is None:
            self._entries = {}
            try:
                self._entries = read_ledger(self.path)
            except LedgerBroken as error:
                self._is_broken = True
                self._log(WARNING, f'{error}; it is put aside')
            except LedgerError as error:
                self._is_usable = False
                self._log(WARNING, f'{error}; left as it is')
        return self._entries

    def record(self, devices: Iterable[Device], guest: Guest) -> None:
        """Remember where devices are, and that a guest uses them."""
        before, changed = self.entries, self._is_broken
        entries: dict[str, Entry] = {}
        for device in devices:
            entry = device.entry(guest)
            if entry is not None:
                entries[device.name] = entry
                changed = changed or before.get(device.name) != entry
        if not changed or not self._is_usable:
            return
        try:
            self._update(entries)
        except (OSError, LedgerError) as error:
            self._log(WARNING, f'not recorded in the ledger: {error}')

    def _update(self, entries: dict[str, Entry]) -> None:
        os.makedirs(self._folder, 0o700, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        handle = os.open(f'{self._folder}/{LOCK}', flags, 0o600)
        try:
            _lock(handle)
            try:
                before = read_ledger(self.path)
            except LedgerBroken:
                os.replace(self.path, f'{self.path}.broken')
                before = {}
            write_ledger(self.path, {**before, **entries})
        finally:
            os.close(handle)


def _lock(handle: int) -> None:
    """Take the lock of all that changes the host, until it is closed.

    It is the lock that fasteners, and so oslo.concurrency, take.

    :raises TimeoutError: another program holds it.
    """
    import fcntl
    import time

    end = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= end:
                raise TimeoutError(
                    errno.ETIMEDOUT, 'another program holds the lock'
                ) from error
            time.sleep(0.05)
        else:
            return


class Hook:
    """What is done for one guest.

    :param settings: as :data:`SETTINGS`.
    """

    def __init__(
        self, settings: dict[str, Any], guest: Guest, log: Note
    ) -> None:
        self._guest = guest
        self._log = log
        self._host = Host(settings['sysfs_root'])
        self._ledger = Ledger(settings['state_path'], log)
        self._definitions = str(settings['mdevctl_path'])

    def prepare(self) -> list[str]:
        """Make and set what the guest needs.

        :returns: why it must not start.
        """
        names = [
            *self._guest.mdevs,
            *filter(self._host.function, self._guest.functions),
        ]
        if not names:
            return []
        wanted = self._wanted()
        devices: list[Device] = []
        reasons = []
        for name in names:
            try:
                device = self._ready(name)
                devices.append(device)
                self._set(device, wanted)
            except Refusal as error:
                reasons.append(str(error))
        self._ledger.record(devices, self._guest)
        return reasons

    def release(self) -> None:
        """Clear the parameters before the next tenant gets the devices.

        What an operator set for a guest that is not Nova's stays.
        """
        if not self._guest.is_instance:
            return
        for name in (*self._guest.mdevs, *self._guest.functions):
            device = self._find(name)
            if device is None or not device.parameters:
                continue
            try:
                self._host.write(device.parameters_path, ' ')
            except OSError as error:
                self._log(
                    WARNING,
                    f'parameters of {name} not cleared: {error.strerror}',
                )
            else:
                self._log(INFO, f'cleared parameters of {name}')

    def _wanted(self) -> list[str] | None:
        """Give the parameters to set, and say what is ignored."""
        wanted, ignored = self._guest.parameters()
        if ignored:
            shown = ', '.join(ignored[:IGNORED_LIMIT])
            more = len(ignored) - IGNORED_LIMIT
            shown += f' and {more} more' if more > 0 else ''
            self._log(WARNING, f'ignored extra specs: {shown}')
        return wanted

    def _find(self, name: str) -> Device | None:
        if is_uuid(name):
            return self._host.mdev(name)
        return self._host.function(name)

    def _ready(self, name: str) -> Device:
        """Find a device; make it, or give it its type, if need be.

        :raises Refusal: it cannot be made.
        """
        device = self._find(name)
        if device is None:
            self._create(name)
            device = self._find(name)
        elif device.type_id == '0' and is_address(name):
            self._set_type(device)
            device = self._find(name)
        if device is None:
            raise Refusal(f'{name} was there, and is gone')
        return device

    def _create(self, uuid: str) -> None:
        entry = self._ledger.entries.get(uuid)
        place = defined(self._definitions, uuid)
        if entry is not None:
            place = str(entry['parent']), str(entry['type'])
        if place is None:
            raise Refusal(
                f'mdev {uuid} does not exist, and neither {self._ledger.path} '
                f'nor {self._definitions} says where it was; make it with '
                'nova-vgpu mdev create --uuid'
            )
        parent, type_id = place
        what = f'mdev {uuid} of {type_id} on {parent}'
        try:
            self._host.create(uuid, parent, type_id)
        except OSError as error:
            raise Refusal(f'{what} not made: {error.strerror}') from error
        self._log(INFO, f'made {what}')

    def _set_type(self, device: Device) -> None:
        """Give a function the type that it had."""
        entry = self._ledger.entries.get(device.name)
        type_id = entry['type'] if entry is not None else None
        if type_id is None:
            self._log(
                WARNING,
                f'{device.name} has no vGPU type, and {self._ledger.path} '
                'remembers none; set it with nova-vgpu prepare',
            )
            return
        what = f'vGPU type {type_id} of {device.name}'
        try:
            self._host.write(device.type_path, type_id)
        except OSError as error:
            raise Refusal(f'{what} not set: {error.strerror}') from error
        self._log(INFO, f'set {what}')

    def _set(self, device: Device, wanted: list[str] | None) -> None:
        """Make the parameters of a device those of the flavor.

        :raises Refusal: they are not, and cannot be made so.
        """
        if wanted is None or device.parameters == wanted:
            return
        text = ','.join(wanted)
        what = f'parameters of {device.name} to {text or "none"}'
        if not os.path.exists(device.parameters_path):
            if wanted:
                self._log(WARNING, f'{what}: its driver has no parameters')
            return
        try:
            self._host.write(device.parameters_path, text or ' ')
        except OSError as error:
            raise Refusal(f'{what} not set: {error.strerror}') from error
        self._log(INFO, f'set {what}')


def answer(
    operation: tuple[str, ...],
    data: bytes,
    settings: dict[str, Any],
    log: Note,
) -> list[str]:
    """Do what a call asks for.

    :param data: the XML of the guest.
    :returns: why the guest must not start.
    """
    try:
        hook = Hook(settings, parse(data), log)
        if operation == PREPARE:
            return hook.prepare()
        hook.release()
    except BadXml as error:
        reason = f'its XML cannot be used: {error}'
    except Exception as error:
        where = error.__traceback__
        while where is not None and where.tb_next is not None:
            where = where.tb_next
        line = where.tb_lineno if where is not None else 0
        reason = f'error of the hook, line {line}: {error!r}'
    else:
        return []
    if b'mdev' in data or PREFIX.encode() in data:
        return [reason]
    # Other guests with host devices need not suffer.
    log(WARNING, reason)
    return []


def main(arguments: Sequence[str], data: bytes) -> int:
    """Answer libvirt.

    :param arguments: the guest, the operation, its part, and more.
    :param data: the XML of the guest, or one byte more than the limit.
    :returns: the exit code; other than 0 refuses the guest.
    """
    operation = tuple(arguments[1:3])
    if operation not in (PREPARE, RELEASE):
        return 0
    log = Log(arguments[0])
    reasons = answer(operation, data, SETTINGS, log)
    for reason in reasons:
        log(ERROR, reason)
    return int(
        bool(reasons) and operation == PREPARE and bool(SETTINGS['refuse'])
    )
