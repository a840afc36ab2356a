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
"""The agent: while nothing happens, and from an event to Placement."""

from __future__ import annotations

import contextlib
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

from nova_vgpu_ext.sim import kernel, profile
from tests.functional.fixtures import agent as agent_fixture
from tests.functional.fixtures import placement
from tools.benchmarks.rows import Row

_NODE = 'node.example.org'
_GPU = '0000:88:00.0'
_PROVIDER = f'{_NODE}_pci_0000_88_00_0'
_MDEV = 'd878445d-df99-4510-b467-c67a4c1a7c34'
_START_SECONDS = 10
_IDLE_SECONDS = 30
_EVENTS = 9
_REPORT = (str(pathlib.Path(sys.executable).parent / 'nova-vgpu'),)
_CONF = """\
[devices]
enabled_mdev_types = nvidia-194
[vgpu]
sysfs_root = {root}
node_name = {node}
libvirt_uri = qemu:///system
"""


class _Host:
    """A simulated host with its Placement and libvirt."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self.server = stack.enter_context(placement.PlacementServer())
        self.server.create_provider(_NODE)
        folder = pathlib.Path(
            stack.enter_context(tempfile.TemporaryDirectory())
        )
        self.root = str(folder / 'host')
        kernel.build(profile.load('v100x8'), self.root)
        self.kernel = kernel.SimulatedKernel(self.root)
        conf = folder / 'nova.conf'
        text = _CONF.format(root=self.root, node=_NODE)
        conf.write_text(text + self.server.config_text(), encoding='utf-8')
        self.arguments = ['--config-file', str(conf)]
        self.libvirt = stack.enter_context(agent_fixture.StandInLibvirt())

    def change(self) -> bool:
        """Take the GPU's room away, or give it back; say whether it is."""
        mdev = pathlib.Path(self.root, 'bus/mdev/devices', _MDEV)
        if mdev.exists():
            self.kernel.write(str(mdev / 'remove'), '1')
            return True
        types = f'{self.root}/bus/pci/devices/{_GPU}/mdev_supported_types'
        self.kernel.write(f'{types}/nvidia-197/create', _MDEV)
        return False

    def seconds_to_placement(self, tell: Callable[[], None]) -> float:
        """Take the median time from a change until Placement has it."""
        taken = []
        for _ in range(_EVENTS):
            offered = self.change()
            started = time.perf_counter()
            tell()
            while (self.server.find(_PROVIDER) is not None) is not offered:
                time.sleep(0.01)
            taken.append(time.perf_counter() - started)
        return statistics.median(taken)


def run() -> Iterator[Row]:
    """Measure the agent, and what an operator would run without it."""
    with contextlib.ExitStack() as stack:
        host = _Host(stack)
        watch = _watch(host)
        yield watch
        host.server.requests.clear()
        agent = stack.enter_context(
            agent_fixture.Agent(host.arguments, host.libvirt.environment)
        )
        agent.notify.wait_for('READY=1')
        time.sleep(_START_SECONDS)
        before = agent.cpu_ticks()
        host.server.requests.clear()
        time.sleep(_IDLE_SECONDS)
        ticks = agent.cpu_ticks() - before
        yield Row(
            watch.what,
            f'the agent, {agent.memory():.0f} MiB',
            ticks / float(os.sysconf('SC_CLK_TCK')),
            requests=len(host.server.requests),
            base=watch,
        )
        what = 'from a change to Placement'
        base = Row(
            what,
            'report, started anew',
            host.seconds_to_placement(lambda: _report(host)),
        )
        yield base
        taken = host.seconds_to_placement(
            lambda: host.libvirt.happen('device mdev_0000')
        )
        yield Row(what, 'the agent', taken, base=base)


def _watch(host: _Host) -> Row:
    """Measure a loop of reports while nothing happens."""
    process = subprocess.Popen(  # noqa: S603
        [*_REPORT, *host.arguments, 'report', '--watch', '10'],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        time.sleep(_START_SECONDS)
        before = _processor_seconds(process.pid)
        host.server.requests.clear()
        time.sleep(_IDLE_SECONDS)
        requests = len(host.server.requests)
        taken = _processor_seconds(process.pid) - before
    finally:
        process.terminate()
        process.wait()
    what = f'{_IDLE_SECONDS} s without a change, processor time'
    return Row(what, 'report --watch 10', taken, requests=requests)


def _report(host: _Host) -> None:
    subprocess.run(  # noqa: S603
        [*_REPORT, *host.arguments, 'report'],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )


def _processor_seconds(pid: int) -> float:
    text = pathlib.Path(f'/proc/{pid}/stat').read_text(encoding='ascii')
    fields = text.rpartition(')')[2].split()
    ticks = int(fields[11]) + int(fields[12])
    return ticks / float(os.sysconf('SC_CLK_TCK'))
