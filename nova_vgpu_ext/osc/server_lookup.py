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
"""Finding servers."""

from __future__ import annotations

import uuid

from nova_vgpu_ext import exception
from nova_vgpu_ext.compute.client import ComputeClient
from nova_vgpu_ext.models import Server


def find(compute: ComputeClient, text: str) -> Server:
    """Find a server of any project by its ID, or else its name.

    :raises Refused: there is none, or several have the name.
    """
    if _is_uuid(text):
        server = compute.server(text)
        if server is not None:
            return server
    found = list(compute.servers(name=text))
    if not found:
        raise exception.Refused(
            [
                f'no server {text[:60]!r} here; give a name or an ID that '
                'openstack server list --all-projects shows'
            ]
        )
    if len(found) > 1:
        raise exception.Refused(
            [
                f'{len(found)} servers have the name {text!r}; give the ID '
                'of one:',
                *(f'{s.uuid} of the project {s.project_id}' for s in found),
            ]
        )
    return found[0]


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True
