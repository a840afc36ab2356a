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
"""Every option, for the sample file and the configuration reference."""

from __future__ import annotations

from typing import Any

from nova_vgpu_ext.conf import (
    agent,
    devices,
    nova,
    placement,
    scheduler,
    vgpu,
)


def list_opts() -> list[tuple[Any, list[Any]]]:
    """List (group, options); the ``oslo.config.opts`` entry point."""
    return [
        *vgpu.list_opts(),
        *scheduler.list_opts(),
        *agent.list_opts(),
        *devices.list_opts(),
        *nova.list_opts(),
        *placement.list_opts(),
    ]
