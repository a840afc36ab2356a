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
"""What the commands of ``openstack vgpu`` share."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from osc_lib.command import command

from nova_vgpu_ext.osc import progress
from nova_vgpu_ext.osc.cloud import Cloud

_Item = TypeVar('_Item')

#: Formatters that write each row when it comes.
_STREAMING = ('csv', 'value')


class _Paragraphs(argparse.HelpFormatter):
    """Fills each paragraph of a description; keeps those that are indented."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return '\n\n'.join(
            textwrap.indent(part, indent)
            if part.startswith(' ')
            else super(_Paragraphs, self)._fill_text(part, width, indent)
            for part in text.split('\n\n')
        )


class _CloudCommand:
    """A command that works on the cloud."""

    app: Any

    @property
    def cloud(self) -> Cloud:
        """The cloud of the given credentials."""
        found: Cloud = self.app.client_manager.vgpu
        return found

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Let help texts have paragraphs."""
        parser: argparse.ArgumentParser = super().get_parser(  # type: ignore[misc]
            prog_name
        )
        parser.formatter_class = _Paragraphs
        return parser


class Command(_CloudCommand, command.Command):
    """A command that prints lines."""


class Lister(_CloudCommand, command.Lister):
    """A command that prints rows."""

    def track(
        self,
        parsed_args: argparse.Namespace,
        items: Iterable[_Item],
        total: int,
        what: str = 'hosts',
    ) -> Iterator[_Item]:
        """Show how far it is, unless rows appear on the same terminal."""
        streams = parsed_args.formatter in _STREAMING and sys.stdout.isatty()
        if streams or not self.app.options.verbose_level:
            return iter(items)
        return progress.track(items, total, what)


class ShowOne(_CloudCommand, command.ShowOne):
    """A command that prints one object."""


def add_host(parser: argparse.ArgumentParser) -> None:
    """Add the option that chooses one compute node."""
    parser.add_argument(
        '--host',
        metavar='<host>',
        help='only this compute node, by the name that openstack hypervisor '
        'list shows',
    )
