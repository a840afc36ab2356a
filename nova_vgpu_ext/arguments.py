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
"""The arguments by which every program finds its host."""

from __future__ import annotations

import argparse

from nova_vgpu_ext import runtime


def add(parser: argparse.ArgumentParser) -> None:
    """Add them to a program's parser."""
    parser.add_argument(
        '--config-file',
        metavar='FILE',
        action='append',
        default=[],
        help='configuration file; may be repeated, later ones win '
        '(default: nova.conf and nova-compute.conf in /etc/nova, as '
        'nova-compute finds them)',
    )
    parser.add_argument(
        '--config-dir',
        metavar='DIR',
        action='append',
        default=[],
        help='folder of .conf files that are read after those files; may '
        'be repeated',
    )
    parser.add_argument(
        '--sysfs-root',
        metavar='DIR',
        help='where sysfs is, or a simulated host '
        '(default: [vgpu] sysfs_root, /sys)',
    )
    parser.add_argument(
        '--node',
        metavar='NAME',
        help="the compute node's name, as openstack hypervisor list "
        "shows it (default: [vgpu] node_name, libvirt's host name)",
    )


def host(options: argparse.Namespace) -> runtime.Runtime:
    """Give the host that they name; it is not read yet."""
    return runtime.Runtime(
        options.config_file,
        options.config_dir,
        options.sysfs_root,
        options.node,
    )
