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
"""What every command knows: the program that it belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cliff import command, lister, show

if TYPE_CHECKING:
    from nova_vgpu_ext.cli.main import NovaVgpu


class Command(command.Command):
    """A command that prints lines."""

    app: NovaVgpu


class Lister(lister.Lister):
    """A command that prints rows."""

    app: NovaVgpu


class ShowOne(show.ShowOne):
    """A command that prints one object."""

    app: NovaVgpu
