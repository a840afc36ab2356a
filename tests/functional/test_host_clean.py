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
"""``nova-vgpu mdev clean``: orphans go, and nothing that somebody may use."""

from __future__ import annotations

from collections.abc import Mapping

from tests.functional import base, host_base
from tests.functional.base import NODE
from tests.functional.host_base import (
    GPU,
    OTHER_GPU,
    SRIOV,
    SRIOV_VFS,
    UUIDS,
    VENDOR_VFS,
)

_HOUR = 3600


def provider(address: str) -> str:
    """Name the provider of a device as Nova does."""
    below = address.replace(':', '_').replace('.', '_')
    return f'{NODE}_pci_{below}'


class CleanTestCase(host_base.HostCommandTestCase):
    """Orphans and mdevs of guests on one host."""

    def old(
        self, uuid: str, gpu: str = GPU, type_id: str = 'V100DX-1Q'
    ) -> None:
        """Make an mdev that is older than the grace time."""
        self.create(uuid, gpu, type_id)
        self.host.age(uuid, _HOUR + 60)

    def clean(self, *options: str) -> list[str]:
        """Clean, and give the UUIDs of what was removed."""
        lines = self.good('mdev', 'clean', *options)
        return [x.split()[2] for x in lines if x.startswith('remove mdev')]


class CleanTest(CleanTestCase):
    """What libvirt, age and configuration decide."""

    def setUp(self) -> None:
        super().setUp()
        self.guests = self.use_libvirt()

    def test_orphans(self) -> None:
        """Old ones that no domain names, and no other."""
        for uuid in UUIDS[:4]:
            self.old(uuid)
        self.create(UUIDS[4])
        self.guests.define('running', [UUIDS[0]], running=True)
        self.guests.define('stopped', [UUIDS[1].upper()])
        self.guests.define('vendor', functions=[VENDOR_VFS[0]])
        self.assertEqual([*UUIDS[2:4]], self.clean())
        self.assertEqual({*UUIDS[:2], UUIDS[4]}, set(self.host.mdevs))
        self.nothing('mdev', 'clean')
        self.guests.undefine('stopped')
        self.assertEqual([UUIDS[1]], self.clean())

    def test_domain_that_is_redefined_while_it_runs(self) -> None:
        """What it has, and what it will have, are both its own."""
        for uuid in UUIDS[:3]:
            self.old(uuid)
        self.guests.define('running', [UUIDS[0]], running=True)
        self.guests.redefine('running', [UUIDS[1]])
        self.assertEqual([UUIDS[2]], self.clean())

    def test_grace(self) -> None:
        """From the option, else from nova.conf, else an hour."""
        for uuid in UUIDS[:2]:
            self.create(uuid)
        self.host.age(UUIDS[0], _HOUR - 60)
        self.host.age(UUIDS[1], 100)
        self.nothing('mdev', 'clean')
        self.nothing('mdev', 'clean', f'--grace={_HOUR}')
        self.options += 'orphan_grace = 600\n'
        self.configure()
        self.assertEqual([UUIDS[0]], self.clean())
        self.nothing('mdev', 'clean')
        self.assertEqual([UUIDS[1]], self.clean('--grace=90'))
        self.create(UUIDS[2])
        self.assertEqual([UUIDS[2]], self.clean('--grace=0'))

    def test_bad_grace(self) -> None:
        """Whole seconds from none on."""
        for bad in ('-1', '1.5', 'long', '', '\u0661', '9' * 5000):
            found = self.run_on('mdev', 'clean', f'--grace={bad}')
            self.assertEqual((2, ''), (found.code, found.out))
            self.assertIn(f'found {bad[:20]!r}, expected a whole', found.err)
        self.options += 'orphan_grace = -1\n'
        self.configure()
        self.assertIn('orphan_grace', self.refused('mdev', 'clean'))

    def test_type_that_is_configured_no_more(self) -> None:
        """A leftover goes at once: it keeps the GPU from its type."""
        self.create(UUIDS[0], GPU, 'nvidia-196', '--persist')
        self.create(UUIDS[1], OTHER_GPU, 'nvidia-196')
        self.create(UUIDS[2], SRIOV_VFS[0], 'nvidia-567')
        self.create(UUIDS[3], SRIOV_VFS[1], 'nvidia-558')
        self.guests.define('guest', [UUIDS[1]])
        reason = 'the GPU is configured for nvidia-194'
        self.assertEqual(
            [
                f'put aside persistent mdev {UUIDS[0]} of nvidia-196 on '
                f'{GPU}: {reason}',
                f'remove mdev {UUIDS[0]} of nvidia-196 on {GPU}',
                f'remove mdev {UUIDS[2]} of nvidia-567 on {SRIOV_VFS[0]}',
            ],
            self.good('mdev', 'clean'),
        )
        self.assertEqual([f'{GPU}/{UUIDS[0]}'], list(self.host.aside))

    def test_gpu_without_a_type(self) -> None:
        """What nova.conf says nothing of is judged by its age alone."""
        self.create(UUIDS[0], GPU, 'nvidia-196')
        self.old(UUIDS[1], OTHER_GPU, 'nvidia-196')
        self.configure('')
        self.assertEqual([UUIDS[1]], self.clean())

    def test_definition_stays_of_what_stays(self) -> None:
        """Only what is removed is defined no more."""
        self.create(UUIDS[0], GPU, 'V100DX-1Q', '--persist')
        self.create(UUIDS[1], GPU, 'V100DX-1Q', '--persist')
        self.host.age(UUIDS[1], _HOUR)
        self.clean()
        self.assertEqual([f'{GPU}/{UUIDS[0]}'], list(self.host.definitions))
        self.assertEqual([f'{GPU}/{UUIDS[1]}'], list(self.host.aside))

    def test_libvirt_fails(self) -> None:
        """Unknown users are users."""
        self.old(UUIDS[0])
        self.guests.error = 'Failed to connect\nsocket: no such file'
        for command in (('clean',), ('remove', UUIDS[0])):
            said = self.refused('mdev', *command)
            self.assertIn('[vgpu] libvirt_uri = qemu:///system', said)
            self.assertIn('Failed to connect socket', said)

    def test_fatal_configuration(self) -> None:
        """Without knowing which types are meant nothing is removed."""
        self.old(UUIDS[0])
        self.configure(
            '[devices]\nenabled_mdev_types = nvidia-194, nvidia-196\n'
            + ''.join(
                f'[mdev_{name}]\ndevice_addresses = {GPU}\n'
                for name in ('nvidia-194', 'nvidia-196')
            )
        )
        said = self.refused('mdev', 'clean')
        self.assertIn('fatal: ', said)
        self.assertIn(GPU, said)


class WithoutModuleTest(CleanTestCase):
    """Python has no module libvirt."""

    def test_what_asks(self) -> None:
        """What depends on the answer is refused; the rest works."""
        self.use_libvirt(installed=False)
        self.old(UUIDS[0])
        for command in (
            ('mdev', 'clean'),
            ('mdev', 'remove', UUIDS[0]),
            ('mdev', 'show', UUIDS[0]),
            ('gpu', 'retype', GPU, 'nvidia-196'),
            ('prepare',),
        ):
            said = self.refused(*command)
            self.assertIn('[vgpu] libvirt_uri = qemu:///system', said)
            self.assertIn('python3-libvirt', said)
        self.good('mdev', 'params', 'set', UUIDS[0], 'enable_uvm=1')
        self.good('mdev', 'xml', UUIDS[0])


class PlacementTest(CleanTestCase, base.PlacementTestCase):
    """What is allocated in Placement, and maybe not in libvirt yet."""

    def setUp(self) -> None:
        super().setUp()
        self.configure(self.conf + self.server.config_text())
        self.guests = self.use_libvirt()
        self.assertEqual(0, self.run_on('report').code)

    def allocate(self, amounts: Mapping[str, int]) -> str:
        """Let a server have vGPUs of devices."""
        return self.server.allocate(
            {provider(gpu): {'VGPU': n} for gpu, n in amounts.items()}
        )

    def test_allocation_without_a_domain(self) -> None:
        """Nova may be about to use one of them: all of the GPU stay."""
        for uuid in UUIDS[:3]:
            self.old(uuid)
        self.old(UUIDS[3], OTHER_GPU)
        self.guests.define('guest', [UUIDS[0]], running=True)
        server = self.allocate({GPU: 2})
        found = self.run_on('mdev', 'clean')
        self.assertEqual(
            f'remove mdev {UUIDS[3]} of nvidia-194 on {OTHER_GPU}\n', found.out
        )
        (line,) = found.errors
        self.assertIn(f'warning: {GPU}: found 2 mdev(s)', line)
        self.assertIn('1 vGPU(s) allocated', line)
        self.assertEqual(0, found.code)
        self.assertEqual({*UUIDS[:3]}, set(self.host.mdevs))
        for uuids in (UUIDS[1:2], UUIDS[1:3]):
            said = self.refused('mdev', 'remove', *uuids)
            self.assertIn(f'{GPU}: Placement has 1 vGPU(s) allocated', said)
        self.server.release(server)
        self.allocate({GPU: 1})
        self.assertEqual([*UUIDS[1:3]], self.clean())

    def test_leftover_of_another_type(self) -> None:
        """An allocation keeps that as well."""
        self.create(UUIDS[0], GPU, 'nvidia-196')
        self.allocate({GPU: 1})
        found = self.run_on('mdev', 'clean', '--grace=0')
        self.assertEqual((0, '', 1), (found[0], found[1], len(found.errors)))
        self.assertEqual([UUIDS[0]], list(self.host.mdevs))

    def test_functions_of_one_card(self) -> None:
        """Each function has a provider, and counts for itself."""
        self.old(UUIDS[0], SRIOV_VFS[0], 'A40-2B')
        self.old(UUIDS[1], SRIOV_VFS[1], 'A40-2B')
        self.allocate({SRIOV_VFS[0]: 1})
        found = self.run_on('mdev', 'clean')
        self.assertEqual([UUIDS[0]], list(self.host.mdevs), found)

    def test_placement_is_asked_last(self) -> None:
        """Nova allocates first, then makes the mdev, then the domain."""
        self.old(UUIDS[0])
        seen: list[int] = []
        self.guests.on_read = lambda: seen.append(len(self.server.requests))
        before = len(self.server.requests)
        self.clean()
        planned = [n for n in seen if n < len(self.server.requests)]
        self.assertEqual({before}, set(planned))

    def test_placement_is_away(self) -> None:
        """Down, or wrong: one line, and nothing is removed."""
        self.old(UUIDS[0])
        self.old(UUIDS[1], SRIOV, 'A40-2B')
        for name, fault in (
            ('down', self.server.stop),
            (
                'errors',
                lambda: self.server.fault_status(503, times=1000),
            ),
            ('login', lambda: self.server.fault_login_page(times=1000)),
        ):
            fault()
            for command in (
                ('mdev', 'clean'),
                ('mdev', 'remove', UUIDS[0]),
                ('gpu', 'retype', GPU, 'nvidia-196'),
            ):
                said = self.refused(*command)
                self.assertIn(self.server.url, said, name)
            if name == 'down':
                self.server.start_again()
            self.server.clear_faults()
        self.assertEqual([*UUIDS[:2]], self.clean())

    def test_node_that_placement_does_not_know(self) -> None:
        """A wrong name must not look like a host without allocations."""
        self.old(UUIDS[0])
        for command in (('mdev', 'clean'), ('mdev', 'remove', UUIDS[0])):
            said = self.refused('--node=elsewhere', *command)
            self.assertIn("'elsewhere'", said)

    def test_nothing_to_remove(self) -> None:
        """Placement is not even asked."""
        self.create(UUIDS[0])
        self.server.stop()
        self.nothing('mdev', 'clean')

    def test_users_are_named_without_placement(self) -> None:
        """Show and the parameters do not depend on it."""
        self.create(UUIDS[0], SRIOV, 'A40-2B')
        self.guests.define('guest', [UUIDS[0]])
        self.server.stop()
        self.good('mdev', 'show', UUIDS[0])
        self.good('mdev', 'params', 'set', UUIDS[0], 'disable_vnc=1')
        self.assertEqual(0, self.run_on('prepare').code)
