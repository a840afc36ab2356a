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
"""A compute host beside its GPUs: kernel, services, libvirt, containers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TypeAlias

#: As the three numbers of libvirt and QEMU.
Version: TypeAlias = tuple[int, int, int]


@dataclasses.dataclass(frozen=True)
class Unknown:
    """Something that could not be found out, and why."""

    found: str
    remedy: str
    #: Whether that is a fault by itself, and not only out of sight.
    is_fault: bool = False


@dataclasses.dataclass(frozen=True)
class Service:
    """A unit of systemd, in systemd's words."""

    #: ``loaded``, ``not-found``, ``masked`` ...
    load_state: str
    #: ``active``, ``inactive``, ``failed`` ...
    active_state: str
    #: How it ended: ``success``, ``exit-code`` ...
    result: str
    #: ``enabled``, ``disabled`` ...; empty if there is no file.
    file_state: str

    @property
    def is_installed(self) -> bool:
        """Whether there is such a unit."""
        return self.load_state != 'not-found'

    def __str__(self) -> str:
        if self.load_state != 'loaded':
            return self.load_state
        if self.result not in ('', 'success'):
            return f'{self.active_state} ({self.result})'
        return self.active_state


@dataclasses.dataclass(frozen=True)
class Mount:
    """A file system where a process sees it."""

    path: str
    #: ``ext4``, ``overlay``, ``tmpfs`` ...
    kind: str
    is_writable: bool


@dataclasses.dataclass(frozen=True)
class Libvirtd:
    """The process of libvirt that starts guests."""

    name: str
    pid: int
    #: In seconds since the epoch.
    started: float
    #: What it sees, if that is not what this program sees; else None.
    mounts: tuple[Mount, ...] | Unknown | None = None


@dataclasses.dataclass(frozen=True)
class Hypervisor:
    """The versions that libvirt tells."""

    libvirt: Version
    qemu: Version


@dataclasses.dataclass(frozen=True)
class Hook:
    """This project's hook of libvirt."""

    path: str
    #: As ``nova-vgpu hook status`` says it: ``yes``, ``no``, ``outdated``,
    #: ``newer`` or ``foreign``.
    state: str
    #: When the file came to be as it is, in seconds since the epoch.
    changed: float | None = None
    #: Whether libvirt's process sees the file; None if that is the same.
    is_visible: bool | None = None


@dataclasses.dataclass(frozen=True)
class Folder:
    """A folder of this project."""

    path: str
    #: Whether there is anything at the path.
    exists: bool
    is_folder: bool = True
    #: The permissions.
    mode: int = 0o700
    #: Whether files can be made in it, or it can be made.
    is_writable: bool = True


@dataclasses.dataclass(frozen=True)
class System:
    """What a machine says of itself, outside of its devices."""

    #: The release, as ``6.1.0-42-amd64``.
    kernel: str | Unknown
    command_line: str | Unknown
    has_iommu_groups: bool | Unknown
    #: Loaded, or built in.
    modules: frozenset[str] | Unknown
    #: The version of the loaded module nvidia.
    driver: str | Unknown | None
    #: Where the driver's list of types is; None if there is none.
    catalog: str | Unknown | None
    #: By name.
    services: Mapping[str, Service] | Unknown
    #: Where libvirt finds the program; None if it does not.
    mdevctl: str | Unknown | None
    #: Where udev's rule for mdevctl is; None if there is none.
    mdevctl_rule: str | Unknown | None
    libvirtd: Libvirtd | Unknown | None
    hook: Hook | Unknown
    is_container: bool
    #: What this program sees.
    mounts: tuple[Mount, ...] | Unknown
