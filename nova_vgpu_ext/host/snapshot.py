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
"""Observe a host: everything that sysfs tells of GPUs, once, as plain data."""

from __future__ import annotations

import logging
import re
from typing import Any

from nova_vgpu_ext import exception, models
from nova_vgpu_ext.host import catalog as catalogs
from nova_vgpu_ext.host import sysfs as files
from nova_vgpu_ext.host.backends import base

LOG = logging.getLogger(__name__)

_PCI = 'bus/pci/devices'
_VIRTUAL = 'devices/virtual'
_PCI_ID = re.compile(r'([0-9A-Fa-f]{4}):([0-9A-Fa-f]{4})')
_CLASS = re.compile(r'[0-9A-Fa-f]{1,6}')


def observe(sysfs_root: str, catalog: str | None) -> models.Snapshot:
    """Read a host.

    :param sysfs_root: ``/sys``, or the directory of a simulated host.
    :param catalog: the driver's ``vgpuConfig.xml``, if it shall be used; it
        may be absent.
    :raises exception.HostError: if there is no PCI bus below the root.
    """
    return observe_sysfs(files.Sysfs(sysfs_root), catalog)


def observe_sysfs(sysfs: files.Sysfs, catalog: str | None) -> models.Snapshot:
    """Read a host through a given :class:`~nova_vgpu_ext.host.sysfs.Sysfs`.

    :param sysfs: the boundary to the files.
    :param catalog: as of :func:`observe`.
    """
    pci = {}
    for address in sysfs.names(_PCI):
        device = _pci_device(sysfs, address)
        if device is not None:
            pci[address] = device
    physfns = {}
    for device in pci.values():
        if device.is_display:
            name = sysfs.link_name(f'{_PCI}/{device.address}/physfn')
            if name is not None:
                physfns[device.address] = name
    host = base.Host(
        sysfs, pci, physfns, catalogs.Catalog(catalog, sysfs.note)
    )
    gpus = _Gpus(host).gpus()
    virtual = frozenset(_virtual_devices(sysfs))
    return models.Snapshot(
        gpus=gpus,
        pci_devices=pci,
        virtual_devices=virtual,
        problems=sysfs.problems,
    )


def _pci_device(sysfs: files.Sysfs, address: str) -> models.PciDevice | None:
    """Read one function; one file where the kernel is as it should be."""
    if not models.PCI_ADDRESS.fullmatch(address):
        return None
    path = f'{_PCI}/{address}'
    text = sysfs.text(f'{path}/uevent')
    lines = (line.partition('=') for line in (text or '').splitlines())
    said = {key: value for key, _, value in lines}
    driver = said.get('DRIVER') or (
        sysfs.link_name(f'{path}/driver') if text is None else None
    )
    ids = _PCI_ID.fullmatch(said.get('PCI_ID', ''))
    class_id: str | None = said.get('PCI_CLASS', '')
    if ids is not None and _CLASS.fullmatch(class_id or ''):
        vendor: str | None = ids[1]
        device: str | None = ids[2]
    else:
        vendor = _id(sysfs, f'{path}/vendor', 4)
        device = _id(sysfs, f'{path}/device', 4)
        class_id = _id(sysfs, f'{path}/class', 6)
    if vendor is None or device is None or class_id is None:
        return None
    return models.PciDevice(
        address=address,
        vendor_id=vendor.lower(),
        device_id=device.lower(),
        class_id=class_id.lower().zfill(6),
        driver=driver,
    )


def _id(sysfs: files.Sysfs, path: str, size: int) -> str | None:
    text = sysfs.text(path)
    if text is None:
        return None
    match = re.fullmatch(f'0x([0-9A-Fa-f]{{{size}}})', text)
    if match is None:
        sysfs.note(path, repr(text[:40]), f'0x and {size} hex digits')
        return None
    return match[1]


def _virtual_devices(sysfs: files.Sysfs) -> list[str]:
    """Name what is one or two levels below ``devices/virtual``."""
    found = []
    for name in sysfs.names(_VIRTUAL):
        found.append(name)
        found += [
            f'{name}_{below}' for below in sysfs.names(f'{_VIRTUAL}/{name}')
        ]
    return found


def _backends(host: base.Host) -> list[base.Backend]:
    # Loading plugins is slow, and most of the program needs none.
    from stevedore import extension

    manager: Any = extension.ExtensionManager(
        base.NAMESPACE,
        invoke_on_load=True,
        invoke_args=(host,),
        on_load_failure_callback=_failed,
    )
    found = sorted(manager, key=lambda e: str(e.name))
    if not found:
        raise _broken('no backend')
    return [e.obj for e in found]


def _failed(_manager: object, entry_point: object, error: object) -> None:
    raise _broken(f'{entry_point}, which fails: {error}')


def _broken(found: str) -> exception.HostError:
    # A host read without a backend would look like one without vGPUs.
    return exception.HostError(
        f'entry points {base.NAMESPACE}',
        found,
        'the backends of nova-vgpu-ext',
        'install the package again, or repair the plugin',
    )


class _Gpus:
    """Puts what the backends say of single devices together to GPUs."""

    def __init__(self, host: base.Host) -> None:
        self.host = host
        self.offers: dict[str, base.Offer] = {}
        self.frameworks: dict[str, models.Framework] = {}
        self.vfs: dict[str, set[str]] = {}

    def gpus(self) -> tuple[models.Gpu, ...]:
        for vf, physfn in self.host.physical_functions.items():
            self.vfs.setdefault(physfn, set()).add(vf)
        for backend in _backends(self.host):
            for address, offer in backend.offers().items():
                self._take(backend.framework, address, offer)
        for device in self.host.pci_devices.values():
            if (
                device.is_display
                and device.vendor_id == models.NVIDIA_VENDOR_ID
                and device.address not in self.host.physical_functions
            ):
                self.frameworks.setdefault(
                    device.address, models.Framework.NONE
                )
        return tuple(
            self._gpu(address, framework)
            for address, framework in sorted(self.frameworks.items())
            if address in self.host.pci_devices
            or not models.PCI_ADDRESS.fullmatch(address)
        )

    def _take(
        self, framework: models.Framework, address: str, offer: base.Offer
    ) -> None:
        gpu = offer.physical_function or address
        if self.frameworks.setdefault(gpu, framework) is not framework:
            LOG.warning('%s has two frameworks; %s not used', gpu, framework)
            return
        self.offers[address] = offer
        if offer.physical_function is not None:
            self.vfs.setdefault(gpu, set()).add(address)

    def _numa_node(self, address: str) -> int | None:
        if address not in self.host.pci_devices:
            return None
        path = f'{self.host.directory(address)}/numa_node'
        node = self.host.sysfs.number(path, minimum=-1)
        return None if node == -1 else node

    def _gpu(self, address: str, framework: models.Framework) -> models.Gpu:
        offer = self.offers.get(address, base.Offer())
        pci = self.host.pci_devices.get(address)
        total = None
        if pci is not None:
            total = self.host.sysfs.number(
                f'{self.host.directory(address)}/sriov_totalvfs'
            )
        return models.Gpu(
            address=address,
            vendor_id=pci.vendor_id if pci else None,
            device_id=pci.device_id if pci else None,
            numa_node=self._numa_node(address),
            driver=pci.driver if pci else None,
            types=offer.types,
            mdevs=offer.mdevs,
            framework=framework,
            vfs=tuple(
                self._vf(vf, address)
                for vf in sorted(self.vfs.get(address, ()))
                if vf in self.host.pci_devices
            ),
            total_vfs=total or 0,
        )

    def _vf(self, address: str, physfn: str) -> models.VirtualFunction:
        offer = self.offers.get(address, base.Offer())
        pci = self.host.pci_devices[address]
        return models.VirtualFunction(
            address=address,
            vendor_id=pci.vendor_id,
            device_id=pci.device_id,
            numa_node=self._numa_node(address),
            driver=pci.driver,
            types=offer.types,
            mdevs=offer.mdevs,
            physical_function=physfn,
            current_type=offer.current_type,
            parameters=offer.parameters,
        )
