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
"""``nova-vgpu sim``: hosts with GPUs that are files in a folder."""

from __future__ import annotations

import argparse
from typing import Any

from nova_vgpu_ext.cli.base import Command, Lister


class SimList(Lister):
    """List the simulated hosts that sim create can make."""

    def take_action(self, parsed_args: argparse.Namespace) -> Any:
        """Read the bundled profiles."""
        from nova_vgpu_ext.sim import profile

        columns = ('profile', 'gpus', 'description')
        profiles = ((name, profile.load(name)) for name in profile.names())
        return columns, (
            (name, len(loaded.gpus), loaded.description)
            for name, loaded in profiles
        )


class SimCreate(Command):
    """Make a simulated host: a folder that looks like its sysfs."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the arguments."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            'profile',
            metavar='PROFILE',
            help='a name that sim list shows, or a YAML file',
        )
        parser.add_argument(
            'directory',
            metavar='DIR',
            help='a folder to make; it must be empty if it exists',
        )
        parser.add_argument(
            '--no-vfs',
            dest='vfs',
            action='store_false',
            help='as after a boot: without virtual functions and vGPUs',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Write the folder."""
        from nova_vgpu_ext.sim import kernel, profile

        loaded = profile.load(parsed_args.profile)
        kernel.build(loaded, parsed_args.directory, parsed_args.vfs)
        self.app.stdout.write(
            f'{parsed_args.directory}: {loaded.description}\n'
            f'Try: nova-vgpu --sysfs-root {parsed_args.directory} gpu list\n'
        )
