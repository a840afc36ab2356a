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
"""The options that say what guests get, of every command that prints it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Collection

from nova_vgpu_ext import exception, secret_file
from nova_vgpu_ext.guest import series
from nova_vgpu_ext.guest.settings import (
    SERVER_PORT,
    Driver,
    Edition,
    Server,
    Settings,
    System,
)


def add(parser: argparse.ArgumentParser, *flags: str) -> None:
    """Add them to a command's parser.

    :param flags: how the option of the operating system is called.
    """
    from nova_vgpu_ext.guest import render

    parser.add_argument(
        *flags,
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


def text(
    vgpus: Collection[tuple[str, str | None]], options: argparse.Namespace
) -> str:
    """Write the instructions that the options ask for.

    :param vgpus: the name and the series letter of each vGPU of the guest;
        the letter is None where it is not known.
    :raises ConfigError: an option has no good value.
    :raises Refused: vGPUs, system and licence do not go together.
    """
    from nova_vgpu_ext.guest import render

    system = System(options.system)
    settings = _settings(options)
    series.check(vgpus, system, settings)
    if options.format is not None:
        form = render.Format(options.format)
    elif system is System.WINDOWS:
        form = render.Format.SCRIPT
    else:
        form = render.Format.CLOUD_CONFIG
    return render.render(system, settings, form)


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


def _settings(options: argparse.Namespace) -> Settings:
    editions = options.editions
    driver = _driver(options)
    if editions and not (options.token or options.license_server):
        raise _alone('--edition', '--token or --license-server')
    return Settings(
        driver=driver,
        token=_read_token(options.token) if options.token else None,
        server=_server(options.license_server),
        backup=_server(options.backup_server),
        **(
            {'editions': frozenset(Edition(e) for e in editions)}
            if editions
            else {}
        ),
    )


def _driver(options: argparse.Namespace) -> Driver | None:
    if (options.driver_url is None) != (options.sha256 is None):
        raise exception.ConfigError(
            '--driver-url, --sha256',
            'one of the two',
            'both: a guest runs the driver as root',
            'sha256sum FILE prints the checksum',
        )
    if options.driver_url is None:
        for option, is_given in (
            ('--kernel-source-path', options.kernel_source_path is not None),
            ('--no-dkms', not options.dkms),
        ):
            if is_given:
                raise _alone(option, '--driver-url and --sha256')
        return None
    return Driver(
        url=options.driver_url,
        sha256=options.sha256,
        kernel_source_path=options.kernel_source_path,
        dkms=options.dkms,
    )


def _alone(option: str, other: str) -> exception.ConfigError:
    """Make the error of an option that would have no effect."""
    return exception.ConfigError(
        option, 'it alone', f'{other} beside it', 'give both, or leave it out'
    )


def _server(text: str | None) -> Server | None:
    return None if text is None else Server.parse(text)


def _read_token(path: str) -> str:
    """Read a client configuration token, which is a secret.

    :raises ConfigError: it cannot be read, or others can read it.
    """
    try:
        return secret_file.read(path, os.open(path, secret_file.FLAGS))
    except OSError as error:
        raise exception.ConfigError(
            path,
            (error.strerror or str(error)).lower(),
            'a client configuration token',
            'download it from the licence portal',
        ) from error
