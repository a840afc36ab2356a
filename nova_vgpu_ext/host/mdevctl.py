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
"""Persistent mediated devices, in the files that mdevctl keeps.

``/etc/mdevctl.d/<parent>/<uuid>`` is a JSON object with ``mdev_type``,
``start`` (``auto`` or ``manual``) and ``attrs``. Source: mdevctl(8). libvirt
takes a change of these files by itself.
"""

from __future__ import annotations

import json
import logging
import os
import re
from typing import Any

from nova_vgpu_ext.host import files
from nova_vgpu_ext.models import PCI_ADDRESS, MdevDefinition

LOG = logging.getLogger(__name__)

UUID = re.compile(
    r'[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}', re.ASCII
)
_NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9:._-]{0,127}', re.ASCII)
_SIZE_LIMIT = 1 << 16

_BUS = 'class/mdev_bus'
_VIRTUAL = 'devices/virtual'


class Mdevctl:
    """The definitions below one folder.

    :param folder: ``/etc/mdevctl.d``; it need not exist.
    :param aside: where definitions are put that would be in the way.
    :param sysfs_root: where sysfs is. mdevctl names a virtual parent by the
        last part of its path, ``mtty``, and this project by the whole one,
        ``mtty_mtty``; sysfs tells which is which.
    """

    def __init__(self, folder: str, aside: str, sysfs_root: str) -> None:
        self.folder = folder
        self._aside = aside
        self._sysfs_root = os.path.realpath(sysfs_root)

    def read(self) -> tuple[MdevDefinition, ...]:
        """Read every definition; what is none is left out."""
        found = []
        for name in _names(self.folder):
            parent = self._address(name)
            for uuid in _names(os.path.join(self.folder, name)):
                definition = self._read(name, uuid, parent)
                if definition is not None:
                    found.append(definition)
        return tuple(found)

    def define(self, definition: MdevDefinition) -> None:
        """Write a definition; one that is there as wanted stays.

        :raises OSError: it cannot be written.
        """
        name = self._name(definition.parent)
        before = self._load(name, definition.uuid) or {}
        data: dict[str, Any] = {
            'attrs': [],
            **(
                before if before.get('mdev_type') == definition.type_id else {}
            ),
            'mdev_type': definition.type_id,
            'start': 'auto' if definition.autostart else 'manual',
        }
        if data == before:
            return
        folder = os.path.join(self.folder, name)
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, definition.uuid)
        files.replace(path, json.dumps(data, indent=2) + '\n', 0o644)

    def put_aside(self, definition: MdevDefinition) -> None:
        """Move a definition away; one that is gone is no error.

        :raises OSError: it cannot be moved.
        """
        below = os.path.join(self._name(definition.parent), definition.uuid)
        source = os.path.join(self.folder, below)
        target = os.path.join(self._aside, below)
        try:
            text = files.read(source, _SIZE_LIMIT)
        except FileNotFoundError:
            return
        os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
        # Maybe another file system: a copy first, then the removal.
        files.replace(target, text, 0o600)
        os.unlink(source)

    def _address(self, name: str) -> str:
        """Give the address of a parent that mdevctl names."""
        path = os.path.join(self._sysfs_root, _BUS, name)
        virtual = os.path.join(self._sysfs_root, _VIRTUAL)
        target = os.path.realpath(path)
        if os.path.commonpath([target, virtual]) != virtual:
            return name
        return os.path.relpath(target, virtual).replace('/', '_')

    def _name(self, address: str) -> str:
        """Give mdevctl's name of a parent."""
        if PCI_ADDRESS.fullmatch(address):
            return address
        for name in _names(os.path.join(self._sysfs_root, _BUS)):
            if self._address(name) == address:
                return name
        return address

    def _read(
        self, name: str, uuid: str, parent: str
    ) -> MdevDefinition | None:
        data = self._load(name, uuid)
        if data is None:
            return None
        start = data.get('start')
        return MdevDefinition(uuid, parent, data['mdev_type'], start == 'auto')

    def _load(self, name: str, uuid: str) -> dict[str, Any] | None:
        if not UUID.fullmatch(uuid) or not _NAME.fullmatch(name):
            return None
        path = os.path.join(self.folder, name, uuid)
        data: Any
        try:
            data = json.loads(files.read(path, _SIZE_LIMIT))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            LOG.warning('Left out: %s: %s', path, error)
            return None
        type_id = data.get('mdev_type') if isinstance(data, dict) else None
        if not isinstance(type_id, str) or not _NAME.fullmatch(type_id):
            LOG.warning('Left out: %s: mdev_type is no name', path)
            return None
        return dict(data)


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        LOG.debug('Absent: %s: %s', folder, error)
        return []
