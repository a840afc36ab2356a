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
"""``nova-vgpu prepare`` after a boot, and ``gpu retype``."""

from __future__ import annotations

import configparser
import io
import os
import pathlib
import re
from collections.abc import Iterable

from nova_vgpu_ext.sim import kernel
from tests.functional import base, host_base
from tests.functional.fixtures import nova as nova_fixture
from tests.functional.fixtures import placement
from tests.functional.host_base import (
    CONF,
    GPU,
    OTHER_GPU,
    SRIOV,
    SRIOV_VFS,
    UUIDS,
    VENDOR,
    VENDOR_VFS,
)

_ENABLED = [f'enable virtual functions of {gpu}' for gpu in (SRIOV, VENDOR)]


class PrepareTest(host_base.HostCommandTestCase):
    """What a reboot takes away comes back."""

    def setUp(self) -> None:
        super().setUp()
        self.guests = self.use_libvirt()

    def reboot(self) -> None:
        """Let only the cards stay; domains stay defined."""
        kernel.reboot(self.host.root)
        self.assertEqual({}, self.host.mdevs)

    def created(self, lines: Iterable[str]) -> set[str]:
        """Give the UUIDs of what was made."""
        return {x.split()[2] for x in lines if x.startswith('create mdev')}

    def test_functions(self) -> None:
        """Every card with its driver, once."""
        self.reboot()
        self.assertEqual(_ENABLED, self.good('prepare'))
        self.nothing('prepare')

    def test_card_without_driver(self) -> None:
        """It is passed through, or its driver is yet to come."""
        self.reboot()
        path = pathlib.Path(self.host.root, 'bus/pci/devices', SRIOV, 'uevent')
        text = path.read_text()
        path.write_text(text.replace('DRIVER=nvidia\n', ''))
        self.assertEqual(_ENABLED[1:], self.good('prepare'))
        path.write_text(text)
        self.assertEqual(_ENABLED[:1], self.good('prepare'))

    def test_mdevs_from_the_ledger(self) -> None:
        """Each with its UUID, type and device, whatever the type is called."""
        self.create(UUIDS[0])
        self.create(UUIDS[1], SRIOV_VFS[3], 'A40-2B')
        self.create(UUIDS[2], OTHER_GPU, 'nvidia-196')
        self.create(UUIDS[3])
        self.guests.define('one', [UUIDS[0]], running=True)
        self.guests.define('two', UUIDS[1:3])
        before = self.host.mdevs
        self.reboot()
        lines = self.good('prepare')
        self.assertEqual(_ENABLED, lines[:2])
        self.assertEqual({*UUIDS[:3]}, self.created(lines))
        del before[UUIDS[3]]
        self.assertEqual(before, self.host.mdevs)
        self.nothing('prepare')
        entries = self.host.ledger
        self.assertEqual({*UUIDS[:3]}, set(entries))
        self.assertEqual('two', entries[UUIDS[1]]['domain'])

    def test_mdevs_from_definitions(self) -> None:
        """Without a ledger, mdevctl's files say where they were."""
        self.create(UUIDS[0], GPU, 'nvidia-196', '--persist')
        self.create(UUIDS[1], SRIOV_VFS[2], 'A40-24Q', '--persist')
        self.create(UUIDS[2], GPU, 'nvidia-196', '--persist')
        self.guests.define('guest', UUIDS[:2])
        before = self.host.mdevs
        self.host.ledger_path.unlink()
        self.reboot()
        self.assertEqual({*UUIDS[:2]}, self.created(self.good('prepare')))
        # That of no domain is left to mdevctl and libvirt.
        del before[UUIDS[2]]
        self.assertEqual(before, self.host.mdevs)
        self.assertEqual(3, len(self.host.definitions))
        self.assertEqual({*UUIDS[:3]}, set(self.host.ledger))

    def test_definition_counts_more_than_the_ledger(self) -> None:
        """libvirt starts what is defined."""
        self.create(UUIDS[0])
        self.reboot()
        self.host.define(OTHER_GPU, UUIDS[0], 'nvidia-196')
        self.guests.define('guest', [UUIDS[0]])
        self.good('prepare')
        self.assertEqual(
            {UUIDS[0]: ('nvidia-196', OTHER_GPU)}, self.host.mdevs
        )

    def test_mdev_that_nobody_remembers(self) -> None:
        """The guest and the UUID are named, and the rest comes back."""
        self.create(UUIDS[1])
        self.guests.define('lost', [UUIDS[0]])
        self.guests.define('found', [UUIDS[1]])
        self.reboot()
        found = self.run_on('prepare')
        self.assertEqual(1, found.code)
        (line,) = found.errors
        self.assertIn(f'error: domain lost: found mdev {UUIDS[0]}', line)
        self.assertIn('openstack server reboot --hard', line)
        self.assertEqual([UUIDS[1]], list(self.host.mdevs))

    def test_no_room(self) -> None:
        """Who comes later is told why, and nothing is moved elsewhere."""
        self.create(UUIDS[0])
        self.guests.define('guest', [UUIDS[0]])
        self.reboot()
        self.create(UUIDS[1], GPU, 'nvidia-196')
        found = self.run_on('prepare')
        self.assertEqual(1, found.code)
        (line,) = found.errors
        self.assertIn('error: domain guest', line)
        self.assertIn(f'{GPU} has no room for nvidia-194', line)
        self.assertIn(UUIDS[0], self.host.ledger)
        self.good('mdev', 'remove', UUIDS[1])
        self.good('prepare')
        self.assertEqual([UUIDS[0]], list(self.host.mdevs))

    def test_card_that_is_fuller_than_its_functions_say(self) -> None:
        """One guest cannot come back; those after it do."""
        self.create(UUIDS[1], SRIOV_VFS[1], 'A40-24Q')
        self.create(UUIDS[2], SRIOV_VFS[2], 'A40-24Q')
        self.create(UUIDS[3])
        self.reboot()
        self.host.define(SRIOV_VFS[0], UUIDS[0], 'nvidia-567')
        for uuid in UUIDS[:4]:
            self.guests.define(f'guest of {uuid}', [uuid])
        found = self.run_on('prepare')
        self.assertEqual(1, found.code)
        (line,) = found.errors
        self.assertIn('no room', line)
        self.assertIn(UUIDS[3], self.host.mdevs)
        self.assertEqual(3, len(self.host.mdevs))

    def test_definitions_that_share_a_card(self) -> None:
        """Those that stay can all be started, as nova-compute does."""
        self.create(UUIDS[0], SRIOV_VFS[3], 'A40-24Q')
        self.guests.define('guest', [UUIDS[0]])
        self.reboot()
        for uuid, vf in zip(UUIDS[1:4], SRIOV_VFS, strict=False):
            self.host.define(vf, uuid, 'nvidia-567')
        lines = self.good('prepare')
        self.assertEqual({UUIDS[0]}, self.created(lines))
        self.assertEqual(2, sum('put aside' in line for line in lines))
        self.assertEqual(
            [f'{SRIOV_VFS[0]}/{UUIDS[1]}'], list(self.host.definitions)
        )
        self.create(UUIDS[1], SRIOV_VFS[0], 'A40-24Q')

    def test_place_of_a_definition_that_was_put_aside(self) -> None:
        """A guest that waits for it finds it as soon as there is room."""
        self.host.define(GPU, UUIDS[0], 'nvidia-194')
        self.guests.define('guest', [UUIDS[0]])
        self.create(UUIDS[1], GPU, 'nvidia-196')
        found = self.run_on('prepare')
        self.assertEqual((1, 1), (found.code, len(found.errors)))
        self.assertEqual([f'{GPU}/{UUIDS[0]}'], list(self.host.aside))
        self.assertEqual('guest', self.host.ledger[UUIDS[0]]['domain'])
        self.good('mdev', 'remove', UUIDS[1])
        self.assertEqual({UUIDS[0]}, self.created(self.good('prepare')))

    def test_stale_definitions(self) -> None:
        """What cannot start would keep nova-compute from starting."""
        good = self.host.define(GPU, UUIDS[0], 'nvidia-194')
        for number, (parent, type_id, reason) in enumerate(
            (
                ('0000:99:00.0', 'nvidia-194', 'there is no GPU 0000:99:00.0'),
                (OTHER_GPU, 'nvidia-558', 'does not offer nvidia-558'),
                (GPU, 'nvidia-196', f'{GPU} has no room for nvidia-196'),
            ),
            start=1,
        ):
            self.host.define(parent, UUIDS[number], type_id)
            (line,) = self.good('prepare')
            self.assertTrue(
                line.startswith(
                    f'put aside persistent mdev {UUIDS[number]} of {type_id} '
                    f'on {parent}: '
                ),
                line,
            )
            self.assertIn(reason, line)
            self.assertIn(f'{parent}/{UUIDS[number]}', self.host.aside)
            self.assertEqual([f'{GPU}/{UUIDS[0]}'], [*self.host.definitions])
        self.assertTrue(good.exists())
        self.nothing('prepare')

    def test_files_that_are_no_definitions(self) -> None:
        """They are not ours to judge, and stay."""
        folder = self.host.own / 'mdevctl.d' / GPU
        self.host.define(GPU, UUIDS[0], 'nvidia-194')
        for name, text in (
            ('README', 'hello'),
            (UUIDS[1], '{'),
            (UUIDS[2], '[]'),
            (UUIDS[3], '{"mdev_type": 1}'),
            (UUIDS[4], '{"mdev_type": "../../x"}'),
        ):
            (folder / name).write_text(text)
        (folder / UUIDS[5]).symlink_to(folder / UUIDS[0])
        found = self.run_on('prepare')
        self.assertEqual((0, ''), (found.code, found.out))
        self.assertEqual(7, len(list(folder.iterdir())))
        self.assertEqual({}, self.host.aside)

    def test_vendor_types(self) -> None:
        """Those of [vgpu] vf_types, by number, product and function."""
        self.reboot()
        vf = VENDOR_VFS[0]
        self.options += f'vf_types = 1148, {vf}=L40S-24Q\n'
        self.configure()
        set_ = [f'set vGPU type 1155 on {vf}'] + [
            f'set vGPU type 1148 on {other}' for other in VENDOR_VFS[1:]
        ]
        self.assertEqual([*_ENABLED, *set_], self.good('prepare'))
        self.assertEqual(
            dict(zip(VENDOR_VFS, ['1155', *['1148'] * 3], strict=True)),
            self.host.vendor_types,
        )
        self.assertEqual({*VENDOR_VFS}, set(self.host.ledger))
        self.nothing('prepare')

    def test_vendor_types_until_the_card_is_full(self) -> None:
        """The functions without room are no error."""
        self.options += f'vf_types = {VENDOR}=1155\n'
        self.configure()
        self.assertEqual(
            [f'set vGPU type 1155 on {vf}' for vf in VENDOR_VFS[:2]],
            self.good('prepare'),
        )
        self.nothing('prepare')
        # The card lists no types now; the driver's list has the name.
        specs = [
            line
            for line in self.good('config', 'pci')
            if line.startswith('device_spec')
        ]
        self.assertEqual(2, len(specs))
        for spec in specs:
            self.assertIn('"CUSTOM_NVIDIA_L40S_24Q"', spec)

    def test_vendor_type_in_use(self) -> None:
        """What a guest has stays, and is told; the others change."""
        self.options += 'vf_types = 1148\n'
        self.configure()
        self.good('prepare')
        self.guests.define('guest', functions=[VENDOR_VFS[1]])
        self.options = self.options.replace('1148', '1155')
        self.configure()
        found = self.run_on('prepare')
        self.assertEqual(1, found.code)
        (line,) = found.errors
        self.assertIn(f'error: {VENDOR_VFS[1]}: found type 1148', line)
        self.assertIn('domain guest (defined)', line)
        types = self.host.vendor_types
        self.assertEqual(
            ('1155', '1148'), (types[VENDOR_VFS[0]], types[VENDOR_VFS[1]])
        )

    def test_bad_vendor_types(self) -> None:
        """One line each, and no function is touched."""
        for value, words in (
            ('x=1148', "'x=1148', expected TYPE, or ADDRESS=TYPE"),
            ('1148, 1155', 'a type for every card twice'),
            (f'{VENDOR}=1, {VENDOR}=2', f'{VENDOR} twice'),
            (f'{VENDOR}=', 'expected TYPE'),
            ('9999', "no type '9999'"),
            ('L40S-1Q', "no type 'L40S-1Q'"),
            ('0000:99:00.0=1148', 'where there is no GPU'),
        ):
            self.options = (
                f'libvirt_uri = qemu:///system\nvf_types = {value}\n'
            )
            self.configure()
            said = self.refused('prepare')
            self.assertIn('[vgpu] vf_types', said)
            self.assertIn(words, said)

    def test_a_gpu_whose_driver_comes_late(self) -> None:
        """It waits for types, and then goes on."""
        self.create(UUIDS[0])
        self.guests.define('guest', [UUIDS[0]])
        self.reboot()
        path = f'{self.host.root}/class/mdev_bus/{GPU}'
        # Without the link the driver has not registered with the kernel yet.
        target = os.readlink(path)
        os.unlink(path)
        pauses: list[float] = []

        def sleep(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 3:
                os.symlink(target, path)

        self.patch('nova_vgpu_ext.cli.prepare.time.sleep', sleep)
        self.good('prepare')
        self.assertEqual([1.0] * 3, pauses)
        self.assertEqual([UUIDS[0]], list(self.host.mdevs))


class RetypeTest(host_base.HostCommandTestCase):
    """``nova-vgpu gpu retype``, without Placement."""

    def test_what_stands_in_the_way(self) -> None:
        """Each user is named, and nothing is changed."""
        for uuid in UUIDS[:3]:
            self.create(uuid)
        self.host.define(GPU, UUIDS[3], 'nvidia-194')
        guests = self.use_libvirt()
        guests.define('stopped', [UUIDS[0]])
        guests.define('running', [UUIDS[1]], running=True)
        guests.define('to come', [UUIDS[3]])
        found = self.run_on('gpu', 'retype', GPU, 'nvidia-196')
        self.assertEqual((1, ''), (found.code, found.out))
        for uuid, user in (
            (UUIDS[0], 'stopped (defined)'),
            (UUIDS[1], 'running (running)'),
            (UUIDS[3], 'to come (defined)'),
        ):
            self.assertIn(f'mdev {uuid}: in use by domain {user}', found.err)
        self.assertNotIn(UUIDS[2], found.err)
        self.assertEqual({*UUIDS[:3]}, set(self.host.mdevs))

    def test_bad_arguments(self) -> None:
        """A function is no GPU; a type of another GPU is none of this."""
        for address, type_id, words in (
            (SRIOV_VFS[0], 'nvidia-567', f"no GPU '{SRIOV_VFS[0]}'"),
            ('0000:ff:00.0', 'nvidia-194', 'no GPU'),
            (GPU, 'nvidia-558', 'nvidia-196 (V100DX-4Q)'),
            (GPU, '', "no type ''"),
            (VENDOR, '9999', '1148 (L40S-2Q)'),
        ):
            self.assertIn(
                words, self.refused('gpu', 'retype', address, type_id)
            )

    def test_same_type(self) -> None:
        """What it has already needs no change of nova.conf either."""
        self.create(UUIDS[0])
        found = self.run_on('gpu', 'retype', GPU, 'V100DX-1Q')
        self.assertEqual((0, ''), (found.code, found.out))
        self.assertIn('nova.conf names the type already', found.err)
        self.assertIn('nothing to do', found.err)

    def test_functions(self) -> None:
        """A card means all its functions."""
        self.create(UUIDS[0], SRIOV, 'A40-2B', '--persist')
        found = self.run_on('gpu', 'retype', SRIOV, 'A40-24Q')
        self.assertEqual(0, found.code)
        self.assertEqual(2, len(found.out.splitlines()))
        self.assertIn('[mdev_nvidia-567]', found.err)
        self.assertIn(f'device_addresses = {", ".join(SRIOV_VFS)}', found.err)
        self.create(UUIDS[1], SRIOV, 'A40-24Q')

    def test_vendor(self) -> None:
        """Cleared, then set on every function until the card is full."""
        found = self.run_on('gpu', 'retype', VENDOR, 'L40S-24Q')
        self.assertEqual(
            [f'set vGPU type 1155 on {vf}' for vf in VENDOR_VFS[:2]],
            found.out.splitlines(),
        )
        self.assertEqual(0, found.code)
        self.assertIn(f'vf_types = {VENDOR}=L40S-24Q', found.err)
        self.assertNotIn('nothing to do', found.err)
        # A full card lists no type, so the number is taken as it is.
        self.options += f'vf_types = {VENDOR}=L40S-24Q\n'
        self.configure()
        found = self.run_on('gpu', 'retype', VENDOR, '1148')
        self.assertEqual(
            [f'clear vGPU type 1155 of {vf}' for vf in VENDOR_VFS[:2]]
            + [f'set vGPU type 1148 on {vf}' for vf in VENDOR_VFS],
            found.out.splitlines(),
        )
        self.assertIn(f'vf_types = {VENDOR}=1148', found.err)
        again = self.run_on('gpu', 'retype', VENDOR, '1148')
        self.assertEqual((0, ''), (again.code, again.out))
        self.assertIn('nothing to do', again.err)

    def test_vendor_in_use(self) -> None:
        """A domain that names a function keeps the whole card as it is."""
        self.run_on('gpu', 'retype', VENDOR, '1148')
        guests = self.use_libvirt()
        guests.define('guest', functions=[VENDOR_VFS[2]])
        said = self.refused('gpu', 'retype', VENDOR, '1155')
        self.assertIn(f'{VENDOR_VFS[2]}: in use by domain guest', said)


class EndToEndTest(host_base.HostCommandTestCase, base.PlacementTestCase):
    """From one type to another: host, nova.conf, Placement, and Nova."""

    conf = '[devices]\nenabled_mdev_types = nvidia-194\n'

    def setUp(self) -> None:
        super().setUp()
        self.guests = self.use_libvirt()
        self.own = self.options
        self.configure(self.conf + self.server.config_text())

    def gpu(self, address: str) -> placement.Provider:
        """Read the provider of a GPU."""
        name = re.sub('[:.]', '_', address)
        return self.server.provider(f'{base.NODE}_pci_{name}')

    def with_lines(self, printed: str) -> str:
        """Change nova.conf by the lines that retype printed."""
        conf = configparser.ConfigParser()
        conf.read_string(self.conf)
        lines = [x[2:] for x in printed.splitlines() if x.startswith('  ')]
        conf.read_string('\n'.join(lines))
        text = io.StringIO()
        conf.write(text)
        return text.getvalue()

    def test_retype(self) -> None:
        """32 small ones become 8 larger ones."""
        for uuid in UUIDS[:2]:
            self.create(uuid, GPU, 'V100DX-1Q', '--persist')
        self.create(UUIDS[2], OTHER_GPU)
        self.guests.define('guest', [UUIDS[0]])
        self.assertEqual(0, self.run_on('report').code)
        self.assertEqual({'VGPU': 32}, self.gpu(GPU).totals)
        self.assertIn('CUSTOM_NVIDIA_194', self.gpu(GPU).traits)
        self.refused('gpu', 'retype', GPU, 'V100DX-4Q')
        # The server is deleted: libvirt first, Placement later.
        name = self.gpu(GPU).name
        allocation = self.server.allocate({name: {'VGPU': 1}})
        self.guests.undefine('guest')
        said = self.refused('gpu', 'retype', GPU, 'V100DX-4Q')
        self.assertIn('1 vGPU(s) allocated', said)
        self.server.release(allocation)

        found = self.run_on('gpu', 'retype', GPU, 'V100DX-4Q')
        self.assertEqual((0, 4), (found.code, len(found.out.splitlines())))
        self.assertEqual([UUIDS[2]], list(self.host.mdevs))
        self.configure(self.with_lines(found.err))
        checked = self.run_on('config', 'check', '-f', 'json')
        self.assertNotIn('"fatal"', checked.out)
        self.assertNotIn('"error"', checked.out)
        self.assertEqual(0, self.run_on('report').code)
        self.assertEqual({'VGPU': 8}, self.gpu(GPU).totals)
        self.assertEqual({'VGPU': 32}, self.gpu(OTHER_GPU).totals)
        traits = self.gpu(GPU).traits
        self.assertIn('CUSTOM_NVIDIA_196', traits)
        self.assertIn('CUSTOM_VGPU_V100DX_4Q', traits)
        self.assertNotIn('CUSTOM_NVIDIA_194', traits)
        again = self.run_on('gpu', 'retype', GPU, 'V100DX-4Q')
        self.assertIn('nova.conf names the type already', again.err)

        described = host_base.description_of(self.host.root)
        providers, error = nova_fixture.nova_result(described, None, self.conf)
        self.assertIsNone(error)
        for address in (GPU, OTHER_GPU):
            ours = self.gpu(address)
            self.assertEqual(ours.inventories, providers[ours.name], address)

    def test_back_and_forth(self) -> None:
        """Each time the printed lines are what is missing."""
        for type_id, total in (
            ('nvidia-196', 8),
            ('nvidia-194', 32),
            ('nvidia-196', 8),
        ):
            found = self.run_on('gpu', 'retype', GPU, type_id)
            self.configure(self.with_lines(found.err))
            self.assertEqual(0, self.run_on('report').code)
            self.assertEqual({'VGPU': total}, self.gpu(GPU).totals)
            self.assertEqual({'VGPU': 32}, self.gpu(OTHER_GPU).totals)


class DryRunTest(host_base.HostCommandTestCase):
    """A dry run says what the real one does, and does nothing."""

    conf = CONF

    def check_same(self, before: dict[str, str]) -> None:
        """Check that the host is as it was."""
        after = host_base.contents(self.host.root)
        self.assertEqual({}, host_base.differences(before, after))

    def check(self, *command: str, lines: int) -> None:
        """Run a command dry, then really."""
        before = host_base.contents(self.host.root)
        dry = self.run_on(*command, '--dry-run')
        self.check_same(before)
        done = self.run_on(*command)
        self.assertEqual(lines, len(done.out.splitlines()), command)
        self.assertEqual(_unnamed(dry.out), _unnamed(done.out))
        self.assertEqual((dry.code, dry.err), (done.code, done.err))

    def test_mdevs(self) -> None:
        """Creation, parameters and removal."""
        create = ('mdev', 'create', f'--gpu={GPU}', '--type=V100DX-1Q')
        named = (*create, f'--uuid={UUIDS[0]}', '--persist')
        self.check(*named, lines=2)
        self.check(*named, lines=0)
        self.check(*create, '--count=3', '--persist', lines=6)
        self.check('mdev', 'params', 'set', UUIDS[0], 'disable_vnc=1', lines=1)
        self.check('mdev', 'params', 'set', UUIDS[0], 'disable_vnc=1', lines=0)
        self.check('mdev', 'params', 'clear', UUIDS[0], lines=1)
        self.check('mdev', 'remove', UUIDS[0], lines=2)
        self.check('mdev', 'remove', UUIDS[0], lines=0)
        self.check('mdev', 'clean', lines=0)
        self.check('mdev', 'clean', '--grace=0', lines=6)

    def test_retype(self) -> None:
        """With what nova.conf lacks; a card may fill up before the end."""
        self.create(UUIDS[0], GPU, 'V100DX-1Q', '--persist')
        self.check('gpu', 'retype', GPU, 'V100DX-4Q', lines=2)
        self.check('gpu', 'retype', VENDOR, '1148', lines=4)
        self.check('gpu', 'retype', VENDOR, '1148', lines=0)
        dry = self.run_on('gpu', 'retype', VENDOR, '1155', '--dry-run')
        self.assertEqual(4, len(self.host.vendor_types))
        done = self.run_on('gpu', 'retype', VENDOR, '1155')
        self.assertEqual(6, len(done.out.splitlines()))
        self.assertEqual(done.out.splitlines(), dry.out.splitlines()[:6])

    def test_prepare(self) -> None:
        """What can only be known with the functions is not guessed."""
        self.options += f'vf_types = {VENDOR}=1148\n'
        self.create(UUIDS[0])
        self.create(UUIDS[1], SRIOV, 'A40-2B', '--persist')
        guests = self.use_libvirt()
        guests.define('guest', UUIDS[:2])
        kernel.reboot(self.host.root)
        before = host_base.contents(self.host.root)
        dry = self.run_on('prepare', '--dry-run')
        self.check_same(before)
        self.assertEqual(_ENABLED, dry.out.splitlines())
        self.assertEqual((0, 1), (dry.code, len(dry.errors)))
        for gpu in (SRIOV, VENDOR):
            kernel.SimulatedKernel(self.host.root).enable_vfs(gpu)
        self.host.define('0000:99:00.0', UUIDS[2], 'nvidia-194')
        self.check('prepare', lines=7)
        self.check('prepare', lines=0)


def _unnamed(text: str) -> str:
    """Leave out the UUIDs that are new each time."""
    return re.sub(
        '[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-(?!d{12})[0-9a-f]{12}',
        'UUID',
        text,
    )
