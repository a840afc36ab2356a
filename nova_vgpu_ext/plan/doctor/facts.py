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
"""What the checks are given, and what they give back."""

from __future__ import annotations

import dataclasses
import enum
from typing import TypeVar

from nova_vgpu_ext.models import (
    DevicesConfig,
    Finding,
    Folder,
    Framework,
    Hypervisor,
    Snapshot,
    System,
    Unknown,
    Usage,
)

T = TypeVar('T')


class Status(enum.Enum):
    """How a check ended."""

    OK = 'ok'
    WARNING = 'warning'
    ERROR = 'error'
    #: It could not be made.
    UNKNOWN = 'unknown'


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What one check says."""

    status: Status
    found: str
    remedy: str = ''


@dataclasses.dataclass(frozen=True)
class Result:
    """One row."""

    check: str
    status: Status
    found: str
    expected: str
    remedy: str


class NotKnown(Exception):
    """A check lacks what it needs.

    :param unknown: why.
    :param status: what that means for the check.
    """

    def __init__(self, unknown: Unknown, status: Status) -> None:
        self.unknown = unknown
        self.status = status
        super().__init__(unknown.found)


@dataclasses.dataclass(frozen=True)
class Settings:
    """What ``[vgpu]`` says, as far as checks need it."""

    vf_types: tuple[str, ...] = ()
    #: In seconds.
    orphan_grace: float = 3600
    mdevctl_path: str = '/etc/mdevctl.d'
    state_path: str = '/var/lib/nova-vgpu-ext'


@dataclasses.dataclass(frozen=True)
class LiveMigration:
    """What ``[libvirt]`` says of live migration; Nova's defaults."""

    #: In milliseconds.
    downtime: int = 500
    downtime_steps: int = 10
    #: In seconds.
    downtime_delay: int = 75
    permit_post_copy: bool = False


@dataclasses.dataclass(frozen=True)
class PlacementView:
    """What a report would do now."""

    #: GPU providers and the compute node's own.
    providers: int
    #: What it would write, a line each.
    changes: tuple[str, ...] = ()
    #: What it found, the configuration's findings included.
    findings: tuple[Finding, ...] = ()


@dataclasses.dataclass(frozen=True)
class Facts:
    """All that is known of a host."""

    snapshot: Snapshot | Unknown
    config: DevicesConfig | Unknown
    settings: Settings | Unknown
    live_migration: LiveMigration | Unknown
    usage: Usage | Unknown
    state: Folder | Unknown
    #: How many entries there are.
    ledger: int | Unknown
    placement: PlacementView | Unknown
    hypervisor: Hypervisor | Unknown
    #: None for a simulated host: this machine is not it.
    system: System | None = None
    #: Whether processes of other users can be looked into.
    sees_processes: bool = True

    @property
    def machine(self) -> System:
        """The machine.

        :raises NotKnown: the host is simulated.
        """
        if self.system is None:
            raise unknown('a simulated host', 'look at a real one')
        return self.system

    @property
    def has_simulator(self) -> bool:
        """Whether the devices are those of ``devstack/vgpu_sim``."""
        modules = self.system.modules if self.system else None
        return isinstance(modules, frozenset) and SIMULATOR in modules


#: The kernel module that stands in for NVIDIA's.
SIMULATOR = 'vgpu_sim'


def ok(found: str) -> Verdict:
    """Say that all is well."""
    return Verdict(Status.OK, found)


def warning(found: str, remedy: str) -> Verdict:
    """Say that it works, with a consequence worth knowing."""
    return Verdict(Status.WARNING, found, remedy)


def error(found: str, remedy: str) -> Verdict:
    """Say that something does not work."""
    return Verdict(Status.ERROR, found, remedy)


def unknown(found: str, remedy: str) -> NotKnown:
    """Make the exception of a check that cannot be made."""
    return NotKnown(Unknown(found, remedy), Status.UNKNOWN)


def known(value: T | Unknown, is_own: bool = False) -> T:
    """Give a fact.

    :param is_own: whether the check is the one that reports it if the fact
        is missing by a fault; to every other check it is just not known.
    :raises NotKnown: it is missing.
    """
    if isinstance(value, Unknown):
        is_error = is_own and value.is_fault
        raise NotKnown(value, Status.ERROR if is_error else Status.UNKNOWN)
    return value


def frameworks(snapshot: Snapshot) -> set[Framework]:
    """Name the frameworks of a host's GPUs."""
    return {gpu.framework for gpu in snapshot.gpus}


def has_cards(snapshot: Snapshot) -> bool:
    """Tell whether there is a GPU on the PCI bus."""
    return any(gpu.vendor_id is not None for gpu in snapshot.gpus)


def count(number: int, noun: str) -> str:
    """Write a number of things."""
    return f'{number} {noun}' if number == 1 else f'{number} {noun}s'
