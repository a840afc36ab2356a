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
"""What every command of ``openstack vgpu`` knows."""

from __future__ import annotations

from typing import Any

from osc_lib.command import command

from nova_vgpu_ext.osc.cloud import Cloud


class _CloudCommand:
    """A command that works on the cloud."""

    app: Any

    @property
    def cloud(self) -> Cloud:
        """The cloud of the given credentials."""
        found: Cloud = self.app.client_manager.vgpu
        return found


class Command(_CloudCommand, command.Command):
    """A command that prints lines."""


class Lister(_CloudCommand, command.Lister):
    """A command that prints rows."""


class ShowOne(_CloudCommand, command.ShowOne):
    """A command that prints one object."""
