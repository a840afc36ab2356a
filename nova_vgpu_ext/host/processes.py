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
"""Processes that hold mediated devices or virtual functions open.

A user of vfio opens ``/dev/vfio/<group>``, or ``/dev/vfio/devices/vfio<N>``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

_VFIO = '/dev/vfio/'
_CDEV = re.compile(r'vfio[0-9]+', re.ASCII)


def holders(
    sysfs_root: str, paths: Mapping[str, str], proc: str = '/proc'
) -> dict[str, tuple[str, ...]]:
    """Find who holds devices open.

    :param sysfs_root: where sysfs is.
    :param paths: by the name of a device, its folder below the root.
    :param proc: where the processes are listed; those that this user may
        not look into are not found.
    :returns: by name, processes as ``qemu-system-x86 (4711)``; nothing for a
        device that nobody holds.
    """
    # Functions that share a group share its node as well.
    nodes: dict[str, list[str]] = {}
    for name, path in paths.items():
        for node in _nodes(os.path.join(sysfs_root, path)):
            nodes.setdefault(node, []).append(name)
    found: dict[str, list[str]] = {}
    if nodes:
        for pid, target in _open_files(proc):
            for name in nodes.get(target, ()):
                process = f'{_command(proc, pid)} ({pid})'
                if process not in found.setdefault(name, []):
                    found[name].append(process)
    return {name: tuple(processes) for name, processes in found.items()}


def _nodes(device: str) -> Iterable[str]:
    try:
        group = os.readlink(os.path.join(device, 'iommu_group'))
        yield _VFIO + os.path.basename(group)
    except OSError:
        pass  # Without a group nobody can open it this way.
    try:
        for name in os.listdir(os.path.join(device, 'vfio-dev')):
            if _CDEV.fullmatch(name):
                yield f'{_VFIO}devices/{name}'
    except OSError:
        pass  # Linux before 6.6.


def _open_files(proc: str) -> Iterable[tuple[str, str]]:
    for pid in os.listdir(proc):
        if not pid.isdigit():
            continue
        folder = f'{proc}/{pid}/fd'
        try:
            handles = os.listdir(folder)
        except OSError:
            continue
        for handle in handles:
            try:
                target = os.readlink(f'{folder}/{handle}')
            except OSError:
                continue
            if target.startswith(_VFIO):
                # A node may go, as from a guest's own /dev, and stay open.
                yield pid, target.removesuffix(' (deleted)')


def _command(proc: str, pid: str) -> str:
    try:
        with open(f'{proc}/{pid}/comm', encoding='utf-8') as stream:
            return stream.read().strip()
    except (OSError, UnicodeDecodeError):
        return 'a process'
