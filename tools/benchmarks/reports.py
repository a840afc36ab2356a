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
"""Making Placement say what a host offers, in three ways.

Each way starts with an empty Placement that has the compute node's provider,
and ends with the same inventories.
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence

from tests.functional.fixtures import nova as nova_fixture  # isort: skip

from nova_vgpu_ext import models
from nova_vgpu_ext.conf import load
from nova_vgpu_ext.host import snapshot
from nova_vgpu_ext.placement import access, reporter
from nova_vgpu_ext.placement import client as placement_client
from nova_vgpu_ext.placement.tree import Tree, TreeReader
from nova_vgpu_ext.plan import inventory
from nova_vgpu_ext.sim import builder, description, profile
from tests.functional.fixtures import nova_report
from tests.functional.fixtures.placement import PlacementServer
from tools.benchmarks import hosts
from tools.benchmarks.rows import Row, seconds

NODE = nova_fixture.NODE
_OPENSTACK = str(pathlib.Path(sys.executable).parent / 'openstack')
#: How many GPUs the administrator's commands are typed for; the time for
#: more is that of one command times their number.
_TYPED = 2


class _Case:
    """A host and its configuration, ready for each way."""

    def __init__(
        self, folder: str, host: description.Profile, type_id: str
    ) -> None:
        self.host = host
        self.folder = pathlib.Path(folder)
        self.root = str(self.folder / 'sys')
        builder.build(host, self.root)
        self.conf = f'[devices]\nenabled_mdev_types = {type_id}\n'

    def plan(self, config: models.DevicesConfig, tree: Tree) -> object:
        """Read the host and plan, as each cycle does."""
        seen = snapshot.observe(self.root, None)
        plan = inventory.plan(
            config,
            seen,
            NODE,
            ('type', 'product', 'series', 'frame_buffer'),
            tree.with_inventory,
        )
        return plan.providers, plan.held

    def reporter(
        self, server: PlacementServer
    ) -> tuple[reporter.Reporter, models.DevicesConfig]:
        """Start this project afresh."""
        file = self.folder / 'nova.conf'
        file.write_text(self.conf + server.config_text())
        conf = load.load([str(file)])
        client = placement_client.PlacementClient(access.from_conf(conf))
        reader = TreeReader(client, NODE, 8)
        return reporter.Reporter(client, reader), load.devices_config(conf)


def _measure(server: PlacementServer, function: object) -> tuple[float, int]:
    with server.counting() as requests:
        took = seconds(function)  # type: ignore[arg-type]
    return took, len(requests)


def _ours(
    case: _Case, what: str, reshaper: bool
) -> Iterator[tuple[str, float, int]]:
    with PlacementServer(reshaper=reshaper) as server:
        server.create_provider(NODE)
        state = []

        def start() -> None:
            state[:] = case.reporter(server)
            cycle()

        def cycle() -> None:
            each, config = state
            each.run(lambda tree: case.plan(config, tree), lambda a: None)

        yield ('first report', *_measure(server, start))
        yield ('refresh, nothing changed', *_measure(server, cycle))
        yield ('new process, nothing changed', *_measure(server, start))


def _nova(case: _Case) -> Iterator[tuple[str, float, int]]:
    with (
        PlacementServer() as server,
        nova_fixture.NovaHost(case.host) as host,
        nova_report.NovaReporter(host, server, case.conf) as nova,
    ):
        yield ('first report', *_measure(server, nova.start))
        yield (
            'refresh, nothing changed',
            *_measure(server, lambda: nova.periodic(stale=True)),
        )
        yield ('new process, nothing changed', *_measure(server, nova.start))


def _typed(number: int) -> tuple[float, int]:
    """Type the commands for some GPUs of ``number``.

    :returns: seconds and requests for all of them, extrapolated.
    """
    with PlacementServer() as server:
        root = server.create_provider(NODE)
        options = [
            '--os-auth-type=admin_token',
            '--os-token=admin',
            f'--os-endpoint={server.url}',
            '--os-placement-api-version=1.29',
        ]

        def run(*words: str) -> str:
            answer = subprocess.run(  # noqa: S603
                [_OPENSTACK, *options, *words],
                check=True,
                capture_output=True,
                text=True,
                env={k: v for k, v in os.environ.items() if k[:3] != 'OS_'},
            )
            return answer.stdout.strip()

        def once() -> None:
            run('trait', 'create', 'CUSTOM_NVIDIA_194')

        def each(gpu: int) -> None:
            uuid = run(
                *[
                    'resource',
                    'provider',
                    'create',
                    '-f',
                    'value',
                    '-c',
                    'uuid',
                ],
                f'--parent-provider={root}',
                f'{NODE}_pci_0000_{gpu:02x}_00_0',
            )
            run(
                *['resource', 'provider', 'trait', 'set'],
                '--trait=CUSTOM_NVIDIA_194',
                uuid,
            )
            run(
                *['resource', 'provider', 'inventory', 'set'],
                '--resource=VGPU=32',
                uuid,
            )

        fixed, fixed_requests = _measure(server, once)
        took, requests = _measure(
            server, lambda: [each(gpu) for gpu in range(_TYPED)]
        )
        return (
            fixed + took / _TYPED * number,
            fixed_requests + requests * number // _TYPED,
        )


def _rows(
    who: str,
    host: str,
    measured: Sequence[tuple[str, float, int]],
    base: dict[str, Row],
) -> Iterator[Row]:
    for what, took, requests in measured:
        row = Row(f'{host}: {what}', who, took, requests, base.get(what))
        base.setdefault(what, row)
        yield row


def run() -> Iterator[Row]:
    """Measure each way for a small and a large host."""
    cases = (
        ('8 GPUs', 8, profile.load('v100x8'), 'nvidia-194'),
        ('512 VFs', 512, hosts.large_host(), 'nvidia-558'),
    )
    for name, number, host, type_id in cases:
        with tempfile.TemporaryDirectory() as folder:
            case = _Case(folder, host, type_id)
            base: dict[str, Row] = {}
            measured = list(_ours(case, name, reshaper=True))
            yield from _rows('this project', name, measured, base)
            measured = list(_ours(case, name, reshaper=False))
            yield from _rows(
                'this project, no reshaper', name, measured[:1], base
            )
            yield from _rows('Nova', name, list(_nova(case)), base)
            typed = ('first report', *_typed(number))
            yield from _rows(
                f'openstack commands ({_TYPED} GPUs typed, extrapolated)',
                name,
                [typed],
                base,
            )
