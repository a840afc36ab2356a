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


class _OwnCommand:
    """What the commands of this program have in common."""

    def get_epilog(self) -> str:
        """Say nothing after the help.

        cliff would tell which package a command is of, and read the file
        lists of all installed packages for it: most of a command's start.
        """
        return ''


class Command(_OwnCommand, command.Command):
    """A command that prints lines."""

    app: NovaVgpu


class Lister(_OwnCommand, lister.Lister):
    """A command that prints rows."""

    app: NovaVgpu


class ShowOne(_OwnCommand, show.ShowOne):
    """A command that prints one object."""

    app: NovaVgpu

    @property
    def formatter_namespace(self) -> str:
        """Where the formats are found: cliff's, and CSV."""
        return 'nova_vgpu.formatter.show'
