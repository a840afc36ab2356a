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
"""The way from a command to Placement; imports the client libraries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nova_vgpu_ext.placement.client import PlacementClient
from nova_vgpu_ext.placement.reporter import Reporter
from nova_vgpu_ext.placement.tree import TreeReader

if TYPE_CHECKING:
    from nova_vgpu_ext.cli.main import NovaVgpu


def client(app: NovaVgpu) -> PlacementClient:
    """Make a client from [placement].

    :raises ConfigError: the section cannot be used.
    :raises PlacementError: Keystone refuses, or knows no Placement.
    """
    return PlacementClient(app.conf)


def tree_reader(app: NovaVgpu, through: PlacementClient) -> TreeReader:
    """Make a reader of this node's providers."""
    readers = int(app.conf_value('vgpu', 'placement_readers'))
    return TreeReader(through, app.node, readers)


def reporter(app: NovaVgpu, through: PlacementClient) -> Reporter:
    """Make a reporter for this node."""
    return Reporter(through, tree_reader(app, through))
