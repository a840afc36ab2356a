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
"""Runs in the guest: prints what Nova would report of this host's GPUs.

Nova's own driver asks the real libvirt. The arguments are a configuration
file and the compute node's name; the answer is inventories by provider name.
"""

from __future__ import annotations

import json
import os
import sys
import uuid

# Native threads: nothing here needs eventlet.
os.environ['OS_NOVA_DISABLE_EVENTLET_PATCHING'] = 'true'

from oslo_service import backend

backend.init_backend(backend.BackendType.THREADING)

import nova.conf  # noqa: E402
from nova.compute import provider_tree  # noqa: E402
from nova.virt.libvirt import driver as libvirt_driver  # noqa: E402


def main(config_file: str, node: str) -> None:
    """Print the inventories."""
    nova.conf.CONF([], project='nova', default_config_files=[config_file])
    driver = libvirt_driver.LibvirtDriver(None)
    tree = provider_tree.ProviderTree()
    tree.new_root(node, str(uuid.uuid4()))
    driver._ensure_pgpu_providers(driver._get_gpu_inventories(), tree, node)
    found = {}
    for provider in tree.get_provider_uuids(node):
        data = tree.data(provider)
        if data.name != node:
            found[data.name] = data.inventory
    json.dump(found, sys.stdout)


main(*sys.argv[1:])
