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
"""The GPUs of one entry of a description, and their types."""

from __future__ import annotations

import dataclasses
from typing import Any

from nova_vgpu_ext.models import TypeConfig
from nova_vgpu_ext.plan.kolla import values
from nova_vgpu_ext.plan.kolla.known import (
    KnownTypes,
    is_mdev_id,
    is_number,
    is_product,
)
from nova_vgpu_ext.plan.kolla.notes import Notes, short

#: The key that stands for every GPU without one of its own.
ALL = 'all'
_KEYS = ('type', 'class', 'max_instances')
_LOOK = 'nova-vgpu type list shows the types on the host'


@dataclasses.dataclass(frozen=True)
class _Gpu:
    key: str
    address: str
    type_id: str
    mdev_class: str | None
    max_instances: int | None


def read(
    notes: Notes, known: KnownTypes, key: str, value: Any
) -> tuple[TypeConfig, ...]:
    """Turn types by address into addresses by type, as Nova has them.

    :param key: of the mapping, as ``hosts.gpu01.gpus``.
    :param value: by address, or ``all``, a type, or keys and values.
    """
    gpus = [
        gpu
        for address, item in notes.mapping(key, value).items()
        for gpu in [_gpu(notes, known, key, address, item)]
        if gpu
    ]
    default = next((g.type_id for g in gpus if g.address == ALL), None)
    by_type: dict[str, list[_Gpu]] = {}
    for gpu in gpus:
        by_type.setdefault(gpu.type_id, []).append(gpu)
    return tuple(
        _type_config(notes, type_id, found, type_id == default)
        for type_id, found in by_type.items()
    )


def _gpu(
    notes: Notes, known: KnownTypes, key: str, address: str, item: Any
) -> _Gpu | None:
    if address != ALL and not values.is_device(address):
        notes.add(
            key,
            short(address),
            'all, or an address as the kernel writes it, like 0000:1a:00.0',
            'nova-vgpu gpu list shows them on the host',
        )
        return None
    where = f'{key}.{address}'
    data = {'type': item}
    if not isinstance(item, str):
        data = notes.mapping(where, item, _KEYS)
    type_id = mdev_id(notes, known, where, data.get('type'))
    mdev_class = _class(notes, where, data.get('class'))
    max_instances = _number(notes, where, data.get('max_instances'))
    if type_id is None:
        return None
    return _Gpu(where, address, type_id, mdev_class, max_instances)


def mdev_id(
    notes: Notes, known: KnownTypes, key: str, text: Any
) -> str | None:
    """Find the id that is meant; without one that is noted."""
    if not isinstance(text, str) or not text:
        notes.add(key, 'no type', 'type, as nvidia-194 or V100DX-1Q')
    elif is_mdev_id(text):
        return text
    elif is_product(text):
        ids = known.mdev_ids(text)
        if len(ids) == 1:
            return ids[0]
        if known.numbers(text):
            notes.add(
                key,
                f'{text}, a type of vendor-specific VFIO',
                'a type of mediated devices',
                'name the card and its functions below vendor_vfio',
            )
        else:
            _unknown(notes, known, key, text, ids)
    else:
        notes.add(
            key,
            f'type {short(text)}',
            'an id such as nvidia-194, or a product such as V100DX-1Q',
            _LOOK,
        )
    return None


def _unknown(
    notes: Notes,
    known: KnownTypes,
    key: str,
    text: str,
    ids: tuple[str, ...],
) -> None:
    siblings = ', '.join(known.siblings(text))
    notes.add(
        key,
        f'{text}, which is {" or ".join(ids)}' if ids else f'type {text!r}',
        'a product whose id is known'
        + (f': {siblings}' if siblings and not ids else ''),
        f'write the id, or give it below types; {_LOOK}',
    )


def vendor_type(
    notes: Notes, known: KnownTypes, key: str, text: Any
) -> tuple[str, str] | None:
    """Find product and type of vendor-specific VFIO.

    The resource class is named after the product, so it must be known.

    :returns: the product, and what ``[vgpu] vf_types`` says.
    """
    if not isinstance(text, str) or not text:
        notes.add(key, 'no type', 'type, as L40S-12Q or 1153')
    elif is_number(text):
        product = known.product(text)
        if product:
            return product, text
        notes.add(
            key,
            f'type {text}',
            'a number whose product is known',
            f'write the product, or give it below types; {_LOOK}',
        )
    elif not is_product(text):
        notes.add(
            key, f'type {short(text)}', 'a product such as L40S-12Q', _LOOK
        )
    elif known.siblings(text) and not known.ids(text):
        _unknown(notes, known, key, text, ())
    else:
        return text, known.own_number(text) or text
    return None


def _class(notes: Notes, key: str, text: Any) -> str | None:
    if text is None or (
        isinstance(text, str)
        and (text == 'VGPU' or values.MDEV_CLASS.fullmatch(text))
    ):
        return text
    notes.add(
        f'{key}.class',
        short(text),
        'VGPU, or CUSTOM_ with capital letters, digits and _',
    )
    return None


def _number(notes: Notes, key: str, text: Any) -> int | None:
    if text is None:
        return None
    if isinstance(text, str) and is_number(text) and int(text):
        return int(text)
    notes.add(f'{key}.max_instances', short(text), 'a whole number from 1')
    return None


def _type_config(
    notes: Notes, type_id: str, gpus: list[_Gpu], is_default: bool
) -> TypeConfig:
    classes = {gpu.mdev_class or 'VGPU' for gpu in gpus}
    limits = {gpu.max_instances for gpu in gpus}
    if len(classes) > 1:
        notes.add(
            gpus[-1].key,
            f'{type_id} with the classes {", ".join(sorted(classes))}',
            'one class for each type of a host',
            'Nova has one [mdev_<type>] mdev_class; give all the same class',
        )
    elif is_default and classes != {'VGPU'}:
        notes.add(
            gpus[-1].key,
            f'class {gpus[-1].mdev_class} for all GPUs',
            'a class with addresses',
            'Nova does not apply the class of a type without addresses: '
            'name each GPU',
        )
    if len(limits) > 1:
        named = sorted(limit for limit in limits if limit is not None)
        words = [*map(str, named), *(['none'] if None in limits else [])]
        notes.add(
            gpus[-1].key,
            f'{type_id} with the limits {", ".join(words)}',
            'one max_instances for each type of a host',
            'Nova has one [mdev_<type>] max_instances; give all the same',
        )
    return TypeConfig(
        type_id,
        () if is_default else tuple(gpu.address for gpu in gpus),
        classes.pop(),
        limits.pop(),
    )
