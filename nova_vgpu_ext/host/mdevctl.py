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
from nova_vgpu_ext.models import MdevDefinition

LOG = logging.getLogger(__name__)

UUID = re.compile(
    r'[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}', re.ASCII
)
_NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9:._-]{0,127}', re.ASCII)
_SIZE_LIMIT = 1 << 16


class Mdevctl:
    """The definitions below one folder.

    :param folder: ``/etc/mdevctl.d``; it need not exist.
    :param aside: where definitions are put that would be in the way.
    """

    def __init__(self, folder: str, aside: str) -> None:
        self.folder = folder
        self._aside = aside

    def read(self) -> tuple[MdevDefinition, ...]:
        """Read every definition; what is none is left out."""
        found = []
        for parent in _names(self.folder):
            for uuid in _names(os.path.join(self.folder, parent)):
                definition = self._read(parent, uuid)
                if definition is not None:
                    found.append(definition)
        return tuple(found)

    def define(self, definition: MdevDefinition) -> None:
        """Write a definition; one that is there as wanted stays.

        :raises OSError: it cannot be written.
        """
        if self._read(definition.parent, definition.uuid) == definition:
            return
        data: dict[str, Any] = {
            'mdev_type': definition.type_id,
            'start': 'auto' if definition.autostart else 'manual',
            'attrs': [],
        }
        folder = os.path.join(self.folder, definition.parent)
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, definition.uuid)
        files.replace(path, json.dumps(data, indent=2) + '\n', 0o644)

    def put_aside(self, definition: MdevDefinition) -> None:
        """Move a definition away; one that is gone is no error.

        :raises OSError: it cannot be moved.
        """
        below = os.path.join(definition.parent, definition.uuid)
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

    def _read(self, parent: str, uuid: str) -> MdevDefinition | None:
        if not UUID.fullmatch(uuid) or not _NAME.fullmatch(parent):
            return None
        path = os.path.join(self.folder, parent, uuid)
        data: Any
        try:
            data = json.loads(files.read(path, _SIZE_LIMIT))
            type_id = data['mdev_type']
            start = data.get('start')
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
            LOG.warning('Left out: %s: %s', path, e)
            return None
        if not isinstance(type_id, str) or not _NAME.fullmatch(type_id):
            LOG.warning('Left out: %s: mdev_type is no name', path)
            return None
        return MdevDefinition(uuid, parent, type_id, start == 'auto')


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        LOG.debug('Absent: %s: %s', folder, error)
        return []
