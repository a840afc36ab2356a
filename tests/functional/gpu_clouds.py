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
"""Simulated hosts of several profiles in a real Placement."""

from __future__ import annotations

import pathlib

from nova_vgpu_ext.conf import load
from nova_vgpu_ext.host import snapshot
from nova_vgpu_ext.placement import access, client, reporter, tree
from nova_vgpu_ext.plan import inventory
from nova_vgpu_ext.sim import builder, profile
from tests.functional.fixtures import placement

TRAITS = ('type', 'product', 'series', 'frame_buffer')
SIZE = {'VCPU': 64, 'MEMORY_MB': 262144, 'DISK_GB': 2048}

#: By node its profile, and what its nova.conf says of vGPUs.
HOSTS = {
    'gpu01': (
        'v100x8',
        '[devices]\n'
        'enabled_mdev_types = nvidia-194, nvidia-196, nvidia-199\n'
        '[mdev_nvidia-196]\n'
        'device_addresses = 0000:3d:00.0, 0000:3e:00.0\n'
        '[mdev_nvidia-199]\n'
        'device_addresses = 0000:88:00.0, 0000:89:00.0, 0000:b2:00.0\n'
        'mdev_class = CUSTOM_BIG\n',
    ),
    'gpu02': (
        'a40-sriov',
        '[devices]\nenabled_mdev_types = nvidia-558\n'
        '[mdev_nvidia-558]\nmax_instances = 4\n',
    ),
    'gpu03': ('l40s-vendor-vfio', '[pci]\nreport_in_placement = true\n'),
    'gpu04': (
        'mtty',
        '[devices]\nenabled_mdev_types = mtty-1\n'
        '[mdev_mtty-1]\ndevice_addresses = mtty_mtty\n',
    ),
}


def report(
    server: placement.PlacementServer, folder: pathlib.Path, node: str
) -> None:
    """Let a host report its GPUs; those of PCI tracking as Nova does.

    :param folder: an empty one.
    :param node: one of HOSTS.
    """
    name, conf = HOSTS[node]
    server.create_provider(node)
    server.set_inventories(node, SIZE)
    sysfs = folder / 'sys'
    builder.build(profile.load(name), str(sysfs))
    path = folder / 'nova.conf'
    path.write_text(conf + server.config_text())
    options = load.load([str(path)])
    plan = inventory.plan(
        load.devices_config(options),
        snapshot.observe(str(sysfs), None),
        node,
        TRAITS,
    )
    placed = client.PlacementClient(access.from_conf(options))
    reporter.Reporter(placed, tree.TreeReader(placed, node, 4)).run(
        lambda seen: (plan.providers, plan.held), lambda action: None
    )
    root = server.provider(node).uuid
    for card in plan.pci:
        server.create_provider(card.name, root)
        server.set_inventories(card.name, {card.resource_class: card.total})
        server.set_traits(card.name, card.traits)
