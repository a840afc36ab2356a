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
"""What runs in a cloud, how it is prepared, and how it is seen to be ready."""

from __future__ import annotations

import concurrent.futures
import os
import pathlib
import shutil
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable

from tools.minicloud import CloudError, files
from tools.minicloud.processes import Processes
from tools.minicloud.settings import Settings

_TOOLS = pathlib.Path(__file__).parent
_BIN = pathlib.Path(sys.executable).parent
#: How long anything may take to come up, on a busy machine, in seconds.
_PATIENCE = 240.0

#: Debian's packages by a program of theirs.
_PROGRAMS = {
    'mariadbd': 'mariadb-server',
    'mariadb-install-db': 'mariadb-server',
    'epmd': 'erlang-base',
}
_RABBITMQ = pathlib.Path('/usr/lib/rabbitmq/bin/rabbitmq-server')

#: The applications, and how many workers and threads each gets.
_APPLICATIONS = {
    'keystone': ('keystone.wsgi.api:application', 1, 4),
    'placement': ('placement.wsgi.api:application', 1, 4),
    'glance': ('glance.wsgi.api:application', 1, 2),
    'nova': ('nova.wsgi.osapi_compute:application', 1, 4),
    'metadata': ('nova.wsgi.metadata:application', 1, 2),
    'vendordata': ('nova_vgpu_ext.vendordata.wsgi:application', 1, 2),
}
API = (*_APPLICATIONS, 'neutron')
#: In the order in which they end.
NOVA = ('scheduler', 'conductor')
INFRASTRUCTURE = ('rabbitmq', 'mariadb', 'epmd')


def require_programs() -> None:
    """See that Debian's packages are there.

    :raises CloudError: with those that are not.
    """
    missing = {
        package
        for program, package in _PROGRAMS.items()
        if _program(program) is None
    }
    if not _RABBITMQ.exists():
        missing.add('rabbitmq-server')
    if missing:
        names = ' '.join(sorted(missing))
        raise CloudError(
            f'These packages are missing: {names}\n'
            f'On Debian and Ubuntu: apt-get install {names}\n'
            'bindep.txt lists every package that is needed.'
        )


def _program(name: str) -> str | None:
    path = os.environ.get('PATH', '') + ':/usr/sbin:/usr/local/sbin'
    return shutil.which(name, path=path)


class Services:
    """The services of one cloud, without its compute nodes.

    :param cloud: its settings.
    :param processes: what runs.
    """

    def __init__(self, cloud: Settings, processes: Processes) -> None:
        self._cloud = cloud
        self._processes = processes
        self._given_up = False

    def start_infrastructure(self) -> None:
        """Start database and queue, and wait for both."""
        cloud = self._cloud
        self._start_rabbitmq()
        data = cloud.data / 'mariadb'
        if not data.exists():
            data.mkdir()
            # The script splits a path at spaces.
            link = cloud.sockets / 'data'
            link.symlink_to(data)
            self.run(
                str(_program('mariadb-install-db')),
                '--no-defaults',
                f'--datadir={link}',
                '--auth-root-authentication-method=socket',
                '--skip-test-db',
                *_as_root(),
            )
        self._processes.start(
            'mariadb',
            [
                str(_program('mariadbd')),
                '--no-defaults',
                f'--datadir={data}',
                f'--socket={cloud.sockets}/mariadb',
                '--bind-address=127.0.0.1',
                f'--port={cloud.ports["mariadb"]}',
                f'--pid-file={cloud.sockets}/mariadb.pid',
                f'--init-file={cloud.etc}/mariadb.sql',
                '--max-connections=500',
                # Nothing here needs to survive a power failure.
                '--innodb-flush-log-at-trx-commit=0',
                '--innodb-flush-method=nosync',
                '--skip-innodb-doublewrite',
                '--innodb-buffer-pool-size=256M',
                *_as_root(),
            ],
        )
        self._await('mariadb', lambda: _answers(cloud.ports['mariadb']))

    def _start_rabbitmq(self) -> None:
        cloud = self._cloud
        ports = cloud.ports
        # Otherwise the queue starts one that outlives it.
        self._processes.start(
            'epmd',
            [
                str(_program('epmd')),
                *('-address', '127.0.0.1', '-port', str(ports['epmd'])),
            ],
        )
        home = cloud.data / 'rabbitmq'
        home.mkdir(mode=0o700, exist_ok=True)
        self._await('epmd', lambda: _answers(ports['epmd']))
        self._processes.start(
            'rabbitmq',
            [str(_RABBITMQ)],
            {
                'HOME': str(home),
                'ERL_EPMD_ADDRESS': '127.0.0.1',
                'ERL_EPMD_PORT': str(ports['epmd']),
                'RABBITMQ_NODENAME': f'vgpu{ports["amqp"]}@localhost',
                'RABBITMQ_CONFIG_FILE': f'{cloud.etc}/rabbitmq',
                'RABBITMQ_CONF_ENV_FILE': os.devnull,
                'RABBITMQ_ENABLED_PLUGINS_FILE': (
                    f'{cloud.etc}/rabbitmq-plugins'
                ),
                'RABBITMQ_MNESIA_BASE': f'{home}/mnesia',
                'RABBITMQ_LOG_BASE': f'{cloud.log}/rabbitmq',
                'RABBITMQ_PID_FILE': f'{home}/pid',
                'RABBITMQ_DIST_PORT': str(ports['erlang']),
                'RABBITMQ_NODE_IP_ADDRESS': '127.0.0.1',
                'RABBITMQ_NODE_PORT': str(ports['amqp']),
                'RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS': '-kernel '
                'inet_dist_use_interface {127,0,0,1}',
            },
        )

    def prepare(self) -> None:
        """Make the tables and the first users, all services side by side."""
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            jobs = [
                pool.submit(job)
                for job in (
                    self._prepare_nova,
                    self._prepare_keystone,
                    self._prepare_glance,
                    self._prepare_placement,
                )
            ]
            try:
                for job in jobs:
                    job.result()
            except BaseException:
                # The others neither go on nor are waited for.
                self._given_up = True
                self._processes.stop(self._processes.names())
                raise

    def _prepare_keystone(self) -> None:
        manage = [
            *(str(_BIN / 'keystone-manage'), '--config-file'),
            f'{self._cloud.etc}/keystone.conf',
        ]
        for name in ('fernet', 'credential'):
            (self._cloud.data / name).mkdir(mode=0o700, exist_ok=True)
        user = ('--keystone-user', str(os.getuid()))
        group = ('--keystone-group', str(os.getgid()))
        self.run(*manage, 'fernet_setup', *user, *group)
        self.run(*manage, 'credential_setup', *user, *group)
        self.run(*manage, 'db_sync')
        url = self._cloud.url('keystone')
        self.run(
            *manage,
            'bootstrap',
            *('--bootstrap-admin-url', url, '--bootstrap-public-url', url),
            *('--bootstrap-internal-url', url),
            *('--bootstrap-region-id', 'RegionOne'),
            # Not an argument, where everybody on the machine can read it.
            environment={'OS_BOOTSTRAP_PASSWORD': self._cloud.password},
        )

    def _prepare_placement(self) -> None:
        self.run(
            *(str(_BIN / 'placement-manage'), '--config-file'),
            *(f'{self._cloud.etc}/placement.conf', 'db', 'sync'),
        )

    def _prepare_glance(self) -> None:
        (self._cloud.data / 'images').mkdir(mode=0o700, exist_ok=True)
        self.run(
            *(str(_BIN / 'glance-manage'), '--config-file'),
            *(f'{self._cloud.etc}/glance-api.conf', 'db_sync'),
        )

    def _prepare_nova(self) -> None:
        self.run(*self.nova_manage('api_db', 'sync'))
        self.run(
            *self.nova_manage('cell_v2', 'map_cell0'),
            *('--database_connection', self._database('nova_cell0')),
        )
        # The passwords are those of nova.conf, which fills the template.
        self.run(
            *self.nova_manage('cell_v2', 'create_cell'),
            *('--name', 'cell1', '--transport-url', _TRANSPORT),
            *('--database_connection', self._database('nova_cell1')),
        )
        self.run(*self.nova_manage('db', 'sync'))

    def _database(self, name: str) -> str:
        return (
            '{scheme}://{username}:{password}@{hostname}:{port}/'
            f'{name}?{{query}}'
        )

    def nova_manage(self, *arguments: str) -> list[str]:
        """Give a command line of nova-manage."""
        conf = f'{self._cloud.etc}/nova.conf'
        return [str(_BIN / 'nova-manage'), '--config-file', conf, *arguments]

    def start_keystone(self) -> None:
        """Start Keystone alone: users and catalogue come first."""
        self._start_application('keystone')
        self.await_url('keystone')

    def start(self) -> None:
        """Start everything else, and wait for the APIs."""
        cloud = self._cloud
        for name in _APPLICATIONS:
            if name != 'keystone':
                self._start_application(name)
        self._processes.start(
            'neutron',
            [
                *(sys.executable, str(_TOOLS / 'network.py')),
                str(cloud.ports['neutron']),
            ],
        )
        for name in NOVA:
            self.start_nova(name)
        for name in API:
            self.await_url(name)

    def start_nova(self, name: str) -> None:
        """Start a service of Nova that has no API."""
        self._processes.start(
            name, [str(_BIN / f'nova-{name}'), *self._nova_files()]
        )

    def restart_nova(self) -> None:
        """Start API, scheduler and conductor again, with new options."""
        self._processes.stop(('nova', *NOVA))
        self._start_application('nova')
        for name in NOVA:
            self.start_nova(name)
        self.await_url('nova')

    def _nova_files(self) -> list[str]:
        return [
            argument
            for file in (
                f'{self._cloud.etc}/nova.conf',
                *self._cloud.nova_conf,
            )
            for argument in ('--config-file', file)
        ]

    def _start_application(self, name: str) -> None:
        target, workers, threads = _APPLICATIONS[name]
        etc = self._cloud.etc
        nova_files = (
            files.installed('nova/api-paste.ini'),
            f'{etc}/nova.conf',
            *self._cloud.nova_conf,
        )
        self._processes.start(
            name,
            [
                *(sys.executable, str(_TOOLS / 'wsgi.py'), target),
                *(str(self._cloud.ports[name]), str(workers), str(threads)),
            ],
            {
                'OS_KEYSTONE_CONFIG_DIR': str(etc),
                'OS_PLACEMENT_CONFIG_DIR': str(etc),
                'OS_GLANCE_CONFIG_DIR': str(etc),
                'OS_GLANCE_CONFIG_FILES': 'glance-api.conf',
                'OS_NOVA_CONFIG_FILES': ';'.join(nova_files),
                'OS_NOVA_DISABLE_EVENTLET_PATCHING': 'true',
                'NOVA_VGPU_VENDORDATA_CONFIG_FILES': f'{etc}/vendordata.conf',
            },
        )

    def await_url(self, name: str) -> None:
        """Wait until an API answers."""
        url = self._cloud.url(name)
        url += {'glance': '/versions', 'vendordata': '/healthcheck'}.get(
            name, ''
        )
        self._await(name, lambda: _replies(url))

    def _await(self, name: str, is_ready: Callable[[], bool]) -> None:
        end = time.monotonic() + _PATIENCE
        while not is_ready():
            self._processes.check(name)
            if time.monotonic() > end:
                raise CloudError(
                    f'{name} does not answer after {_PATIENCE:.0f} s; see '
                    f'{self._cloud.log}'
                )
            time.sleep(0.1)

    def run(
        self, *command: str, environment: dict[str, str] | None = None
    ) -> None:
        """Run a command to its end.

        :raises CloudError: it failed; with the end of what it said.
        """
        name = pathlib.Path(command[0]).name
        if self._given_up:
            raise CloudError(f'{name} is not run any more.')
        self._processes.run(
            name,
            command,
            {
                'OS_NOVA_DISABLE_EVENTLET_PATCHING': 'true',
                # They would hide what matters.
                'PYTHONWARNINGS': 'ignore',
                **(environment or {}),
            },
        )


_TRANSPORT = '{scheme}://{username}:{password}@{hostname}:{port}/'


def _as_root() -> list[str]:
    return ['--user=root'] if os.getuid() == 0 else []


def _answers(port: int) -> bool:
    try:
        socket.create_connection(('127.0.0.1', port), timeout=2).close()
    except OSError:
        return False
    return True


def _replies(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()  # noqa: S310
    except urllib.error.HTTPError as error:
        return error.code in (300, 401)
    except OSError:
        return False
    return True
