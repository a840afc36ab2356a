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
"""``nova-vgpu guest``: what a guest with a vGPU needs."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from nova_vgpu_ext import guest_options
from nova_vgpu_ext.cli.base import Command
from nova_vgpu_ext.models import VgpuType


class GuestConfig(Command):
    """Print what sets up driver and licence in a guest, at its first boot.

    For the user data of a server (openstack server create --user-data), or
    for an image. The guest installs the driver, gets its licence, and says
    what became of it on its console and in /run/nova-vgpu-guest/status. It
    goes on at its next boot with what is not done, and else does nothing.

    No GPU and no nova.conf are needed.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the arguments."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            '--type',
            dest='types',
            metavar='TYPE',
            action='append',
            required=True,
            help='the type of the vGPU: a product such as V100DX-1Q, or an '
            'id that is known; once for each vGPU of the guest',
        )
        guest_options.add(parser, '--os', '--guest-os')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Print it."""
        vgpus = list(_vgpus(parsed_args.types))
        self.app.stdout.write(guest_options.text(vgpus, parsed_args))
        return 0


def _vgpus(names: list[str]) -> Iterator[tuple[str, str | None]]:
    """Give each type with its series; an id is looked up."""
    known: dict[str, str] = {}
    for name in names:
        found = VgpuType('', name)
        if found.product is None:
            if not known:
                from nova_vgpu_ext.sim import profile

                known = {t.id: t.name or '' for t in profile.known_types()}
            found = VgpuType(name, known.get(name))
        yield found.product or name, found.series
