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
"""The traits of a GPU's provider: which ones, and which are ours."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import os_traits

from nova_vgpu_ext.models import VgpuType

#: Every trait with this prefix belongs to this project.
PREFIX = 'CUSTOM_VGPU_'

#: Instead of all others with the prefix: the GPU is gone or not configured,
#: and its provider stays only for what is allocated on it.
GONE = f'{PREFIX}GONE'


def type_trait(type_id: str) -> str:
    """Name a type's trait: ``CUSTOM_NVIDIA_194`` for ``nvidia-194``."""
    return str(os_traits.normalize_name(type_id))


def product_trait(product: str) -> str:
    """Name a product's trait: ``CUSTOM_VGPU_V100DX_1Q``."""
    return _own(product)


def _own(name: str) -> str:
    return str(os_traits.normalize_name(f'VGPU_{name}'))


def traits_of(vgpu_type: VgpuType, kinds: Collection[str]) -> frozenset[str]:
    """Name the traits of a provider whose device has a type.

    :param vgpu_type: the type; what is not known of it gives no trait.
    :param kinds: some of ``type``, ``product``, ``series``,
        ``frame_buffer`` (``[vgpu] traits``).
    """
    named = {
        'type': type_trait(vgpu_type.id),
        'product': product_trait(vgpu_type.product)
        if vgpu_type.product
        else None,
        'series': _own(f'SERIES_{vgpu_type.series}')
        if vgpu_type.series
        else None,
        'frame_buffer': _own(f'FB_{vgpu_type.frame_buffer_mib}M')
        if vgpu_type.frame_buffer_mib
        else None,
    }
    return frozenset(
        trait for kind, trait in named.items() if kind in kinds and trait
    )


def type_traits(types: Iterable[VgpuType]) -> frozenset[str]:
    """Name the type traits of every type that a device offers."""
    return frozenset(type_trait(t.id) for t in types)
