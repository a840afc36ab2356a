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
"""The texts that a guest's cloud-init or cloudbase-init takes."""

from __future__ import annotations

import enum
import importlib.resources
import shlex
from collections.abc import Iterator
from email.mime import multipart, text

import yaml

from nova_vgpu_ext import exception
from nova_vgpu_ext.guest import linux
from nova_vgpu_ext.guest.settings import SUFFIXES, Settings, System

#: A line that no file of ours has.
_END = 'END-OF-NOVA-VGPU-GUEST-FILE'
#: A service that has done its work counts as started, so it is restarted.
_START = f"""\
systemctl daemon-reload
systemctl enable --quiet {linux.SERVICE}
systemctl restart --no-block {linux.SERVICE}
"""


class _Dumper(yaml.SafeDumper):
    """Writes a text of several lines as it is, for those who read it."""


def _represent(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = '|' if '\n' in value else None
    return dumper.represent_scalar('tag:yaml.org,2002:str', value, style)


_Dumper.add_representer(str, _represent)


class Format(enum.Enum):
    """How the instructions are written."""

    #: For the user data of a server, alone or merged by hand.
    CLOUD_CONFIG = 'cloud-config'
    #: One program; cloud-init runs it beside whatever the tenant's user data
    #: says, where lists of a cloud-config would replace each other.
    SCRIPT = 'script'
    #: The program as a part, for a message of several.
    MIME = 'mime'


def render(system: System, settings: Settings, form: Format) -> str:
    """Write the instructions for one guest.

    :param system: the guest's operating system.
    :param settings: what it is to get.
    :param form: the format; Windows takes a script only.
    :raises Refused: the system does not take that format, or the driver's
        file is not for it.
    """
    _check_driver(system, settings)
    if system is System.WINDOWS:
        if form is Format.CLOUD_CONFIG:
            raise exception.Refused(
                ['cloud-config on windows: cloudbase-init takes a script']
            )
        body = _windows(settings)
    elif form is Format.CLOUD_CONFIG:
        return _cloud_config(settings)
    else:
        body = _linux(settings)
    return _mime(system, body) if form is Format.MIME else body


def _check_driver(system: System, settings: Settings) -> None:
    driver = settings.driver
    if driver is not None and driver.suffix not in SUFFIXES[system]:
        expected = ' or '.join(SUFFIXES[system])
        raise exception.Refused(
            [
                f'driver {driver.file} on {system.value}: expected a file '
                f'that ends in {expected}'
            ]
        )


def _cloud_config(settings: Settings) -> str:
    config = {
        'write_files': [
            {
                'path': file.path,
                'permissions': f'{file.mode:04o}',
                'owner': 'root:root',
                'content': file.text,
            }
            for file in linux.files(settings)
        ],
        'runcmd': [line.split() for line in _START.splitlines()],
    }
    dumped: str = yaml.dump(config, Dumper=_Dumper, sort_keys=False)
    return '#cloud-config\n' + dumped


def _linux(settings: Settings) -> str:
    lines = ['#!/bin/bash', 'set -eu', 'umask 077']
    for file in linux.files(settings):
        folder = file.path.rpartition('/')[0]
        lines += [f'install -d -m 0755 {folder}', *_written(file)]
    return '\n'.join(lines) + '\n' + _START


def _written(file: linux.File) -> Iterator[str]:
    """Write a file, with just the bytes of its text."""
    install = f'install -m {file.mode:04o} /dev/stdin {file.path}'
    if file.text.endswith('\n'):
        yield f"{install} <<'{_END}'"
        yield file.text.removesuffix('\n')
        yield _END
    else:
        # printf is no process, whose arguments others could read.
        yield f'printf %s {shlex.quote(file.text)} | {install}'


def _windows(settings: Settings) -> str:
    program = importlib.resources.files(__package__) / 'setup-windows.ps1'
    lines = ['#ps1_sysnative']
    lines += [f'${n} = {_quoted(v)}' for n, v in _variables(settings)]
    return '\n'.join(lines) + '\n' + program.read_text('utf-8')


def _variables(settings: Settings) -> Iterator[tuple[str, str | int | None]]:
    driver = settings.driver
    yield 'driverUrl', driver.url if driver else None
    yield 'driverFile', driver.file if driver else None
    yield 'driverSha256', driver.sha256 if driver else None
    yield 'token', settings.token
    for name, server in (
        ('server', settings.server),
        ('backup', settings.backup),
    ):
        yield name, server.host if server else None
        yield f'{name}Port', server.port if server else None


def _quoted(value: str | int | None) -> str:
    """Write a value as PowerShell reads it, without any expansion."""
    if value is None:
        return '$null'
    if isinstance(value, int):
        return str(value)
    return "'" + value.replace("'", "''") + "'"


def _mime(system: System, body: str) -> str:
    """Make a message of the program.

    cloudbase-init chooses the interpreter by the name of the file; for
    cloud-init two parts without a name would be the same file.
    """
    part = text.MIMEText(body, 'x-shellscript', 'us-ascii')
    suffix = 'ps1' if system is System.WINDOWS else 'sh'
    part.add_header(
        'Content-Disposition',
        'attachment',
        filename=f'nova-vgpu-guest.{suffix}',
    )
    message = multipart.MIMEMultipart()
    message.attach(part)
    return message.as_string()
