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
"""Options of other Nova sections on which a finding depends.

They keep Nova's names, types and defaults (``nova/conf/compute.py``,
``nova/conf/libvirt.py``, ``nova/conf/pci.py``).
"""

from __future__ import annotations

from oslo_config import cfg

opts: dict[str, list[cfg.Opt]] = {
    'compute': [
        cfg.IntOpt(
            'resource_provider_association_refresh',
            default=300,
            min=0,
            help="""
How often, in seconds, nova-compute reads inventories, aggregates and traits of
every provider of its host again. With hundreds of VFs this costs thousands of
requests; 0 turns it off.
""",
        ),
    ],
    'libvirt': [
        cfg.IntOpt(
            'live_migration_downtime',
            default=500,
            min=100,
            help="""
How long, in milliseconds, a guest may stand still at the end of a live
migration. A vGPU's memory is copied in that time, so Nova's guide wants 500000
for guests with vGPUs.
""",
        ),
        cfg.IntOpt(
            'live_migration_downtime_steps',
            default=10,
            min=3,
            help="""
In how many steps the downtime is raised to its maximum. For guests with vGPUs
Nova's guide wants 3.
""",
        ),
        cfg.IntOpt(
            'live_migration_downtime_delay',
            default=75,
            min=3,
            help="""
How long, in seconds for each GiB, a step takes. For guests with vGPUs Nova's
guide wants 3.
""",
        ),
        cfg.BoolOpt(
            'live_migration_permit_post_copy',
            default=False,
            help="""
Whether a live migration may become a post-copy one. Guests with vGPUs need it
off.
""",
        ),
    ],
    'pci': [
        cfg.BoolOpt(
            'report_in_placement',
            default=False,
            help="""
Whether nova-compute reports PCI devices in Placement. Vendor-specific VFIO
needs it.
""",
        ),
        cfg.MultiStrOpt(
            'device_spec',
            default=[],
            deprecated_opts=[
                cfg.DeprecatedOpt('passthrough_whitelist', group='pci'),
                cfg.DeprecatedOpt(
                    'pci_passthrough_whitelist', group='DEFAULT'
                ),
            ],
            help="""
Which PCI devices nova-compute hands out, each a JSON object. With
vendor-specific VFIO there is one for each virtual function.
""",
        ),
        cfg.MultiStrOpt(
            'alias',
            default=[],
            deprecated_name='pci_alias',
            deprecated_group='DEFAULT',
            help="""
The names under which flavors ask for PCI devices, each a JSON object.
""",
        ),
    ],
}


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Register the options."""
    for group, group_opts in opts.items():
        conf.register_opts(group_opts, group=group)


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """List the options for the configuration reference."""
    return list(opts.items())
