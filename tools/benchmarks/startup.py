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
"""How long commands take that only read."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence

from nova_vgpu_ext.sim import builder, profile
from tools.benchmarks.rows import Row, seconds

_BIN = pathlib.Path(sys.executable).parent


def _run(command: Sequence[str]) -> float:
    def once() -> None:
        subprocess.run(  # noqa: S603
            command, check=True, stdout=subprocess.DEVNULL
        )

    once()
    return seconds(once, 9)


def run() -> Iterator[Row]:
    """Measure the program, Python alone, and other clients' help."""
    ours = str(_BIN / 'nova-vgpu')
    openstack = str(_BIN / 'openstack')
    with tempfile.TemporaryDirectory() as folder:
        root = str(pathlib.Path(folder) / 'sys')
        builder.build(profile.load('v100x8'), root)
        base = Row(
            'python -c pass', 'Python', _run([sys.executable, '-c', ''])
        )
        yield base
        for words in ('--help', 'gpu list', 'type list', 'mdev list'):
            command = [ours, '--sysfs-root', root, *words.split()]
            took = _run(command)
            yield Row(f'nova-vgpu {words}', 'this project', took, base=base)
        command = [openstack, '--version']
        yield Row(
            'openstack --version', 'OpenStackClient', _run(command), base=base
        )
