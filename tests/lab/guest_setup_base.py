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
"""A machine of the lab as a guest that is told to set itself up.

Driver and licence daemon are stand-ins, which write down how they were
called, and log what NVIDIA's do.
"""

from __future__ import annotations

from tests.lab import base

DRIVER = base.INSIDE / 'nvidia-driver.run'
FOLDER = '/root/drivers'
GOOD = 'Z29vZA.Z29vZA.Z29vZA'
OK = 'nova-vgpu-guest: ok: the driver is installed and licensed'
STATUS = '/run/nova-vgpu-guest/status'
_URL = 'http://127.0.0.1:8008'

#: With the packages that it has already; no mirror is asked.
_SERVE = f"""\
mv /etc/apt/sources.list /root/ && : >/etc/apt/sources.list
echo 'APT::Default-Release "";' >/etc/apt/apt.conf.d/zz-test
mkdir {FOLDER} && cat >{FOLDER}/{DRIVER.name} || exit 1
systemd-run --quiet --unit drivers python3 -m http.server --bind 127.0.0.1 \\
    --directory {FOLDER} 8008
"""
_RESTORE = f"""\
mv /root/sources.list /etc/apt/
rm /etc/apt/apt.conf.d/zz-test
systemctl stop drivers
systemctl disable --quiet --now nova-vgpu-guest nvidia-gridd
rm -rf {FOLDER} /etc/nvidia /etc/nova-vgpu-guest /var/lib/nova-vgpu-guest \
    /run/nova-vgpu-guest /usr/local/sbin/nova-vgpu-guest \
    /etc/modprobe.d/nova-vgpu-guest.conf /var/log/nvidia-*.log \
    /etc/systemd/system/nova-vgpu-guest.service* \
    /etc/systemd/system/nvidia-gridd.service /usr/local/bin/nvidia-gridd \
    /lib/modules/*/updates/nvidia.ko
depmod && rmmod dummy
systemctl daemon-reload
"""


class GuestSetupTestCase(base.LabTestCase):
    """Serves drivers, and takes back what the set-up did."""

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(self.guest.try_run, _RESTORE)
        self.guest.run(_SERVE, stdin=DRIVER.read_text())

    def config(
        self,
        form: str,
        *options: str,
        system: str = 'debian',
        driver: str = DRIVER.name,
        token: str = GOOD,
    ) -> str:
        """Print instructions.

        :param form: the format.
        :param options: more of them.
        :param driver: a file in the folder.
        :param token: the text of the licence's token.
        """
        checksum = self.guest.run(f'sha256sum {FOLDER}/{driver}').split()[0]
        return self.guest.run(
            f'umask 077; cat >{FOLDER}/token; nova-vgpu guest config '
            f'--type V100DX-1Q --os {system} --token {FOLDER}/token '
            f'--driver-url {_URL}/{driver} --sha256 {checksum} '
            f'--format {form} {" ".join(options)}',
            stdin=token,
        )

    def wait(self) -> str:
        """Wait for the end of the set-up; give its status."""
        return self.guest.run(
            f'for n in $(seq 120); do grep -qE ": (ok|failed): " {STATUS} '
            f'&& break; sleep 0.5; done; cat {STATUS}'
        )

    def again(self) -> str:
        """Start it once more; give its status."""
        self.guest.run(f'rm {STATUS} && systemctl restart nova-vgpu-guest')
        return self.wait()

    def starts(self) -> int:
        """Tell how often the licence daemon was started."""
        return self.lines('/var/log/nvidia-gridd-starts.log')

    def installations(self) -> int:
        """Tell how often the driver was installed."""
        return self.lines('/var/log/nvidia-installer.log')

    def lines(self, path: str) -> int:
        """Count the lines of a file."""
        return int(self.guest.run(f'wc -l <{path}'))
