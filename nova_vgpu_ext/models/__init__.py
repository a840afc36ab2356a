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
"""The vocabulary that every layer shares: hosts and clouds, as plain data.

Everything here is immutable and free of I/O. A device is named by its
*address*: a PCI address as the kernel writes it (``0000:1a:00.0``), or, for a
parent below ``/sys/devices/virtual``, its libvirt name (``mtty_mtty``), which
is also how ``[mdev_<type>] device_addresses`` spells both.
"""

from __future__ import annotations

from nova_vgpu_ext.models.cloud import (
    Capacity,
    CloudGpu,
    CloudHost,
    ComputeNode,
    Consumer,
    Flavor,
    Migration,
    Server,
)
from nova_vgpu_ext.models.config import (
    DevicesConfig,
    Finding,
    Severity,
    TypeConfig,
)
from nova_vgpu_ext.models.devices import (
    NVIDIA_VENDOR_ID,
    PCI_ADDRESS,
    Framework,
    Gpu,
    Mdev,
    PciDevice,
    VgpuDevice,
    VgpuType,
    VirtualFunction,
    libvirt_name,
    sum_types,
)
from nova_vgpu_ext.models.providers import (
    DesiredProvider,
    InventoryRecord,
    ReportedProvider,
)
from nova_vgpu_ext.models.snapshot import (
    ReadProblem,
    Snapshot,
)
from nova_vgpu_ext.models.system import (
    Folder,
    Hook,
    Hypervisor,
    Libvirtd,
    Mount,
    Service,
    System,
    Unknown,
    Version,
)
from nova_vgpu_ext.models.usage import (
    Domain,
    LedgerEntry,
    MdevDefinition,
    Usage,
)

__all__ = [
    'NVIDIA_VENDOR_ID',
    'PCI_ADDRESS',
    'Capacity',
    'CloudGpu',
    'CloudHost',
    'ComputeNode',
    'Consumer',
    'DesiredProvider',
    'DevicesConfig',
    'Domain',
    'Finding',
    'Flavor',
    'Folder',
    'Framework',
    'Gpu',
    'Hook',
    'Hypervisor',
    'InventoryRecord',
    'LedgerEntry',
    'Libvirtd',
    'Mdev',
    'MdevDefinition',
    'Migration',
    'Mount',
    'PciDevice',
    'ReadProblem',
    'ReportedProvider',
    'Server',
    'Service',
    'Severity',
    'Snapshot',
    'System',
    'TypeConfig',
    'Unknown',
    'Usage',
    'Version',
    'VgpuDevice',
    'VgpuType',
    'VirtualFunction',
    'libvirt_name',
    'sum_types',
]
