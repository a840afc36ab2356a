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
"""Another vGPU type on one GPU: what must go, and what nova.conf must say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nova_vgpu_ext import exception
from nova_vgpu_ext.models import (
    DevicesConfig,
    Framework,
    Gpu,
    Snapshot,
    Usage,
)
from nova_vgpu_ext.plan import functions, mdevs, removal, types
from nova_vgpu_ext.plan.actions import HostPlan


def find_gpu(snapshot: Snapshot, address: str) -> Gpu:
    """Find a GPU that a user named.

    :raises NotFound: there is none; a VF is none.
    """
    found = snapshot.device(address)
    if not isinstance(found, Gpu):
        known = [gpu.address for gpu in snapshot.gpus]
        raise exception.NotFound('GPU', address, known)
    return found


def plan(
    snapshot: Snapshot, usage: Usage, gpu: Gpu, type_text: str
) -> HostPlan:
    """Plan the switch.

    :param type_text: as of :func:`nova_vgpu_ext.plan.mdevs.resolve_type`.
    :raises NotFound: the GPU does not offer the type.
    :raises Refused: something of another type is in use, with who uses it.
    """
    if gpu.framework is Framework.VENDOR_VFIO:
        type_id = functions.type_id(gpu, type_text)
        return functions.leave_type(usage, gpu, type_id)
    type_id = mdevs.resolve_type(gpu, type_text).id
    return removal.leave_type(snapshot, usage, gpu, type_id)


def configuration(
    config: DevicesConfig, snapshot: Snapshot, gpu: Gpu, type_text: str
) -> list[str]:
    """Give the lines of nova.conf that a type on a GPU needs.

    :returns: nothing if nova.conf says so already.
    """
    type_id = mdevs.resolve_type(gpu, type_text).id
    targets = [d.address for d in gpu.devices if d.types]
    type_map, _ = types.resolve(config, snapshot)
    found = [type_map.type_of(address) for address in targets]
    if all(one is not None and one.id == type_id for one in found):
        return []
    before = {t.id: list(t.device_addresses) for t in config.types}
    after = {
        name: [a for a in addresses if a not in targets]
        for name, addresses in before.items()
        # Without an address left it would be the default for every GPU.
        if not addresses or set(addresses) - set(targets)
    }
    default = type_map.default
    if default is None or default.id != type_id:
        after[type_id] = [*after.get(type_id, []), *targets]
    elif not all(map(types.is_nova_pci_address, targets)):
        # The default is for PCI devices only, and is none with addresses.
        after[type_id] = [*_by_default(type_map, snapshot), *targets]
    return _lines(before, after)


def vf_types(items: Sequence[str], gpu: Gpu, type_text: str) -> list[str]:
    """Give the lines of nova.conf for a card with vendor-specific VFIO.

    :param items: ``[vgpu] vf_types``.
    :returns: nothing if nova.conf says so already.
    """
    wanted = functions.parse_types(items)
    now = wanted.get(gpu.address, wanted.get(''))
    own = {vf.address for vf in gpu.vfs} & set(wanted)
    if now and not own and _is_same_type(gpu, now, type_text):
        return []
    kept = {k: v for k, v in wanted.items() if k not in own}
    kept[gpu.address] = type_text
    values = [f'{k}={v}' if k else v for k, v in kept.items()]
    return ['[vgpu]', f'vf_types = {", ".join(values)}']


def _is_same_type(gpu: Gpu, one: str, other: str) -> bool:
    if one == other:
        return True
    wanted = functions.type_id(gpu, other)
    try:
        found = functions.type_id(gpu, one)
    except exception.VgpuError:
        return False  # A slip of the hand, which this mends.
    return found is not None and found == wanted


def _by_default(type_map: types.TypeMap, snapshot: Snapshot) -> list[str]:
    return [
        device.address
        for device in snapshot.devices
        if device.types
        and device.address not in type_map.by_address
        and type_map.type_of(device.address) is not None
    ]


def _lines(
    before: Mapping[str, Sequence[str]], after: Mapping[str, Sequence[str]]
) -> list[str]:
    lines = ['[devices]', f'enabled_mdev_types = {", ".join(after)}']
    for name, addresses in after.items():
        if addresses and list(addresses) != before.get(name):
            lines += [
                f'[mdev_{name}]',
                f'device_addresses = {", ".join(addresses)}',
            ]
    return lines
