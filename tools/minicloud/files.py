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
"""The configuration of each service."""

from __future__ import annotations

import sys

from tools.minicloud.settings import Compute, Settings

#: The user that the services use, with the roles admin and service.
USER = 'service'
_PLUGINS = 'nova_vgpu_ext.nova_plugins'
#: Nova's defaults.
_FILTERS = (
    *('ComputeFilter', 'ComputeCapabilitiesFilter', 'ImagePropertiesFilter'),
    *('ServerGroupAntiAffinityFilter', 'ServerGroupAffinityFilter'),
)
_WEIGHERS = (
    f'{_PLUGINS}.weights.VgpuPolicyWeigher',
    f'{_PLUGINS}.weights.GpuHostWeigher',
)
#: In MariaDB.
DATABASES = (
    *('keystone', 'placement', 'glance'),
    *('nova_api', 'nova_cell0', 'nova_cell1'),
)


#: Stands for a client configuration token, which guests get.
TOKEN_FILE = 'all.tok'  # noqa: S105
TOKEN = 'dGhlIHRva2Vu.b2YgdGhl.c21hbGwgY2xvdWQ'  # noqa: S105
#: Stands for the driver's package; nothing is there.
DRIVER = 'https://mirror.example.org/NVIDIA-Linux-x86_64-535.161.05-grid.run'


def write(cloud: Settings) -> None:
    """Write every file; those of nova-compute too."""
    texts = {
        'keystone.conf': _keystone(cloud),
        'placement.conf': _placement(cloud),
        'glance-api.conf': _glance(cloud),
        'nova.conf': _nova(cloud, 'controller') + _controller(cloud),
        'vendordata.conf': _vendordata(cloud),
        'rabbitmq.conf': _rabbitmq(cloud),
        'rabbitmq-plugins': '[].\n',
        'mariadb.sql': _sql(cloud),
    }
    for compute in cloud.computes:
        texts[f'{compute.name}.conf'] = nova_compute(cloud, compute)
    for host in ('controller', *(c.name for c in cloud.computes)):
        (cloud.log / host).mkdir(mode=0o700, exist_ok=True)
    texts[TOKEN_FILE] = TOKEN
    for name, text in texts.items():
        path = cloud.etc / name
        path.touch(mode=0o600)
        path.write_text(text)


def database_url(cloud: Settings, name: str) -> str:
    """Give SQLAlchemy's URL of a database."""
    return (
        f'mysql+pymysql://cloud:{cloud.password}@127.0.0.1:'
        f'{cloud.ports["mariadb"]}/{name}?charset=utf8'
    )


def installed(path: str) -> str:
    """Give the path of a file that a service's wheel brings."""
    return f'{sys.prefix}/etc/{path}'


def nova_compute(cloud: Settings, compute: Compute) -> str:
    """Write the nova.conf of a compute node, for nova-vgpu as well."""
    return f"""\
{_nova(cloud, compute.name)}
[libvirt]
virt_type = qemu
cpu_mode = none
images_type = raw
{compute.devices}
[vgpu]
node_name = {compute.name}
sysfs_root = {cloud.host(compute.name)}
"""


def nova_compute_in_lab(cloud: Settings, compute: Compute, folder: str) -> str:
    """Write the nova.conf of a compute node in the virtual machine.

    :param folder: where the programs of its virtual environment are.
    """
    helper = f'helper_command = {folder}/privsep-helper'
    return f"""\
{_nova(cloud, compute.name, '', '/var/lib/nova')}
[libvirt]
virt_type = qemu
cpu_mode = none
images_type = raw
{compute.devices}
[nova_sys_admin]
{helper}
[privsep_osbrick]
{helper}
[vif_plug_ovs_privileged]
{helper}
[vgpu]
node_name = {compute.name}
"""


def _auth(cloud: Settings, group: str) -> str:
    return f"""\
[{group}]
auth_url = {cloud.url('keystone')}
auth_type = password
project_domain_id = default
user_domain_id = default
project_name = service
username = {USER}
password = {cloud.password}
region_name = RegionOne
valid_interfaces = internal
"""


def _authtoken(cloud: Settings) -> str:
    return f"""\
{_auth(cloud, 'keystone_authtoken')}\
www_authenticate_uri = {cloud.url('keystone')}
service_token_roles = service
service_token_roles_required = true
token_cache_time = 300
"""


def _keystone(cloud: Settings) -> str:
    return f"""\
[DEFAULT]
log_file = {cloud.log}/keystone.log
use_stderr = true
[database]
connection = {database_url(cloud, 'keystone')}
[token]
provider = fernet
[fernet_tokens]
key_repository = {cloud.data}/fernet
[fernet_receipts]
key_repository = {cloud.data}/fernet
[credential]
key_repository = {cloud.data}/credential
[cache]
enabled = true
backend = oslo_cache.dict
"""


def _placement(cloud: Settings) -> str:
    return f"""\
[DEFAULT]
log_file = {cloud.log}/placement.log
[api]
auth_strategy = keystone
[placement_database]
connection = {database_url(cloud, 'placement')}
{_authtoken(cloud)}"""


def _glance(cloud: Settings) -> str:
    return f"""\
[DEFAULT]
log_file = {cloud.log}/glance.log
enabled_backends = fs:file
bind_host = 127.0.0.1
worker_self_reference_url = {cloud.url('glance')}
[database]
connection = {database_url(cloud, 'glance')}
[glance_store]
default_backend = fs
[fs]
filesystem_store_datadir = {cloud.data}/images
[os_glance_staging_store]
filesystem_store_datadir = {cloud.data}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {cloud.data}/tasks
[paste_deploy]
flavor = keystone
config_file = {installed('glance/glance-api-paste.ini')}
{_authtoken(cloud)}"""


def _nova(
    cloud: Settings, host: str, log: str | None = None, state: str = ''
) -> str:
    """Write what all services of Nova have in common.

    :param log: the folder for log files; empty: standard error.
    :param state: the folder for all that it keeps.
    """
    log = f'{cloud.log}/{host}' if log is None else log
    state = state or f'{cloud.data}/{host}'
    return f"""\
[DEFAULT]
host = {host}
my_ip = 127.0.0.1
{f'log_dir = {log}' if log else ''}
state_path = {state}
reserved_host_memory_mb = 0
transport_url = rabbit://cloud:{cloud.password}@127.0.0.1:{cloud.ports['amqp']}/
compute_driver = libvirt.LibvirtDriver
vif_plugging_is_fatal = false
vif_plugging_timeout = 0
graceful_shutdown_timeout = 3
[api]
auth_strategy = keystone
[compute]
resource_provider_association_refresh = 300
[oslo_concurrency]
lock_path = {state}/lock
[vnc]
enabled = false
[scheduler]
workers = 1
[conductor]
workers = 1
[workarounds]
skip_cpu_compare_on_dest = true
{_authtoken(cloud)}
{_auth(cloud, 'service_user')}send_service_user_token = true
{_auth(cloud, 'placement')}
{_auth(cloud, 'glance')}
{_auth(cloud, 'neutron')}
[cinder]
auth_section = neutron
""".replace('$my_program', 'nova')


def _vendordata(cloud: Settings) -> str:
    return f"""\
[DEFAULT]
log_file = {cloud.log}/vendordata.log
[vgpu_vendordata]
secrets_dir = {cloud.etc}
types = VGPU:V100DX-1Q
default_system = debian
[vgpu_guest]
driver_url = {DRIVER}
driver_sha256 = {'0' * 64}
token_file = {TOKEN_FILE}
{_authtoken(cloud)}
{_auth(cloud, 'nova')}"""


def _controller(cloud: Settings) -> str:
    """Write what API, scheduler and conductor have beside the computes."""
    weighers = ','.join(('nova.scheduler.weights.all_weighers', *_WEIGHERS))
    return f"""\
[api]
vendordata_providers = StaticJSON,DynamicJSON
vendordata_dynamic_targets = cloud-init@{cloud.url('vendordata')}/
{_auth(cloud, 'vendordata_dynamic_auth')}
[neutron]
service_metadata_proxy = true
metadata_proxy_shared_secret = {cloud.password}
[filter_scheduler]
available_filters = nova.scheduler.filters.all_filters
available_filters = {_PLUGINS}.filters.VgpuPolicyFilter
enabled_filters = {','.join((*_FILTERS, 'VgpuPolicyFilter'))}
weight_classes = {weighers}
[quota]
instances = -1
cores = -1
ram = -1
[api_database]
connection = {database_url(cloud, 'nova_api')}
[database]
connection = {database_url(cloud, 'nova_cell1')}
"""


def _rabbitmq(cloud: Settings) -> str:
    return f"""\
listeners.tcp.1 = 127.0.0.1:{cloud.ports['amqp']}
default_user = cloud
default_pass = {cloud.password}
log.console = false
disk_free_limit.absolute = 1MB
"""


def _sql(cloud: Settings) -> str:
    databases = ''.join(
        f'CREATE DATABASE IF NOT EXISTS {name} CHARACTER SET utf8mb3;\n'
        for name in DATABASES
    )
    return (
        f"{databases}CREATE OR REPLACE USER cloud@'127.0.0.1' "
        f"IDENTIFIED BY '{cloud.password}';\n"
        "GRANT ALL ON *.* TO cloud@'127.0.0.1';\n"
    )
