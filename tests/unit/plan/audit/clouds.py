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
"""Small clouds for the tests of audits."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nova_vgpu_ext import models
from nova_vgpu_ext.plan import audit

HERE = 'gpu01.example.org'
THERE = 'gpu02.example.org'
NODES = {HERE: f'uuid-{HERE}', THERE: f'uuid-{THERE}'}

TYPE_194 = frozenset(
    {
        'CUSTOM_NVIDIA_194',
        'CUSTOM_VGPU_V100DX_1Q',
        'CUSTOM_VGPU_SERIES_Q',
        'CUSTOM_VGPU_FB_1024M',
    }
)
TYPE_196 = frozenset(
    {
        'CUSTOM_NVIDIA_196',
        'CUSTOM_VGPU_V100DX_4Q',
        'CUSTOM_VGPU_SERIES_Q',
        'CUSTOM_VGPU_FB_4096M',
    }
)
FOREIGN = frozenset({'OWNER_NOVA', 'CUSTOM_RACK_7'})

ONE_VGPU = {'resources:VGPU': '1'}
CPU = {'VCPU': 2, 'MEMORY_MB': 2048}


def gpu(
    number: int,
    capacities: Mapping[str, tuple[int, int]] | None = None,
    traits: Iterable[str] = TYPE_194 | FOREIGN,
    host: str = HERE,
    address: str | None = None,
    is_pci: bool = False,
) -> models.CloudGpu:
    """Make a GPU: by class the total and what is used."""
    address = address or f'0000:{number:02x}:00.0'
    capacities = {'VGPU': (32, 0)} if capacities is None else capacities
    return models.CloudGpu(
        uuid=f'{host}-gpu-{number}',
        name=f'{host}_pci_{address.replace(":", "_").replace(".", "_")}',
        generation=7,
        host=host,
        host_uuid=f'uuid-{host}',
        address=address,
        is_pci=is_pci,
        capacities={
            name: models.Capacity(total, used)
            for name, (total, used) in capacities.items()
        },
        traits=frozenset(traits),
    )


def host(
    *gpus: models.CloudGpu, name: str = HERE, **fields: Any
) -> models.CloudHost:
    """Make a compute node."""
    return models.CloudHost(
        uuid=f'uuid-{name}', name=name, gpus=gpus, **fields
    )


def server(
    uuid: str,
    node: str | None = HERE,
    status: str = 'ACTIVE',
    task_state: str | None = None,
    extra_specs: Mapping[str, str] | None = None,
) -> models.Server:
    """Make a server that asks for one vGPU."""
    return models.Server(
        uuid=uuid,
        name=f'the {uuid}',
        project_id='a-project',
        status=status,
        task_state=task_state,
        node=node,
        flavor='a-flavor',
        extra_specs=ONE_VGPU if extra_specs is None else extra_specs,
    )


def consumer(
    uuid: str, resources: Mapping[str, Mapping[str, int]]
) -> models.Consumer:
    """Make what somebody holds."""
    return models.Consumer(uuid, 3, 'a-project', 'a-user', resources)


def move(
    uuid: str,
    server_uuid: str,
    status: str,
    kind: str = 'migration',
    source: str = HERE,
    target: str = THERE,
) -> models.Migration:
    """Make a move."""
    return models.Migration(uuid, server_uuid, kind, status, source, target)


def holding(
    *gpus: models.CloudGpu, **amounts: Mapping[str, int]
) -> dict[str, dict[str, dict[str, int]]]:
    """Let the consumers that are named hold something of each GPU."""
    return {
        one.uuid: {c.replace('_', '-'): dict(n) for c, n in amounts.items()}
        for one in gpus
    }


def view(on: models.CloudHost, **fields: Any) -> audit.HostView:
    """Make what was read of a host; servers are given as a list."""
    servers: Sequence[models.Server] = fields.pop('servers', ())
    fields.setdefault('nodes', NODES)
    return audit.HostView(
        host=on, servers={s.uuid: s for s in servers}, **fields
    )


def looked(seen: audit.HostView, uuid: str, **fields: Any) -> audit.HostView:
    """Add that a consumer was looked at."""
    return dataclasses.replace(
        seen, suspects={**seen.suspects, uuid: audit.Suspect(**fields)}
    )


def lines(found: Iterable[audit.Finding]) -> list[str]:
    """Write findings as a test compares them."""
    return [
        f'{f.check} {f.severity.value} {f.object}: {f.repair}' for f in found
    ]
