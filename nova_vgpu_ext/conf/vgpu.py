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
"""``[vgpu]``: what is this project's own."""

from __future__ import annotations

from oslo_config import cfg, types

group = cfg.OptGroup(
    'vgpu',
    title='nova-vgpu-ext',
    help=(
        "Read by nova-vgpu, and by this project's plugins of nova-scheduler; "
        'nova-compute ignores it.'
    ),
)

#: The kinds of traits that a GPU's provider can carry.
TRAIT_KINDS = ('type', 'product', 'series', 'frame_buffer')

opts = [
    cfg.StrOpt(
        'sysfs_root',
        default='/sys',
        help="""
Where sysfs is mounted. Set it where the host's sysfs is bind-mounted
elsewhere, as in some containers, or to a simulated host's directory
(``nova-vgpu sim create``).
""",
    ),
    cfg.StrOpt(
        'node_name',
        help="""
The compute node's name: its hypervisor hostname, which is also the name of its
root provider in Placement.

By default it is found by libvirt's rule, as nova-compute finds it: the host
name if it contains a dot, else the canonical name that the resolver gives.
``openstack hypervisor list`` shows the names that Nova uses.
""",
    ),
    cfg.StrOpt(
        'driver_catalog',
        default='/usr/share/nvidia/vgpu/vgpuConfig.xml',
        help="""
The NVIDIA driver's own list of vGPU types. It completes what sysfs leaves out
(frame buffer, displays, maximum, and the name of a type that is set on virtual
functions of a full card). It is not an error if the file is missing. A
simulated host keeps its own in its folder.
""",
    ),
    cfg.ListOpt(
        'traits',
        default=list(TRAIT_KINDS),
        item_type=types.String(choices=TRAIT_KINDS),
        help="""
Which traits the provider of a GPU gets, for flavors to ask for:

* ``type``: the type, such as ``CUSTOM_NVIDIA_194``;
* ``product``: the product, such as ``CUSTOM_VGPU_V100DX_1Q``;
* ``series``: the licence series, such as ``CUSTOM_VGPU_SERIES_Q``;
* ``frame_buffer``: the frame buffer, such as ``CUSTOM_VGPU_FB_1024M``.

Traits of a kind that is left out are removed. Traits that others set on the
provider are never touched. Empty: no traits.
""",
    ),
    cfg.StrOpt(
        'libvirt_uri',
        default='qemu:///system',
        help="""
Where libvirt is asked which mdevs its domains name. Empty: it is not asked,
and what depends on the answer is refused. A simulated host has no libvirt, so
there the default is not asked either.
""",
    ),
    cfg.StrOpt(
        'state_path',
        default='/var/lib/nova-vgpu-ext',
        help="""
Where the ledger, which remembers the place of each mdev, the lock of all that
changes the host, and definitions that were put aside are kept. It must
survive a reboot; containers that change the host share it. A simulated host
keeps it in its own folder.
""",
    ),
    cfg.StrOpt(
        'mdevctl_path',
        default='/etc/mdevctl.d',
        help="""
The folder of persistent mdevs that mdevctl and libvirt use. It need not
exist. A simulated host keeps it in its own folder.
""",
    ),
    cfg.StrOpt(
        'sriov_manage',
        default='/usr/lib/nvidia/sriov-manage',
        help="""
NVIDIA's program that enables virtual functions; its driver refuses other ways.
""",
    ),
    cfg.ListOpt(
        'vf_types',
        default=[],
        help="""
Vendor-specific VFIO: the vGPU type of virtual functions, which is set by
``nova-vgpu prepare`` at each boot, because nothing of it survives one.

``TYPE`` is for every card, ``ADDRESS=TYPE`` for one card or one function; a
type is a number, or a product such as ``L40S-12Q``. The functions of a card
get it in the order of their addresses until the card is full. Nova wants all
functions of one card to be of one resource class.
""",
    ),
    cfg.IntOpt(
        'orphan_grace',
        default=3600,
        min=0,
        help="""
How old, in seconds, an mdev that nothing uses must be before ``nova-vgpu mdev
clean`` or the agent removes it. Nova makes an mdev before it defines the
domain that names it.
""",
    ),
    cfg.IntOpt(
        'write_timeout',
        default=30,
        min=1,
        max=3600,
        help="""
How long, in seconds, one write to sysfs may take, and how long to wait for
another program that changes the host.
""",
    ),
    cfg.IntOpt(
        'placement_readers',
        default=8,
        min=1,
        max=64,
        help='How many reads of Placement are under way at once.',
    ),
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Register ``[vgpu]``."""
    conf.register_group(group)
    conf.register_opts(opts, group=group)


def list_opts() -> list[tuple[cfg.OptGroup, list[cfg.Opt]]]:
    """List the options for the configuration reference."""
    return [(group, opts)]
