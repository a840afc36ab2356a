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
"""The cloud that the benchmark fills: which hosts, GPUs and servers.

Ten hosts of the same GPUs, with three types, are repeated. A host has twenty
servers, on full, half empty and empty GPUs.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

#: How many servers each of a host's eight GPUs has.
LOADS = (4, 4, 4, 4, 2, 1, 1, 0)
GPUS = len(LOADS)
SERVERS = sum(LOADS)

#: What a compute node offers beside its GPUs, and each server takes of it.
NODE = {'VCPU': 256, 'MEMORY_MB': 2_000_000, 'DISK_GB': 20_000}
SERVER = {'VCPU': 4, 'MEMORY_MB': 8192, 'DISK_GB': 80}

#: By the type, how many of ten hosts offer it.
_TYPES = {'nvidia-194': 6, 'nvidia-195': 3, 'nvidia-197': 1}
TYPES = tuple(_TYPES)
#: What one host of ten offers.
RARE = TYPES[-1]
_TEN = [name for name, share in _TYPES.items() for _ in range(share)]


@dataclasses.dataclass(frozen=True)
class Host:
    """A compute node with GPUs.

    ``uuid`` is that of the node and of its provider.
    """

    name: str
    uuid: str
    #: What its GPUs offer.
    type_id: str
    #: The UUIDs of its servers.
    servers: tuple[str, ...]


def hosts(number: int) -> list[Host]:
    """Make up some hosts, with new UUIDs.

    :param number: how many; at least 10.
    """
    return [
        Host(
            name=f'gpu{n:04}.example.org',
            uuid=str(uuid.uuid4()),
            type_id=_TEN[n % len(_TEN)],
            servers=tuple(str(uuid.uuid4()) for _ in range(SERVERS)),
        )
        for n in range(number)
    ]


def by_type(some: Sequence[Host]) -> dict[str, list[Host]]:
    """Sort hosts by what their GPUs offer, in order."""
    return {
        type_id: [host for host in some if host.type_id == type_id]
        for type_id in TYPES
    }


def to_json(some: Sequence[Host]) -> list[dict[str, Any]]:
    """Give hosts as what can be written as JSON."""
    return [dataclasses.asdict(host) for host in some]


def from_json(data: Sequence[Mapping[str, Any]]) -> list[Host]:
    """Read what :func:`to_json` gave."""
    return [Host(**{**h, 'servers': tuple(h['servers'])}) for h in data]
