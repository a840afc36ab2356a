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
"""Runs in the lab's guest: seconds for 32 mdevs, by way and by step."""

import json
import pathlib
import subprocess
import time
import uuid

GPU = '0000:89:00.0'
TYPE = 'nvidia-194'
TYPES = f'/sys/bus/pci/devices/{GPU}/mdev_supported_types/{TYPE}'
DEVICES = pathlib.Path('/sys/bus/mdev/devices')
NODE_DEVICE = """\
<device>
  <parent>pci_0000_89_00_0</parent>
  <capability type='mdev'>
    <type id='nvidia-194'/>
    <uuid>{uuid}</uuid>
  </capability>
</device>
"""


def run(*command: str, stdin: str = '') -> None:
    """Run a program that must succeed."""
    subprocess.run(  # noqa: S603
        command, input=stdin, text=True, check=True, capture_output=True
    )


def node_name(name: str) -> str:
    """Name libvirt's node device of an mdev."""
    return f'mdev_{name.replace("-", "_")}_0000_89_00_0'


def create(way: str, names: list[str]) -> None:
    """Make mdevs in one of the ways."""
    if way == 'shell':
        lines = [f'echo {name} >{TYPES}/create' for name in names]
        run('sh', '-e', '-c', '\n'.join(lines))
    elif way == 'nova-vgpu':
        count = str(len(names))
        run(
            *('nova-vgpu', 'mdev', 'create', '--gpu', GPU),
            *('--type', TYPE, '--count', count),
        )
    for name in names:
        if way == 'mdevctl':
            run('mdevctl', 'start', '-u', name, '-p', GPU, '-t', TYPE)
        elif way == 'virsh':
            text = NODE_DEVICE.format(uuid=name)
            run('virsh', 'nodedev-create', '/dev/stdin', stdin=text)


def remove(way: str) -> None:
    """Remove every mdev in one of the ways."""
    names = sorted(path.name for path in DEVICES.iterdir())
    if way == 'shell':
        lines = [f'echo 1 >{DEVICES}/{name}/remove' for name in names]
        run('sh', '-e', '-c', '\n'.join(lines))
    elif way == 'nova-vgpu':
        run('nova-vgpu', 'mdev', 'remove', *names)
    for name in names:
        if way == 'mdevctl':
            run('mdevctl', 'stop', '-u', name)
        elif way == 'virsh':
            run('virsh', 'nodedev-destroy', node_name(name))


def main() -> None:
    """Print the seconds of each way."""
    taken = {}
    for way in ('shell', 'nova-vgpu', 'mdevctl', 'virsh'):
        names = [str(uuid.uuid4()) for _ in range(32)]
        started = time.monotonic()
        create(way, names)
        created = time.monotonic()
        run('udevadm', 'settle')
        begun = time.monotonic()
        remove(way)
        ended = time.monotonic()
        run('udevadm', 'settle')
        taken[way] = {'create': created - started, 'remove': ended - begun}
    print(json.dumps(taken))


main()
