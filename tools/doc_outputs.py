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
"""Writes the command output that the documentation shows.

``python -m tools.doc_outputs``, with the virtual environment of tools/test,
runs each command on a simulated host and, where it needs one, against a real
Placement, and writes what it printed below doc/source/outputs. A functional
test does the same and compares, so that the pages cannot rot.
"""

from __future__ import annotations

import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import unittest

from tests.functional.fixtures.placement import PlacementServer

NODE = 'gpu01.example.org'
FOLDER = pathlib.Path(__file__).parent.parent / 'doc/source/outputs'
_BIN = pathlib.Path(sys.executable).parent

_ONE_TYPE = '[devices]\nenabled_mdev_types = nvidia-194\n'
_TWICE = (
    '[devices]\nenabled_mdev_types = nvidia-194, nvidia-196\n'
    '[mdev_nvidia-194]\ndevice_addresses = 0000:1a:00.0\n'
    '[mdev_nvidia-196]\ndevice_addresses = 0000:1a:00.0\n'
)
_TWO_TYPES = (
    '[devices]\nenabled_mdev_types = nvidia-194, nvidia-196\n'
    '[mdev_nvidia-196]\ndevice_addresses = 0000:b2:00.0, 0000:b3:00.0\n'
)
_SRIOV = '[devices]\nenabled_mdev_types = nvidia-566\n'
_VENDOR = '[pci]\nreport_in_placement = true\n[vgpu]\nvf_types = L40S-12Q\n'
_INVENTORY = """\
[compute]
gpu[01:09]
[gpu-v100]
gpu[01:08]
"""
_DESCRIPTION = """\
policy: pack
groups:
  gpu-v100:
    gpus:
      all: V100DX-1Q
hosts:
  gpu08:
    gpus:
      "0000:b2:00.0": V100DX-4Q
      "0000:b3:00.0": V100DX-4Q
      all: V100DX-1Q
"""
_MISTAKEN = """\
hosts:
  gpu8:
    gpus:
      "0000:b2:00.0": V100DX-4Q
      "0000:b2:00.0": V100DX-8Q
      all: V100DX-3Q
"""
#: A free one of the busy host.
_MDEV = '7a1e2c3d-6b5a-4d8e-a9f0-2c4b6d8f0e13'


class Outputs:
    """Runs commands for one set of pages.

    :param server: a Placement without any provider.
    """

    def __init__(self, server: PlacementServer) -> None:
        self._server = server
        self._folder = pathlib.Path(tempfile.mkdtemp())
        self.texts: dict[str, str] = {}
        environ = {
            k: v for k, v in os.environ.items() if not k.startswith('OS_')
        }
        self._environ = environ | {
            'OS_AUTH_TYPE': 'admin_token',
            'OS_TOKEN': 'admin',
            'OS_ENDPOINT': server.url,
            'COLUMNS': '88',
            'PATH': f'{_BIN}:{environ.get("PATH", "")}',
        }

    def make(self) -> dict[str, str]:
        """Give the text of each output by its name."""
        self._server.create_provider(NODE)
        self.show('sim-list', '$ nova-vgpu sim list')
        self.show(
            'sim-create',
            '$ nova-vgpu sim create v100x8 host',
            '$ nova-vgpu --sysfs-root host type list --gpu 0000:1a:00.0 '
            '-c type -c product -c maximum -c available',
        )
        self._run('nova-vgpu sim create v100x8-busy busy')
        self._run('nova-vgpu sim create --no-vfs a40-sriov a40')
        self._run('nova-vgpu sim create --no-vfs l40s-vendor-vfio l40s')
        self.host('host', _ONE_TYPE)
        self.show('gpu-list', '# nova-vgpu gpu list')
        self.show('type-list', '# nova-vgpu type list')
        self.show('check-clean', '# nova-vgpu config check')
        self.host('host', _TWICE)
        self.show('check-twice', '# nova-vgpu config check -f yaml')
        self.host('host', _ONE_TYPE)
        self.show('dry-run', '# nova-vgpu report --dry-run')
        self.show('report', '# nova-vgpu report', '# nova-vgpu report')
        self.show(
            'placement',
            '$ openstack --os-placement-api-version 1.39 '
            'resource provider list --sort-column name -c uuid -c name',
            '$ openstack --os-placement-api-version 1.39 '
            'allocation candidate list --resource VGPU=1 '
            "--required CUSTOM_NVIDIA_194 -c 'resource provider' "
            "-c 'inventory used/capacity'",
        )
        self.host('busy', _ONE_TYPE)
        self.show('mdev-list', '# nova-vgpu mdev list')
        self._kinds()
        self._by_hand()
        self._kolla()
        self.texts['extra-specs'] = extra_specs()
        return self.texts

    def _kinds(self) -> None:
        """Be on hosts of each kind."""
        rows = '-c provider -c resource_class -c total -c traits'
        self.host('host', _TWO_TYPES)
        self.show(
            'several-types',
            '# nova-vgpu config check',
            f'# nova-vgpu inventory list {rows}',
        )
        self.host('a40', _SRIOV)
        self.show(
            'sriov',
            '# nova-vgpu gpu list',
            '# nova-vgpu prepare',
            '# nova-vgpu config check',
            '# nova-vgpu inventory list -c provider -c total',
        )
        self.host('l40s', _VENDOR)
        self.show(
            'vendor-vfio',
            '# nova-vgpu prepare',
            '# nova-vgpu config check',
            f'# nova-vgpu inventory list {rows}',
        )
        self.show('config-pci', '# nova-vgpu config pci')

    def _by_hand(self) -> None:
        """Make mdevs and change them."""
        self.host('busy', _ONE_TYPE)
        self.show(
            'mdev-create',
            '# nova-vgpu mdev create --gpu 0000:1b:00.0 --type V100DX-1Q '
            '--count 2',
        )
        self.show('mdev-xml', f'# nova-vgpu mdev xml {_MDEV}')
        self.show(
            'mdev-params',
            f'# nova-vgpu mdev params set {_MDEV} disable_vnc=1',
            f'# nova-vgpu mdev params show {_MDEV}',
        )
        self.show('mdev-clean', '# nova-vgpu mdev clean --grace 0 --dry-run')
        self.show('retype', '# nova-vgpu gpu retype 0000:88:00.0 V100DX-4Q')
        self.show(
            'retype-in-use', '# nova-vgpu gpu retype 0000:1a:00.0 V100DX-4Q'
        )

    def _kolla(self) -> None:
        """Describe hosts of a deployment, and write its files."""
        self.host('host', _TWO_TYPES)
        self.show(
            'kolla-from-host',
            '# nova-vgpu kolla render --from-host gpu01.yml',
            '# cat gpu01.yml',
        )
        (self._folder / 'multinode').write_text(_INVENTORY)
        render = 'nova-vgpu kolla render vgpu.yml --inventory multinode'
        for name, text in (('check', _MISTAKEN), ('render', _DESCRIPTION)):
            (self._folder / 'vgpu.yml').write_text(text)
            self.show(
                f'kolla-{name}',
                '$ cat vgpu.yml',
                f'$ {render} --output config',
            )
        self.show('kolla-compute', '$ cat config/nova/nova-compute.conf')
        self.show('kolla-again', f'$ {render} --output config')

    def host(self, sysfs: str, conf: str) -> None:
        """Be on a host from now on."""
        self._conf = self._folder / 'nova.conf'
        self._conf.write_text(
            f'{conf}[vgpu]\nsysfs_root = {self._folder / sysfs}\n'
            f'node_name = {NODE}\n{self._server.config_text()}'
        )

    def show(self, name: str, *commands: str) -> None:
        """Run commands as a page shows them."""
        self.texts[name] = '\n'.join(
            f'{command}\n{self._run(command[2:])}' for command in commands
        )

    def _run(self, command: str) -> str:
        words = shlex.split(command)
        if words[0] == 'nova-vgpu' and hasattr(self, '_conf'):
            words[1:1] = ['--config-file', str(self._conf)]
        done = subprocess.run(  # noqa: S603
            words,
            cwd=self._folder,
            env=self._environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.stdout.replace(f'{self._folder}/', '')


def extra_specs() -> str:
    """Describe the extra specs that the validators know, as a list."""
    from nova_vgpu_ext.nova_plugins import validators

    return '\n'.join(
        f'``{found.name}`` = ``{"``, ``".join(found.value["enum"])}``\n'
        f'  {found.description}'
        for found in validators.register()
    )


def normalise(text: str) -> str:
    """Replace what differs from run to run.

    :param text: an output.
    """
    text = re.sub(r'[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}', 'UUID', text)
    return re.sub(r'\d+\.\d\d s\b', 'N s', text)


def main() -> None:
    """Write the files."""
    FOLDER.mkdir(exist_ok=True)
    with PlacementServer() as server:
        for name, text in Outputs(server).make().items():
            (FOLDER / f'{name}.txt').write_text(text)
    # Those of the cloud are made where their test makes them.
    from tests.functional import test_doc_cloud_outputs

    result = unittest.TextTestRunner().run(
        test_doc_cloud_outputs.CloudOutputsTest('write')
    )
    if not result.wasSuccessful():
        sys.exit(1)


if __name__ == '__main__':
    main()
