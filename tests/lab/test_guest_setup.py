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
"""Instructions for guests, as a real cloud-init carries them out."""

from __future__ import annotations

import json

from tests import doc_blocks
from tests.lab.guest_setup_base import GOOD, OK, GuestSetupTestCase

_BAD = 'YmFk.YmFk.YmFk'
_RESTORE = """\
touch /etc/cloud/cloud-init.disabled
rm -f /etc/cloud/cloud.cfg.d/99_source.cfg
rm -rf /var/lib/cloud /run/cloud-init /var/log/cloud-init*
"""
_CLOUD_INIT = """\
cloud-init init --local && cloud-init init &&
cloud-init modules --mode config && cloud-init modules --mode final
"""


class CloudInitTest(GuestSetupTestCase):
    """What ``nova-vgpu guest config`` prints."""

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(self.guest.try_run, _RESTORE)

    def seed(self, source: str, files: dict[str, str]) -> None:
        """Give cloud-init a source of data.

        :param source: its name.
        :param files: texts by path below the folder of the seeds.
        """
        self.guest.run(
            'cat >/etc/cloud/cloud.cfg.d/99_source.cfg',
            stdin=f'datasource_list: [{source}]\n',
        )
        for name, text in files.items():
            path = f'/var/lib/cloud/seed/{name}'
            self.guest.run(
                f'mkdir -p $(dirname {path}) && cat >{path}', stdin=text
            )

    def test_schema(self) -> None:
        """Every Linux gets a cloud-config that cloud-init finds valid."""
        for system in ('debian', 'ubuntu', 'rocky'):
            text = self.guest.run(
                f'nova-vgpu guest config --type V100DX-1Q --os {system} '
                '--license-server 192.0.2.7 '
                '--driver-url https://example.org/grid.run '
                f'--sha256 {"0" * 64}'
            )
            self.guest.run(
                'cat >/run/config && cloud-init schema -c /run/config',
                stdin=text,
            )

    def test_first_boot_and_second(self) -> None:
        """As user data; a second boot finds all done."""
        self.seed(
            'NoCloud',
            {
                'nocloud/meta-data': 'instance-id: one\n',
                'nocloud/user-data': self.config('cloud-config', '--no-dkms'),
            },
        )
        self.guest.run(_CLOUD_INIT)
        self.assertEqual(OK, self.wait())
        self.assertEqual(1, self.starts())
        self.assertRegex(
            self.guest.run('cat /var/log/nvidia-installer.log'),
            '^--silent --no-questions --no-x-check --disable-nouveau '
            '--tmpdir=/var/lib/nova-vgpu-guest/download.[^ ]*$',
        )
        found = self.files()
        self.assertEqual(
            '600 root root', found['/etc/nova-vgpu-guest/settings'][:13]
        )
        self.assertIn(OK, self.guest.machine.console.read_text())
        (block,) = doc_blocks.blocks('user/in-the-guest')
        for command in block.commands:
            self.assertIsNone(command.check(self.guest.run(command.text)))
        self.guest.run('rm /etc/cloud/cloud-init.disabled')
        self.reboot()
        self.assertEqual(OK, self.wait())
        self.assertIn(
            'DataSourceNoCloud', self.guest.run('cloud-init status -l')
        )
        self.assertEqual(found, self.files())
        # It was started by systemd alone.
        self.assertEqual(2, self.starts())
        self.assertEqual(1, self.installations())

    def files(self) -> dict[str, str]:
        """Give mode and owner of what is written, and when it changed."""
        listed = self.guest.run(
            'stat --format "%n %a %U %G %y" /etc/nova-vgpu-guest/settings '
            '/etc/nvidia/gridd.conf /etc/nvidia/ClientConfigToken/*.tok '
            '/etc/modprobe.d/nova-vgpu-guest.conf '
            '/usr/local/sbin/nova-vgpu-guest '
            '/etc/systemd/system/nova-vgpu-guest.service'
        )
        return dict(line.split(' ', 1) for line in listed.splitlines())

    def test_vendor_data(self) -> None:
        """As Nova hands over what a vendordata service answers.

        The licence is refused at first; with another token it is acquired.
        """
        message = self.config('mime', '--no-dkms', token=_BAD).replace(
            'licence_seconds=180', 'licence_seconds=5'
        )
        latest = 'config_drive/openstack/latest'
        self.seed(
            'ConfigDrive',
            {
                f'{latest}/meta_data.json': json.dumps({'uuid': 'two'}),
                f'{latest}/vendor_data2.json': json.dumps(
                    {'cloud-init': message}
                ),
            },
        )
        self.guest.run(_CLOUD_INIT)
        status = self.wait()
        self.assertEqual(
            'nova-vgpu-guest: failed: no licence after 5 s: '
            'Error: Failed to acquire license (Info: token refused)',
            status,
        )
        self.assertIn(status, self.guest.machine.console.read_text())
        state = self.guest.try_run('systemctl is-active nova-vgpu-guest')[1]
        self.assertEqual('failed', state.strip())
        self.guest.run(f'echo {GOOD} >/etc/nvidia/ClientConfigToken/*.tok')
        self.assertEqual(OK, self.again())
        self.assertEqual(2, self.starts())
