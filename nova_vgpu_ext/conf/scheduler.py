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
"""``[vgpu]``: what nova-scheduler reads for GPU placement policies."""

from __future__ import annotations

from oslo_config import cfg, types

from nova_vgpu_ext.conf import vgpu

GROUP = vgpu.group.name

_CHOICES = [
    (
        'pack',
        'Fill the fullest GPU that still fits, so that whole GPUs stay free '
        'for types that need one.',
    ),
    ('spread', 'Give each guest the least loaded GPU.'),
]

#: The values of ``gpu_policy``.
POLICIES = tuple(name for name, _ in _CHOICES)

opts = [
    cfg.StrOpt(
        'gpu_policy',
        choices=_CHOICES,
        help="""
Which GPU of which host a guest gets, where its flavor does not say
(``vgpu:gpu_policy``). Unset: Nova and Placement choose as they would without
this project's scheduler plugins.

Read by nova-scheduler with ``VgpuPolicyFilter`` (the GPU within a host) and
``VgpuPolicyWeigher`` (the host).
""",
    ),
    cfg.ListOpt(
        'gpu_classes',
        default=[],
        item_type=types.String(regex=r'^CUSTOM_[A-Z0-9_]+$'),
        help="""
More resource classes that are vGPUs: the ``mdev_class`` of types, or the
``resource_class`` of VFs. ``VGPU``, and classes that are named after a product
(``CUSTOM_NVIDIA_L40S_12Q``), are known without. Read by nova-scheduler.
""",
    ),
    cfg.FloatOpt(
        'gpu_policy_timeout',
        default=5,
        min=0.1,
        help="""
How long, in seconds, nova-scheduler waits for Placement to say how full the
GPUs are. Without an answer the request is scheduled as without a policy, and
Placement is left alone for half a minute.

Placement needs about as long as for the scheduler's own question for
allocation candidates.
""",
    ),
    cfg.FloatOpt(
        'gpu_policy_weight_multiplier',
        default=1000,
        help="""
How much the policy counts among hosts, for ``VgpuPolicyWeigher``. Nova's own
weighers give a host from 0 to about 5 in all, so the default puts the policy
before them, and behind what must never be (builds that fail give -1,000,000).
0 or less: the policy chooses the GPU within a host only.
""",
    ),
    cfg.FloatOpt(
        'gpu_host_weight_multiplier',
        default=1000,
        help="""
How much a guest without a vGPU is kept off hosts with GPUs while another host
has room, for ``GpuHostWeigher``. 0 or less: not at all.
""",
    ),
    cfg.IntOpt(
        'gpu_hosts_refresh',
        default=60,
        min=1,
        help="""
How old, in seconds, nova-scheduler's list of the GPUs of the cloud may be:
which hosts have some, and which VFs are of one card. It is read again, in one
request, when a guest is scheduled and the list is older.
""",
    ),
]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Register the options."""
    conf.register_opts(opts, group=vgpu.group)


def list_opts() -> list[tuple[cfg.OptGroup, list[cfg.Opt]]]:
    """List the options for the configuration reference."""
    return [(vgpu.group, opts)]
