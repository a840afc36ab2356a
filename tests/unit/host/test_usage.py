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
"""Everything on a host that knows of users, asked at once."""

from __future__ import annotations

import os
import time

from nova_vgpu_ext import exception
from nova_vgpu_ext.host import ledger, mdevctl, processes, snapshot, usage
from nova_vgpu_ext.models import (
    Domain,
    LedgerEntry,
    MdevDefinition,
    Snapshot,
    Usage,
)
from nova_vgpu_ext.sim import builder
from tests import base
from tests.unit.host.hosts import HELD, L40S_FREE, L40S_VF, small_host

OTHER = '0b7d9f4e-5f0b-4a52-9f61-6c1f5a3c2d10'
URI = 'qemu:///system'


class UsageTestCase(base.TestCase):
    """A host with one mdev, and functions with the vendor's framework."""

    def setUp(self) -> None:
        super().setUp()
        temp = self.temp_dir()
        self.root = str(temp / 'sys')
        builder.build(small_host(), self.root)
        self.mdevctl = mdevctl.Mdevctl(
            str(temp / 'mdevctl.d'), str(temp / 'aside'), self.root
        )
        self.ledger = ledger.Ledger(str(temp))
        self.proc = temp / 'proc'
        self.proc.mkdir()
        self.patch(
            'nova_vgpu_ext.host.processes.holders.__defaults__',
            (str(self.proc),),
        )

    def host(self) -> Snapshot:
        """Read the host."""
        return snapshot.observe(self.root, None)

    def usage(self, uri: str = '') -> Usage:
        """Ask who uses it."""
        return usage.observe(
            self.host(), self.root, uri, self.mdevctl, self.ledger
        )

    def open_by(self, pid: int, node: str) -> None:
        """Make a process that has a node open."""
        (self.proc / str(pid) / 'fd').mkdir(parents=True)
        (self.proc / str(pid) / 'fd' / '0').symlink_to(node)
        (self.proc / str(pid) / 'comm').write_text('qemu-kvm\n')


class ObserveTest(UsageTestCase):
    """What each source says arrives."""

    def test_nobody(self) -> None:
        """A host where nothing runs, without ledger and definitions."""
        found = self.usage()
        self.assertEqual(((), {}, (), {}), _sources(found))
        self.assertIsNone(found.allocated)

    def test_all_sources(self) -> None:
        """Libvirt, processes, mdevctl and the ledger."""
        domain = Domain('vm', OTHER, True, (HELD,))
        asked = []

        def domains(uri: str) -> tuple[Domain, ...]:
            asked.append(uri)
            return (domain,)

        self.patch('nova_vgpu_ext.host.libvirt.domains', domains)
        definition = MdevDefinition(OTHER, '0000:1b:00.0', 'nvidia-194', True)
        self.mdevctl.define(definition)
        entry = LedgerEntry(HELD, '0000:1a:00.0', 'nvidia-196')
        self.ledger.change([entry])
        group = usage.iommu_group(self.root, HELD)
        self.open_by(4711, f'/dev/vfio/{group}')
        found = self.usage(URI)
        self.assertEqual([URI], asked)
        self.assertEqual(
            (
                (domain,),
                {HELD: ('qemu-kvm (4711)',)},
                (definition,),
                {HELD: entry},
            ),
            _sources(found),
        )
        self.assertEqual([domain], list(found.domains_of(HELD)))

    def test_without_libvirt_nothing_is_claimed_of_domains(self) -> None:
        """Unless the caller knows that there are none."""
        for known in (True, False):
            found = usage.observe(
                self.host(), self.root, '', self.mdevctl, self.ledger, known
            )
            self.assertEqual(known, found.has_domains)

    def test_an_error_of_a_source_is_an_error(self) -> None:
        """Who cannot be asked may know of a user."""

        def fail(uri: str) -> tuple[Domain, ...]:
            raise exception.LibvirtError(uri, 'refused', 'start it')

        self.patch('nova_vgpu_ext.host.libvirt.domains', fail)
        self.assertRaises(exception.LibvirtError, self.usage, URI)
        with open(self.ledger.path, 'w') as stream:
            stream.write('{')
        self.assertRaises(exception.HostError, self.usage)


class DevicesTest(UsageTestCase):
    """What can be held open, and where it is."""

    def test_mdevs_and_functions_with_the_vendors_framework(self) -> None:
        """A function that offers mdevs is not what a guest opens."""
        self.assertEqual(
            {HELD, L40S_VF, L40S_FREE}, set(usage.device_paths(self.host()))
        )

    def test_each_has_its_group_there(self) -> None:
        """As vfio names it; a guest that opens it is found."""
        paths = usage.device_paths(self.host())
        for number, (name, path) in enumerate(paths.items()):
            group = os.readlink(os.path.join(self.root, path, 'iommu_group'))
            self.open_by(100 + number, f'/dev/vfio/{os.path.basename(group)}')
            holders = processes.holders(self.root, paths)
            self.assertEqual(number + 1, len(holders))
            self.assertIn(f'({100 + number})', holders[name][0])

    def test_the_group_of_an_mdev(self) -> None:
        """A number; none for an mdev that is gone."""
        self.assertTrue(usage.iommu_group(self.root, HELD).isdigit())
        self.assertIsNone(usage.iommu_group(self.root, OTHER))


class AgesTest(UsageTestCase):
    """How old an mdev is at least."""

    def test_since_it_was_made(self) -> None:
        """The folder is the device's, not the link's on the bus."""
        self.assertLess(self.usage().ages[HELD], 600)
        made = time.time() - 3600
        os.utime(os.path.join(self.root, usage.mdev_path(HELD)), (made, made))
        age = self.usage().ages[HELD]
        self.assertGreaterEqual(age, 3600)
        self.assertLess(age, 3600 + 600)

    def test_parameters_do_not_make_it_younger(self) -> None:
        """Nor does a read of it."""
        path = os.path.join(self.root, usage.mdev_path(HELD))
        made = time.time() - 3600
        os.utime(path, (made, made))
        with open(f'{path}/nvidia/vgpu_params', 'w') as stream:
            stream.write('disable_vnc=1\n')
        self.assertGreaterEqual(self.usage().ages[HELD], 3600)

    def test_one_that_vanishes_has_no_age(self) -> None:
        """It is gone when it is looked at."""
        before = self.host()
        os.unlink(os.path.join(self.root, usage.mdev_path(HELD)))
        found = usage.observe(before, self.root, '', self.mdevctl, self.ledger)
        self.assertEqual({}, found.ages)


def _sources(found: Usage) -> tuple[object, ...]:
    return (
        found.domains,
        dict(found.holders),
        found.definitions,
        dict(found.ledger),
    )
