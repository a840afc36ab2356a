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
"""Making and removing mdevs on a real kernel, in the lab's guest."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator

from tools.benchmarks.rows import Row
from tools.labvm import images, machine

_INSIDE = pathlib.Path(__file__).with_name('mdevs_inside.py')
_FOLDER = images.ROOT / '.lab'
_SECONDS = 1200
#: In the order in which they are shown; the first is compared with.
_WAYS = {
    'shell': 'echo in one shell',
    'nova-vgpu': 'nova-vgpu mdev',
    'mdevctl': 'mdevctl, once each',
    'virsh': 'virsh, once each',
}


def run() -> Iterator[Row]:
    """Measure each way in the same guest."""
    lab = machine.Machine(_FOLDER / 'machines/bench', images.Builder(_FOLDER))
    lab.start(machine.Settings())
    try:
        done = lab.call(
            'python3 -', _SECONDS, _INSIDE.read_text(encoding='utf-8')
        )
    finally:
        lab.stop()
    if done.returncode:
        raise RuntimeError(done.stderr)
    taken = json.loads(done.stdout)
    for what in ('create', 'remove'):
        base = None
        for way, who in _WAYS.items():
            row = Row(
                f'{what} 32 mdevs (in the lab)',
                who,
                taken[way][what],
                base=base,
            )
            base = base or row
            yield row
