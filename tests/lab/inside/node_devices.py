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
"""Runs in the guest: prints libvirt's node devices with a capability.

The argument is the capability as virsh names it.
"""

from __future__ import annotations

import json
import sys

import libvirt


def main(capability: str) -> None:
    """Print their descriptions."""
    connection = libvirt.openReadOnly('qemu:///system')
    devices = [
        connection.nodeDeviceLookupByName(name)
        for name in connection.listDevices(capability)
    ]
    json.dump([device.XMLDesc() for device in devices], sys.stdout)


main(sys.argv[1])
