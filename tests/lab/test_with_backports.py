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
"""The same host with newer parts: Linux 6.12, libvirt 11.3 and QEMU 10.

Debian 12's own libvirt cannot give a guest a VF that stays with its driver;
the one of its backports can.
"""

from __future__ import annotations

from testtools import matchers

from tests.lab import base, test_agreement, test_guests, test_vendor_vfio
from tests.lab.test_vendor_vfio import DEVICE, GUEST, HOSTDEV, TYPE

RELEASE = 'debian-12-backports'


class VersionsTest(base.LabTestCase):
    """That the parts really are newer."""

    release = RELEASE

    def test_versions(self) -> None:
        """Kernel, libvirt and QEMU."""
        self.assertThat(
            self.guest.run('uname -r'), matchers.StartsWith('6.12.')
        )
        versions = self.guest.run('virsh version')
        self.assertIn('Using library: libvirt 11.', versions)
        self.assertIn('Running hypervisor: QEMU 10.', versions)


class TypeTest(test_vendor_vfio.TypeTest):
    """The same with Linux 6.12."""

    release = RELEASE


class QemuTest(test_vendor_vfio.QemuTest):
    """The same with Linux 6.12 and QEMU 10."""

    release = RELEASE


class LibvirtTest(test_vendor_vfio.VendorTestCase):
    """libvirt 11.3 leaves an unmanaged VF with its driver."""

    release = RELEASE

    def test_guest_starts_and_stops(self) -> None:
        """With the VF unmanaged, as Nova wants it."""
        self.assertEqual((0, ''), self.set_type(TYPE))
        self.define_domain(GUEST, HOSTDEV)
        self.guest.run(f'virsh start {GUEST}')
        self.assertEqual((1, 'Device or resource busy'), self.set_type('0'))
        self.guest.run(f'virsh destroy {GUEST}')
        self.assertEqual(
            'nvidia', self.guest.run(f'basename $(readlink {DEVICE}/driver)')
        )
        self.assertEqual(TYPE, self.current_type())
        self.assertEqual((0, ''), self.set_type('0'))


class MixedHostTest(test_agreement.AgreementMixin, base.LabTestCase):
    """Every kind of GPU, with newer kernel, libvirt and mdevctl's partners."""

    release = RELEASE
    profile = 'mixed'


class MdevGuestTest(test_guests.StartTest):
    """A guest with a mediated device."""

    release = RELEASE
