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
"""What ``--heal`` does about a finding: each repair is one write.

A repair carries what it was planned on, so that it fails instead of taking
away what has changed meanwhile.
"""

from __future__ import annotations

import dataclasses
from typing import TypeAlias

from nova_vgpu_ext.models import CloudGpu, Consumer


@dataclasses.dataclass(frozen=True)
class Release:
    """Delete everything that a consumer has allocated."""

    #: As it was read; its generation decides.
    consumer: Consumer
    #: Whether a server that exists loses it.
    of_server: bool = False

    def __str__(self) -> str:
        return f'delete all allocations of {self.consumer.uuid}'


@dataclasses.dataclass(frozen=True)
class LeaveHost:
    """Delete what a server has allocated on a host that it is not on."""

    #: As it was read; its generation decides.
    consumer: Consumer
    host: str
    host_uuid: str
    of_server: bool = True

    def __str__(self) -> str:
        return f'delete the allocations of {self.consumer.uuid} on {self.host}'


@dataclasses.dataclass(frozen=True)
class DeleteProvider:
    """Delete the provider of a GPU on which nothing is allocated."""

    #: As it was read; its generation decides.
    gpu: CloudGpu
    of_server: bool = False

    def __str__(self) -> str:
        return f'delete provider {self.gpu.name}'


@dataclasses.dataclass(frozen=True)
class SetTraits:
    """Add and remove traits of this project on a provider."""

    uuid: str
    name: str
    #: Those that were planned on.
    before: frozenset[str]
    add: frozenset[str] = frozenset()
    remove: frozenset[str] = frozenset()
    of_server: bool = False

    @property
    def after(self) -> frozenset[str]:
        """All traits that the provider will have."""
        return (self.before | self.add) - self.remove

    def __str__(self) -> str:
        parts = []
        if self.add:
            parts.append(f'add {", ".join(sorted(self.add))}')
        if self.remove:
            parts.append(f'remove {", ".join(sorted(self.remove))}')
        return f'set traits of {self.name}: {"; ".join(parts)}'


Repair: TypeAlias = Release | LeaveHost | DeleteProvider | SetTraits
