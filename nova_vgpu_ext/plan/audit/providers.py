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
"""Providers of hosts and GPUs that are gone, or never were."""

from __future__ import annotations

from collections.abc import Iterator

from nova_vgpu_ext.models import CloudGpu, Severity
from nova_vgpu_ext.plan import gpus
from nova_vgpu_ext.plan.audit import census, repairs
from nova_vgpu_ext.plan.audit.findings import Finding, listed
from nova_vgpu_ext.plan.audit.view import HostView

#: What Nova marks its providers with.
_OF_NOVA = 'OWNER_NOVA'


def check(view: HostView) -> Iterator[Finding]:
    """Look for what is gone, or in the wrong place."""
    host = view.host
    if not view.in_nova:
        yield _gone_host(view)
    if gpus.VGPU in host.capacities:
        yield root_vgpu(host.name, host.uuid)
    for gpu in host.gpus:
        if not gpu.capacities:
            yield _empty(gpu)
        elif census.is_gone(gpu):
            yield _gone_gpu(view, gpu)


def root_vgpu(host: str, uuid: str) -> Finding:
    """Tell that a compute node's own provider offers vGPUs."""
    return Finding(
        'root-vgpu',
        Severity.ERROR,
        host,
        uuid,
        "VGPU on the compute node's own provider, as before Stein",
        'Nova moves it, allocations included: start nova-compute once with '
        'a type enabled',
    )


def _gone_host(view: HostView) -> Finding:
    host = view.host
    return Finding(
        'gone-host',
        Severity.ERROR,
        host.name,
        host.uuid,
        f'{len(host.gpus)} GPUs of a compute node that Nova does not list',
        'if it is new: nova-manage cell_v2 discover_hosts; if it is gone: '
        'openstack resource provider delete, for each of its GPUs and then '
        f'for {host.uuid}',
    )


def _empty(gpu: CloudGpu) -> Finding:
    foreign = gpu.traits - census.own_traits(gpu) - {_OF_NOVA}
    return Finding(
        'empty-provider',
        Severity.WARNING,
        gpu.host,
        gpu.address,
        'the provider of a GPU that offers nothing'
        + (f', with {listed(sorted(foreign))}' if foreign else ''),
        f'openstack resource provider delete {gpu.uuid}',
        None if foreign else repairs.DeleteProvider(gpu),
    )


def _gone_gpu(view: HostView, gpu: CloudGpu) -> Finding:
    consumers = sorted(view.held.get(gpu.uuid, {}))
    is_used = any(c.used for c in gpu.capacities.values())
    if not is_used:
        return Finding(
            'gone-gpu',
            Severity.WARNING,
            gpu.host,
            gpu.address,
            'its host says that the GPU is gone or not configured; nothing '
            'is allocated on it',
            f'nova-vgpu report on {gpu.host}, or openstack resource '
            f'provider delete {gpu.uuid}',
            repairs.DeleteProvider(gpu),
        )
    return Finding(
        'gone-gpu',
        Severity.ERROR,
        gpu.host,
        gpu.address,
        'its host says that the GPU is gone or not configured; in use by '
        f'{listed(consumers)}',
        f'move or delete these servers; nova-vgpu report on {gpu.host} then '
        'deletes the provider',
    )
