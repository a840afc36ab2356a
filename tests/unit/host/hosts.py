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
"""A small host with everything, for tests that change one."""

from __future__ import annotations

import dataclasses

from nova_vgpu_ext.models import Framework
from nova_vgpu_ext.sim import profile as profiles
from nova_vgpu_ext.sim.description import DeviceSpec

V100 = '0000:1a:00.0'
V100_FREE = '0000:1b:00.0'
A40 = '0000:41:00.0'
A40_VF = '0000:41:00.4'
L40S_VF = '0000:c1:00.4'
L40S_FREE = '0000:c1:00.5'
#: On the first V100 of the profile, held by a guest.
HELD = '5d2e7c1a-94b3-4f60-8e1d-a0c9b8d7e6f5'


def small_host() -> profiles.Profile:
    """Give the mixed profile with fewer types, functions and cards."""
    whole = profiles.load('mixed')
    wanted = {'nvidia-194', 'nvidia-196', 'nvidia-557', '1148', '1153'}

    def smaller(device: DeviceSpec) -> DeviceSpec:
        types = tuple(t for t in device.types if t.id in wanted)
        return dataclasses.replace(device, types=types)

    return dataclasses.replace(
        whole,
        pci_devices=(),
        gpus=tuple(
            dataclasses.replace(
                smaller(gpu), vfs=tuple(smaller(vf) for vf in gpu.vfs[:2])
            )
            for gpu in whole.gpus
            if gpu.framework is not Framework.NONE
        ),
    )
