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
"""The NVIDIA driver's own list of vGPU types, ``vgpuConfig.xml``.

It completes what sysfs leaves out, and nothing else: what sysfs says of the
running driver is never replaced.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Callable
from typing import Any

from nova_vgpu_ext import models

LOG = logging.getLogger(__name__)

#: Today's files have about 1 MiB.
SIZE_LIMIT = 16 << 20
_MIB = 1 << 20

Note = Callable[[str, str, str], None]


@dataclasses.dataclass
class _Content:
    types: dict[str, models.VgpuType] = dataclasses.field(default_factory=dict)
    #: By vendor, device and type.
    maxima: dict[tuple[int, int, str], int] = dataclasses.field(
        default_factory=dict
    )


class Catalog:
    """The file, read when something is missing for the first time.

    :param path: the file; None for no catalogue. An absent file is none.
    :param note: takes path, found and expected of what cannot be used.
    """

    def __init__(self, path: str | None, note: Note) -> None:
        self._path = os.path.abspath(path) if path else None
        self._note = note
        self._content: _Content | None = None

    def complete(
        self,
        vgpu_type: models.VgpuType,
        number: str,
        card: models.PciDevice | None,
    ) -> models.VgpuType:
        """Fill what is None from the catalogue.

        :param vgpu_type: what sysfs tells.
        :param number: the type's id in the catalogue.
        :param card: the physical function; only NVIDIA's are looked up.
        """
        if card is None or card.vendor_id != models.NVIDIA_VENDOR_ID:
            return vgpu_type
        names = ('name', 'frame_buffer_mib', 'heads', 'resolution', 'maximum')
        missing = [n for n in names if getattr(vgpu_type, n) is None]
        if not missing:
            return vgpu_type
        if self._content is None:
            self._content = self._load()
        known = self._content.types.get(number)
        values = {n: getattr(known, n) for n in missing} if known else {}
        if 'maximum' in missing:
            ids = int(card.vendor_id, 16), int(card.device_id, 16)
            values['maximum'] = self._content.maxima.get((*ids, number))
        return dataclasses.replace(vgpu_type, **values)

    def _load(self) -> _Content:
        data = self._read()
        if data is None:
            return _Content()
        from defusedxml import ElementTree, common

        try:
            root = ElementTree.fromstring(data, forbid_dtd=False)
        except common.DefusedXmlException:
            self._complain('entities')
        except (ElementTree.ParseError, ValueError, LookupError) as e:
            self._complain(f'malformed XML ({e})')
        else:
            return self._parse(root)
        return _Content()

    def _read(self) -> bytes | None:
        if not self._path:
            return None
        try:
            with open(self._path, 'rb') as stream:
                data = stream.read(SIZE_LIMIT + 1)
        except FileNotFoundError:
            LOG.debug('No driver catalogue at %s', self._path)
            return None
        except OSError as e:
            self._complain(e.strerror or str(e))
            return None
        if len(data) > SIZE_LIMIT:
            self._complain('a larger file')
            return None
        return data

    def _complain(self, found: str) -> None:
        self._note(
            self._path or '',
            found,
            f"the driver's XML without entities, {SIZE_LIMIT} bytes at most",
        )

    def _parse(self, root: Any) -> _Content:
        content = _Content()
        for element in root.iter('vgpuType'):
            type_id = element.get('id')
            if type_id:
                content.types.setdefault(type_id, self._type(element, type_id))
        for card in root.iter('pgpu'):
            device = card.find('devId')
            if device is None:
                continue
            ids = [
                self._number(device.get(name), name)
                for name in ('vendorId', 'deviceId')
            ]
            for supported in card.iter('supportedVgpu'):
                limit = self._child(supported, 'maxVgpus')
                type_id = supported.get('vgpuId')
                if None not in ids and limit is not None and type_id:
                    content.maxima.setdefault((*ids, type_id), limit)
        return content

    def _type(self, element: Any, type_id: str) -> models.VgpuType:
        # The nominal size; framebuffer is what the guest sees of it.
        size = self._child(element, 'profileSize')
        if size is None:
            size = self._child(element, 'framebuffer')
        display = element.find('display')
        width = height = None
        if display is not None:
            width = self._number(display.get('width'), 'width')
            height = self._number(display.get('height'), 'height')
        return models.VgpuType(
            id=type_id,
            name=element.get('name') or None,
            frame_buffer_mib=None if size is None else size // _MIB,
            heads=self._child(element, 'numHeads'),
            resolution=f'{width}x{height}' if width and height else None,
        )

    def _child(self, element: Any, name: str) -> int | None:
        return self._number(element.findtext(name), name)

    def _number(self, text: str | None, name: str) -> int | None:
        """Read a decimal or, with ``0x``, hexadecimal number."""
        if text is None:
            return None
        text = text.strip()
        try:
            number = int(text[:20], 16 if text[:2] in ('0x', '0X') else 10)
        except ValueError:
            number = -1
        if number < 0 or len(text) > 20:
            self._note(self._path or '', f'{name} {text[:40]!r}', 'a number')
            return None
        return number
