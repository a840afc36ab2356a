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
"""``nova-vgpu hook``: what libvirt calls when a guest starts and ends."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from nova_vgpu_ext import exception
from nova_vgpu_ext.cells import cells
from nova_vgpu_ext.cli.base import Command, ShowOne
from nova_vgpu_ext.host import hook_file

if TYPE_CHECKING:
    from nova_vgpu_ext.cli.main import NovaVgpu

_RESTART = (
    'Restart libvirtd or virtqemud: it looks for hooks only when it starts. '
    'libvirt 6.5 or later is needed.'
)


class HookInstall(Command):
    """Install the libvirt hook.

    It makes sure that the vGPUs of a guest exist before the guest starts,
    and sets the plugin parameters that its flavor asks for. The paths in it
    are those of the configuration at this moment.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        _add_directory(parser)
        _add_dry_run(parser)
        parser.add_argument(
            '--on-error',
            choices=('refuse', 'start'),
            help='whether a guest is refused whose vGPU cannot be made or '
            'set, or started all the same (default: what an installed hook '
            'does, else refuse)',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Write the file, unless it is there."""
        settings = dict(_settings(self.app))
        if parsed_args.on_error:
            settings['refuse'] = parsed_args.on_error == 'refuse'
        before = hook_file.look(parsed_args.directory, settings)
        steps = hook_file.install(
            parsed_args.directory, settings, parsed_args.dry_run
        )
        _show(self.app, steps, f'{before.path} is installed')
        if before.state is hook_file.State.ABSENT:
            self.app.stderr.write(f'{_RESTART}\n')
        return 0


class HookRemove(Command):
    """Remove the libvirt hook, if it is this project's."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        _add_directory(parser)
        _add_dry_run(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Remove the file."""
        steps = hook_file.remove(parsed_args.directory, parsed_args.dry_run)
        path = os.path.join(parsed_args.directory, hook_file.NAME)
        _show(self.app, steps, f'there is no {path}')
        return 0


class HookStatus(ShowOne):
    """Show whether the libvirt hook is installed, and how.

    ``installed`` is ``yes``, ``no``, ``outdated`` if hook install would
    write something else, ``newer`` if a later version of this program wrote
    it, or ``foreign`` if another file has its name. The exit code is 0 for
    ``yes``, else 1.
    """

    _is_installed = False

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        _add_directory(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Any:
        """Look at the file."""
        found = hook_file.look(parsed_args.directory, _settings(self.app))
        self._is_installed = found.state is hook_file.State.INSTALLED
        settings = found.settings or {}
        on_error = None
        if found.settings is not None:
            on_error = 'refuse' if settings.get('refuse') else 'start'
        shown = {
            'path': found.path,
            'installed': found.state.value,
            'sysfs_root': settings.get('sysfs_root'),
            'state_path': settings.get('state_path'),
            'mdevctl_path': settings.get('mdevctl_path'),
            'on_error': on_error,
        }
        return tuple(shown), cells(shown.values())

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Exit with 1 where the hook is not installed as it should be."""
        code: int = super().run(parsed_args)
        return code or int(not self._is_installed)


def _add_directory(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--directory',
        metavar='DIR',
        default=hook_file.DIRECTORY,
        help="libvirt's folder of hooks (default: %(default)s)",
    )


def _add_dry_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--dry-run',
        action='store_true',
        help='print what would be done, and do nothing',
    )


def _settings(app: NovaVgpu) -> hook_file.Settings:
    """Take the hook's settings from the configuration.

    :raises ConfigError: a path is relative; libvirt has its own idea of that.
    """
    given = app.options.sysfs_root
    settings: dict[str, str | bool] = {}
    for name in ('sysfs_root', 'state_path', 'mdevctl_path'):
        path = str(getattr(app.host, name))
        if given and path.startswith(given):
            path = os.path.abspath(path)
        if not os.path.isabs(path):
            raise exception.ConfigError(
                f'[vgpu] {name}', repr(path), 'a path from the root'
            )
        settings[name] = path
    return settings


def _show(app: NovaVgpu, steps: list[str], nothing: str) -> None:
    for line in steps:
        app.stdout.write(f'{line}\n')
    if not steps:
        app.stderr.write(f'nothing to do: {nothing}\n')
