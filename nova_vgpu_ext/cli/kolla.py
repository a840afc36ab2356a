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
"""``nova-vgpu kolla``: the configuration of a kolla-ansible deployment."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nova_vgpu_ext import exception
from nova_vgpu_ext.cli.base import Command
from nova_vgpu_ext.models import Finding, Severity

if TYPE_CHECKING:
    from nova_vgpu_ext.kolla.document import Document
    from nova_vgpu_ext.plan.kolla.description import Description
    from nova_vgpu_ext.plan.kolla.tree import Change

_RECONFIGURE = (
    'kolla-ansible reconfigure --tags nova brings it to the services'
)


class KollaRender(Command):
    """Write Nova's options for kolla-ansible from a description of the GPUs.

    The description says which GPUs of which hosts or groups have which type.
    The options go into a marked block of the files of each service below
    kolla-ansible's node_custom_config; other lines of these files stay.
    Nothing is written unless all is valid.

    With --from-host, on a compute host, the description itself is written
    from nova.conf and the GPUs of this host.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the arguments."""
        from nova_vgpu_ext.kolla import tree

        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            'description', metavar='VGPU.YML', help='the description'
        )
        parser.add_argument(
            '--from-host',
            action='store_true',
            help='write the description of this host, which must not exist '
            'yet; --node is its name in the inventory',
        )
        parser.add_argument(
            '--inventory',
            metavar='FILE',
            help='check hosts and groups against this inventory of Ansible',
        )
        parser.add_argument(
            '--output',
            metavar='DIR',
            help="kolla-ansible's node_custom_config (default: "
            f'{tree.DIRECTORY})',
        )
        parser.add_argument(
            '--dry-run',
            action='store_true',
            help='print the differences, and write nothing',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Write the files, or the description.

        :returns: 1 with something in the way.
        """
        from nova_vgpu_ext.kolla import tree

        if parsed_args.from_host:
            return self._describe(parsed_args)
        root = parsed_args.output or tree.DIRECTORY
        changes, findings = _plan(
            parsed_args.description, parsed_args.inventory, root
        )
        self.app.show_findings(findings)
        if any(f.severity is not Severity.WARNING for f in findings):
            return 1
        self._apply(root, changes, parsed_args.dry_run)
        return 0

    def _apply(
        self, root: str, changes: Sequence[Change], dry_run: bool
    ) -> None:
        from nova_vgpu_ext.kolla import tree

        for change in changes:
            if not change.is_needed:
                done = 'unchanged'
            elif dry_run:
                self.app.stdout.write(tree.diff(root, change))
                continue
            else:
                tree.write(root, change)
                done = 'written' if change.new is not None else 'removed'
            path = os.path.join(root, change.path)
            self.app.stdout.write(f'{path}: {done}\n')
        self.app.stdout.flush()
        if not any(change.is_needed for change in changes):
            self.app.stderr.write('nothing to do\n')
        elif not dry_run:
            self.app.stderr.write(f'{_RECONFIGURE}\n')

    def _describe(self, parsed_args: argparse.Namespace) -> int:
        for option in ('inventory', 'output'):
            if getattr(parsed_args, option) is not None:
                raise exception.Refused(
                    [
                        f'--from-host with --{option}: it writes the '
                        'description alone; run the command again without '
                        '--from-host'
                    ]
                )
        path = parsed_args.description
        text, findings = self._described()
        self.app.show_findings(findings)
        if any(f.severity is not Severity.WARNING for f in findings):
            return 1
        if parsed_args.dry_run:
            self.app.stdout.write(text)
            return 0
        from nova_vgpu_ext.kolla import document

        document.create(path, text)
        self.app.stdout.write(f'{path}: written\n')
        return 0

    def _described(self) -> tuple[str, list[Finding]]:
        """Describe this host, and find what a description cannot say."""
        from nova_vgpu_ext.kolla import document
        from nova_vgpu_ext.plan import pci, types
        from nova_vgpu_ext.plan.kolla import live

        host = self.app.host
        snapshot = host.observe()
        config = host.devices_config
        cards, findings = pci.plan(snapshot, host.node)
        findings += types.resolve(config, snapshot)[1]
        text = live.write(
            host.node,
            config,
            snapshot,
            cards,
            host.value('pci', 'alias'),
            host.value('pci', 'device_spec'),
        )
        if not text:
            raise exception.ConfigError(
                '[devices] enabled_mdev_types',
                'no type, and no virtual function has one set',
                'a host whose GPUs have types',
                'nova-vgpu type list shows what they offer',
            )
        name = f'the description of {host.node}'
        _, wrong = _read(name, document.parse(name, text))
        return text, [*findings, *wrong]


def _read(file: str, document: Document) -> tuple[Description, list[Finding]]:
    from nova_vgpu_ext.conf import scheduler
    from nova_vgpu_ext.plan.kolla import reading
    from nova_vgpu_ext.sim import profile

    description, findings = reading.read(
        file, document.data, profile.known_types(), scheduler.POLICIES
    )
    return description, [*document.findings, *findings]


def _plan(
    path: str, inventory_path: str | None, root: str
) -> tuple[Sequence[Change], list[Finding]]:
    from nova_vgpu_ext.kolla import document, inventory, tree
    from nova_vgpu_ext.plan.kolla import inventory as inventory_plan
    from nova_vgpu_ext.plan.kolla import tree as tree_plan

    description, findings = _read(path, document.load(path))
    known = None
    if inventory_path is not None:
        known = inventory.load(inventory_path)
        findings += inventory_plan.check(path, description, known)
    changes, more = tree_plan.plan(root, tree.read(root), description, known)
    return changes, [*findings, *more]
