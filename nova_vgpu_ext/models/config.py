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
"""What nova.conf says of vGPUs, and what is wrong with it or the host."""

from __future__ import annotations

import dataclasses
import enum


class Severity(enum.Enum):
    """What a finding means for the host."""

    #: nova-compute does not start, or cannot report this host at all.
    FATAL = 'fatal'
    #: Nova starts, but a part of the configuration does not do what it says.
    ERROR = 'error'
    #: It works, with a consequence worth knowing.
    WARNING = 'warning'


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that is wrong with the configuration or the host."""

    severity: Severity
    #: The option as nova.conf spells it, or the file.
    option: str
    found: str
    expected: str
    remedy: str

    def __str__(self) -> str:
        return (
            f'{self.severity.value}: {self.option}: found {self.found}, '
            f'expected {self.expected}; {self.remedy}'
        )


@dataclasses.dataclass(frozen=True)
class TypeConfig:
    """The section of one type in nova.conf."""

    id: str
    #: As they are written, with repetitions.
    device_addresses: tuple[str, ...] = ()
    mdev_class: str = 'VGPU'
    max_instances: int | None = None


@dataclasses.dataclass(frozen=True)
class DevicesConfig:
    """What nova.conf says of vGPUs."""

    #: In the order of ``enabled_mdev_types``, with repetitions.
    types: tuple[TypeConfig, ...] = ()
    #: ``mdev_*`` and ``vgpu_*`` sections of types that are not enabled.
    unused_sections: tuple[str, ...] = ()
    #: Options below ``[vgpu_<type>]`` that Nova does not read from there, as
    #: ``[vgpu_nvidia-35] mdev_class``.
    ignored_options: tuple[str, ...] = ()
    #: Values that the option's own type refuses.
    invalid: tuple[Finding, ...] = ()
    #: ``[compute] resource_provider_association_refresh`` in seconds.
    association_refresh: int = 300
    #: ``[pci] report_in_placement``.
    pci_in_placement: bool = False
