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
"""In what states servers and moves are at rest.

Source: ``nova/api/openstack/common.py`` for statuses of servers, and
``migration_get_in_progress_by_host_and_node`` in ``nova/db/main/api.py`` for
those of moves (Nova 34).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from nova_vgpu_ext.models import Migration, Server

#: The server is on its host, and so is its allocation.
_AT_REST = {
    'ACTIVE',
    'PAUSED',
    'SUSPENDED',
    'SHUTOFF',
    'RESCUE',
    'SHELVED',
    'VERIFY_RESIZE',
}

#: The server is on no host and holds nothing.
_ON_NO_HOST = {'ERROR', 'SHELVED_OFFLOADED'}

#: A move that ends so holds nothing any more.
_ENDED = {
    'cancelled',
    'completed',
    'confirmed',
    'done',
    'error',
    'failed',
    'reverted',
}

#: All other statuses that Nova writes. One that a later Nova adds is in
#: progress too; it only costs a look at every move.
IN_PROGRESS = (
    'accepted',
    'confirming',
    'finished',
    'migrating',
    'post-migrating',
    'pre-migrating',
    'preparing',
    'queued',
    'reverting',
    'running',
    'running (post-copy)',
)


def is_at_rest(server: Server) -> bool:
    """Tell whether a server stays on its host, with its allocation."""
    return (
        server.status in _AT_REST
        and server.task_state is None
        and server.node is not None
    )


def is_on_no_host(server: Server) -> bool:
    """Tell whether a server is on no host, and nobody puts it on one."""
    return (
        server.node is None
        and server.task_state is None
        and server.status in _ON_NO_HOST
    )


def has_ended(move: Migration) -> bool:
    """Tell whether a move is over."""
    return move.status in _ENDED


def find_moves(
    moves: Iterable[Migration], uuids: Collection[str]
) -> dict[str, Migration]:
    """Find moves by UUID among all.

    A resize to another cell has a record in each; it has ended if both have.
    """
    found: dict[str, Migration] = {}
    for move in moves:
        if move.uuid in uuids and not (move.uuid in found and has_ended(move)):
            found[move.uuid] = move
    return found


def waits_for_source(move: Migration, host: str) -> bool:
    """Tell whether an evacuation waits for a host to come back.

    Until then the server keeps what it had there. Source:
    ``_destroy_evacuated_instances`` in ``nova/compute/manager.py``.
    """
    return (
        move.kind == 'evacuation'
        and move.status == 'done'
        and move.source_node == host
    )
