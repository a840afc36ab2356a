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
"""What a right reader must find on a simulated host, from its description."""

from nova_vgpu_ext import models
from nova_vgpu_ext.sim import profile as profiles


def vgpu_type(gpu, device, spec):
    if gpu.framework is models.Framework.VENDOR_VFIO:
        device_api = None
        available = profiles.available(gpu, device, spec)
    else:
        device_api = spec.device_api
        available = profiles.available(gpu, device, spec)
    known = not gpu.is_virtual
    return models.VgpuType(
        id=spec.id,
        name=spec.name,
        available=available,
        maximum=spec.maximum if known else None,
        frame_buffer_mib=spec.frame_buffer_mib if known else None,
        heads=spec.heads if known else None,
        resolution=spec.resolution if known else None,
        device_api=device_api,
    )


def types(gpu, device):
    offered = device.types
    if gpu.framework is models.Framework.VENDOR_VFIO and device is not gpu:
        offered = profiles.creatable(gpu, device)
        if device.current_type:
            offered = {
                *offered,
                *(t for t in device.types if t.id == device.current_type),
            }
    return tuple(
        vgpu_type(gpu, device, spec)
        for spec in sorted(offered, key=lambda t: int(t.id.split('-')[-1]))
    )


def mdevs(device):
    return tuple(
        models.Mdev(m.uuid, m.type, device.address, m.guest, m.parameters)
        for m in sorted(device.mdevs, key=lambda m: m.uuid)
    )


def vf(gpu, spec):
    return models.VirtualFunction(
        address=spec.address,
        vendor_id=gpu.vendor_id,
        device_id=gpu.device_id,
        numa_node=gpu.numa_node,
        driver=gpu.driver,
        types=types(gpu, spec),
        mdevs=mdevs(spec),
        physical_function=gpu.address,
        current_type=spec.current_type,
        parameters=spec.parameters,
    )


def gpu(spec):
    virtual = spec.is_virtual
    return models.Gpu(
        address=spec.address,
        vendor_id=None if virtual else spec.vendor_id,
        device_id=None if virtual else spec.device_id,
        numa_node=spec.numa_node,
        driver=None if virtual else spec.driver,
        types=types(spec, spec),
        mdevs=mdevs(spec),
        framework=spec.framework,
        vfs=tuple(
            vf(spec, one) for one in sorted(spec.vfs, key=lambda v: v.address)
        ),
        total_vfs=spec.total_vfs,
    )


def snapshot(profile):
    """Give the whole snapshot; the driver's catalogue is at hand."""
    functions = list(profile.pci_devices)
    pci = {
        s.address: models.PciDevice(
            s.address, s.vendor_id, s.device_id, s.class_id, s.driver
        )
        for s in functions
    }
    virtual = set()
    for one in profile.gpus:
        if one.is_virtual:
            virtual |= {one.address, one.address.partition('_')[0]}
            continue
        for device in one.devices:
            pci[device.address] = models.PciDevice(
                device.address,
                one.vendor_id,
                one.device_id,
                one.class_id,
                one.driver,
            )
    return models.Snapshot(
        gpus=tuple(
            gpu(s) for s in sorted(profile.gpus, key=lambda g: g.address)
        ),
        pci_devices=pci,
        virtual_devices=frozenset(virtual),
    )
