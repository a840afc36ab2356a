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
"""The cloud that the commands work on: its services, asked when needed."""

from __future__ import annotations

import functools
from typing import Any

from nova_vgpu_ext.compute.client import ComputeClient
from nova_vgpu_ext.placement import access
from nova_vgpu_ext.placement.client import PlacementClient
from nova_vgpu_ext.placement.cloud import CloudReader

#: How many requests to Placement are under way at once. A Placement has a
#: few workers; more only wait there.
_READERS = 8

#: Seconds before a request is given up, where neither ``api_timeout`` of
#: clouds.yaml nor ``OS_API_TIMEOUT`` is set: keystoneauth itself would wait
#: for ever.
_TIMEOUT = 60.0


class Cloud:
    """A cloud.

    :param connection: openstacksdk's, as the client manager has it.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        if connection.session.timeout is None:
            connection.session.timeout = _TIMEOUT

    @functools.cached_property
    def placement(self) -> PlacementClient:
        """Placement.

        :raises PlacementError: Keystone refuses, or knows no Placement.
        """
        return PlacementClient(access.from_cloud(self._connection))

    @functools.cached_property
    def gpus(self) -> CloudReader:
        """The reader of hosts with GPUs."""
        return CloudReader(self.placement, _READERS)

    @functools.cached_property
    def compute(self) -> ComputeClient:
        """Nova's API."""
        config = self._connection.config
        return ComputeClient(
            self._connection.session,
            {
                'region_name': config.get_region_name('compute'),
                'interface': config.get_interface('compute'),
                'endpoint_override': config.get_endpoint('compute'),
            },
        )
