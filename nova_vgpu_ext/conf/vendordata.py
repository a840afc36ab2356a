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
"""Options of nova-vgpu-vendordata, which has a configuration file of its own.

What guests get stands in ``[vgpu_guest]``, and in ``[vgpu_guest:NAME]`` for
some guests only.
"""

from __future__ import annotations

from oslo_config import cfg

from nova_vgpu_ext.conf import keystone

GROUP = 'vgpu_vendordata'
#: The section for every guest, and what the names of the others begin with.
GUEST = 'vgpu_guest'
PREFIX = f'{GUEST}:'
#: How to reach Nova, Glance and Keystone; Neutron and Cinder name it so.
CLOUD = 'nova'

group = cfg.OptGroup(
    GROUP,
    title='nova-vgpu-vendordata',
    help='Read by nova-vgpu-vendordata only.',
)

opts = [
    cfg.StrOpt(
        'secrets_dir',
        default='/etc/nova-vgpu-ext/secrets',
        help="""
The folder with the client configuration tokens. The folder and its files
belong to the user that the service runs as, and nobody else may read them.
""",
    ),
    cfg.ListOpt(
        'roles',
        default=['service'],
        help="""
The roles that may ask; one is enough. Nova's user of
``[vendordata_dynamic_auth]`` needs one of them.
""",
    ),
    cfg.FloatOpt(
        'lookup_timeout',
        default=3.0,
        min=0.1,
        max=60.0,
        help="""
How many seconds Nova, Glance and Keystone have together to say what a guest
is. Stay below ``[api] vendordata_dynamic_read_timeout`` of nova.conf, which
is 5 by default.
""",
    ),
    cfg.IntOpt(
        'cache_seconds',
        default=300,
        min=0,
        max=86400,
        help="""
How many seconds it is remembered what a guest is. Tokens are not remembered:
a new file holds at once.
""",
    ),
    cfg.IntOpt(
        'cache_guests',
        default=10000,
        min=1,
        max=1000000,
        help='How many guests are remembered, about 1 KiB each.',
    ),
    cfg.DictOpt(
        'types',
        default={},
        help="""
Which product a resource class stands for where the flavor does not say it:
``VGPU:V100DX-1Q, CUSTOM_GOLD:A40-8Q``. Needed for flavors that ask for
``resources:VGPU=1`` and name no type, and for classes of your own.
""",
    ),
    cfg.StrOpt(
        'default_system',
        choices=['debian', 'ubuntu', 'rocky'],
        help="""
The operating system of guests whose image does not say it in ``os_distro``,
and of those that boot from a volume. Without it they get nothing.
""",
    ),
]

_DRIVER_OPTS = [
    cfg.StrOpt(
        'driver_url',
        help="""
Where guests find the driver's package (.run, .deb, .rpm). Without it their
image has the driver.
""",
    ),
    cfg.StrOpt(
        'driver_sha256',
        help='Its checksum, as sha256sum prints it.',
    ),
    cfg.StrOpt(
        'kernel_source_path',
        help="Where a .run finds the kernel's sources, if not as usual.",
    ),
    cfg.BoolOpt(
        'dkms',
        default=True,
        help='Whether a .run lets DKMS build its module for new kernels.',
    ),
]

_LICENCE_OPTS = [
    cfg.StrOpt(
        'token_file',
        help="""
The name of a file in ``[vgpu_vendordata] secrets_dir``: the client
configuration token.
""",
    ),
    cfg.StrOpt(
        'license_server',
        help='A legacy licence server: ``HOST`` or ``HOST:PORT``.',
    ),
    cfg.StrOpt(
        'backup_server',
        help='Another one, for when that does not answer.',
    ),
    cfg.ListOpt(
        'editions',
        default=['vws', 'vpc', 'vapps'],
        help="""
What the licence server has licences for; series C needs ``compute``.
""",
    ),
]

_CONDITION_OPTS = [
    cfg.ListOpt(
        'projects',
        default=[],
        help='Only guests of these projects, by id. Empty: any.',
    ),
    cfg.ListOpt(
        'domains',
        default=[],
        help="Only guests of these domains' projects, by id. Empty: any.",
    ),
    cfg.ListOpt(
        'types',
        default=[],
        help='Only guests with these products, as V100DX-1Q. Empty: any.',
    ),
    cfg.ListOpt(
        'systems',
        default=[],
        help="""
Only guests with these operating systems: debian, ubuntu, rocky. Empty: any.
""",
    ),
]

#: A section of some guests; that of all has no conditions.
DRIVER = tuple(opt.dest for opt in _DRIVER_OPTS)
LICENCE = tuple(opt.dest for opt in _LICENCE_OPTS)


def guest_opts(section: str) -> list[cfg.Opt]:
    """List the options of one section for guests."""
    common = [*_DRIVER_OPTS, *_LICENCE_OPTS]
    return common if section == GUEST else [*_CONDITION_OPTS, *common]


def _cloud_opts() -> list[cfg.Opt]:
    return keystone.adapter_opts(
        lambda name: name in ('region_name', 'valid_interfaces')
    )


def register_opts(conf: cfg.ConfigOpts) -> None:
    """Register all but the sections for guests."""
    conf.register_group(group)
    conf.register_opts(opts, group=group)
    keystone.register_opts(conf, CLOUD, _cloud_opts())


def register_guests(conf: cfg.ConfigOpts) -> list[str]:
    """Register the sections for guests that the files have.

    :param conf: options whose files have been read.
    :returns: their names; that for every guest is always the first.
    """
    named = [s for s in conf.list_all_sections() if s.startswith(PREFIX)]
    for section in (GUEST, *named):
        conf.register_opts(guest_opts(section), group=section)
    return [GUEST, *named]


def list_opts() -> list[tuple[cfg.OptGroup, list[cfg.Opt]]]:
    """List the options for the configuration reference."""
    every = cfg.OptGroup(GUEST, help='What guests with a vGPU get.')
    some = cfg.OptGroup(
        f'{PREFIX}physics',
        help="""
What some guests get: any number of sections, and physics is an example of
their names, which are of your choice. A section that says anything of the
driver replaces all that more general ones say of it, and the same for the
licence. At least one of projects, domains, types and systems is needed.
""",
    )
    cloud = cfg.OptGroup(
        CLOUD, help='How to reach Nova, Glance and Keystone, as an admin.'
    )
    return [
        (group, opts),
        (every, guest_opts(GUEST)),
        (some, guest_opts(some.name)),
        (cloud, keystone.list_opts(_cloud_opts())),
    ]
