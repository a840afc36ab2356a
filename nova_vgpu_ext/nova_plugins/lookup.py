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
"""Asking Placement so that no scheduling decision fails or waits for long."""

from __future__ import annotations

import concurrent.futures
import logging
import threading
import time
from collections.abc import Callable, Collection
from typing import TypeVar

from nova_vgpu_ext.models import Capacity
from nova_vgpu_ext.placement import errors
from nova_vgpu_ext.placement.client import PlacementClient
from nova_vgpu_ext.plan import policy

LOG = logging.getLogger(__name__)

#: How long Placement is left alone after a failure, in seconds.
PAUSE = 30

_Answer = TypeVar('_Answer')
_Future = concurrent.futures.Future[_Answer | None]


class Lookup:
    """Looks up what Placement knows of GPUs.

    Each question is asked in a thread of its own, which the caller leaves
    behind when the time is over. After a failure nothing is asked for
    :data:`PAUSE` seconds, and one line of the log says so.

    :param connect: makes the way to Placement; called by the first question,
        as services make their sessions after they have forked.
    :param timeout: how long a question may take, in seconds.
    :param refresh: how old the places may be, in seconds.
    """

    def __init__(
        self,
        connect: Callable[[], PlacementClient],
        timeout: float,
        refresh: float,
    ) -> None:
        self._connect = connect
        self._timeout = timeout
        self._refresh = refresh
        self._connecting = threading.Lock()
        self._client: PlacementClient | None = None
        self._state = threading.Lock()
        self._quiet_until = 0.0
        self._places: policy.Places | None = None
        self._places_until = 0.0
        self._reading: _Future[policy.Places] | None = None

    def capacities(
        self,
        resource_class: str,
        required: Collection[str],
        root_uuid: str | None,
    ) -> dict[policy.Slot, Capacity] | None:
        """Read how full the providers are, in one request.

        :param resource_class: trees in which no unit of it is free are left
            out.
        :param required: traits that the provider of the free unit must have.
        :param root_uuid: the only compute node to look at; None for all.
        :returns: None if Placement does not say in time.
        """

        def read(client: PlacementClient) -> dict[policy.Slot, Capacity]:
            found = client.summaries(root_uuid, resource_class, required)
            return {
                (provider, name): has
                for provider, (_, capacities) in found.items()
                for name, has in capacities.items()
            }

        return self._wait(self._ask(read))

    def places(self, wait: bool) -> policy.Places | None:
        """Tell where the GPUs are.

        A list that is too old is read again, but still used meanwhile.

        :param wait: for the first list.
        :returns: None if there is no list yet.
        """
        with self._state:
            old = time.monotonic() >= self._places_until
            if old and (self._reading is None or self._reading.done()):
                self._reading = self._ask(self._read_places)
            known, reading = self._places, self._reading
        if known is None and wait:
            return self._wait(reading)
        return known

    def _read_places(self, client: PlacementClient) -> policy.Places:
        found = policy.places(client.providers())
        with self._state:
            self._places = found
            self._places_until = time.monotonic() + self._refresh
        return found

    def _ask(
        self, read: Callable[[PlacementClient], _Answer]
    ) -> _Future[_Answer] | None:
        """Begin to ask; None while Placement is left alone."""
        if time.monotonic() < self._quiet_until:
            return None
        future: _Future[_Answer] = concurrent.futures.Future()

        def run() -> None:
            answer = None
            try:
                answer = read(self._connected())
            except Exception as error:
                # Whatever it is, a guest must be scheduled.
                LOG.debug('a question to Placement failed', exc_info=True)
                self._fail(errors.one_line(error) or repr(error))
            future.set_result(answer)

        threading.Thread(target=run, name='vgpu-lookup', daemon=True).start()
        return future

    def _wait(self, future: _Future[_Answer] | None) -> _Answer | None:
        if future is None:
            return None
        try:
            return future.result(self._timeout)
        except concurrent.futures.TimeoutError:
            self._fail(
                f'Placement has not answered within {self._timeout:g} s '
                '([vgpu] gpu_policy_timeout)'
            )
            return None

    def _connected(self) -> PlacementClient:
        with self._connecting:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def _fail(self, reason: str) -> None:
        now = time.monotonic()
        if now < self._quiet_until:
            return
        self._quiet_until = now + PAUSE
        LOG.warning(
            'guests are scheduled without a GPU policy for %d s: %s',
            PAUSE,
            reason,
        )
