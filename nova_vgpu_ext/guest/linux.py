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
"""The files of a Linux guest."""

from __future__ import annotations

import dataclasses
import importlib.resources
import shlex
from collections.abc import Iterator

from nova_vgpu_ext.guest import series
from nova_vgpu_ext.guest.settings import Server, Settings

SERVICE = 'nova-vgpu-guest.service'
PROGRAM = '/usr/local/sbin/nova-vgpu-guest'
_CLIENT_CONFIGURATION = (
    '/etc/nvidia/ClientConfigToken/client_configuration_token.tok'
)

#: No target waits for it, so a slow mirror keeps nobody from logging in. What
#: starts NVIDIA's service at boot shall not meet its restart.
_UNIT = f"""\
[Unit]
Description=Driver and licence of the vGPU
Wants=network-online.target
After=network-online.target multi-user.target nvidia-gridd.service

[Service]
Type=simple
RemainAfterExit=yes
ExecStart={PROGRAM}
RuntimeMaxSec=45min

[Install]
WantedBy=multi-user.target
"""
_NOUVEAU = 'blacklist nouveau\noptions nouveau modeset=0\n'


@dataclasses.dataclass(frozen=True)
class File:
    """A file in the guest, which root owns."""

    path: str
    mode: int
    text: str = dataclasses.field(repr=False)


def files(settings: Settings) -> Iterator[File]:
    """List all that is written into the guest.

    :param settings: what guests are to get.
    """
    program = importlib.resources.files(__package__) / 'setup-linux.sh'
    yield File('/etc/modprobe.d/nova-vgpu-guest.conf', 0o644, _NOUVEAU)
    if settings.is_licensed:
        yield File('/etc/nvidia/gridd.conf', 0o644, _gridd(settings))
    if settings.token is not None:
        # The mode is that which NVIDIA's licensing guide asks for.
        yield File(_CLIENT_CONFIGURATION, 0o744, settings.token)
    yield File('/etc/nova-vgpu-guest/settings', 0o600, _settings(settings))
    yield File(PROGRAM, 0o755, program.read_text('utf-8'))
    yield File(f'/etc/systemd/system/{SERVICE}', 0o644, _UNIT)


def _gridd(settings: Settings) -> str:
    lines = [f'FeatureType={series.FEATURE_TYPE}']
    for server, prefix in ((settings.server, ''), (settings.backup, 'Backup')):
        if server is not None:
            lines += _server(server, prefix)
    return ''.join(f'{line}\n' for line in lines)


def _server(server: Server, prefix: str) -> Iterator[str]:
    yield f'{prefix}ServerAddress={server.host}'
    yield f'{prefix}ServerPort={server.port}'


def _settings(settings: Settings) -> str:
    values = {'licensed': _licensed(settings)}
    driver = settings.driver
    if driver is not None:
        values |= {
            'driver_url': driver.url,
            'driver_file': driver.file,
            'driver_sha256': driver.sha256,
            'kernel_source_path': driver.kernel_source_path or '',
            'dkms': 'yes' if driver.dkms else 'no',
        }
    return ''.join(
        f'{name}={shlex.quote(value)}\n' for name, value in values.items()
    )


def _licensed(settings: Settings) -> str:
    if settings.token is not None:
        return 'token'
    return 'no' if settings.server is None else 'server'
