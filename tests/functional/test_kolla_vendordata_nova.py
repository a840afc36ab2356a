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
"""Nova's configuration for the vendordata service, merged by kolla-ansible."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from typing import Any

from tests import base
from tests.functional.fixtures import kolla, kolla_config

_NOVA = """
import json, sys
import nova.conf
from keystoneauth1 import loading
nova.conf.CONF(['--config-file', sys.argv[1]], project='nova')
api = nova.conf.CONF.api
auth = None
if nova.conf.CONF.vendordata_dynamic_auth.auth_type:
    loaded = loading.load_auth_from_conf_options(
        nova.conf.CONF, 'vendordata_dynamic_auth'
    )
    auth = [loaded.auth_url, loaded._username, loaded._password]
json.dump(
    [api.vendordata_providers, api.vendordata_dynamic_targets, auth],
    sys.stdout,
)
"""


class NovaTest(base.TestCase):
    """What ``config/nova/nova-metadata.conf`` gives to Nova's services."""

    def test_nova(self) -> None:
        """Nova asks on the hosts that run the service, and nowhere else."""
        folder = self.temp_dir()
        nova = folder / 'config/nova'
        nova.mkdir(parents=True)
        source = kolla.CONFIGS / 'config/nova/nova-metadata.conf'
        for name in ('nova-metadata.conf', 'nova-compute.conf'):
            (nova / name).symlink_to(source)
        inventory = folder / 'inventory'
        kolla_config.write_inventory(
            inventory,
            '[control]\nctl01\n[compute]\ngpu01\ncpu01\n'
            '[vgpu-vendordata]\nctl01\ngpu01\n'
            '[all:vars]\nenable_nova_vgpu_vendordata=yes\n'
            'nova_vgpu_vendordata_group=vgpu-vendordata\n',
        )
        merged = self.useFixture(
            kolla_config.KollaConfig(folder / 'config', inventory)
        )
        for host, service, asks in (
            ('ctl01', 'nova-metadata', True),
            ('gpu01', 'nova-compute', True),
            ('cpu01', 'nova-compute', False),
            ('ctl01', 'nova-api', False),
        ):
            providers, targets, auth = self.read(merged.path(host, service))
            if not asks:
                self.assertEqual(([], None), (targets, auth), host)
                continue
            self.assertEqual(['StaticJSON', 'DynamicJSON'], providers)
            self.assertEqual(['cloud-init@http://127.0.0.1:8785/'], targets)
            self.assertEqual(['http://127.0.0.1:5000', 'nova', 'secret'], auth)

    def read(self, path: pathlib.Path) -> tuple[list[str], list[str], Any]:
        """Let Nova read its file."""
        done = subprocess.run(  # noqa: S603
            [sys.executable, '-c', _NOVA, str(path)],
            env={**os.environ, 'OS_NOVA_DISABLE_EVENTLET_PATCHING': 'true'},
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        providers, targets, auth = json.loads(done.stdout)
        return providers, targets, auth
