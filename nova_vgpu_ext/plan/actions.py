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
"""The steps that change a host; each prints as one line."""

from __future__ import annotations

import dataclasses

from nova_vgpu_ext.models import Finding, MdevDefinition


@dataclasses.dataclass(frozen=True)
class CreateMdev:
    """Make a mediated device."""

    uuid: str
    parent: str
    type_id: str

    def __str__(self) -> str:
        return f'create mdev {self.uuid} of {self.type_id} on {self.parent}'


@dataclasses.dataclass(frozen=True)
class RemoveMdev:
    """Remove a mediated device that nothing uses."""

    uuid: str
    parent: str
    type_id: str | None

    def __str__(self) -> str:
        return f'remove mdev {self.uuid} of {self.type_id} on {self.parent}'


@dataclasses.dataclass(frozen=True)
class DefineMdev:
    """Make a mediated device persistent."""

    definition: MdevDefinition

    def __str__(self) -> str:
        return (
            f'define persistent mdev {self.definition.uuid} of '
            f'{self.definition.type_id} on {self.definition.parent}'
        )


@dataclasses.dataclass(frozen=True)
class UndefineMdev:
    """Make a mediated device no longer persistent; a copy is put aside."""

    definition: MdevDefinition
    reason: str

    def __str__(self) -> str:
        return (
            f'put aside persistent mdev {self.definition.uuid} of '
            f'{self.definition.type_id} on {self.definition.parent}: '
            f'{self.reason}'
        )


@dataclasses.dataclass(frozen=True)
class EnableVfs:
    """Enable the virtual functions of a GPU, through sriov-manage."""

    gpu: str

    def __str__(self) -> str:
        return f'enable virtual functions of {self.gpu}'


@dataclasses.dataclass(frozen=True)
class SetVendorType:
    """Set the vGPU type of a VF with vendor-specific VFIO."""

    vf: str
    type_id: str

    def __str__(self) -> str:
        return f'set vGPU type {self.type_id} on {self.vf}'


@dataclasses.dataclass(frozen=True)
class ClearVendorType:
    """Take the vGPU type of a VF with vendor-specific VFIO away."""

    vf: str
    type_id: str

    def __str__(self) -> str:
        return f'clear vGPU type {self.type_id} of {self.vf}'


@dataclasses.dataclass(frozen=True)
class SetParameters:
    """Replace the plugin parameters of an mdev or VF."""

    #: The UUID of an mdev or the address of a VF.
    name: str
    #: As ``key=value`` with commas; empty clears them.
    parameters: str

    def __str__(self) -> str:
        if not self.parameters:
            return f'clear parameters of {self.name}'
        return f'set parameters of {self.name}: {self.parameters}'


Action = (
    CreateMdev
    | RemoveMdev
    | DefineMdev
    | UndefineMdev
    | EnableVfs
    | SetVendorType
    | ClearVendorType
    | SetParameters
)


@dataclasses.dataclass(frozen=True)
class HostPlan:
    """What to do on a host, in order, and what stands in the way."""

    actions: tuple[Action, ...] = ()
    findings: tuple[Finding, ...] = ()
