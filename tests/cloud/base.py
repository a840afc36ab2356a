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
"""What the tests in a whole OpenStack stand on.

They share one cloud. The first test brings it up; it ends with the process.
"""

from __future__ import annotations

import atexit
import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests import base
from tools.minicloud import CloudError, settings
from tools.minicloud import cloud as minicloud

FOLDER = pathlib.Path(minicloud.__file__).parents[2] / '.cloud' / 'test'
_BIN = pathlib.Path(sys.executable).parent

_running: minicloud.Cloud | None = None
_failed: CloudError | None = None


def running() -> minicloud.Cloud:
    """Give the cloud that the tests share.

    :raises CloudError: it does not come up; the next test is told so at once.
    """
    global _running, _failed
    if _failed is not None:
        raise _failed
    if _running is None:
        # Before it comes up, so that it ends also where it is interrupted.
        _running = minicloud.Cloud(FOLDER)
        _running.down()
        try:
            _running.up()
        except CloudError as error:
            _failed = error
            raise
    return _running


@atexit.register
def _end() -> None:
    if _running is not None:
        _running.down()


def until(is_true: Callable[[], Any], what: str, seconds: float = 120) -> Any:
    """Wait until something is true.

    :returns: what made it so.
    :raises AssertionError: it does not become so.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = is_true()
        if found:
            return found
        time.sleep(0.3)
    raise AssertionError(f'not after {seconds:.0f} s: {what}')


class CloudTestCase(base.TestCase):
    """A test in the cloud; the servers that it makes go with it."""

    def setUp(self) -> None:
        super().setUp()
        self.cloud = running()
        self.connection = self.cloud.connection()
        self.addCleanup(self._delete_servers)
        self._names: list[str] = []
        self.image = self.connection.image.find_image(minicloud.IMAGE)

    # -- the openstack command ------------------------------------------------

    def openstack(
        self, *arguments: str, code: int = 0
    ) -> subprocess.CompletedProcess[str]:
        """Run the openstack command as the administrator.

        :param code: the exit status that it must have.
        """
        environment = {
            k: v for k, v in os.environ.items() if not k.startswith('OS_')
        }
        done = subprocess.run(  # noqa: S603
            [str(_BIN / 'openstack'), *arguments],
            env=environment | self.cloud.settings.credentials,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        self.assertEqual(
            code, done.returncode, f'{arguments}\n{done.stdout}\n{done.stderr}'
        )
        return done

    def rows(self, *arguments: str, code: int = 0) -> Any:
        """Run a command that prints JSON, and give what it printed."""
        done = self.openstack(*arguments, '-f', 'json', code=code)
        return json.loads(done.stdout)

    # -- servers --------------------------------------------------------------

    def flavor(
        self, name: str, specs: Mapping[str, str], ram: int = 64
    ) -> Any:
        """Make a flavor that goes with the test."""
        compute = self.connection.compute
        made = compute.create_flavor(name=name, ram=ram, vcpus=1, disk=1)
        self.addCleanup(compute.delete_flavor, made.id)
        if specs:
            compute.create_flavor_extra_specs(made, dict(specs))
        return made

    def create_servers(
        self,
        name: str,
        flavor: str = minicloud.FLAVOR,
        count: int = 1,
        status: str = 'ACTIVE',
        host: str | None = None,
        seconds: float = 120,
    ) -> list[Any]:
        """Make servers and wait for them.

        :param count: how many, in one request.
        :param status: how they shall end up.
        :param host: the compute node that they shall be on.
        :param seconds: how long it may take.
        :returns: they, in the order of their names.
        """
        compute = self.connection.compute
        found = compute.find_flavor(flavor, ignore_missing=False)
        options = {} if host is None else {'availability_zone': f'nova:{host}'}
        compute.create_server(
            name=name,
            flavor_id=found.id,
            image_id=self.image.id,
            networks='none',
            min_count=count,
            max_count=count,
            **options,
        )
        self._names.append(name)

        def all_there() -> list[Any]:
            servers = self._servers([name])
            if len(servers) != count:
                return []
            ended = [s for s in servers if s.status in (status, 'ERROR')]
            return servers if len(ended) == count else []

        servers = until(all_there, f'{count} servers {name}', seconds)
        self.assertEqual(
            [status] * count,
            [s.status for s in servers],
            [getattr(s, 'fault', None) for s in servers],
        )
        return sorted(servers, key=lambda s: str(s.name))

    def await_status(self, server: Any, status: str) -> Any:
        """Wait until nothing is done with a server, and it has a status."""

        def is_there() -> Any:
            found = self.connection.compute.get_server(server.id)
            self.assertNotEqual('ERROR', found.status, found.fault)
            done = found.status == status and not found.task_state
            return found if done else None

        return until(is_there, f'{server.name} {status}')

    def delete_server(self, server: Any) -> None:
        """Delete a server and wait until it is gone."""
        compute = self.connection.compute
        compute.delete_server(server.id)
        compute.wait_for_delete(server, interval=0.5, wait=120)

    def _servers(self, names: Sequence[str]) -> list[Any]:
        return [
            server
            for server in self.connection.compute.servers(all_projects=True)
            if any(
                server.name == name or server.name.startswith(f'{name}-')
                for name in names
            )
        ]

    def _delete_servers(self) -> None:
        compute = self.connection.compute
        for server in self._servers(self._names):
            compute.delete_server(server.id, force=False)
        until(
            lambda: not self._servers(self._names), 'the servers of a test go'
        )

    # -- Placement ------------------------------------------------------------

    def placement(self, method: str, path: str, body: Any = None) -> Any:
        """Ask Placement; it must not refuse."""
        response = self.connection.placement.request(
            path,
            method,
            microversion='1.39',
            raise_exc=False,
            **({} if body is None else {'json': body}),
        )
        self.assertLess(response.status_code, 300, response.text)
        return response.json() if response.content else None

    def providers(self) -> dict[str, str]:
        """Give the UUID of each provider by its name."""
        found = self.placement('GET', '/resource_providers')
        return {p['name']: p['uuid'] for p in found['resource_providers']}

    def vgpus(self, consumer: str) -> dict[str, int]:
        """Tell where a consumer's vGPUs are: the amount by provider name."""
        names = {uuid: name for name, uuid in self.providers().items()}
        found = self.placement('GET', f'/allocations/{consumer}')
        return {
            names[provider]: amounts['resources']['VGPU']
            for provider, amounts in found['allocations'].items()
            if 'VGPU' in amounts['resources']
        }

    def used(self) -> dict[str, int]:
        """Give how many vGPUs are allocated, by the provider's name."""
        found = {}
        for name, uuid in self.providers().items():
            path = f'/resource_providers/{uuid}/usages'
            used = self.placement('GET', path)['usages'].get('VGPU', 0)
            if used:
                found[name] = used
        return found

    # -- hosts ----------------------------------------------------------------

    def change_compute(self, compute: settings.Compute) -> None:
        """Change a compute node for this test."""
        before = self.cloud.settings.compute(compute.name)
        self.addCleanup(self.cloud.change_compute, before)
        self.cloud.change_compute(compute)

    def host(self, name: str) -> str:
        """Give the folder of a compute node's simulated host."""
        return str(self.cloud.settings.host(name))
