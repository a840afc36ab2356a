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
"""Drivers that are packages, which the guest's apt or dnf installs.

The repositories are the test's, and empty but for their names; the driver's
package runs the stand-in after its installation.
"""

from __future__ import annotations

from tests.lab import base
from tests.lab.guest_setup_base import FOLDER, OK, GuestSetupTestCase

_PATH = '/root/rocky'
#: The unit finds no apt-get, and no headers of the kernel.
_AS_ROCKY = f"""\
mkdir {_PATH} && ln -sf /usr/sbin/* /usr/bin/* {_PATH}/ && rm {_PATH}/apt-get
d=/etc/systemd/system/nova-vgpu-guest.service.d
mkdir $d && printf '%s\\n' >$d/rocky.conf '[Service]' \\
    Environment=PATH={_PATH} Environment=NOVA_VGPU_GUEST_MODULES=/nonexistent
"""
_NO_ROCKY = f"""\
rpm -qa | xargs -r rpm -e
rm -rf {_PATH} /etc/yum.repos.d/* /var/cache/dnf /var/lib/rpm
"""
_NO_DEBS = """\
dpkg --purge grid dkms
rm -f /etc/apt/sources.list.d/test.list
apt-get update
"""


class PackagesTest(GuestSetupTestCase):
    """From the first start to the second."""

    def set_up(self, system: str, driver: str) -> None:
        """Give the guest its instructions."""
        script = self.config('script', system=system, driver=driver)
        self.guest.run('bash', stdin=script)

    def make(self, kind: str) -> None:
        """Make the driver's package, and the repositories."""
        text = (base.INSIDE / f'{kind}-packages.sh').read_text()
        self.guest.run(f'sh -s {FOLDER}', stdin=text)

    def check(self) -> None:
        """The first start does all, the second nothing."""
        self.assertEqual(OK, self.wait())
        self.assertEqual(OK, self.again())
        self.assertEqual((1, 1), (self.installations(), self.starts()))

    def test_apt(self) -> None:
        """With DKMS, which it does not have yet."""
        self.addCleanup(self.guest.try_run, _NO_DEBS)
        self.make('deb')
        self.set_up('debian', 'grid.deb')
        self.check()
        self.assertEqual(
            'dkms installed\ngrid installed',
            self.guest.run(
                "dpkg-query -W -f '${Package} ${db:Status-Status}\\n' "
                'dkms grid'
            ),
        )

    def test_dnf(self) -> None:
        """With DKMS, which is in a repository that it does not know yet."""
        self.addCleanup(self.guest.try_run, _NO_ROCKY)
        self.make('rpm')
        self.guest.run(_AS_ROCKY)
        self.set_up('rocky', 'grid.rpm')
        self.check()
        kernel = self.guest.run('uname -r')
        self.assertEqual(
            sorted(
                (
                    *('dkms', 'elfutils-libelf-devel', 'epel-release'),
                    *('gcc', 'grid', f'kernel-devel-{kernel}', 'make'),
                )
            ),
            self.guest.run("rpm -qa --qf '%{NAME}\\n' | sort").split(),
        )
