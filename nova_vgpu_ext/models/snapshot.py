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
"""A host as it was read, with what could not be read."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator

from nova_vgpu_ext.models.devices import (
    Framework,
    Gpu,
    Mdev,
    PciDevice,
    VgpuDevice,
)

#: Files of sysfs that list devices, or that belong to one mdev.
_LISTS = re.compile(r'/(bus/pci/devices|class/mdev_bus|bus/mdev/devices)\b')


@dataclasses.dataclass(frozen=True)
class ReadProblem:
    """A file that could not be used, and was therefore left out."""

    path: str
    #: What was found: ``permission denied``, ``'abc' is no number``.
    found: str
    #: What was expected there.
    expected: str
    #: Whether something that exists may be missing from the snapshot.
    hides: bool = False

    def __str__(self) -> str:
        return f'{self.path}: found {self.found}, expected {self.expected}'


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A GPU host at one moment."""

    #: In the order of their addresses.
    gpus: tuple[Gpu, ...] = ()
    #: Every PCI function of the host by address, GPUs and VFs included.
    pci_devices: dict[str, PciDevice] = dataclasses.field(default_factory=dict)
    #: Paths below ``/sys/devices/virtual`` of one or two parts, joined with
    #: ``_``: what ``device_addresses`` may name beside PCI addresses.
    virtual_devices: frozenset[str] = frozenset()
    problems: tuple[ReadProblem, ...] = ()

    @property
    def devices(self) -> Iterator[VgpuDevice]:
        """Every GPU and VF, each GPU followed by its VFs."""
        for gpu in self.gpus:
            yield from gpu.devices

    @property
    def mdev_parents(self) -> Iterator[VgpuDevice]:
        """The devices on which mdevs can be made or exist."""
        for gpu in self.gpus:
            if gpu.framework is Framework.MDEV:
                yield from (d for d in gpu.devices if d.types or d.mdevs)

    @property
    def mdevs(self) -> Iterator[Mdev]:
        """Every mdev of the host."""
        for device in self.devices:
            yield from device.mdevs

    @property
    def is_whole(self) -> bool:
        """Whether every list of devices could be read."""
        return not any(
            p.hides and _LISTS.search(p.path) for p in self.problems
        )

    def is_doubtful(self, device: VgpuDevice) -> bool:
        """Tell whether something of a device could not be read."""
        path = device.address.replace('_', '/')
        return any(
            p.hides and (f'/{path}/' in f'{p.path}/') for p in self.problems
        )

    def device(self, address: str) -> VgpuDevice | None:
        """Find a GPU or VF by its address."""
        return next((d for d in self.devices if d.address == address), None)
