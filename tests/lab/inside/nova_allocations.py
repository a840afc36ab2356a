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
"""Let Nova take mdevs again and again, as it does for new servers.

The arguments are a configuration file, the compute node's name, the libvirt
name of a GPU, and how often. Each round allocates a vGPU in Placement, has
Nova's own driver choose or make the mdev, defines a domain that names it and
undefines it again. The answer is the UUIDs that were gone when the domain was
defined; they should be none.
"""

from __future__ import annotations

import configparser
import json
import os
import sys
import time
import uuid

# Native threads: nothing here needs eventlet.
os.environ['OS_NOVA_DISABLE_EVENTLET_PATCHING'] = 'true'

from oslo_service import backend

backend.init_backend(backend.BackendType.THREADING)

import libvirt  # noqa: E402
import nova.conf  # noqa: E402
import requests  # noqa: E402
from nova.compute import provider_tree  # noqa: E402
from nova.virt.libvirt import driver as libvirt_driver  # noqa: E402

DOMAIN = """\
<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <devices>
    <hostdev mode='subsystem' type='mdev' model='vfio-pci'>
      <source><address uuid='{mdev}'/></source>
    </hostdev>
  </devices>
</domain>
"""


class Placement:
    """The few calls that the scheduler makes."""

    def __init__(self, config_file: str) -> None:
        parser = configparser.ConfigParser(strict=False, interpolation=None)
        parser.read(config_file)
        self._url = parser['placement']['endpoint_override'].rstrip('/')
        self._headers = {
            'X-Auth-Token': parser['placement']['token'],
            'OpenStack-API-Version': 'placement 1.28',
        }

    def call(self, method: str, path: str, body: object = None) -> dict:
        """Call Placement."""
        answer = requests.request(
            method,
            self._url + path,
            json=body,
            headers=self._headers,
            timeout=60,
        )
        answer.raise_for_status()
        return answer.json() if answer.content else {}

    def allocate(self, consumer: str, provider: str) -> None:
        """Claim a vGPU."""
        resources = {'resources': {'VGPU': 1}}
        body = {
            'allocations': {provider: resources},
            'consumer_generation': None,
            'project_id': consumer,
            'user_id': consumer,
        }
        self.call('PUT', f'/allocations/{consumer}', body)


def main(config_file: str, node: str, gpu: str, rounds: str) -> None:
    """Print what was gone."""
    nova.conf.CONF([], project='nova', default_config_files=[config_file])
    placement = Placement(config_file)
    driver = libvirt_driver.LibvirtDriver(None)
    tree = provider_tree.ProviderTree()
    listed = placement.call('GET', '/resource_providers')
    ids = {p['name']: p['uuid'] for p in listed['resource_providers']}
    tree.new_root(node, ids[node])
    name = f'{node}_{gpu}'
    tree.new_child(name, ids[node], uuid=ids[name])
    driver.provider_tree = tree
    connection = libvirt.open('qemu:///system')
    gone = []
    for number in range(int(rounds)):
        consumer = str(uuid.uuid4())
        placement.allocate(consumer, ids[name])
        (mdev,) = driver._allocate_mdevs(
            {ids[name]: {'resources': {'VGPU': 1}}}
        )
        # Nova has images to fetch and networks to plug in between.
        time.sleep(1)
        if not os.path.exists(f'/sys/bus/mdev/devices/{mdev}'):
            gone.append(mdev)
        text = DOMAIN.format(name=f'nova-{number}', mdev=mdev)
        domain = connection.defineXML(text)
        domain.undefine()
        placement.call('DELETE', f'/allocations/{consumer}')
    json.dump(gone, sys.stdout)


main(*sys.argv[1:])
