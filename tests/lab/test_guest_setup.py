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
"""Instructions for guests, as a real cloud-init carries them out.

The machine is a guest here. Driver and licence daemon are stand-ins, which
write down how they were called, and log what NVIDIA's do.
"""

from __future__ import annotations

import json
import pathlib

from tests.lab import base

_SCRIPT = pathlib.Path(__file__).parent / 'inside' / 'nvidia-driver.run'
_FOLDER = '/root/drivers'
_URL = f'http://127.0.0.1:8008/{_SCRIPT.name}'
_STATUS = '/run/nova-vgpu-guest/status'
_GOOD = 'Z29vZA.Z29vZA.Z29vZA'
_OK = 'nova-vgpu-guest: ok: the driver is installed and licensed'

#: With the packages that it has already; no mirror is asked.
_SERVE = f"""\
mv /etc/apt/sources.list /root/ && : >/etc/apt/sources.list
echo 'APT::Default-Release "";' >/etc/apt/apt.conf.d/zz-test
mkdir {_FOLDER} && cat >{_FOLDER}/{_SCRIPT.name} || exit 1
systemd-run --quiet --unit drivers python3 -m http.server --bind 127.0.0.1 \\
    --directory {_FOLDER} 8008
"""
_RESTORE = f"""\
mv /root/sources.list /etc/apt/
rm /etc/apt/apt.conf.d/zz-test
touch /etc/cloud/cloud-init.disabled
rm -f /etc/cloud/cloud.cfg.d/99_source.cfg
rm -rf /var/lib/cloud /run/cloud-init /var/log/cloud-init*
systemctl stop drivers
systemctl disable --quiet --now nova-vgpu-guest nvidia-gridd
rm -rf {_FOLDER} /etc/nvidia /etc/nova-vgpu-guest /var/lib/nova-vgpu-guest \
    /run/nova-vgpu-guest /usr/local/sbin/nova-vgpu-guest \
    /etc/modprobe.d/nova-vgpu-guest.conf /var/log/nvidia-*.log \
    /etc/systemd/system/nova-vgpu-guest.service \
    /etc/systemd/system/nvidia-gridd.service /usr/local/bin/nvidia-gridd \
    /lib/modules/*/updates/nvidia.ko
depmod && rmmod dummy
systemctl daemon-reload
"""
_CLOUD_INIT = """\
cloud-init init --local && cloud-init init &&
cloud-init modules --mode config && cloud-init modules --mode final
"""


class CloudInitTest(base.LabTestCase):
    """What ``nova-vgpu guest config`` prints."""

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(self.guest.try_run, _RESTORE)
        self.guest.run(_SERVE, stdin=_SCRIPT.read_text())

    def config(self, form: str, token: str) -> str:
        """Print instructions.

        :param form: the format.
        :param token: the text of the licence's token.
        """
        checksum = self.guest.run(f'sha256sum {_FOLDER}/{_SCRIPT.name}')
        return self.guest.run(
            'umask 077; cat >/root/drivers/token; nova-vgpu guest config '
            '--type V100DX-1Q --os debian --no-dkms --token '
            f'/root/drivers/token --driver-url {_URL} '
            f'--sha256 {checksum.split()[0]} --format {form}',
            stdin=token,
        )

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

    def wait(self) -> str:
        """Wait for the end of the set-up; give its status."""
        return self.guest.run(
            f'for n in $(seq 120); do grep -qE ": (ok|failed): " {_STATUS} '
            f'&& break; sleep 0.5; done; cat {_STATUS}'
        )

    def starts(self) -> int:
        """Tell how often the licence daemon was started."""
        return int(self.guest.run('wc -l </var/log/nvidia-gridd-starts.log'))

    def test_schema(self) -> None:
        """Every Linux gets a cloud-config that cloud-init finds valid."""
        for system in ('debian', 'ubuntu', 'rocky'):
            text = self.guest.run(
                f'nova-vgpu guest config --type V100DX-1Q --os {system} '
                f'--license-server 192.0.2.7 --driver-url {_URL} '
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
                'nocloud/user-data': self.config('cloud-config', _GOOD),
            },
        )
        self.guest.run(_CLOUD_INIT)
        self.assertEqual(_OK, self.wait())
        self.assertEqual(1, self.starts())
        self.assertEqual(
            '--silent --no-questions --disable-nouveau',
            self.guest.run('cat /var/log/nvidia-installer.log'),
        )
        found = self.files()
        self.assertEqual(
            '600 root root', found['/etc/nova-vgpu-guest/settings'][:13]
        )
        self.assertIn(_OK, self.guest.machine.console.read_text())
        self.guest.run('rm /etc/cloud/cloud-init.disabled')
        self.reboot()
        self.assertEqual(_OK, self.wait())
        self.assertIn(
            'DataSourceNoCloud', self.guest.run('cloud-init status -l')
        )
        self.assertEqual(found, self.files())
        # It was started by systemd alone.
        self.assertEqual(2, self.starts())
        self.assertEqual(
            1, int(self.guest.run('wc -l </var/log/nvidia-installer.log'))
        )

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
        message = self.config('mime', 'YmFk.YmFk.YmFk').replace(
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
        self.guest.run(
            f'echo {_GOOD} >/etc/nvidia/ClientConfigToken/*.tok && '
            'rm /run/nova-vgpu-guest/status && '
            'systemctl restart nova-vgpu-guest'
        )
        self.assertEqual(_OK, self.wait())
        self.assertEqual(2, self.starts())
