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
"""``[devices]`` and the ``[mdev_<type>]`` groups, as Nova reads them.

The options repeat the names, types, defaults, limits and deprecated
spellings of ``nova/conf/devices.py``, so that a nova.conf means here what it
means to nova-compute. A functional test compares them with Nova's own.
"""

from __future__ import annotations

from oslo_config import cfg, types

group = cfg.OptGroup(
    'devices',
    title='vGPU types of the compute node',
    help='Read by nova-compute as well; set it once, in nova.conf.',
)

opts: list[cfg.Opt] = [
    cfg.ListOpt(
        'enabled_mdev_types',
        default=[],
        deprecated_name='enabled_vgpu_types',
        help="""
The vGPU types that this compute node offers.

With one type, every GPU that offers it gets it. With several, the section
``[mdev_<type>]`` of each says on which GPUs, through ``device_addresses``; the
first type that has none is the default for every other GPU.

The spelling ``enabled_vgpu_types`` of older releases is read as well.
""",
    ),
]


def mdev_group(type_id: str) -> str:
    """Name the section of a type: ``mdev_nvidia-194``."""
    return f'mdev_{type_id}'


def old_mdev_group(type_id: str) -> str:
    """Name the deprecated section of a type: ``vgpu_nvidia-194``."""
    return f'vgpu_{type_id}'


def mdev_opts(type_id: str) -> list[cfg.Opt]:
    """List the options of one type's section.

    :param type_id: the type, such as ``nvidia-194``.
    """
    return [
        cfg.ListOpt(
            'device_addresses',
            default=[],
            item_type=types.String(),
            deprecated_group=old_mdev_group(type_id),
            help="""
The GPUs, or VFs, that get this type.

PCI addresses as the kernel writes them, in lower case (``0000:1a:00.0``), or
the name of a virtual parent (``mtty_mtty``). Empty: the type is the default
for every GPU that no other type names.
""",
        ),
        cfg.StrOpt(
            'mdev_class',
            default='VGPU',
            regex=r'^(VGPU|CUSTOM_[A-Z0-9_]+)$',
            max_length=255,
            help="""
The resource class of the inventory: ``VGPU``, or a name that starts with
``CUSTOM_``. Nova applies it only together with ``device_addresses``.
""",
        ),
        cfg.IntOpt(
            'max_instances',
            min=1,
            help="""
The most vGPUs of this type on this host, all GPUs taken together. A GPU that
would pass the limit is left out as a whole, so a value below the capacity of
one GPU takes that GPU away.
""",
        ),
    ]


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Register ``[devices]``."""
    conf.register_group(group)
    conf.register_opts(opts, group=group)


def register_mdev_opts(conf: cfg.ConfigOpts, type_id: str) -> None:
    """Register the section of one type; harmless when it is there.

    :param conf: options whose files have been read.
    :param type_id: a type of ``[devices] enabled_mdev_types``.
    """
    conf.register_opts(mdev_opts(type_id), group=mdev_group(type_id))


def list_opts() -> list[tuple[cfg.OptGroup, list[cfg.Opt]]]:
    """List the options for the configuration reference."""
    example = 'nvidia-194'
    return [
        (group, opts),
        (
            cfg.OptGroup(
                mdev_group(example),
                help=f'One section for each type; {example} is an example.',
            ),
            mdev_opts(example),
        ),
    ]
