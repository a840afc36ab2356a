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
"""``openstack vgpu guest config``: what a guest needs, by its flavor."""

from __future__ import annotations

import argparse

from nova_vgpu_ext import guest_options
from nova_vgpu_ext.osc import base, flavor_lookup, server_lookup
from nova_vgpu_ext.osc.kinds import Kinds


class GuestConfig(base.Command):
    """Print what sets up driver and licence in a guest, at its first boot.

    The same as "nova-vgpu guest config", which wants to be told the type:
    here the cloud tells it. For a server it is that of the GPUs that it has
    now, or else what its flavor asks for; for a flavor, what the hosts offer
    that it can be put on.

    For the user data of a server, or for an image. The guest says what
    became of it on its console and in /run/nova-vgpu-guest/status.

    Examples:

      openstack vgpu guest config --flavor vgpu_1 --guest-os ubuntu
          --token client_configuration_token.tok > guest.yml
      openstack vgpu guest config --server render-3 --guest-os windows
          --license-server licenses.example.org > guest.ps1
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the options."""
        parser = super().get_parser(prog_name)
        either = parser.add_mutually_exclusive_group(required=True)
        either.add_argument(
            '--flavor',
            metavar='<flavor>',
            help='what the guest has: the name or ID of its flavor',
        )
        either.add_argument(
            '--server',
            metavar='<server>',
            help='the name or ID of the guest itself',
        )
        # The openstack command would take --os for one of its own.
        guest_options.add(parser, '--guest-os')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Find the types, and print it."""
        compute = self.cloud.compute
        kinds = Kinds(self.cloud)
        if parsed_args.flavor is not None:
            flavor = flavor_lookup.find(compute.flavors(), parsed_args.flavor)
            found = kinds.of_flavor(flavor)
        else:
            server = server_lookup.find(compute, parsed_args.server)
            found = kinds.of_server(server)
        self.app.stdout.write(guest_options.text(found, parsed_args))
