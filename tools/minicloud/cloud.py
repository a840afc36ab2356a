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
"""A cloud as a whole: up, down, and what is changed while it runs."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import functools
import os
import pathlib
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import openstack

from nova_vgpu_ext.sim import description, kernel
from nova_vgpu_ext.sim import profile as profiles
from tools.minicloud import CloudError, files, lab, services, settings
from tools.minicloud.lab import LabCompute
from tools.minicloud.processes import Processes
from tools.minicloud.settings import Compute, Settings

_TOOLS = pathlib.Path(__file__).parent
_BIN = pathlib.Path(sys.executable).parent
_ONE_TYPE = '[devices]\nenabled_mdev_types = nvidia-194\n'

#: Two GPU hosts, and one without a GPU.
COMPUTES = (
    Compute('gpu01', 'v100x8', _ONE_TYPE),
    Compute('gpu02', 'v100x8', _ONE_TYPE),
    Compute('cpu01', None),
)
IMAGE = 'tiny'
FLAVOR = 'vgpu_1'
#: How long a nova-compute may take to report itself, in seconds.
_PATIENCE = 240.0


class Cloud:
    """A cloud and its folder.

    :param folder: its own; nothing of it is elsewhere.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self._processes = Processes(folder / 'run', folder / 'log')

    @property
    def settings(self) -> Settings:
        """What the cloud is.

        :raises CloudError: there is none.
        """
        found = settings.load(self.folder)
        if found is None:
            raise CloudError('There is no cloud; tools/cloud up makes one.')
        return found

    @property
    def is_up(self) -> bool:
        """Whether it was brought up as a whole, and nothing has ended."""
        return (self.folder / 'ready').exists() and all(
            self._processes.is_running(name)
            for name in self._processes.names()
        )

    def state(self) -> dict[str, bool]:
        """Tell of each process whether it runs."""
        return {
            name: self._processes.is_running(name)
            for name in self._processes.names()
        }

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Let one command at a time change the cloud."""
        self.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.folder.parent / f'{self.folder.name}.lock'
        with open(path, 'w') as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                    raise BlockingIOError
            except OSError as error:
                raise CloudError(
                    'Another command changes this cloud; wait for it.'
                ) from error
            try:
                yield
            finally:
                if not self.folder.exists():
                    path.unlink()
                    with contextlib.suppress(OSError):
                        self.folder.parent.rmdir()

    def up(
        self,
        computes: tuple[Compute, ...] = COMPUTES,
        nova_conf: tuple[str, ...] = (),
        progress: Callable[[str], None] = lambda text: None,
        in_lab: bool = False,
    ) -> bool:
        """Bring the cloud up, afresh if it is half there.

        :param computes: its compute nodes.
        :param nova_conf: further configuration files of Nova's API,
            scheduler and conductor.
        :param progress: told what is done next.
        :param in_lab: whether the virtual machine of tools/lab joins it.
        :returns: False if it is up already.
        :raises CloudError: something does not start; nothing is left then.
        """
        if self.is_up:
            return False
        services.require_programs()
        self.down()
        made = settings.create(self.folder, computes, nova_conf)
        try:
            self._build(made, progress)
            if in_lab:
                progress('virtual machine')
                self.join_lab()
        except BaseException:
            self._stop()
            raise
        (self.folder / 'ready').touch()
        return True

    def _build(self, made: Settings, progress: Callable[[str], None]) -> None:
        files.write(made)
        parts = services.Services(made, self._processes)
        progress('database and queue')
        parts.start_infrastructure()
        progress('tables')
        parts.prepare()
        progress('services')
        parts.start_keystone()
        _make_users(self.connection(), made)
        parts.start()
        progress('compute nodes')
        for compute in made.computes:
            self._make_host(made, compute)
            self._start_compute(made, compute.name)
        _make_content(self.connection())
        self._await_computes(made.computes)
        parts.run(*parts.nova_manage('cell_v2', 'discover_hosts'))
        for compute in made.computes:
            self.report(compute.name)

    def down(self) -> bool:
        """End everything and forget it.

        :returns: False if there was nothing.
        """
        found = settings.load(self.folder)
        self._stop()
        if found is not None:
            settings.forget(found)
            return True
        shutil.rmtree(self.folder, ignore_errors=True)
        return False

    def _stop(self) -> None:
        made = settings.load(self.folder)
        if made is not None and made.lab:
            LabCompute(made).stop()
        names = self._processes.names()
        last = [n for n in services.INFRASTRUCTURE if n in names]
        self._processes.stop(n for n in names if n not in last)
        self._processes.stop(last)

    def run(self, command: Sequence[str]) -> int:
        """Run a command with the administrator's credentials.

        :returns: its exit status.
        """
        environment = {
            k: v for k, v in os.environ.items() if not k.startswith('OS_')
        }
        path = f'{_BIN}:{environment.get("PATH", "")}'
        environment |= self.settings.credentials | {'PATH': path}
        found = shutil.which(command[0], path=path)
        if found is None:
            raise CloudError(f'There is no program {command[0]!r}.')
        return subprocess.run(  # noqa: S603
            [found, *command[1:]], env=environment, check=False
        ).returncode

    def connection(self) -> Any:
        """Connect as the administrator, with openstacksdk."""
        made = self.settings
        return openstack.connect(
            load_yaml_config=False,
            load_envvars=False,
            auth_url=made.url('keystone'),
            username='admin',
            password=made.password,
            project_name='admin',
            user_domain_id='default',
            project_domain_id='default',
            region_name='RegionOne',
        )

    # -- what is changed while it runs --------------------------------------

    def change_compute(self, compute: Compute) -> None:
        """Give a compute node another host or configuration; start it anew.

        Its guests are gone from its libvirt then, as after a reboot.
        """
        made = self.settings
        made.compute(compute.name)
        self._processes.stop([compute.name])
        computes = tuple(
            compute if c.name == compute.name else c for c in made.computes
        )
        made = dataclasses.replace(made, computes=computes)
        settings.save(made)
        files.write(made)
        shutil.rmtree(made.host(compute.name))
        self._make_host(made, compute)
        before = _seen(self.connection(), compute.name)
        self._start_compute(made, compute.name)
        self._await_computes([compute], before)

    def join_lab(self) -> LabCompute:
        """Let the virtual machine of tools/lab be a compute node too.

        :returns: it, with nova-compute up and its GPUs reported.
        """
        made = dataclasses.replace(self.settings, lab=True)
        # Before it starts, so that it ends also where it is interrupted.
        settings.save(made)
        guest = LabCompute(made)
        guest.start()
        self._await_compute(lab.NAME, guest.check)
        parts = services.Services(made, self._processes)
        parts.run(*parts.nova_manage('cell_v2', 'discover_hosts'))
        guest.report()
        return guest

    def leave_lab(self) -> None:
        """End the virtual machine, and forget its compute node."""
        LabCompute(self.settings).stop()
        settings.save(dataclasses.replace(self.settings, lab=False))
        compute = self.connection().compute
        for service in compute.services(host=lab.NAME, binary='nova-compute'):
            compute.delete_service(service)

    def change_nova(self, nova_conf: tuple[str, ...]) -> None:
        """Start Nova's API, scheduler and conductor with other options."""
        made = dataclasses.replace(self.settings, nova_conf=nova_conf)
        settings.save(made)
        services.Services(made, self._processes).restart_nova()

    def report(self, name: str) -> None:
        """Run ``nova-vgpu report`` on a compute node that has GPUs."""
        made = self.settings
        if made.compute(name).profile is None:
            return
        services.Services(made, self._processes).run(
            str(_BIN / 'nova-vgpu'),
            *('--config-file', f'{made.etc}/{name}.conf', 'report'),
        )

    def _make_host(self, made: Settings, compute: Compute) -> None:
        host = (
            profiles.load(compute.profile)
            if compute.profile is not None
            else description.Profile('no-gpu')
        )
        made.host(compute.name).parent.mkdir(mode=0o700, exist_ok=True)
        kernel.build(host, str(made.host(compute.name)))

    def _start_compute(self, made: Settings, name: str) -> None:
        self._processes.start(
            name,
            [
                *(sys.executable, '-m', 'tools.minicloud.compute'),
                *(name, str(made.host(name))),
                *('--config-file', f'{made.etc}/{name}.conf'),
            ],
            {
                'OS_NOVA_DISABLE_EVENTLET_PATCHING': 'true',
                'PYTHONPATH': str(_TOOLS.parents[1]),
            },
        )

    def _await_computes(
        self, computes: Iterable[Compute], seen: str = ''
    ) -> None:
        """Wait until nova-computes are up and have reported their GPUs.

        :param seen: what is known of the last sign of life of one.
        """
        for name in [compute.name for compute in computes]:
            check = functools.partial(self._processes.check, name)
            self._await_compute(name, check, seen)

    def _await_compute(
        self, name: str, check: Callable[[], None], seen: str = ''
    ) -> None:
        cloud = self.connection()
        end = time.monotonic() + _PATIENCE
        while _seen(cloud, name) in ('', seen):
            check()
            if time.monotonic() > end:
                raise CloudError(
                    f'nova-compute of {name} does not come up; see '
                    f'{self.settings.log}/{name}'
                )
            time.sleep(0.3)


def _seen(cloud: Any, name: str) -> str:
    """Tell when a compute node was last seen up, with a provider."""
    for service in cloud.compute.services(host=name, binary='nova-compute'):
        if service.state == 'up':
            found = list(cloud.placement.resource_providers(name=name))
            return str(service.updated_at) if found else ''
    return ''


def _make_users(cloud: Any, made: Settings) -> None:
    """Make the services' user, and the catalogue."""
    identity = cloud.identity
    project = identity.create_project(name='service', domain_id='default')
    roles = {role.name: role for role in identity.roles()}
    role = roles.get('service') or identity.create_role(name='service')
    user = identity.create_user(
        name=files.USER, password=made.password, domain_id='default'
    )
    for granted in (role, roles['admin']):
        identity.assign_project_role_to_user(project, user, granted)
    for name, kind in (
        ('placement', 'placement'),
        ('glance', 'image'),
        ('neutron', 'network'),
        ('nova', 'compute'),
    ):
        service = identity.create_service(name=name, type=kind)
        for interface in ('public', 'internal', 'admin'):
            identity.create_endpoint(
                service_id=service.id,
                interface=interface,
                url=made.url(name),
                region_id='RegionOne',
            )


def _make_content(cloud: Any) -> None:
    """Make the image and the flavor that are there from the start."""
    cloud.image.create_image(
        name=IMAGE,
        disk_format='raw',
        container_format='bare',
        visibility='public',
        data=bytes(1 << 20),
    )
    flavor = cloud.compute.create_flavor(
        name=FLAVOR, ram=512, vcpus=1, disk=1, is_public=True
    )
    cloud.compute.create_flavor_extra_specs(flavor, {'resources:VGPU': '1'})
