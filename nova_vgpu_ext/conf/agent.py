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
"""``[vgpu_agent]``: how nova-vgpu-agent works."""

from __future__ import annotations

from oslo_config import cfg

GROUP = 'vgpu_agent'

group = cfg.OptGroup(
    GROUP,
    title='nova-vgpu-agent',
    help='Read by nova-vgpu-agent only. It reads [vgpu] as well.',
)

opts = [
    cfg.IntOpt(
        'interval',
        default=600,
        min=1,
        max=86400,
        help="""
How many seconds after a cycle the next one starts if nothing happens.

What changes on this host is heard of at once: from libvirt, and from the
kernel. The timer is for what neither tells, such as somebody who changes the
providers of this host in Placement, or an orphan that has become old enough.
Such a cycle costs one request. Choose a small value where the agent says in
its log that it cannot hear events.
""",
    ),
    cfg.BoolOpt(
        'remove_orphans',
        default=False,
        help="""
Whether the agent removes orphans, as ``nova-vgpu mdev clean`` does: mediated
devices that no domain names, no process holds, and that are older than
``[vgpu] orphan_grace`` or of a type that their GPU is not configured for. As
long as libvirt or Placement cannot be asked nothing is removed.
""",
    ),
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Register ``[vgpu_agent]``."""
    conf.register_group(group)
    conf.register_opts(opts, group=group)


def list_opts() -> list[tuple[cfg.OptGroup, list[cfg.Opt]]]:
    """List the options for the configuration reference."""
    return [(group, opts)]
