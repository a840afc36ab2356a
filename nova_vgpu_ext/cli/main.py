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
"""The ``nova-vgpu`` program: global options and what commands share."""

from __future__ import annotations

import argparse
import functools
import logging
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from cliff.app import App
from cliff.commandmanager import CommandManager

import nova_vgpu_ext
from nova_vgpu_ext import arguments, exception, models, runtime

#: Libraries whose warnings say nothing to somebody who runs a command, such
#: as that a spelling of an option which this project supports is an old one.
_QUIET_LIBRARIES = ('oslo_config', 'keystoneauth', 'openstack', 'stevedore')


class NovaVgpu(App):
    """The program.

    Configuration and host are read when a command first asks for them, so
    that help and the simulator need neither.
    """

    def __init__(self) -> None:
        super().__init__(
            description=(
                'Read, make and clear away the vGPUs of this compute host, '
                'check nova.conf against it, and report inventories to '
                'Placement.'
            ),
            version=nova_vgpu_ext.version(),
            command_manager=CommandManager('nova_vgpu.cli'),
            deferred_help=True,
        )

    def build_option_parser(
        self,
        description: str | None,
        version: str | None,
        argparse_kwargs: dict[str, Any] | None = None,
    ) -> argparse.ArgumentParser:
        """Add the options that every command knows."""
        parser = super().build_option_parser(
            description, version, argparse_kwargs
        )
        arguments.add(parser)
        return parser

    def configure_logging(self) -> None:
        """Send log lines to standard error, and keep libraries quiet."""
        super().configure_logging()
        if self.options.verbose_level < 2:
            logging.getLogger(__package__.partition('.')[0]).setLevel(
                logging.WARNING
            )
            for name in _QUIET_LIBRARIES:
                logging.getLogger(name).setLevel(logging.ERROR)

    @functools.cached_property
    def host(self) -> runtime.Runtime:
        """The host that the options name."""
        return arguments.host(self.options)

    def show_findings(self, findings: Iterable[models.Finding]) -> None:
        """Write findings to standard error, a line each."""
        for finding in findings:
            self.stderr.write(f'{finding}\n')


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program.

    :param argv: arguments without the program's name; sys.argv by default.
    :returns: the exit code.
    """
    # Tables that are wider than the terminal are hard to read.
    os.environ.setdefault('CLIFF_FIT_WIDTH', '1')
    given = sys.argv[1:] if argv is None else list(argv)
    try:
        return int(NovaVgpu().run(given))
    except exception.VgpuError as exc:
        sys.stderr.write(f'{exc}\n')
        return 1
