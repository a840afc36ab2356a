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
"""Who uses a host's mdevs and VFs, as far as the host itself knows."""

from __future__ import annotations

import os
import time

from nova_vgpu_ext.host import ledger, libvirt, mdevctl, processes
from nova_vgpu_ext.models import Framework, Snapshot, Usage


def observe(
    snapshot: Snapshot,
    sysfs_root: str,
    libvirt_uri: str,
    definitions: mdevctl.Mdevctl,
    entries: ledger.Ledger,
    has_domains: bool = True,
) -> Usage:
    """Ask everything on this host that knows of users.

    :param libvirt_uri: empty if libvirt is not asked.
    :param has_domains: whether all domains are known then.
    :raises LibvirtError: libvirt cannot be asked.
    :raises HostError: the ledger cannot be used.
    """
    paths = device_paths(snapshot)
    return Usage(
        domains=libvirt.domains(libvirt_uri) if libvirt_uri else (),
        has_domains=has_domains,
        holders=processes.holders(sysfs_root, paths),
        definitions=definitions.read(),
        ledger=entries.read(),
        ages=_ages(snapshot, sysfs_root),
    )


def device_paths(snapshot: Snapshot) -> dict[str, str]:
    """Give the folders of what can be held open, by name."""
    paths = {mdev.uuid: mdev_path(mdev.uuid) for mdev in snapshot.mdevs}
    for gpu in snapshot.gpus:
        if gpu.framework is Framework.VENDOR_VFIO:
            paths |= {vf.address: pci_path(vf.address) for vf in gpu.vfs}
    return paths


def mdev_path(uuid: str) -> str:
    """Give the folder of an mdev below the root of sysfs."""
    return f'bus/mdev/devices/{uuid}'


def pci_path(address: str) -> str:
    """Give the folder of a PCI function below the root of sysfs."""
    return f'bus/pci/devices/{address}'


def iommu_group(sysfs_root: str, uuid: str) -> str | None:
    """Give the number of an mdev's IOMMU group, None without one."""
    try:
        link = os.readlink(
            os.path.join(sysfs_root, mdev_path(uuid), 'iommu_group')
        )
    except OSError:
        return None
    return os.path.basename(link)


def _ages(snapshot: Snapshot, sysfs_root: str) -> dict[str, float]:
    """Tell how old mdevs are, at least.

    sysfs dates a folder when it is first looked at, which udev does at once;
    under memory pressure the kernel may date it anew.
    """
    now = time.time()
    ages = {}
    for mdev in snapshot.mdevs:
        path = os.path.join(sysfs_root, mdev_path(mdev.uuid), '')
        try:
            ages[mdev.uuid] = now - os.stat(path).st_mtime
        except OSError:
            continue
    return ages
