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
"""What one cloud is: its folder, ports, passwords and compute nodes."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import random
import secrets
import shutil
import socket
import tempfile
from typing import Any

from tools.minicloud import CloudError

#: The parts that listen on a port of the loopback.
PORTS = (
    *('mariadb', 'amqp', 'erlang', 'epmd'),
    *('keystone', 'placement', 'glance', 'neutron', 'nova', 'metadata'),
    'vendordata',
)
#: Below the ports that Linux gives to clients: a service that starts again
#: finds its own free.
_CHOICE = range(20000, 32000)


@dataclasses.dataclass(frozen=True)
class Compute:
    """A compute node on a simulated host."""

    name: str
    #: A profile of ``nova-vgpu sim list``; None: a host without a GPU.
    profile: str | None
    #: Its ``[devices]`` and ``[mdev_*]`` sections of nova.conf.
    devices: str = ''


@dataclasses.dataclass(frozen=True)
class Settings:
    """A cloud, as it was made."""

    folder: pathlib.Path
    ports: dict[str, int]
    #: Of the administrator, the services, the database and the queue.
    password: str
    #: A short path: sockets have no room for long ones.
    sockets: pathlib.Path
    computes: tuple[Compute, ...] = ()
    #: Further configuration of nova-api, scheduler and conductor.
    nova_conf: tuple[str, ...] = ()
    #: Whether the virtual machine of tools/lab is a compute node too.
    lab: bool = False

    @property
    def log(self) -> pathlib.Path:
        """Where the services write what they do."""
        return self.folder / 'log'

    @property
    def etc(self) -> pathlib.Path:
        """Where their configuration is."""
        return self.folder / 'etc'

    @property
    def data(self) -> pathlib.Path:
        """Where they keep what they know."""
        return self.folder / 'data'

    def host(self, name: str) -> pathlib.Path:
        """Give the folder of a compute node's simulated host."""
        return self.data / name / 'host'

    def url(self, service: str) -> str:
        """Give the URL of a service."""
        path = {'keystone': '/v3', 'nova': '/v2.1'}.get(service, '')
        return f'http://127.0.0.1:{self.ports[service]}{path}'

    def compute(self, name: str) -> Compute:
        """Find a compute node by its name."""
        for compute in self.computes:
            if compute.name == name:
                return compute
        known = ', '.join(c.name for c in self.computes)
        raise CloudError(f'No compute node {name!r}; there are: {known}')

    @property
    def credentials(self) -> dict[str, str]:
        """The administrator's, as the openstack command reads them."""
        return {
            'OS_AUTH_TYPE': 'password',
            'OS_AUTH_URL': self.url('keystone'),
            'OS_USERNAME': 'admin',
            'OS_PASSWORD': self.password,
            'OS_PROJECT_NAME': 'admin',
            'OS_USER_DOMAIN_ID': 'default',
            'OS_PROJECT_DOMAIN_ID': 'default',
            'OS_REGION_NAME': 'RegionOne',
            'OS_IDENTITY_API_VERSION': '3',
            'OS_PLACEMENT_API_VERSION': '1.39',
        }


def create(
    folder: pathlib.Path,
    computes: tuple[Compute, ...],
    nova_conf: tuple[str, ...] = (),
) -> Settings:
    """Make a cloud's folders, and choose its ports and password."""
    made = Settings(
        folder=folder,
        ports=dict(zip(PORTS, _free_ports(len(PORTS)), strict=True)),
        password=secrets.token_hex(16),
        sockets=pathlib.Path(tempfile.mkdtemp(prefix='vgpu-cloud-')),
        computes=computes,
        nova_conf=nova_conf,
    )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for part in (made.log, made.etc, made.data):
        part.mkdir(mode=0o700, exist_ok=True)
    save(made)
    return made


def save(made: Settings) -> None:
    """Remember a cloud."""
    data = dataclasses.asdict(made) | {
        'folder': str(made.folder),
        'sockets': str(made.sockets),
    }
    path = made.folder / 'cloud.json'
    part = path.with_suffix('.part')
    with open(os.open(part, os.O_WRONLY | os.O_CREAT, 0o600), 'w') as file:
        json.dump(data, file)
    part.replace(path)


def load(folder: pathlib.Path) -> Settings | None:
    """Read what :func:`save` wrote; None if there is no cloud."""
    try:
        data: dict[str, Any] = json.loads((folder / 'cloud.json').read_text())
        return Settings(
            folder=folder,
            ports=data['ports'],
            password=data['password'],
            sockets=pathlib.Path(data['sockets']),
            computes=tuple(Compute(**c) for c in data['computes']),
            nova_conf=tuple(data['nova_conf']),
            lab=data['lab'],
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        # What another version of this program has left is no cloud either.
        return None


def forget(made: Settings) -> None:
    """Remove everything of a cloud; nothing of it may run any more."""
    shutil.rmtree(made.sockets, ignore_errors=True)
    shutil.rmtree(made.folder)


def _free_ports(count: int) -> list[int]:
    """Find ports of the loopback that nothing listens on."""
    found: list[int] = []
    for port in random.sample(_CHOICE, len(_CHOICE)):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(('127.0.0.1', port))
            found.append(port)
        if len(found) == count:
            return found
    raise CloudError(f'Fewer than {count} ports of 127.0.0.1 are free.')
