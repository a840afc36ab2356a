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
"""A small OpenStack that is filled like a large one.

It has no nova-compute: what those would have written is in its databases.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence

from tools.benchmarks import clouds_check
from tools.benchmarks import clouds_plan as plan
from tools.benchmarks import clouds_providers as providers
from tools.minicloud import cloud as minicloud
from tools.minicloud import files, processes, services

_ROOT = pathlib.Path(__file__).parents[2]
_WSGI = _ROOT / 'tools/minicloud/wsgi.py'
_SECONDS = 300.0
#: A request in the log of a service's web server.
_REQUEST = b' HTTP/1.1" '
_ALLOCATIONS = b'/allocations HTTP/1.1" '


class FilledCloud:
    """A running cloud with GPU hosts and servers.

    :param found: the cloud, without any.
    :param hosts: what it shall have.
    """

    def __init__(
        self, found: minicloud.Cloud, hosts: Sequence[plan.Host]
    ) -> None:
        self._cloud = found
        self.hosts = hosts
        self.settings = found.settings
        self.connection = found.connection()

    @property
    def environment(self) -> dict[str, str]:
        """What ``openstack`` needs to be the administrator."""
        kept = {k: v for k, v in os.environ.items() if k[:3] != 'OS_'}
        return kept | self.settings.credentials

    @property
    def nova_conf(self) -> str:
        """The path of the controller's nova.conf."""
        return str(self.settings.etc / 'nova.conf')

    @property
    def placement_log(self) -> pathlib.Path:
        """Where Placement's web server writes what it answered."""
        return self.settings.log / 'placement.out'

    def requests(self) -> int:
        """Count the requests that Placement and Nova have answered."""
        logs = (self.placement_log, self.settings.log / 'nova.out')
        return sum(log.read_bytes().count(_REQUEST) for log in logs)

    def allocation_lists(self) -> int:
        """Count how often Placement was asked for a provider's allocations."""
        return self.placement_log.read_bytes().count(_ALLOCATIONS)

    def gpus(self, host: plan.Host) -> list[str]:
        """List the UUIDs of a host's GPUs."""
        found = self.connection.placement.resource_providers(in_tree=host.uuid)
        return [p.id for p in found if p.id != host.uuid]

    def fill(self) -> None:
        """Write hosts, servers, and what they have allocated."""
        self._use_two_workers()
        told = {
            'hosts': plan.to_json(self.hosts),
            'projects': {t: self._project(t) for t in plan.TYPES},
            'flavors': {t: self.flavor(t) for t in plan.TYPES},
        }
        for type_id in (*plan.TYPES, None):
            self._make_flavor(type_id)
        path = self.settings.data / 'hosts.json'
        path.write_text(json.dumps(told), encoding='utf-8')
        filler = providers.Filler(
            self.connection.placement, self._config(), self.settings.data
        )
        filler.fill(
            files.database_url(self.settings, 'placement'),
            self.hosts,
            told['projects'],  # type: ignore[arg-type]
        )
        run_module('clouds_servers', self.nova_conf, str(path))
        clouds_check.check(self.connection, self.hosts)

    def _use_two_workers(self) -> None:
        """Give Placement and Nova a worker for each of two cores."""
        etc = self.settings.etc
        nova_files = (files.installed('nova/api-paste.ini'), self.nova_conf)
        run = processes.Processes(
            self.settings.folder / 'run', self.settings.log
        )
        for name, application, environment in (
            (
                'placement',
                'placement.wsgi.api:application',
                {'OS_PLACEMENT_CONFIG_DIR': str(etc)},
            ),
            (
                'nova',
                'nova.wsgi.osapi_compute:application',
                {
                    'OS_NOVA_CONFIG_FILES': ';'.join(nova_files),
                    'OS_NOVA_DISABLE_EVENTLET_PATCHING': 'true',
                },
            ),
        ):
            run.stop([name])
            run.start(
                name,
                [
                    *(sys.executable, str(_WSGI), application),
                    *(str(self.settings.ports[name]), '2', '4'),
                ],
                environment,
            )
            services.Services(self.settings, run).await_url(name)

    def _config(self) -> str:
        """Write ``[placement]`` of the nova.conf of a host."""
        return (
            '[placement]\nauth_type = password\n'
            f'auth_url = {self.settings.url("keystone")}\n'
            f'username = {files.USER}\npassword = {self.settings.password}\n'
            'project_name = service\nuser_domain_id = default\n'
            'project_domain_id = default\nregion_name = RegionOne\n'
        )

    def _project(self, type_id: str) -> str:
        project = self.connection.identity.create_project(
            name=f'users-of-{type_id}', domain_id='default'
        )
        return str(project.id)

    def flavor(self, type_id: str | None) -> str:
        """Name the flavor of a type, or of any."""
        return f'vgpu_{_number(type_id)}' if type_id else 'vgpu_any'

    def _make_flavor(self, type_id: str | None) -> None:
        specs = {'resources:VGPU': '1'}
        if type_id is not None:
            specs[f'trait:CUSTOM_NVIDIA_{_number(type_id)}'] = 'required'
        compute = self.connection.compute
        made = compute.create_flavor(
            name=self.flavor(type_id),
            vcpus=plan.SERVER['VCPU'],
            ram=plan.SERVER['MEMORY_MB'],
            disk=plan.SERVER['DISK_GB'],
        )
        compute.create_flavor_extra_specs(made, specs)


def _number(type_id: str) -> str:
    return type_id.removeprefix('nvidia-')


def run_module(name: str, *arguments: str) -> str:
    """Run a module beside this one in a process of its own.

    :returns: what it printed.
    :raises RuntimeError: it failed; with the end of what it said.
    """
    done = subprocess.run(  # noqa: S603
        [
            *(sys.executable, '-W', 'ignore'),
            *('-m', f'{__package__}.{name}', *arguments),
        ],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
        env={**os.environ, 'OS_NOVA_DISABLE_EVENTLET_PATCHING': 'true'},
    )
    if done.returncode:
        msg = f'{name} failed: {done.stderr[-3000:]}'
        raise RuntimeError(msg)
    return done.stdout


@contextlib.contextmanager
def filled(number: int) -> Iterator[FilledCloud]:
    """Run a cloud with some GPU hosts; nothing of it is left in the end.

    :param number: how many hosts.
    :raises CloudError: a package is missing, or a service does not start.
    """
    with tempfile.TemporaryDirectory(prefix='vgpu-bench-') as folder:
        found = minicloud.Cloud(pathlib.Path(folder) / 'cloud')
        try:
            found.up(computes=())
            made = FilledCloud(found, plan.hosts(number))
            made.fill()
            yield made
        finally:
            found.down()
