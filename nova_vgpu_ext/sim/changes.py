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
"""Changes to the tree of a simulated host, in the kernel's order.

What appears is complete before it is linked from a bus, and what goes leaves
the bus first, so that a reader finds whole devices only.
"""

from __future__ import annotations

import contextlib
import os
import shutil

from nova_vgpu_ext import models
from nova_vgpu_ext.sim import builder, description


def _builder(root: str) -> builder.Builder:
    """Make a builder that goes on with the IOMMU groups."""
    groups = os.path.join(root, 'kernel/iommu_groups')
    with contextlib.suppress(FileNotFoundError):
        numbers = [int(name) for name in os.listdir(groups)]
        return builder.Builder(
            _ExistingTree(root), max(numbers, default=0) + 1
        )
    return builder.Builder(_ExistingTree(root))


class _ExistingTree(builder.Tree):
    """A tree in which folders may be there already."""

    def folder(self, path: str) -> None:
        os.makedirs(os.path.join(self.root, path), exist_ok=True)


def add_mdev(
    root: str,
    gpu: description.GpuSpec,
    address: str,
    mdev: description.MdevSpec,
) -> None:
    """Add an mdev on a card or one of its VFs."""
    _builder(root).mdev(builder.device_path(gpu, address), gpu, mdev)


def remove_mdev(
    root: str,
    gpu: description.GpuSpec,
    address: str,
    mdev: description.MdevSpec,
) -> None:
    """Remove an mdev from a card or one of its VFs."""
    path = f'{root}/{builder.device_path(gpu, address)}'
    group = os.path.realpath(f'{path}/{mdev.uuid}/iommu_group')
    os.unlink(f'{root}/bus/mdev/devices/{mdev.uuid}')
    os.unlink(f'{path}/mdev_supported_types/{mdev.type}/devices/{mdev.uuid}')
    shutil.rmtree(group)
    shutil.rmtree(f'{path}/{mdev.uuid}')


def add_vfs(root: str, gpu: description.GpuSpec) -> None:
    """Add the virtual functions of a card."""
    path = builder.path_of(gpu.address)
    _builder(root).vfs(gpu)
    rewrite(root, f'{path}/sriov_numvfs', str(len(gpu.vfs)))


def refresh(root: str, gpu: description.GpuSpec) -> None:
    """Write again what follows from the vGPUs of a card."""
    for device in gpu.devices:
        path = builder.device_path(gpu, device.address)
        if gpu.framework is models.Framework.MDEV:
            for one in device.types:
                count = description.available(gpu, device, one)
                below = f'{path}/mdev_supported_types/{one.id}'
                rewrite(root, f'{below}/available_instances', str(count))
        elif isinstance(device, description.VfSpec):
            text = builder.creatable_text(gpu, device)
            rewrite(root, f'{path}/nvidia/creatable_vgpu_types', text)
            current = device.current_type or '0'
            rewrite(root, f'{path}/nvidia/current_vgpu_type', current)


def rewrite(root: str, path: str, text: str) -> None:
    """Replace the text of a file at once."""
    temporary = f'{root}/.{os.path.basename(path)}.new'
    with open(temporary, 'w', encoding='utf-8') as stream:
        stream.write(f'{text}\n' if text else '')
    os.replace(temporary, f'{root}/{path}')
