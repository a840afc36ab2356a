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
"""``nova-vgpu config``: nova.conf against the host."""

from __future__ import annotations

import argparse
from typing import Any

from nova_vgpu_ext.cli.base import Command, Lister


class ConfigCheck(Lister):
    """Check nova.conf against this host, before nova-compute is restarted.

    Each finding is one row. ``fatal``: nova-compute would not start, or not
    report this host. ``error``: Nova starts, but a part of the configuration
    does not do what it says. ``warning``: it works, with a consequence worth
    knowing. The exit code is 0 without findings, else 1.
    """

    _found = False

    def take_action(self, parsed_args: argparse.Namespace) -> Any:
        """Plan, and show what the plan found."""
        findings = self.app.host.plan().findings
        self._found = bool(findings)
        if not findings:
            self.app.stderr.write('no findings\n')
        columns = ('severity', 'option', 'found', 'expected', 'remedy')
        return columns, (
            (f.severity.value, f.option, f.found, f.expected, f.remedy)
            for f in findings
        )

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Exit with 1 where there is a finding."""
        code: int = super().run(parsed_args)
        return code or int(self._found)


class ConfigPci(Command):
    """Print the options of Nova for vendor-specific VFIO.

    Newer drivers and kernels hand out vGPUs as PCI virtual functions. Nova
    takes them from these options in the nova.conf of nova-compute; the alias
    belongs into that of nova-api as well, and pci_in_placement into those of
    nova-api, nova-scheduler and the conductors.
    """

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Print the sections for the types that are set now."""
        from nova_vgpu_ext.plan import pci

        providers, findings = pci.plan(
            self.app.host.observe(), self.app.host.node
        )
        self.app.show_findings(findings)
        if not providers:
            self.app.stderr.write(
                'no virtual function has a vendor-specific VFIO type set\n'
            )
            return 1
        for line in pci.lines(providers):
            self.app.stdout.write(f'{line}\n')
        return 0
