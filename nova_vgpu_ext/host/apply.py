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
"""Doing what a plan says: the only place that changes a host.

Every step may be done already, by an earlier run that was interrupted or by
somebody else; then it is not done again. What is built into a path is checked
first, whatever the plan checked.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import os
import re
import types
from collections.abc import Callable, Iterable, Iterator, Sequence

from nova_vgpu_ext import exception
from nova_vgpu_ext.host import ledger, mdevctl, usage, writer
from nova_vgpu_ext.host.kernel import Kernel
from nova_vgpu_ext.models import PCI_ADDRESS, LedgerEntry
from nova_vgpu_ext.plan.actions import (
    Action,
    ClearVendorType,
    CreateMdev,
    DefineMdev,
    EnableVfs,
    RemoveMdev,
    SetParameters,
    SetVendorType,
    UndefineMdev,
)

LOG = logging.getLogger(__name__)

_TYPE = re.compile(r'[A-Za-z0-9][A-Za-z0-9_-]{0,63}', re.ASCII)
_VIRTUAL = re.compile(
    r'(?=.{1,128}\Z)[A-Za-z0-9-]+(_[A-Za-z0-9-]+)*', re.ASCII
)
_VENDOR_TYPE = re.compile(r'[0-9]{1,9}', re.ASCII)
_PARAMETERS = re.compile(r'([a-z_]{1,32}=[0-9],?){0,16}', re.ASCII)

_GONE = frozenset({errno.ENOENT, errno.ENODEV, errno.ENXIO})
_DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class Applier:
    """Applies steps to one host, under its lock.

    :param kernel: takes the writes.
    :param sysfs_root: where sysfs is.
    :param definitions: the persistent mdevs.
    :param entries: the ledger, which is written when this ends.
    :param users: says who uses an mdev or VF at this moment.
    """

    def __init__(
        self,
        kernel: Kernel,
        sysfs_root: str,
        definitions: mdevctl.Mdevctl,
        entries: ledger.Ledger,
        users: Callable[[str], Sequence[str]],
    ) -> None:
        self._kernel = kernel
        self._root = sysfs_root
        self._definitions = definitions
        self._ledger = entries
        self._users = users
        self._remember: dict[str, LedgerEntry] = {}

    def __enter__(self) -> Applier:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        if not self._remember:
            return
        try:
            self._ledger.change(self._remember.values())
        except exception.HostError as error:
            if value is None:
                raise
            # What ended the steps is what the user must see first.
            LOG.warning('The ledger is not up to date: %s', error)

    def run(self, actions: Iterable[Action]) -> Iterator[Action]:
        """Apply steps in order, and give each that changed something.

        :raises ActionFailed: a step failed; those before it stay.
        """
        for action in actions:
            if self.apply(action):
                yield action

    def apply(self, action: Action) -> bool:
        """Apply one step.

        :returns: False if there was nothing to do.
        :raises ActionFailed: it failed.
        """
        if isinstance(action, CreateMdev):
            return self._create(action)
        if isinstance(action, RemoveMdev):
            return self._remove(action)
        if isinstance(action, DefineMdev):
            return self._define(action)
        if isinstance(action, UndefineMdev):
            return self._undefine(action)
        if isinstance(action, EnableVfs):
            return self._enable_vfs(action)
        if isinstance(action, SetVendorType):
            return self._set_type(action)
        if isinstance(action, ClearVendorType):
            return self._clear_type(action)
        return self._set_parameters(action)

    def _create(self, action: CreateMdev) -> bool:
        _check('UUID', mdevctl.UUID, action.uuid)
        _check('type', _TYPE, action.type_id)
        folder = os.path.join(
            self._parent(action.parent),
            'mdev_supported_types',
            action.type_id,
        )
        self._remember[action.uuid] = self._ledger_entry(
            LedgerEntry(action.uuid, action.parent, action.type_id)
        )
        try:
            self._write(
                os.path.join(folder, 'create'), action.uuid, str(action)
            )
        except FileExistsError as error:
            if not os.path.exists(
                os.path.join(folder, 'devices', action.uuid)
            ):
                # What the ledger says of the other one stays.
                del self._remember[action.uuid]
                raise exception.ActionFailed(
                    self._path(usage.mdev_path(action.uuid)),
                    'an mdev of another GPU or type',
                    f'none, or one of {action.type_id} on {action.parent}',
                    'choose another UUID',
                ) from error
            return False
        return True

    @functools.cached_property
    def _remembered(self) -> dict[str, LedgerEntry]:
        return self._ledger.read()

    def _ledger_entry(self, entry: LedgerEntry) -> LedgerEntry:
        """Keep the domain that the ledger knows for the same vGPU."""
        known = self._remembered.get(entry.name)
        place = (entry.parent, entry.type_id)
        if known and (known.parent, known.type_id) == place:
            return known
        return entry

    def _remove(self, action: RemoveMdev) -> bool:
        _check('UUID', mdevctl.UUID, action.uuid)
        path = self._path(usage.mdev_path(action.uuid))
        if not os.path.exists(path):
            return False
        self._refuse_used(action.uuid, path)
        try:
            self._write(os.path.join(path, 'remove'), '1', str(action))
        except FileNotFoundError:
            return False
        return True

    def _define(self, action: DefineMdev) -> bool:
        _check('UUID', mdevctl.UUID, action.definition.uuid)
        _check('type', _TYPE, action.definition.type_id)
        self._parent(action.definition.parent)
        if action.definition in self._definitions.read():
            return False
        with _files(self._definitions.folder):
            self._definitions.define(action.definition)
        return True

    def _undefine(self, action: UndefineMdev) -> bool:
        if action.definition not in self._definitions.read():
            return False
        with _files(self._definitions.folder):
            self._definitions.put_aside(action.definition)
        return True

    def _enable_vfs(self, action: EnableVfs) -> bool:
        _check('address', PCI_ADDRESS, action.gpu)
        path = self._path(usage.pci_path(action.gpu))
        if os.path.exists(os.path.join(path, 'virtfn0')):
            return False
        with _files(path):
            self._kernel.enable_vfs(action.gpu)
        return True

    def _set_type(self, action: SetVendorType) -> bool:
        _check('type', _VENDOR_TYPE, action.type_id)
        path = self._vendor(action.vf)
        current = os.path.join(path, 'current_vgpu_type')
        if self._read(current) == action.type_id:
            return False
        offered = self._read(os.path.join(path, 'creatable_vgpu_types'))
        numbers = [
            line.partition(':')[0].strip() for line in offered.splitlines()
        ]
        if action.type_id not in numbers:
            # The card has filled up since the plan was made.
            return False
        self._write(current, action.type_id, str(action))
        self._remember[action.vf] = self._ledger_entry(
            LedgerEntry(action.vf, action.vf, action.type_id)
        )
        return True

    def _clear_type(self, action: ClearVendorType) -> bool:
        current = os.path.join(self._vendor(action.vf), 'current_vgpu_type')
        if self._read(current) == '0':
            return False
        self._refuse_used(action.vf, current)
        self._write(current, '0', str(action))
        return True

    def _set_parameters(self, action: SetParameters) -> bool:
        _check('parameters', _PARAMETERS, action.parameters)
        if PCI_ADDRESS.fullmatch(action.name):
            folder = self._vendor(action.name)
        else:
            _check('UUID', mdevctl.UUID, action.name)
            folder = self._path(f'{usage.mdev_path(action.name)}/nvidia')
        path = os.path.join(folder, 'vgpu_params')
        if self._read(path) == action.parameters:
            return False
        # One space clears. Source: NVIDIA's vGPU user guide.
        self._write(path, action.parameters or ' ', str(action))
        return True

    def _refuse_used(self, name: str, path: str) -> None:
        """Ask again, at the last moment: a write would wait for the user."""
        users = self._users(name)
        if users:
            raise exception.ActionFailed(
                path,
                f'a device in use by {", ".join(users)}',
                'one that nothing uses',
                'it is left as it is; stop the guest first',
            )

    def _parent(self, address: str) -> str:
        """Find the folder of what mdevs are made on.

        :raises ActionFailed: there is none.
        """
        paths = [usage.pci_path(address)]
        if not PCI_ADDRESS.fullmatch(address):
            _check('address', _VIRTUAL, address)
            paths = [f'devices/virtual/{address}']
            paths += [
                f'devices/virtual/{address[:at]}/{address[at + 1 :]}'
                for at, letter in enumerate(address)
                if letter == '_'
            ]
        for path in map(self._path, paths):
            if os.path.isdir(path):
                return path
        raise _failed(
            self._path(paths[-1]),
            OSError(errno.ENODEV, os.strerror(errno.ENODEV)),
        )

    def _vendor(self, vf: str) -> str:
        _check('address', PCI_ADDRESS, vf)
        return self._path(f'{usage.pci_path(vf)}/nvidia')

    def _path(self, below: str) -> str:
        return os.path.join(self._root, below)

    def _read(self, path: str) -> str:
        try:
            with open(path, encoding='utf-8', errors='replace') as stream:
                return stream.read().strip()
        except OSError as error:
            raise _failed(path, error) from error

    def _write(self, path: str, text: str, step: str) -> None:
        """Write, and say what an error means.

        :raises FileExistsError: there is such a device, for a creation.
        :raises FileNotFoundError: there is no such file any more, for a
            removal.
        """
        try:
            self._kernel.write(path, text)
        except OSError as error:
            if error.errno == errno.EEXIST and path.endswith('/create'):
                raise FileExistsError(path) from error
            if error.errno in _GONE and path.endswith('/remove'):
                raise FileNotFoundError(path) from error
            raise _failed(path, error) from error
        except writer.Timeout as error:
            raise exception.ActionFailed(
                path,
                'no answer within [vgpu] write_timeout',
                f'the end of: {step}',
                'the kernel may still do it; see the kernel log, and what '
                'holds the device open',
            ) from error


def _check(what: str, pattern: re.Pattern[str], text: str) -> None:
    if not pattern.fullmatch(text):
        raise exception.ActionFailed(
            what,
            repr(text[:60]),
            f'a {what} as the kernel writes it',
            'nothing was written',
        )


@contextlib.contextmanager
def _files(path: str) -> Iterator[None]:
    """Turn an error of a file into one line."""
    try:
        yield
    except OSError as error:
        raise _failed(error.filename or path, error) from error


def _failed(path: str, error: OSError) -> exception.ActionFailed:
    found = (error.strerror or str(error)).lower()
    if error.errno in _DENIED:
        return exception.ActionFailed(
            path,
            found,
            'a file that this user may write',
            'run this as root; a container needs a writable sysfs '
            '(privileged)',
        )
    if error.errno in _GONE:
        return exception.ActionFailed(
            path, found, 'a device', 'it has vanished; look at the kernel log'
        )
    if error.errno == errno.ENOSPC:
        return exception.ActionFailed(
            path,
            'no room',
            'a GPU, or a disk, with room',
            'nova-vgpu type list shows what is available',
        )
    if error.errno == errno.EBUSY:
        return exception.ActionFailed(
            path,
            'a device in use',
            'one that nothing uses',
            'stop the guest first',
        )
    return exception.ActionFailed(
        path, found, 'a write that works', 'look at the kernel log (dmesg)'
    )
