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
"""What a simulated host keeps beside its tree: how it is now, as JSON.

The tree alone does not tell how much memory a card has, or which virtual
functions would appear.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from typing import Any

from nova_vgpu_ext import exception, models
from nova_vgpu_ext.sim import description, rules

#: What JSON of another shape raises, wherever it is looked at.
_UNUSABLE = (
    *(ValueError, TypeError, KeyError, IndexError, AttributeError),
    RecursionError,
)


def dump(profile: description.Profile) -> str:
    """Write a description as JSON.

    Types are written once, because hundreds of functions share them.
    """
    types: dict[description.TypeSpec, int] = {}
    gpus = [_gpu(gpu, types) for gpu in profile.gpus]
    data = {
        'name': profile.name,
        'description': profile.description,
        'types': [dataclasses.asdict(t) for t in types],
        'gpus': gpus,
        'pci_devices': [dataclasses.asdict(p) for p in profile.pci_devices],
    }
    return json.dumps(data)


def load(file: str, text: str) -> description.Profile:
    """Read what :func:`dump` wrote.

    :param file: what the message names.
    :raises exception.ConfigError: it is something else.
    """
    try:
        data = json.loads(text)
        types = tuple(description.TypeSpec(**t) for t in data['types'])
        profile = description.Profile(
            name=data['name'],
            description=data['description'],
            gpus=tuple(_read_gpu(gpu, types) for gpu in data['gpus']),
            pci_devices=tuple(
                description.PciSpec(**p) for p in data['pci_devices']
            ),
        )
        rules.check(profile, file)
    except _UNUSABLE as e:
        raise exception.ConfigError(
            file,
            'another content',
            'the state of a simulated host',
            'make the host again: nova-vgpu sim create',
        ) from e
    return profile


def _device(
    device: description.DeviceSpec, types: dict[description.TypeSpec, int]
) -> dict[str, Any]:
    data = {
        field.name: getattr(device, field.name)
        for field in dataclasses.fields(device)
    }
    data['types'] = [types.setdefault(t, len(types)) for t in device.types]
    data['mdevs'] = [dataclasses.asdict(m) for m in device.mdevs]
    data['available'] = dict(device.available)
    return data


def _gpu(
    gpu: description.GpuSpec, types: dict[description.TypeSpec, int]
) -> dict[str, Any]:
    return {
        **_device(gpu, types),
        'framework': gpu.framework.value,
        'vfs': [_device(vf, types) for vf in gpu.vfs],
        'hidden_vfs': [_device(vf, types) for vf in gpu.hidden_vfs],
    }


def _read_device(
    data: dict[str, Any], types: tuple[description.TypeSpec, ...]
) -> dict[str, Any]:
    return {
        **data,
        'types': tuple(types[n] for n in data['types']),
        'mdevs': tuple(description.MdevSpec(**m) for m in data['mdevs']),
    }


def _read_gpu(
    data: dict[str, Any], types: tuple[description.TypeSpec, ...]
) -> description.GpuSpec:
    def vfs(name: str) -> Iterable[description.VfSpec]:
        for vf in data[name]:
            yield description.VfSpec(**_read_device(vf, types))

    return description.GpuSpec(
        **{
            **_read_device(data, types),
            'framework': models.Framework(data['framework']),
            'vfs': tuple(vfs('vfs')),
            'hidden_vfs': tuple(vfs('hidden_vfs')),
        }
    )
