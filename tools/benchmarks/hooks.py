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
"""The libvirt hook's processor time, against a hook that does nothing."""

from __future__ import annotations

import pathlib
import resource
import statistics
import subprocess
import tempfile
from collections.abc import Iterator

from nova_vgpu_ext.host import hook_file
from nova_vgpu_ext.sim import builder, profile
from tools.benchmarks.rows import Row

_RUNS = 21
_MDEV = 'd878445d-df99-4510-b467-c67a4c1a7c34'
_EMPTY = '#!/usr/bin/python3 -IS\n'
_DOMAIN = """\
<domain type='kvm'>
  <name>instance-0000031d</name>
  <uuid>11111111-2222-4333-8444-555555555555</uuid>
  <metadata>
    <nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1">
      <nova:flavor name="vgpu" id="1"><nova:extraSpecs>
        <nova:extraSpec name="vgpu:disable_vnc">1</nova:extraSpec>
      </nova:extraSpecs></nova:flavor>
    </nova:instance>
  </metadata>
  <devices>{device}</devices>
</domain>
"""
_HOSTDEV = f"""\
<hostdev mode='subsystem' type='mdev' model='vfio-pci'>
  <source><address uuid='{_MDEV}'/></source>
</hostdev>"""


def _processor_seconds(program: pathlib.Path, text: str) -> float:
    """Take the median of the processor time of some calls."""

    def used() -> float:
        times = resource.getrusage(resource.RUSAGE_CHILDREN)
        return times.ru_utime + times.ru_stime

    taken = []
    for _ in range(_RUNS):
        before = used()
        subprocess.run(  # noqa: S603
            [str(program), 'instance-0000031d', 'prepare', 'begin', '-'],
            input=text.encode(),
            capture_output=True,
            check=True,
        )
        taken.append(used() - before)
    return statistics.median(taken)


def run() -> Iterator[Row]:
    """Measure the hook of a guest with, and of one without a vGPU."""
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        builder.build(profile.load('v100x8-busy'), str(root / 'sys'))
        empty = root / 'empty'
        empty.write_text(_EMPTY, encoding='ascii')
        hook = root / 'hook'
        hook.write_text(_installed(root), encoding='utf-8')
        for path in (empty, hook):
            path.chmod(0o755)
        base = Row(
            'hook, processor time',
            'an empty one',
            _processor_seconds(empty, _DOMAIN.format(device='')),
        )
        yield base
        for who, device in (
            ('guest without a vGPU', ''),
            ('guest with a vGPU', _HOSTDEV),
        ):
            text = _DOMAIN.format(device=device)
            taken = _processor_seconds(hook, text)
            yield Row('hook, processor time', who, taken, base=base)


def _installed(root: pathlib.Path) -> str:
    return hook_file.render(
        {
            'sysfs_root': str(root / 'sys'),
            'state_path': str(root / 'state'),
            'mdevctl_path': str(root / 'mdevctl.d'),
            'refuse': True,
        }
    )
