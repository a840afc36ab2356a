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
"""What the operator says of drivers and licences for guests.

Every value ends up in a guest, in files that its root reads and in a program
that its root runs. So each is matched with a strict pattern here, whatever it
comes from.
"""

from __future__ import annotations

import dataclasses
import enum
import re

from nova_vgpu_ext import exception

#: The port of a legacy licence server. Source: NVIDIA's licensing guide.
SERVER_PORT = 7070

#: Tokens of NVIDIA's licence service are JSON web tokens.
_TOKEN = re.compile(r'[A-Za-z0-9_.=+/-]+', re.ASCII)
_TOKEN_LIMIT = 64 << 10
_HOST = re.compile(
    r'(?=.{1,253}$)[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?'
    r'(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*'
    r'|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]+',
    re.ASCII,
)
_URL = re.compile(
    r'https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~!*+,;=:@%/-]*)?'
    r'/(?P<file>[A-Za-z0-9._~+-]+)(\?[A-Za-z0-9._~!*+,;=:@%/?&-]*)?',
    re.ASCII,
)
_SHA256 = re.compile(r'[0-9a-f]{64}', re.ASCII)
#: The one expansion; the guest's program replaces just this text.
_KERNEL = '$(uname -r)'
_PATH = re.compile(rf'(/([A-Za-z0-9._+-]|{re.escape(_KERNEL)})+)+', re.ASCII)


class System(enum.Enum):
    """A guest operating system."""

    DEBIAN = 'debian'
    UBUNTU = 'ubuntu'
    ROCKY = 'rocky'
    WINDOWS = 'windows'


class Edition(enum.Enum):
    """A product of NVIDIA's under which vGPUs are licensed."""

    VWS = 'vws'
    VPC = 'vpc'
    VAPPS = 'vapps'
    COMPUTE = 'compute'


#: How the name of a driver's file ends, for each system.
SUFFIXES = {
    System.DEBIAN: ('.run', '.deb'),
    System.UBUNTU: ('.run', '.deb'),
    System.ROCKY: ('.run', '.rpm'),
    System.WINDOWS: ('.exe',),
}


@dataclasses.dataclass(frozen=True)
class Driver:
    """The guest driver's package, as the operator offers it for download.

    :raises ConfigError: a value is not what it has to be.
    """

    #: Where guests find it, without a user or a password.
    url: str
    #: Its checksum, in lower case.
    sha256: str
    #: Where a ``.run`` finds the kernel's sources, if at an unusual place.
    kernel_source_path: str | None = None
    #: Whether a ``.run`` lets DKMS build the module for each new kernel.
    dkms: bool = True

    def __post_init__(self) -> None:
        if not _URL.fullmatch(self.url):
            raise exception.ConfigError(
                'driver URL',
                repr(self.url[:200]),
                'https://host/path/file without a user, quotes or spaces',
                'escape other characters with %',
            )
        if not _SHA256.fullmatch(self.sha256):
            raise exception.ConfigError(
                'driver SHA-256',
                repr(self.sha256[:80]),
                '64 hexadecimal digits in lower case',
                'sha256sum FILE prints them',
            )
        path = self.kernel_source_path
        if path is not None and not _PATH.fullmatch(path):
            raise exception.ConfigError(
                'kernel source path',
                repr(path[:200]),
                f'an absolute path of letters, digits, . _ + - and {_KERNEL}',
                f'{_KERNEL} stands for the release of the running kernel',
            )
        self._check_run()

    def _check_run(self) -> None:
        """Refuse what only the installer of a ``.run`` takes.

        :raises ConfigError: it is asked of another file.
        """
        if self.suffix == '.run':
            return
        for option, is_set in (
            ('kernel source path', self.kernel_source_path is not None),
            ('no DKMS', not self.dkms),
        ):
            if is_set:
                raise exception.ConfigError(
                    option,
                    f'the driver {self.file[:80]}',
                    'a driver that is a .run',
                    'leave it out: packages build their module by themselves',
                )

    @property
    def file(self) -> str:
        """The name of the file."""
        match = _URL.fullmatch(self.url)
        return match['file'] if match else ''

    @property
    def suffix(self) -> str:
        """How it ends: ``.run``, ``.deb``, ``.rpm``, ``.exe``."""
        return '.' + self.file.rpartition('.')[2]


@dataclasses.dataclass(frozen=True)
class Server:
    """A legacy licence server.

    :raises ConfigError: it is no host or port.
    """

    host: str
    port: int = SERVER_PORT

    def __post_init__(self) -> None:
        if not _HOST.fullmatch(self.host):
            raise exception.ConfigError(
                'licence server',
                repr(self.host[:80]),
                'the name or address of a host',
            )
        if not 1 <= self.port <= 65535:
            raise exception.ConfigError(
                'licence server', f'port {self.port}', '1 to 65535'
            )

    @classmethod
    def parse(cls, text: str) -> Server:
        """Read ``HOST`` or ``HOST:PORT``.

        An IPv6 address with a port is in brackets, without one it may be.

        :raises ConfigError: it is neither.
        """
        if text.count(':') > 1 and not text.startswith('['):
            return cls(text)
        host, colon, port = text.rpartition(':')
        if not colon or port.endswith(']'):
            return cls(text.strip('[]'))
        if not port.isascii() or not port.isdigit():
            raise exception.ConfigError(
                'licence server', f'port {port[:20]!r}', '1 to 65535'
            )
        return cls(host.strip('[]'), int(port[:6]))


@dataclasses.dataclass(frozen=True)
class Settings:
    """What guests are to get.

    :raises ConfigError: a value, or two of them together, cannot be used.
    """

    driver: Driver | None = None
    #: The text of a client configuration token; never shown.
    token: str | None = dataclasses.field(default=None, repr=False)
    server: Server | None = None
    #: Another server, for when the first does not answer.
    backup: Server | None = None
    #: What the licence server has licences for.
    editions: frozenset[Edition] = frozenset(
        {Edition.VWS, Edition.VPC, Edition.VAPPS}
    )

    def __post_init__(self) -> None:
        if self.token is not None and self.server is not None:
            raise exception.ConfigError(
                'licence', 'a token and a server', 'one of the two'
            )
        if self.backup is not None and self.server is None:
            raise exception.ConfigError(
                'licence', 'a backup server alone', 'a server beside it'
            )
        token = self.token
        if token is not None and (
            len(token) > _TOKEN_LIMIT or not _TOKEN.fullmatch(token)
        ):
            raise exception.ConfigError(
                'licence token',
                f'{len(token)} characters that are no token',
                'the text of a client_configuration_token_*.tok',
                'download it from the licence portal again',
            )

    @property
    def is_licensed(self) -> bool:
        """Whether guests get a licence."""
        return self.token is not None or self.server is not None
