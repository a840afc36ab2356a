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
"""Runs in the guest: prints what this project reads of the GPUs."""

from __future__ import annotations

import dataclasses
import enum
import json
import sys

from nova_vgpu_ext.host import snapshot


def plain(value: object) -> object:
    """Give JSON a value that it does not know."""
    if isinstance(value, enum.Enum):
        return value.value
    raise TypeError(value)


def main(root: str) -> None:
    """Print the GPUs and the problems."""
    seen = snapshot.observe(root, None)
    answer = {
        'gpus': [dataclasses.asdict(gpu) for gpu in seen.gpus],
        'problems': [str(problem) for problem in seen.problems],
        'addresses': sorted(
            device.address
            for device in seen.pci_devices.values()
            if device.is_display
        ),
    }
    json.dump(answer, sys.stdout, default=plain)


main(sys.argv[1])
