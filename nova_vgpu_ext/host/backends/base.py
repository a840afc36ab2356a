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
"""What a kernel interface for vGPUs has to tell of a host.

A backend is a class in the entry point namespace
``nova_vgpu_ext.host.backends``. It is made once per observation and asked
once.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from typing import ClassVar

from nova_vgpu_ext import models
from nova_vgpu_ext.host import catalog, sysfs

NAMESPACE = 'nova_vgpu_ext.host.backends'


@dataclasses.dataclass(frozen=True)
class Host:
    """What every backend may read."""

    sysfs: sysfs.Sysfs
    #: Every PCI function by address.
    pci_devices: Mapping[str, models.PciDevice]
    #: The physical function of each VF among the display controllers.
    physical_functions: Mapping[str, str]
    catalog: catalog.Catalog

    def directory(self, address: str) -> str:
        """Where a PCI function is below the root of sysfs."""
        return f'bus/pci/devices/{address}'


@dataclasses.dataclass(frozen=True)
class Offer:
    """What one device offers and holds."""

    types: tuple[models.VgpuType, ...] = ()
    mdevs: tuple[models.Mdev, ...] = ()
    #: Vendor-specific VFIO.
    current_type: str | None = None
    parameters: str | None = None
    #: The physical function, where the device is a VF.
    physical_function: str | None = None


class Backend(abc.ABC):
    """One kernel interface."""

    framework: ClassVar[models.Framework]

    def __init__(self, host: Host) -> None:
        self.host = host

    @abc.abstractmethod
    def offers(self) -> dict[str, Offer]:
        """Give each device that this interface serves, by its address."""


def type_order(type_id: str) -> tuple[str, int, str]:
    """Sort type ids by their number: nvidia-99 before nvidia-194."""
    prefix = type_id.rstrip('0123456789')
    return prefix, int(type_id[len(prefix) :] or 0), type_id
