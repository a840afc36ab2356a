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
import os
import stat
from collections.abc import Iterator

from nova_vgpu_ext import exception
from nova_vgpu_ext.cli.base import Command
from nova_vgpu_ext.guest import series
from nova_vgpu_ext.guest.settings import (
    SERVER_PORT,
    Driver,
    Edition,
    Server,
    Settings,
    System,
)
from nova_vgpu_ext.models import VgpuType

_TOKEN_BYTES = 128 << 10


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
        from nova_vgpu_ext.guest import render

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
        parser.add_argument(
            '--os',
            dest='system',
            required=True,
            choices=[system.value for system in System],
            help='the operating system of the guest',
        )
        parser.add_argument(
            '--format',
            choices=[form.value for form in render.Format],
            help='cloud-config (default on Linux); one script (default on '
            'windows); or the script in a MIME message, beside other parts',
        )
        _add_driver(parser)
        _add_licence(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Print it."""
        from nova_vgpu_ext.guest import render

        system = System(parsed_args.system)
        settings = _settings(parsed_args)
        series.check(list(_vgpus(parsed_args.types)), system, settings)
        if parsed_args.format is not None:
            form = render.Format(parsed_args.format)
        elif system is System.WINDOWS:
            form = render.Format.SCRIPT
        else:
            form = render.Format.CLOUD_CONFIG
        self.app.stdout.write(render.render(system, settings, form))
        return 0


def _add_driver(parser: argparse.ArgumentParser) -> None:
    driver = parser.add_argument_group('driver')
    driver.add_argument(
        '--driver-url',
        metavar='URL',
        help='where guests find its package (.run, .deb, .rpm, .exe); '
        'without it the image has the driver',
    )
    driver.add_argument(
        '--sha256',
        metavar='SUM',
        help='its checksum, as sha256sum prints it',
    )
    driver.add_argument(
        '--kernel-source-path',
        metavar='PATH',
        help="where a .run finds the kernel's sources, if at an unusual place",
    )
    driver.add_argument(
        '--no-dkms',
        dest='dkms',
        action='store_false',
        help='let a .run build its module for the running kernel only',
    )


def _add_licence(parser: argparse.ArgumentParser) -> None:
    licence = parser.add_argument_group('licence')
    either = licence.add_mutually_exclusive_group()
    either.add_argument(
        '--token',
        metavar='FILE',
        help='a client configuration token, which only its owner reads',
    )
    either.add_argument(
        '--license-server',
        metavar='HOST[:PORT]',
        help=f'a legacy licence server (port {SERVER_PORT})',
    )
    licence.add_argument(
        '--backup-server',
        metavar='HOST[:PORT]',
        help='another one, for when that does not answer',
    )
    licence.add_argument(
        '--edition',
        dest='editions',
        action='append',
        choices=[edition.value for edition in Edition],
        help='what it has licences for (default: vws, vpc and vapps); '
        'series C needs compute',
    )


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


def _settings(parsed_args: argparse.Namespace) -> Settings:
    editions = parsed_args.editions
    return Settings(
        driver=_driver(parsed_args),
        token=read_token(parsed_args.token) if parsed_args.token else None,
        server=_server(parsed_args.license_server),
        backup=_server(parsed_args.backup_server),
        **(
            {'editions': frozenset(Edition(e) for e in editions)}
            if editions
            else {}
        ),
    )


def _driver(parsed_args: argparse.Namespace) -> Driver | None:
    if (parsed_args.driver_url is None) != (parsed_args.sha256 is None):
        raise exception.ConfigError(
            '--driver-url, --sha256',
            'one of the two',
            'both: a guest runs the driver as root',
            'sha256sum FILE prints the checksum',
        )
    if parsed_args.driver_url is None:
        return None
    return Driver(
        url=parsed_args.driver_url,
        sha256=parsed_args.sha256,
        kernel_source_path=parsed_args.kernel_source_path,
        dkms=parsed_args.dkms,
    )


def _server(text: str | None) -> Server | None:
    return None if text is None else Server.parse(text)


def read_token(path: str) -> str:
    """Read a client configuration token, which is a secret.

    :raises ConfigError: it cannot be read, or others can read it.
    """
    try:
        with open(path, encoding='ascii') as stream:
            mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
            text = stream.read(_TOKEN_BYTES)
    except OSError as error:
        raise exception.ConfigError(
            path,
            (error.strerror or str(error)).lower(),
            'a client configuration token',
            'download it from the licence portal',
        ) from error
    except UnicodeDecodeError as error:
        raise exception.ConfigError(
            path, 'bytes that are no text', 'a client configuration token'
        ) from error
    if mode & 0o077:
        raise exception.ConfigError(
            path,
            f'mode {mode:04o}',
            'a file that only its owner reads',
            f'chmod 600 {path}',
        )
    return text.strip()
