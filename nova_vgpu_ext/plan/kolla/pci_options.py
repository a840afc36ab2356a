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
"""Values of ``[pci] device_spec`` and ``alias`` that an operator gives.

Rules: ``nova/pci/devspec.py`` and ``nova/pci/request.py`` (Nova 34). Whatever
Nova refuses is refused here; besides, what matches every device of a host.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from nova_vgpu_ext.plan.kolla.description import Card

#: The one fault that Nova does not find: all devices would be meant.
NO_DEVICE = ('no device', 'address, devname, or vendor_id and product_id')
_NVIDIA = 0x10DE
_FIELDS = ('domain', 'bus', 'slot', 'function')
_LARGEST = (0xFFFF, 0xFF, 0x1F, 0x7)
_FLAGS = ('managed', 'live_migratable', 'one_time_use', 'remote_managed')
#: What oslo.utils takes for true or false.
_TRUE = '(?i: *(1|t|true|on|y|yes) *)'
_FLAG = f'{_TRUE}|(?i: *(0|f|false|off|n|no) *)'
_ALIAS = {
    'name': '(?s:.{1,256})',
    'capability_type': 'pci',
    'vendor_id': '[0-9a-fA-F]{4}',
    'product_id': '[0-9a-fA-F]{4}',
    'device_type': 'type-(PCI|PF|VF)',
    'numa_policy': 'required|preferred|legacy|socket',
    'resource_class': '(?s:.*)',
    'traits': '(?s:.*)',
    'live_migratable': _FLAG,
}


def spec_faults(spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Say what is wrong with a value of ``device_spec``.

    :param spec: the parsed value.
    :returns: pairs of what was found, and what was expected.
    """
    named = spec.keys() & {'address', 'devname', 'vendor_id', 'product_id'}
    if not named:
        yield NO_DEVICE
    if spec.get('address') and spec.get('devname'):
        yield 'address and devname', 'one of the two'
    for key, value in spec.items():
        if key == 'address':
            if not _is_address(value):
                yield (
                    f'address {value!r}',
                    'as 0000:3b:00.*, or regular expressions for '
                    f'{", ".join(_FIELDS)}',
                )
        elif not isinstance(value, str):
            yield f'{key} {value!r}', 'a text in quotes'
        elif key in ('vendor_id', 'product_id'):
            if _number(value, 0xFFFF) is None:
                yield f'{key} {value!r}', 'four hexadecimal digits, or *'
        elif key in _FLAGS and not re.fullmatch(_FLAG, value):
            yield f'{key} {value!r}', 'true or false'


def alias_faults(
    alias: Mapping[str, Any], in_placement: bool
) -> Iterator[tuple[str, str]]:
    """Say what is wrong with a value of ``alias``.

    :param alias: the parsed value.
    :param in_placement: ``[filter_scheduler] pci_in_placement``.
    :returns: pairs of what was found, and what was expected.
    """
    for key, value in alias.items():
        if key not in _ALIAS:
            yield f'key {key!r}', f'one of {", ".join(_ALIAS)}'
        elif not isinstance(value, str) or not re.fullmatch(
            _ALIAS[key], value
        ):
            yield f'{key} {value!r}', f'a text such as Nova takes for {key}'
    if 'name' not in alias:
        yield 'no name', 'name'
    has_ids = {'vendor_id', 'product_id'} <= alias.keys()
    if not has_ids and not (in_placement and 'resource_class' in alias):
        yield (
            'no device',
            'vendor_id and product_id'
            + (', or resource_class' if in_placement else ''),
        )


def is_true(value: Any) -> bool:
    """Tell whether Nova takes a value, such as ``'yes'``, for true."""
    return value is True or (
        isinstance(value, str) and bool(re.fullmatch(_TRUE, value))
    )


def has_nvidia_ids(spec: Mapping[str, Any]) -> bool:
    """Tell whether a product of NVIDIA is meant, wherever it is.

    :param spec: a value of ``device_spec`` without faults.
    """
    return (
        _may_be_nvidia(spec)
        and not spec.get('address')
        and not _is_any_product(spec)
    )


def may_match(spec: Mapping[str, Any], card: Card) -> bool:
    """Tell whether functions of a card may be meant.

    A card has its bus for itself, so that all on it counts. Ids alone may be
    those of another card.

    :param spec: a value of ``device_spec`` without faults.
    """
    if not _may_be_nvidia(spec):
        return False
    address = spec.get('address')
    if not address:
        return _is_any_product(spec)
    return any(
        _meets(address, *function.split(':')[:2])
        for function in (card.address, *card.vfs)
    )


def _may_be_nvidia(spec: Mapping[str, Any]) -> bool:
    vendor = _number(spec.get('vendor_id', '*'), 0xFFFF)
    return vendor in (-1, _NVIDIA) and not spec.get('devname')


def _is_any_product(spec: Mapping[str, Any]) -> bool:
    return _number(spec.get('product_id', '*'), 0xFFFF) == -1


def _is_address(value: Any) -> bool:
    if isinstance(value, dict):
        return all(
            name in _FIELDS and isinstance(text, str) and _compiles(text)
            for name, text in value.items()
        )
    if not isinstance(value, str):
        return False
    fields = _glob(value)
    return len(fields) == len(_FIELDS) and all(
        _number(text, largest) is not None
        for text, largest in zip(fields, _LARGEST, strict=True)
    )


def _meets(address: Any, domain: str, bus: str) -> bool:
    if isinstance(address, dict):
        return all(
            re.match(address.get(name, ''), text)
            for name, text in (('domain', domain), ('bus', bus))
        )
    return all(
        _number(text, 0xFFFF) in (-1, int(wanted, 16))
        for text, wanted in zip(_glob(address), (domain, bus), strict=False)
    )


def _glob(address: str) -> list[str]:
    """Give domain, bus, slot and function; what is left out is any."""
    place, _, function = address.partition('.')
    fields = place.split(':') if place else []
    return [
        text.strip() or '*'
        for text in ('*',) * (3 - len(fields)) + (*fields, function)
    ]


def _number(text: Any, largest: int) -> int | None:
    """Read digits: -1 for any, None for what is none."""
    if not isinstance(text, str):
        return None
    text = text.strip()
    if text == '*':
        return -1
    if not re.fullmatch('[0-9a-fA-F]{1,8}', text):
        return None
    number = int(text, 16)
    return number if number <= largest else None


def _compiles(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return True
