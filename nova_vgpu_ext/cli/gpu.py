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
"""``nova-vgpu gpu`` and ``type``: what the host has."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from nova_vgpu_ext import models
from nova_vgpu_ext.cells import cells
from nova_vgpu_ext.cli.base import Lister, ShowOne
from nova_vgpu_ext.plan import mdevs


class GpuList(Lister):
    """List the GPUs of this host."""

    def take_action(self, parsed_args: argparse.Namespace) -> Any:
        """Read the host."""
        columns = (
            'address',
            'vendor_id',
            'device_id',
            'numa_node',
            'driver',
            'framework',
            'vfs',
            'total_vfs',
            'types',
            'mdevs',
        )
        return columns, (
            cells(
                (
                    gpu.address,
                    gpu.vendor_id,
                    gpu.device_id,
                    gpu.numa_node,
                    gpu.driver,
                    gpu.framework.value,
                    len(gpu.vfs),
                    gpu.total_vfs,
                    len(gpu.offered_types),
                    sum(len(device.mdevs) for device in gpu.devices),
                )
            )
            for gpu in self.app.host.observe().gpus
        )


class GpuShow(ShowOne):
    """Show one GPU or virtual function, with its types and mdevs."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the address."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            'address',
            metavar='ADDRESS',
            help='address as gpu list shows it, or of a virtual function',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Any:
        """Read the host and pick the device."""
        snapshot = self.app.host.observe()
        device = mdevs.find_device(snapshot, parsed_args.address)
        shown: dict[str, Any] = {
            'address': device.address,
            'libvirt_name': device.libvirt_name,
            'vendor_id': device.vendor_id,
            'device_id': device.device_id,
            'numa_node': device.numa_node,
            'driver': device.driver,
        }
        if isinstance(device, models.Gpu):
            shown['framework'] = device.framework.value
            shown['total_vfs'] = device.total_vfs
            shown['vfs'] = [vf.address for vf in device.vfs]
            existing = [m for d in device.devices for m in d.mdevs]
        else:
            existing = list(device.mdevs)
        if isinstance(device, models.VirtualFunction):
            shown['physical_function'] = device.physical_function
            shown['current_type'] = device.current_type
            shown['parameters'] = device.parameters
        shown['types'] = {
            t.id: t.available for t in device.offered_types.values()
        }
        shown['mdevs'] = [m.uuid for m in existing]
        return tuple(shown), cells(shown.values())


class TypeList(Lister):
    """List the vGPU types that this host offers.

    The available number is the sum over the GPUs that offer the type, if
    nothing else is made on them.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the filter."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            '--gpu',
            metavar='ADDRESS',
            help='only the types of this GPU or virtual function',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Any:
        """Read the host and sum up its types."""
        snapshot = self.app.host.observe()
        devices: Sequence[models.VgpuDevice] = snapshot.gpus
        if parsed_args.gpu:
            devices = [mdevs.find_device(snapshot, parsed_args.gpu)]
        offers = [device.offered_types for device in devices]
        offered_types = models.sum_types(
            t for offered in offers for t in offered.values()
        )
        columns = (
            'type',
            'name',
            'product',
            'series',
            'frame_buffer_mib',
            'heads',
            'resolution',
            'maximum',
            'available',
            'gpus',
        )
        return columns, (
            cells(
                (
                    t.id,
                    t.name,
                    t.product,
                    t.series,
                    t.frame_buffer_mib,
                    t.heads,
                    t.resolution,
                    t.maximum,
                    t.available,
                    sum(t.id in offered for offered in offers),
                )
            )
            for t in offered_types.values()
        )
