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
"""Commands that make, show, set and remove mdevs, on simulated hosts."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shlex

from defusedxml import ElementTree

from nova_vgpu_ext.sim import builder, kernel, profile
from tests.functional import host_base
from tests.functional.base import NODE, run_cli
from tests.functional.fixtures import libvirt
from tests.functional.host_base import (
    GPU,
    OTHER_GPU,
    SRIOV,
    SRIOV_VFS,
    UUIDS,
    VENDOR,
    VENDOR_VFS,
)

_LINE = re.compile(
    'create mdev ([0-9a-f]{8}-[0-9a-f-]{27}) of (nvidia-[0-9]+) on (.*)'
)


class CreateTest(host_base.HostCommandTestCase):
    """``nova-vgpu mdev create``."""

    def create_some(self, gpu: str, *options: str) -> list[str]:
        """Make mdevs; give their parents."""
        lines = self.good('mdev', 'create', f'--gpu={gpu}', *options)
        matches = [_LINE.fullmatch(line) for line in lines]
        made = {m[1]: (m[2], m[3]) for m in matches if m}
        self.assertEqual(len(lines), len(made), lines)
        for uuid, place in made.items():
            self.assertEqual(place, self.host.mdevs[uuid])
            entry = self.host.ledger[uuid]
            self.assertEqual(place, (entry['type'], entry['parent']))
        return [parent for _, parent in made.values()]

    def test_each_way_to_name_a_type(self) -> None:
        """Id, product and whole name are the same type."""
        for text in ('nvidia-194', 'V100DX-1Q', 'GRID V100DX-1Q'):
            self.create_some(GPU, f'--type={text}')
        self.assertEqual(
            [('nvidia-194', GPU)] * 3, list(self.host.mdevs.values())
        )
        self.assertEqual({}, self.host.definitions)

    def test_count(self) -> None:
        """As many as fit, and not one more."""
        self.assertEqual(
            [GPU] * 30,
            self.create_some(GPU, '--type=nvidia-194', '--count=30'),
        )
        said = self.refused(
            'mdev', 'create', f'--gpu={GPU}', '--type=V100DX-1Q', '--count=3'
        )
        self.assertIn(f'{GPU}: found room for 2 of nvidia-194', said)
        self.assertIn('expected 3', said)
        self.create_some(GPU, '--type=nvidia-194', '--count=2')

    def test_full_gpu(self) -> None:
        """Mdevs of another type take the room, and are named."""
        self.create(UUIDS[0])
        said = self.refused(
            'mdev', 'create', f'--gpu={GPU}', '--type=nvidia-196'
        )
        self.assertIn('room for 0 of nvidia-196 (V100DX-4Q)', said)
        self.assertIn('mdevs of nvidia-194 take its room', said)

    def test_full_card_with_vfs(self) -> None:
        """The card's memory counts, not its functions."""
        self.assertEqual(
            list(SRIOV_VFS[:2]),
            self.create_some(SRIOV, '--type=nvidia-567', '--count=2'),
        )
        for gpu in (SRIOV, SRIOV_VFS[3]):
            said = self.refused(
                'mdev', 'create', f'--gpu={gpu}', '--type=nvidia-567'
            )
            self.assertIn(f'{gpu}: found room for 0 of nvidia-567', said)

    def test_card_or_function(self) -> None:
        """A card stands for its functions; a function is only itself."""
        self.assertEqual(
            [SRIOV_VFS[2]], self.create_some(SRIOV_VFS[2], '--type=A40-2B')
        )
        self.refused(
            'mdev', 'create', f'--gpu={SRIOV_VFS[2]}', '--type=A40-2B'
        )
        self.assertEqual(
            [vf for vf in SRIOV_VFS if vf != SRIOV_VFS[2]],
            self.create_some(SRIOV, '--type=A40-2B', '--count=3'),
        )

    def test_virtual_parent(self) -> None:
        """The kernel's mtty is no PCI device."""
        self.host.root = str(self.temp_dir() / 'mtty')
        kernel.build(profile.load('mtty'), self.host.root)
        self.assertEqual(
            ['mtty_mtty'] * 2,
            [
                line.rpartition(' ')[2]
                for line in self.good(
                    'mdev',
                    'create',
                    '--gpu=mtty_mtty',
                    '--type=mtty-2',
                    '--count=2',
                )
            ],
        )

    def test_again(self) -> None:
        """With a UUID the command can be given again, and completed."""
        command = [
            'mdev',
            'create',
            f'--gpu={SRIOV}',
            '--type=A40-2B',
            f'--uuid={UUIDS[0]}',
        ]
        created = f'create mdev {UUIDS[0]} of nvidia-558 on {SRIOV_VFS[0]}'
        defined = created.replace('create', 'define persistent', 1)
        self.assertEqual([created], self.good(*command))
        self.nothing(*command)
        self.assertEqual([defined], self.good(*command, '--persist'))
        self.nothing(*command, '--persist')
        self.nothing(*command)
        self.assertEqual(1, len(self.host.mdevs))

    def test_persistent(self) -> None:
        """The definition is what mdevctl writes, with automatic start."""
        self.create(UUIDS[0], GPU, 'nvidia-194', '--persist')
        expected = {'mdev_type': 'nvidia-194', 'start': 'auto', 'attrs': []}
        self.assertEqual(
            {f'{GPU}/{UUIDS[0]}': expected}, self.host.definitions
        )
        mode = (self.host.own / 'mdevctl.d' / GPU / UUIDS[0]).stat().st_mode
        self.assertEqual(0o644, mode & 0o777)

    def test_uuid_of_another_mdev(self) -> None:
        """Another GPU or type has it; what is there is named."""
        self.create(UUIDS[0])
        for gpu, type_id in (
            (OTHER_GPU, 'nvidia-194'),
            (GPU, 'nvidia-196'),
            (SRIOV, 'A40-2B'),
        ):
            said = self.refused(
                'mdev',
                'create',
                f'--gpu={gpu}',
                f'--type={type_id}',
                f'--uuid={UUIDS[0]}',
            )
            self.assertIn(f'found one of nvidia-194 on {GPU}', said)
            self.assertIn('choose another UUID', said)

    def test_type_of_another_gpu(self) -> None:
        """What the GPU offers is named, by id and product."""
        said = self.refused(
            'mdev', 'create', f'--gpu={GPU}', '--type=nvidia-558'
        )
        self.assertIn("'nvidia-558'", said)
        self.assertIn('nvidia-194 (V100DX-1Q), nvidia-196 (V100DX-4Q)', said)

    def test_gpu_that_is_not_there(self) -> None:
        """Gone, or never there: the known ones are named."""
        for address in ('0000:ff:00.0', '../../etc', '', GPU.upper()):
            said = self.refused(
                'mdev', 'create', f'--gpu={address}', '--type=nvidia-194'
            )
            self.assertIn(f'no GPU {address!r} here', said)
            self.assertIn(f'{GPU}, {OTHER_GPU}, {SRIOV}, {VENDOR}', said)

    def test_gpu_that_vanishes(self) -> None:
        """The plan was right; the kernel no longer knows the device."""
        real = kernel.SimulatedKernel.write

        def gone(host: kernel.SimulatedKernel, path: str, text: str) -> None:
            real(host, f'{path}-gone', text)

        self.patch('nova_vgpu_ext.sim.kernel.SimulatedKernel.write', gone)
        found = self.run_on(
            'mdev', 'create', f'--gpu={GPU}', '--type=nvidia-194'
        )
        self.assertEqual((1, ''), (found.code, found.out))
        self.assertEqual(1, len(found.errors))
        self.assertIn('it has vanished', found.err)

    def test_vendor_vfio(self) -> None:
        """Neither the card nor its functions take mdevs."""
        for address in (VENDOR, VENDOR_VFS[0]):
            said = self.refused(
                'mdev', 'create', f'--gpu={address}', '--type=1148'
            )
            self.assertIn('framework vendor-vfio, expected mdev', said)
            self.assertIn('gpu retype', said)


class ShowTest(host_base.HostCommandTestCase):
    """``nova-vgpu mdev show`` and ``mdev xml``."""

    def show(self, uuid: str) -> dict[str, object]:
        """Show an mdev as a program reads it."""
        (line,) = self.good('mdev', 'show', uuid, '-f', 'json', '--noindent')
        shown: dict[str, object] = json.loads(line)
        return shown

    def test_everything(self) -> None:
        """Who uses it, and whether it comes back."""
        self.create(UUIDS[0], SRIOV, 'A40-2B', '--persist')
        self.good('mdev', 'params', 'set', UUIDS[0], 'disable_vnc=1')
        self.host.age(UUIDS[0], 4000)
        self.use_libvirt().define('guest', [UUIDS[0], UUIDS[5]])
        shown = self.show(UUIDS[0])
        group = os.readlink(
            f'{self.host.root}/bus/mdev/devices/{UUIDS[0]}/iommu_group'
        )
        self.assertGreaterEqual(shown.pop('age_seconds'), 4000)
        self.assertEqual(
            {
                'uuid': UUIDS[0],
                'type': 'nvidia-558',
                'product': 'A40-2B',
                'gpu': SRIOV_VFS[0],
                'libvirt_name': 'mdev_00000000_aaaa_4bbb_8ccc_dddddddddddd_'
                '0000_41_00_4',
                'iommu_group': os.path.basename(group),
                'guest': None,
                'domains': ['guest'],
                'processes': [],
                'parameters': 'disable_vnc=1',
                'persistent': True,
                'autostart': True,
            },
            shown,
        )

    def test_little(self) -> None:
        """What nobody uses shows that."""
        self.create(UUIDS[0])
        shown = self.show(UUIDS[0])
        for name in ('guest', 'parameters'):
            self.assertIsNone(shown[name])
        self.assertEqual([], shown['domains'])
        self.assertIs(False, shown['persistent'])

    def test_unknown(self) -> None:
        """The known ones are named."""
        self.create(UUIDS[0])
        for command in (
            ('mdev', 'show', UUIDS[1]),
            ('mdev', 'xml', UUIDS[1]),
            ('mdev', 'xml', UUIDS[0], UUIDS[1]),
            ('mdev', 'params', 'show', UUIDS[1]),
            ('mdev', 'params', 'set', UUIDS[1], 'disable_vnc=1'),
            ('mdev', 'params', 'clear', UUIDS[1]),
            ('mdev', 'remove', UUIDS[1]),
        ):
            said = self.refused(*command)
            self.assertIn(f'no mdev {UUIDS[1]!r} here', said)
            self.assertIn(UUIDS[0], said)

    def test_xml(self) -> None:
        """libvirt's element, and nothing else on standard output."""
        self.create(UUIDS[0])
        self.create(UUIDS[1], SRIOV, 'A40-2B')
        lines = self.good('mdev', 'xml', UUIDS[1], UUIDS[0])
        root = ElementTree.fromstring(f'<all>{"".join(lines)}</all>')
        self.assertEqual(['hostdev'] * 2, [element.tag for element in root])
        self.assertIsNone(root.text)
        for element, uuid in zip(root, (UUIDS[1], UUIDS[0]), strict=True):
            self.assertEqual(
                {
                    'mode': 'subsystem',
                    'type': 'mdev',
                    'managed': 'no',
                    'model': 'vfio-pci',
                },
                element.attrib,
            )
            address = element.find('./source/address')
            self.assertEqual({'uuid': uuid}, address.attrib)

    def test_xml_is_what_a_domain_takes(self) -> None:
        """What it prints for one mdev is a document by itself."""
        self.create(UUIDS[0])
        text = '\n'.join(self.good('mdev', 'xml', UUIDS[0]))
        self.assertEqual('hostdev', ElementTree.fromstring(text).tag)

    def test_qemu(self) -> None:
        """Two words of a command line for each."""
        self.create(UUIDS[0])
        self.create(UUIDS[1])
        lines = self.good('mdev', 'xml', '--qemu', *UUIDS[:2])
        words = shlex.split(' '.join(lines))
        self.assertEqual(['-device'] * 2, words[::2])
        self.assertEqual(
            [
                f'vfio-pci,sysfsdev=/sys/bus/mdev/devices/{uuid}'
                for uuid in UUIDS[:2]
            ],
            words[1::2],
        )


class ParametersTest(host_base.HostCommandTestCase):
    """``nova-vgpu mdev params``."""

    def setUp(self) -> None:
        super().setUp()
        self.create(UUIDS[0])

    def params(self, verb: str, *arguments: str) -> list[str]:
        """Set or clear parameters of the mdev."""
        return self.good('mdev', 'params', verb, UUIDS[0], *arguments)

    def test_set_and_clear(self) -> None:
        """Others that are set stay, until all are cleared."""
        path = pathlib.Path(
            self.host.root, 'bus/mdev/devices', UUIDS[0], 'nvidia/vgpu_params'
        )
        self.params('set', 'frame_rate_limiter=0', 'disable_vnc=1')
        text = 'disable_vnc=1,frame_rate_limiter=0'
        self.assertEqual({UUIDS[0]: text}, self.host.parameters)
        self.assertEqual(f'{text}\n', path.read_text())
        self.params('set', 'frame_rate_limiter=1', 'enable_uvm=1')
        shown = json.loads(
            ''.join(self.params('show', '-f', 'json', '--noindent'))
        )
        self.assertEqual(
            {
                'frame_rate_limiter': '1',
                'disable_vnc': '1',
                'enable_uvm': '1',
                'enable_debugging': None,
                'enable_profiling': None,
            },
            shown,
        )
        self.params('clear', 'disable_vnc', 'enable_uvm')
        self.assertEqual(
            {UUIDS[0]: 'frame_rate_limiter=1'}, self.host.parameters
        )
        self.assertEqual(
            [f'clear parameters of {UUIDS[0]}'], self.params('clear')
        )
        self.assertEqual('', path.read_text())

    def test_nothing_to_do(self) -> None:
        """What is set already is not written again."""
        self.params('set', 'enable_uvm=0')
        for command in (
            ('set', UUIDS[0], 'enable_uvm=0'),
            ('clear', UUIDS[0], 'disable_vnc'),
        ):
            self.nothing('mdev', 'params', *command)
        self.params('clear')
        self.nothing('mdev', 'params', 'clear', UUIDS[0])

    def test_bad_pairs(self) -> None:
        """No key, value or separator passes that is not known."""
        for pair in (
            'x=1',
            'enable_uvm',
            'enable_uvm=',
            'enable_uvm=2',
            'enable_uvm=01',
            'enable_uvm=1\n',
            'enable_uvm=1\nenable_debugging=1',
            'enable_uvm=1,enable_debugging=1',
            'enable_uvm=1 enable_debugging=1',
            'enable_uvm==1',
            'ENABLE_UVM=1',
            ' enable_uvm=1',
            'enable_uvm=\u0661',
            '=',
            '=1',
            '',
            '\n',
            'enable_uvm=' + '1' * 10_000,
            'x' * 10_000 + '=1',
        ):
            said = self.refused('mdev', 'params', 'set', UUIDS[0], pair)
            self.assertIn('parameter: found ', said)
            self.assertLess(len(said), 300)
        self.assertEqual({}, self.host.parameters)

    def test_key_twice(self) -> None:
        """Which value counts is not for us to choose."""
        said = self.refused(
            'mdev', 'params', 'set', UUIDS[0], 'enable_uvm=1', 'enable_uvm=0'
        )
        self.assertIn('enable_uvm twice', said)

    def test_one_bad_pair(self) -> None:
        """The good one beside it is not set either."""
        self.refused(
            'mdev', 'params', 'set', UUIDS[0], 'disable_vnc=1', 'enable_uvm=2'
        )
        self.assertEqual({}, self.host.parameters)

    def test_bad_keys_to_clear(self) -> None:
        """An unknown key is a mistake, not an empty wish."""
        for key in ('x', 'enable_uvm=1', '', 'y' * 10_000):
            found = self.run_on('mdev', 'params', 'clear', UUIDS[0], key)
            self.assertEqual((2, ''), (found.code, found.out))
            self.assertIn('expected one of frame_rate_limiter', found.err)
            self.assertLess(len(found.err), 600)

    def test_running(self) -> None:
        """They are read when a guest starts, so it is too late."""
        self.host.root = str(self.temp_dir() / 'busy')
        kernel.build(profile.load('v100x8-busy'), self.host.root)
        uuid = 'd878445d-df99-4510-b467-c67a4c1a7c34'
        for command in (('set', uuid, 'enable_uvm=1'), ('clear', uuid)):
            said = self.refused('mdev', 'params', *command)
            self.assertIn('in use by guest instance-0000031d', said)


class RemoveTest(host_base.HostCommandTestCase):
    """``nova-vgpu mdev remove``."""

    def test_remove(self) -> None:
        """The definition goes first, and a copy of it stays."""
        self.create(UUIDS[0], GPU, 'nvidia-194', '--persist')
        self.create(UUIDS[1])
        (definition,) = self.host.definitions.values()
        removed = f'remove mdev {{}} of nvidia-194 on {GPU}'
        self.assertEqual(
            [
                f'put aside persistent mdev {UUIDS[0]} of nvidia-194 on '
                f'{GPU}: it is removed',
                removed.format(UUIDS[0]),
                removed.format(UUIDS[1]),
            ],
            self.good('mdev', 'remove', *UUIDS[:2]),
        )
        self.assertEqual(({}, {}), (self.host.mdevs, self.host.definitions))
        self.assertEqual({f'{GPU}/{UUIDS[0]}': definition}, self.host.aside)

    def test_definition_alone(self) -> None:
        """What is only defined can go too."""
        self.host.define(GPU, UUIDS[0], 'nvidia-194')
        self.assertEqual(1, len(self.good('mdev', 'remove', UUIDS[0])))
        self.assertEqual({}, self.host.definitions)

    def test_named_twice(self) -> None:
        """Twice the same is once."""
        self.create(UUIDS[0])
        self.assertEqual(
            1, len(self.good('mdev', 'remove', UUIDS[0], UUIDS[0]))
        )

    def test_some_are_gone(self) -> None:
        """An interrupted removal goes on, and says which was not there."""
        self.create(UUIDS[0])
        self.create(UUIDS[2])
        found = self.run_on('mdev', 'remove', *UUIDS[:3])
        self.assertEqual((1, 2), (found.code, len(found.out.splitlines())))
        (line,) = found.errors
        self.assertIn(UUIDS[1], line)
        self.assertEqual({}, self.host.mdevs)

    def test_of_a_domain(self) -> None:
        """A stopped guest keeps its mdev; who it is, is said of each."""
        for uuid in UUIDS[:3]:
            self.create(uuid, GPU, 'nvidia-194', '--persist')
        self.host.define(OTHER_GPU, UUIDS[3], 'nvidia-194')
        guests = self.use_libvirt()
        guests.define('stopped', [UUIDS[0], UUIDS[3]])
        guests.define('running', [UUIDS[1]], running=True)
        said = self.refused('mdev', 'remove', *UUIDS[:4], lines=3)
        for uuid, user in (
            (UUIDS[0], 'stopped (defined)'),
            (UUIDS[1], 'running (running)'),
            (UUIDS[3], 'stopped (defined)'),
        ):
            self.assertIn(f'mdev {uuid}: in use by domain {user}', said)
        self.good('mdev', 'remove', UUIDS[2])
        guests.stop('running')
        self.refused('mdev', 'remove', UUIDS[1])
        guests.undefine('running')
        self.good('mdev', 'remove', UUIDS[1])

    def test_guest_that_only_the_driver_knows(self) -> None:
        """Somebody runs QEMU by hand."""
        self.host.root = str(self.temp_dir() / 'busy')
        kernel.build(profile.load('v100x8-busy'), self.host.root)
        said = self.refused(
            'mdev', 'remove', 'd878445d-df99-4510-b467-c67a4c1a7c34'
        )
        self.assertIn('guest instance-0000031d, by the driver', said)

    def test_guest_that_comes_meanwhile(self) -> None:
        """It is asked again right before the kernel is."""
        self.create(UUIDS[0])
        self.create(UUIDS[1])
        guests = self.use_libvirt()

        def read() -> None:
            # The plan asks first, then the removal of each.
            if len(guests.opened) == 3:
                guests.define('late', [UUIDS[1]])

        guests.on_read = read
        found = self.run_on('mdev', 'remove', *UUIDS[:2])
        self.assertEqual(1, found.code)
        (line,) = found.errors
        self.assertIn('in use by domain late (defined)', line)
        self.assertEqual([UUIDS[1]], list(self.host.mdevs))

    def test_libvirt_reads_only(self) -> None:
        """A connection that could change domains is never asked for."""
        self.create(UUIDS[0])
        guests = self.use_libvirt()
        self.good('mdev', 'remove', UUIDS[0])
        self.assertEqual({(libvirt.URI, 1)}, set(guests.opened))


class UuidTest(host_base.HostCommandTestCase):
    """UUIDs that are none, in each command that takes one."""

    BAD = (
        'none',
        '',
        '0',
        UUIDS[0].upper(),
        UUIDS[0].replace('-', ''),
        f'{{{UUIDS[0]}}}',
        f'{UUIDS[0]}\n',
        f' {UUIDS[0]}',
        '../../../etc/passwd',
        f'{UUIDS[0][:-2]}/1',
        'x' * 10_000,
        UUIDS[0][:-1] + '\u0661',
    )

    def test_each(self) -> None:
        """Usage, the text as it was given, and what a UUID looks like."""
        self.create(UUIDS[0].replace('0', '1'))
        for bad in self.BAD:
            for before, after in (
                (['show'], []),
                (['xml'], []),
                (['remove'], []),
                (['params', 'show'], []),
                (['params', 'set'], ['enable_uvm=1']),
                (['params', 'clear'], []),
                (
                    ['create', f'--gpu={GPU}', '--type=nvidia-194', '--uuid'],
                    [],
                ),
            ):
                found = self.run_on('mdev', *before, bad, *after)
                self.assertEqual((2, ''), (found.code, found.out), bad)
                last = found.errors[-1]
                self.assertIn(f'found {bad[:60]!r}', last)
                self.assertIn('expected a UUID in lower case', last)
                self.assertLess(len(found.err), 600)

    def test_count(self) -> None:
        """A number from 1, of the usual digits."""
        for bad in (
            '0',
            '-1',
            '1.5',
            'many',
            '',
            '1025',
            '\u0661',
            '9' * 5000,
        ):
            found = self.run_on(
                'mdev',
                'create',
                f'--gpu={GPU}',
                '--type=nvidia-194',
                f'--count={bad}',
            )
            self.assertEqual((2, ''), (found.code, found.out), bad)
            self.assertIn(f'found {bad[:20]!r}', found.err)
            self.assertLess(len(found.err), 600)

    def test_one_uuid_for_several(self) -> None:
        """There is no rule for the UUIDs of the others."""
        said = self.refused(
            'mdev',
            'create',
            f'--gpu={GPU}',
            '--type=nvidia-194',
            f'--uuid={UUIDS[0]}',
            '--count=2',
        )
        self.assertIn('--uuid', said)


class PlainFilesTest(host_base.HostCommandTestCase):
    """Files that only take writes, through the program's own writer."""

    def setUp(self) -> None:
        super().setUp()
        self.host.root = str(self.temp_dir() / 'plain')
        builder.build(host_base.small_host(), self.host.root)
        self.own = self.temp_dir()
        self.config_file = self.write_conf(
            f'[vgpu]\nlibvirt_uri =\nstate_path = {self.own}/state\n'
            f'mdevctl_path = {self.own}/mdevctl\n'
        )

    def check_tree(self) -> None:
        """Nothing follows from a write here."""

    def test_create(self) -> None:
        """The UUID is written to the file of the type, and remembered."""
        self.create(UUIDS[0], OTHER_GPU, 'V100DX-4Q', '--persist')
        path = pathlib.Path(
            self.host.root, 'devices/pci0000:1b', OTHER_GPU
        ).joinpath('mdev_supported_types/nvidia-196/create')
        self.assertEqual(UUIDS[0], path.read_text().strip())
        definition = self.own / 'mdevctl' / OTHER_GPU / UUIDS[0]
        self.assertEqual(
            'nvidia-196', json.loads(definition.read_text())['mdev_type']
        )
        ledger = json.loads((self.own / 'state/ledger.json').read_text())
        self.assertEqual([UUIDS[0]], list(ledger['entries']))

    def test_folders_of_its_own(self) -> None:
        """State is for root alone; nothing is left beside the files."""
        self.create(UUIDS[0])
        self.assertEqual(0o700, (self.own / 'state').stat().st_mode & 0o777)
        self.assertEqual(
            ['ledger.json', 'lock'], sorted(os.listdir(self.own / 'state'))
        )

    def test_without_libvirt_nothing_is_cleaned(self) -> None:
        """Nobody knows what is used."""
        said = self.refused('mdev', 'clean', '--grace=0')
        self.assertIn('[vgpu] libvirt_uri', said)
        self.assertIn('nothing is removed', said)


class SimulatedTest(host_base.HostCommandTestCase):
    """A host from ``nova-vgpu sim create``, as the documentation uses it."""

    def test_without_configuration(self) -> None:
        """It needs no nova.conf, no libvirt, no folder of root."""
        root = str(self.temp_dir() / 'sim')
        self.assertEqual(0, run_cli('sim', 'create', 'v100x8', root).code)
        config = f'--config-file={self.write_conf("")}'
        command = [config, f'--sysfs-root={root}', f'--node={NODE}', 'mdev']
        made = run_cli(*command, 'create', f'--gpu={GPU}', '--type=V100DX-1Q')
        self.assertEqual((0, ''), (made.code, made.err))
        uuid = made.out.split()[2]
        removed = run_cli(*command, 'remove', uuid)
        self.assertEqual((0, ''), (removed.code, removed.err))
        self.assertEqual(
            [kernel.FOLDER],
            [name for name in os.listdir(root) if name.startswith('.')],
        )

    def test_no_vfs(self) -> None:
        """A host as after a boot gets its functions from prepare."""
        root = str(self.temp_dir() / 'sim')
        run_cli('sim', 'create', '--no-vfs', 'a40-sriov', root)
        found = run_cli(
            f'--config-file={self.write_conf("")}',
            f'--sysfs-root={root}',
            'prepare',
        )
        self.assertEqual(
            (0, f'enable virtual functions of {SRIOV}\n', ''), found
        )
