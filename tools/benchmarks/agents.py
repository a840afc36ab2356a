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
"""The agent while nothing happens, against a loop of reports."""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence

from nova_vgpu_ext.sim import kernel, profile
from tests.functional.fixtures import placement
from tools.benchmarks.rows import Row

_NODE = 'node.example.org'
_START_SECONDS = 10
_IDLE_SECONDS = 30
_BIN = pathlib.Path(sys.executable).parent
_CONF = """\
[devices]
enabled_mdev_types = nvidia-194
[vgpu]
sysfs_root = {root}
node_name = {node}
"""


def run() -> Iterator[Row]:
    """Measure both on the same simulated host and Placement."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(placement.PlacementServer())
        server.create_provider(_NODE)
        folder = pathlib.Path(
            stack.enter_context(tempfile.TemporaryDirectory())
        )
        kernel.build(profile.load('v100x8'), str(folder / 'host'))
        conf = folder / 'nova.conf'
        text = _CONF.format(root=folder / 'host', node=_NODE)
        conf.write_text(text + server.config_text(), encoding='utf-8')
        watch = ('nova-vgpu', '--config-file', str(conf), 'report')
        base = None
        for who, command in (
            ('report --watch 10', (*watch, '--watch', '10')),
            ('the agent', ('nova-vgpu-agent', '--config-file', str(conf))),
        ):
            server.requests.clear()
            seconds, mebibytes = _idle(command)
            row = Row(
                f'{_IDLE_SECONDS} s without a change, processor time',
                f'{who}, {mebibytes} MiB',
                seconds,
                requests=len(server.requests),
                base=base,
            )
            base = base or row
            yield row


def _idle(command: Sequence[str]) -> tuple[float, int]:
    """Take the processor time and the memory of a program that waits."""
    process = subprocess.Popen(  # noqa: S603
        [str(_BIN / command[0]), *command[1:]],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        time.sleep(_START_SECONDS)
        before = _processor_seconds(process.pid)
        time.sleep(_IDLE_SECONDS)
        after = _processor_seconds(process.pid)
        return after - before, _mebibytes(process.pid)
    finally:
        process.terminate()
        process.wait()


def _processor_seconds(pid: int) -> float:
    text = pathlib.Path(f'/proc/{pid}/stat').read_text(encoding='ascii')
    fields = text.rpartition(')')[2].split()
    ticks = int(fields[11]) + int(fields[12])
    return ticks / float(os.sysconf('SC_CLK_TCK'))


def _mebibytes(pid: int) -> int:
    text = pathlib.Path(f'/proc/{pid}/status').read_text(encoding='utf-8')
    line = next(s for s in text.splitlines() if s.startswith('VmRSS'))
    return int(line.split()[1]) // 1024
