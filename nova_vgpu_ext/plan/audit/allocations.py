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
"""Allocations on GPUs whose consumer is not a server on that host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from nova_vgpu_ext.models import CloudGpu, Consumer, Severity
from nova_vgpu_ext.plan.audit import repairs, states
from nova_vgpu_ext.plan.audit.findings import LEAKED, Finding, amounts, listed
from nova_vgpu_ext.plan.audit.view import HostView, Suspect

#: From the microversion that keeps the consumer as it is.
_COMMAND = (
    'openstack --os-placement-api-version 1.28 resource provider allocation'
)


def strangers(view: HostView) -> Iterator[str]:
    """Name the consumers that are neither on this host nor moves."""
    for consumer in view.holders():
        if consumer not in view.servers and consumer not in view.moving:
            yield consumer


def check(view: HostView) -> Iterator[Finding]:
    """Judge each of them that was looked at."""
    for uuid, places in view.holders().items():
        suspect = view.suspects.get(uuid)
        if uuid in view.servers or suspect is None:
            continue
        still = _still(places, suspect.consumer)
        if suspect.consumer is None or not still:
            continue
        if suspect.move is not None:
            yield from _of_move(view, suspect, suspect.consumer, still)
        elif suspect.server is not None:
            yield from _of_server(view, suspect, suspect.consumer, still)
        else:
            yield _leaked(view, suspect.consumer, still)


def _still(
    places: list[tuple[CloudGpu, dict[str, int]]], consumer: Consumer | None
) -> str:
    """Write what of the host's GPUs a consumer still holds."""
    held: Mapping[str, Mapping[str, int]] = (
        consumer.resources if consumer else {}
    )
    return listed(
        [
            f'{amounts(dict(held[gpu.uuid]))} on {gpu.address}'
            for gpu, _ in places
            if gpu.uuid in held
        ]
    )


def _leaked(view: HostView, consumer: Consumer, still: str) -> Finding:
    return Finding(
        LEAKED,
        Severity.ERROR,
        view.host.name,
        consumer.uuid,
        f'{still}, for neither a server nor a move '
        f'(project {consumer.project_id})',
        f'{_COMMAND} delete {consumer.uuid}',
        repairs.Release(consumer),
    )


def _of_move(
    view: HostView, suspect: Suspect, consumer: Consumer, still: str
) -> Iterator[Finding]:
    """Judge what a move has left behind.

    A move that failed may have left it for the server, which then is still
    on the source.
    """
    move, server = suspect.move, suspect.server
    if move is None or not states.has_ended(move):
        return
    is_safe = server is None or (
        states.is_at_rest(server) and server.node != view.host.name
    )
    holds_own = (
        server is not None
        and server.node is not None
        and suspect.own is not None
        and view.nodes.get(server.node) in suspect.own.resources
    )
    repair = None
    if is_safe:
        repair = repairs.Release(consumer)
    elif server is not None and states.is_at_rest(server) and holds_own:
        repair = repairs.Release(consumer, of_server=True)
    yield Finding(
        'finished-move',
        Severity.ERROR,
        view.host.name,
        consumer.uuid,
        f'{still}, for a {move.kind} of the server {move.server_uuid} that '
        f'is {move.status}',
        f'{_COMMAND} delete {consumer.uuid}'
        if repair
        else f'the server may use it: see openstack server show '
        f'{move.server_uuid}, and move it, or set its allocation by hand',
        repair,
    )


def _of_server(
    view: HostView, suspect: Suspect, consumer: Consumer, still: str
) -> Iterator[Finding]:
    """Judge what a server holds here that is elsewhere."""
    server, name = suspect.server, view.host.name
    if server is None or server.node == name or _is_moving(view, suspect):
        return
    right = view.nodes.get(server.node) if server.node else None
    repair: repairs.Repair | None = None
    if states.is_on_no_host(server):
        where = f'is {server.status}, on no host'
        repair = repairs.Release(consumer, of_server=True)
        remedy = f'{_COMMAND} delete {consumer.uuid}'
    elif server.node is None or server.task_state is not None:
        return
    elif right in consumer.resources and states.is_at_rest(server):
        where = f'is on {server.node}, and holds resources there too'
        repair = repairs.LeaveHost(consumer, name, view.host.uuid)
        remedy = _unset(view, consumer)
    else:
        where = f'is on {server.node}, {server.status}'
        remedy = (
            'bring it to rest and move it with openstack server migrate, '
            'which allocates anew; until then nothing may be taken away'
        )
    yield Finding(
        'wrong-host',
        Severity.ERROR,
        name,
        consumer.uuid,
        f'{still}, but the server {where}',
        remedy,
        repair,
    )


def _is_moving(view: HostView, suspect: Suspect) -> bool:
    """Tell whether a move lets a server hold something on this host."""
    return any(
        not states.has_ended(move)
        or (view.in_nova and states.waits_for_source(move, view.host.name))
        for move in suspect.moves
    )


def _unset(view: HostView, consumer: Consumer) -> str:
    """Write the command that takes a host's part away."""
    here = [view.host.uuid, *(gpu.uuid for gpu in view.host.gpus)]
    providers = [
        f'--provider {uuid}' for uuid in here if uuid in consumer.resources
    ]
    return f'{_COMMAND} unset {" ".join(providers)} {consumer.uuid}'
