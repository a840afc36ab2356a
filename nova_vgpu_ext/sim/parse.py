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
"""Take a profile's YAML apart, key by key."""

from __future__ import annotations

import dataclasses
import reprlib
from collections.abc import Callable
from typing import Any

import yaml

from nova_vgpu_ext import exception, models
from nova_vgpu_ext.sim.description import (
    GpuSpec,
    MdevSpec,
    PciSpec,
    Profile,
    TypeSpec,
    VfSpec,
    describe,
    vf_addresses,
)

_PCI_KEYS = {
    'address',
    'vendor_id',
    'device_id',
    'class_id',
    'driver',
    'numa_node',
    'physical_function',
}
_CARD_KEYS = {
    'vendor_id',
    'device_id',
    'class_id',
    'driver',
    'framework',
    'types',
    'total_vfs',
    'frame_buffer_mib',
}
_GPU_KEYS = {
    'card',
    'address',
    'numa_node',
    'mdevs',
    'available',
    'vfs',
    'vf_settings',
}
_TYPE_KEYS = {
    'id',
    'name',
    'frame_buffer_mib',
    'heads',
    'resolution',
    'maximum',
    'device_api',
    'description',
}
_MAX_VFS = 256
_SHORT = 80

#: Aliases make a small file a huge value; never print all of one.
_REPR = reprlib.Repr()
_REPR.maxlevel = 2
_REPR.maxstring = _SHORT


class _Loader(yaml.BaseLoader):
    """Plain text only, each key once.

    YAML 1.1 would read an address such as 0000:17:00.0 as a number.
    """

    def construct_mapping(
        self, node: yaml.MappingNode, deep: bool = False
    ) -> dict[Any, Any]:
        seen = set()
        for key, _value in node.value:
            if str(key.value) in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f'key {key.value!r} twice',
                    problem_mark=key.start_mark,
                )
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


class Reader:
    """Takes parsed YAML apart; every complaint names the file and the key."""

    def __init__(self, file: str, bundled: dict[str, Any]) -> None:
        self.file = file
        self.bundled = bundled
        self.cards: dict[str, Any] = {}

    def fail(
        self, key: str, found: str, expected: str
    ) -> exception.ConfigError:
        if len(found) > _SHORT:
            found = f'{found[:_SHORT]}...'
        return exception.ConfigError(f'{self.file}: {key}', found, expected)

    def mapping(
        self, key: str, value: object, allowed: set[str] | None = None
    ) -> dict[str, Any]:
        if value is None or value == '':
            return {}
        if not isinstance(value, dict):
            raise self.fail(key, _REPR.repr(value), 'keys and values')
        for name in value:
            if not isinstance(name, str) or (
                allowed is not None and name not in allowed
            ):
                known = ', '.join(sorted(allowed or ()))
                raise self.fail(key, f'key {name!r}', f'one of {known}')
        return value

    def items(self, key: str, value: object) -> list[Any]:
        if value is None or value == '':
            return []
        if not isinstance(value, list):
            raise self.fail(key, _REPR.repr(value), 'a list')
        return value

    def text(self, key: str, data: dict[str, Any], name: str) -> str:
        value = data.get(name)
        if not isinstance(value, str) or not value:
            found = 'nothing' if value is None else _REPR.repr(value)
            raise self.fail(f'{key}.{name}', found, 'text')
        return value

    def optional(
        self, key: str, data: dict[str, Any], name: str
    ) -> str | None:
        return self.text(key, data, name) if name in data else None

    def number(self, key: str, data: dict[str, Any], name: str) -> int | None:
        if name not in data:
            return None
        value = self.text(key, data, name)
        if not (value.isascii() and value.isdecimal() and len(value) < 10):
            raise self.fail(f'{key}.{name}', repr(value), 'a number')
        return int(value)

    def vgpu_type(self, key: str, value: object, mdev: bool) -> TypeSpec:
        data = self.mapping(key, value, _TYPE_KEYS)
        text = self.optional(key, data, 'description')
        spec = TypeSpec(
            id=self.text(key, data, 'id'),
            name=self.text(key, data, 'name'),
            frame_buffer_mib=self.number(key, data, 'frame_buffer_mib') or 0,
            heads=self.number(key, data, 'heads'),
            resolution=self.optional(key, data, 'resolution'),
            maximum=_default(self.number(key, data, 'maximum'), 1),
            device_api=_default(
                self.optional(key, data, 'device_api'), 'vfio-pci'
            ),
            description=None if text == 'none' else text,
        )
        if text is None and mdev:
            return dataclasses.replace(spec, description=describe(spec))
        return spec

    def mdev(self, key: str, value: object) -> MdevSpec:
        data = self.mapping(
            key, value, {'uuid', 'type', 'guest', 'parameters'}
        )
        return MdevSpec(
            uuid=self.text(key, data, 'uuid'),
            type=self.text(key, data, 'type'),
            guest=self.optional(key, data, 'guest'),
            parameters=self.optional(key, data, 'parameters'),
        )

    def state(self, key: str, data: dict[str, Any]) -> dict[str, Any]:
        """Read what both a card and a VF can have made on it."""
        overrides = self.mapping(f'{key}.available', data.get('available'))
        return {
            'mdevs': tuple(
                self.mdev(f'{key}.mdevs[{n}]', mdev)
                for n, mdev in enumerate(
                    self.items(f'{key}.mdevs', data.get('mdevs'))
                )
            ),
            'available': {
                name: self.number(f'{key}.available', overrides, name)
                for name in overrides
            },
        }

    def vfs(
        self,
        key: str,
        address: str,
        data: dict[str, Any],
        types: tuple[TypeSpec, ...],
    ) -> tuple[VfSpec, ...]:
        settings = self.mapping(f'{key}.vf_settings', data.get('vf_settings'))
        count = self.number(key, data, 'vfs') or 0
        if count > _MAX_VFS:
            raise self.fail(f'{key}.vfs', str(count), f'{_MAX_VFS} at most')
        addresses = vf_addresses(address, count) if count else []
        for name in settings:
            if name not in addresses:
                raise self.fail(
                    f'{key}.vf_settings', repr(name), f'one of the {count} VFs'
                )
        found = []
        for vf in addresses:
            name = f'{key}.vf_settings.{vf}'
            one = self.mapping(
                name,
                settings.get(vf),
                {'mdevs', 'available', 'current_type', 'parameters'},
            )
            found.append(
                VfSpec(
                    address=vf,
                    types=types,
                    current_type=self.optional(name, one, 'current_type'),
                    parameters=self.optional(name, one, 'parameters'),
                    **self.state(name, one),
                )
            )
        return tuple(found)

    def card(self, key: str, value: object) -> dict[str, Any]:
        """Merge the card that an entry names with what it says itself."""
        data = self.mapping(key, value, _CARD_KEYS | _GPU_KEYS)
        if 'card' not in data:
            return data
        name = self.text(key, data, 'card')
        if name not in self.cards:
            known = ', '.join(sorted(self.cards))
            raise self.fail(f'{key}.card', repr(name), f'one of {known}')
        card = self.mapping(f'cards.{name}', self.cards[name], _CARD_KEYS)
        return {**card, **data}

    def framework(self, key: str, data: dict[str, Any]) -> models.Framework:
        value = self.text(key, {'framework': 'none', **data}, 'framework')
        try:
            return models.Framework(value)
        except ValueError:
            known = ', '.join(f.value for f in models.Framework)
            raise self.fail(
                f'{key}.framework', repr(value), f'one of {known}'
            ) from None

    def gpu(self, key: str, value: object) -> GpuSpec:
        data = self.card(key, value)
        address = self.text(key, data, 'address')
        if 'vfs' in data and not models.PCI_ADDRESS.fullmatch(address):
            raise self.fail(f'{key}.address', repr(address), 'a PCI address')
        framework = self.framework(key, data)
        types = tuple(
            self.vgpu_type(
                f'{key}.types[{n}]', one, framework is models.Framework.MDEV
            )
            for n, one in enumerate(
                self.items(f'{key}.types', data.get('types'))
            )
        )
        total = self.number(key, data, 'total_vfs') or 0
        return GpuSpec(
            address=address,
            types=() if total else types,
            vendor_id=_default(
                self.optional(key, data, 'vendor_id'), models.NVIDIA_VENDOR_ID
            ),
            device_id=_default(self.optional(key, data, 'device_id'), '0000'),
            class_id=_default(self.optional(key, data, 'class_id'), '030200'),
            numa_node=self.number(key, data, 'numa_node'),
            driver=self.optional(key, data, 'driver'),
            framework=framework,
            vfs=self.vfs(key, address, data, types),
            total_vfs=total,
            frame_buffer_mib=self.number(key, data, 'frame_buffer_mib'),
            **self.state(key, data),
        )

    def pci(self, key: str, value: object) -> PciSpec:
        data = self.mapping(key, value, _PCI_KEYS)
        return PciSpec(
            address=self.text(key, data, 'address'),
            vendor_id=self.text(key, data, 'vendor_id'),
            device_id=self.text(key, data, 'device_id'),
            class_id=self.text(key, data, 'class_id'),
            driver=self.optional(key, data, 'driver'),
            numa_node=self.number(key, data, 'numa_node'),
            physical_function=self.optional(key, data, 'physical_function'),
        )

    def profile(self, name: str, value: object) -> Profile:
        data = self.mapping(
            'profile', value, {'description', 'cards', 'gpus', 'pci_devices'}
        )
        self.cards = {
            **self.bundled,
            **self.mapping('cards', data.get('cards')),
        }
        return Profile(
            name=name,
            gpus=self._each('gpus', data, self.gpu),
            pci_devices=self._each('pci_devices', data, self.pci),
            description=self.optional('profile', data, 'description') or '',
        )

    def _each(
        self,
        key: str,
        data: dict[str, Any],
        read: Callable[[str, object], Any],
    ) -> tuple[Any, ...]:
        return tuple(
            read(f'{key}[{n}]', one)
            for n, one in enumerate(self.items(key, data.get(key)))
        )


def _default(value: Any, default: Any) -> Any:
    return default if value is None else value


def parse(file: str, text: str) -> object:
    """Parse YAML to plain text, lists and dicts."""
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506
    except yaml.YAMLError as e:
        found = ' '.join(str(e).split())
        raise exception.ConfigError(file, found, 'YAML') from None
    except RecursionError:
        raise exception.ConfigError(file, 'endless nesting', 'YAML') from None
