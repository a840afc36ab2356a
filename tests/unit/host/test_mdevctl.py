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
"""Persistent mdevs, in the files of mdevctl."""

from __future__ import annotations

import errno
import json
import os
import pathlib
from typing import Any

import fixtures

from nova_vgpu_ext.host import mdevctl
from nova_vgpu_ext.models import MdevDefinition
from tests import base

GPU = '0000:1a:00.0'
UUID = 'd878445d-df99-4510-b467-c67a4c1a7c34'
OTHER = '0b7d9f4e-5f0b-4a52-9f61-6c1f5a3c2d10'
#: As "mdevctl define --auto" and "mdevctl modify --addattr" leave it.
WRITTEN = """\
{
  "mdev_type": "nvidia-194",
  "start": "auto",
  "attrs": [
    {
      "nvidia/vgpu_params": "frame_rate_limiter=0"
    }
  ]
}
"""


class MdevctlTestCase(base.TestCase):
    """An empty folder of definitions."""

    def setUp(self) -> None:
        super().setUp()
        temp = self.temp_dir()
        self.folder = temp / 'mdevctl.d'
        self.aside = temp / 'state' / 'aside'
        self.mdevctl = mdevctl.Mdevctl(
            str(self.folder), str(self.aside), str(temp / 'sys')
        )

    def make_virtual_parent(self) -> None:
        """Give sysfs the parent of the kernel's sample driver."""
        sys = self.folder.parent / 'sys'
        (sys / 'devices/virtual/mtty/mtty').mkdir(parents=True)
        bus = sys / 'class/mdev_bus'
        bus.mkdir(parents=True)
        (bus / 'mtty').symlink_to('../../devices/virtual/mtty/mtty')

    def put(self, text: str, uuid: str = UUID, parent: str = GPU) -> None:
        """Put a file where mdevctl would."""
        path = self.folder / parent / uuid
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def data(self, uuid: str = UUID, parent: str = GPU) -> Any:
        """Read a file as mdevctl would."""
        return json.loads((self.folder / parent / uuid).read_text())


class ReadTest(MdevctlTestCase):
    """What counts as a definition."""

    def test_no_folder(self) -> None:
        """Mdevctl makes it with the first definition."""
        self.assertEqual((), self.mdevctl.read())

    def test_as_mdevctl_writes_it(self) -> None:
        """Type, start and place; "auto" alone means a start at boot."""
        self.put(WRITTEN)
        self.put(WRITTEN.replace('auto', 'manual'), OTHER, '0000:41:00.4')
        self.put('{"mdev_type": "mtty-2"}', OTHER, 'mtty')
        self.assertEqual(
            {
                MdevDefinition(UUID, GPU, 'nvidia-194', True),
                MdevDefinition(OTHER, '0000:41:00.4', 'nvidia-194', False),
                MdevDefinition(OTHER, 'mtty', 'mtty-2', False),
            },
            set(self.mdevctl.read()),
        )

    def test_garbage_is_left_out_alone(self) -> None:
        """And logged with its path; what is good beside it counts."""
        self.put(WRITTEN)
        for text in (
            '',
            'nvidia-194',
            '{"mdev_type": ',
            '[]',
            '["mdev_type"]',
            '"mdev_type"',
            'null',
            '7',
            '{}',
            '{"mdev_type": null}',
            '{"mdev_type": 194}',
            '{"mdev_type": ["nvidia-194"]}',
            '{"mdev_type": ""}',
            '{"mdev_type": "../../../create"}',
            '{"mdev_type": "a/b"}',
            '{"mdev_type": ".."}',
            '{"mdev_type": "nvidia-194\\n"}',
            '{"mdev_type": "nvidia-194\\u0000"}',
            '[' * 60_000,
            WRITTEN + ' ' * (1 << 16),
        ):
            self.put(text, OTHER)
            self.assertEqual(
                [UUID], [d.uuid for d in self.mdevctl.read()], text[:40]
            )
            self.assertIn(OTHER, self.logs.lines[-1])

    def test_what_is_no_text_or_file(self) -> None:
        """Bytes, links, FIFOs and folders in the place of a definition."""
        self.put(WRITTEN)
        path = self.folder / GPU / OTHER
        path.write_bytes(b'\xff')
        self._is_alone()
        path.unlink()
        path.symlink_to(self.folder / GPU / UUID)
        self._is_alone()
        path.unlink()
        os.mkfifo(path)
        self._is_alone()
        path.unlink()
        path.mkdir()
        self._is_alone()

    def test_names_that_are_none(self) -> None:
        """Mdevctl's scripts, an editor's copies, and worse."""
        self.put(WRITTEN)
        for uuid, parent in (
            (f'{OTHER}~', GPU),
            (f'.{OTHER}', GPU),
            (OTHER.upper(), GPU),
            ('callouts', 'scripts.d'),
            (OTHER, '.hidden'),
            (OTHER, '-dash'),
            (OTHER, 'a b'),
            (OTHER, 'a\nb'),
            (OTHER, 'x' * 200),
        ):
            self.put(WRITTEN, uuid, parent)
        self._is_alone()

    def test_a_file_in_the_place_of_a_folder(self) -> None:
        """It holds no definition."""
        self.put(WRITTEN)
        (self.folder / 'file').write_text('x')
        self._is_alone()

    def _is_alone(self) -> None:
        self.assertEqual(
            (MdevDefinition(UUID, GPU, 'nvidia-194', True),),
            self.mdevctl.read(),
        )


class DefineTest(MdevctlTestCase):
    """What is written is what mdevctl and libvirt read."""

    def test_a_new_one(self) -> None:
        """Mdevctl wants all three keys."""
        for uuid, autostart in ((UUID, True), (OTHER, False)):
            self.mdevctl.define(
                MdevDefinition(uuid, GPU, 'nvidia-194', autostart)
            )
        expected = {'mdev_type': 'nvidia-194', 'start': 'auto', 'attrs': []}
        self.assertEqual(expected, self.data())
        self.assertEqual({**expected, 'start': 'manual'}, self.data(OTHER))

    def test_what_is_defined_is_read(self) -> None:
        """With the same values."""
        definition = MdevDefinition(UUID, GPU, 'nvidia-194', True)
        self.mdevctl.define(definition)
        self.assertEqual((definition,), self.mdevctl.read())

    def test_mdevctl_may_read_it_as_any_user(self) -> None:
        """Udev's rule and libvirt need no privilege for it."""
        before = os.umask(0o022)
        self.addCleanup(os.umask, before)
        self.mdevctl.define(MdevDefinition(UUID, GPU, 'nvidia-194', True))
        mode = (self.folder / GPU / UUID).stat().st_mode
        self.assertEqual(0o644, mode & 0o777)

    def test_one_that_is_there_is_not_written_again(self) -> None:
        """Libvirt watches the folder, and takes each write for a change."""
        self.put(WRITTEN)
        before = (self.folder / GPU / UUID).stat()
        self.mdevctl.define(MdevDefinition(UUID, GPU, 'nvidia-194', True))
        self.assertEqual(before, (self.folder / GPU / UUID).stat())

    def test_attributes_of_the_operator_stay(self) -> None:
        """Where only the start changes; another type has others."""
        self.put(WRITTEN.replace('auto', 'manual'))
        self.mdevctl.define(MdevDefinition(UUID, GPU, 'nvidia-194', True))
        self.assertEqual(json.loads(WRITTEN), self.data())
        self.mdevctl.define(MdevDefinition(UUID, GPU, 'nvidia-196', True))
        self.assertEqual([], self.data()['attrs'])

    def test_garbage_in_its_place_is_replaced(self) -> None:
        """Nothing reads it, and mdevctl complains of it."""
        self.put('{')
        self.mdevctl.define(MdevDefinition(UUID, GPU, 'nvidia-194', True))
        self.assertEqual('nvidia-194', self.data()['mdev_type'])

    def test_a_full_disk_leaves_the_old_one(self) -> None:
        """And nothing beside it."""
        self.put(WRITTEN)

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, 'full')

        self.patch('os.fsync', full)
        definition = MdevDefinition(UUID, GPU, 'nvidia-196', True)
        self.assertRaises(OSError, self.mdevctl.define, definition)
        self.assertEqual([UUID], os.listdir(self.folder / GPU))
        self.assertEqual(json.loads(WRITTEN), self.data())


class PutAsideTest(MdevctlTestCase):
    """A definition leaves, and a copy of it stays."""

    def setUp(self) -> None:
        super().setUp()
        self.put(WRITTEN)
        (self.definition,) = self.mdevctl.read()
        self.copy = self.aside / GPU / UUID

    def test_it_is_moved_as_it_was(self) -> None:
        """With its attributes, so that it can be put back by hand."""
        self.mdevctl.put_aside(self.definition)
        self.assertEqual((), self.mdevctl.read())
        self.assertEqual(WRITTEN, self.copy.read_text())
        self.copy.rename(self.folder / GPU / UUID)
        self.assertEqual((self.definition,), self.mdevctl.read())

    def test_others_stay(self) -> None:
        """Of the same GPU, and of the same UUID on another one."""
        self.put(WRITTEN, OTHER)
        self.put(WRITTEN, UUID, '0000:1b:00.0')
        self.mdevctl.put_aside(self.definition)
        self.assertEqual(
            {(OTHER, GPU), (UUID, '0000:1b:00.0')},
            {(d.uuid, d.parent) for d in self.mdevctl.read()},
        )

    def test_one_that_is_gone_is_no_error(self) -> None:
        """It was done already."""
        self.mdevctl.put_aside(self.definition)
        self.mdevctl.put_aside(self.definition)
        self.assertEqual(WRITTEN, self.copy.read_text())

    def test_killed_between_copy_and_removal(self) -> None:
        """Both are there then, and the next call finishes it."""

        unlink = os.unlink

        def die(path: str) -> None:
            if path == str(self.folder / GPU / UUID):
                raise SystemExit
            unlink(path)

        with fixtures.MonkeyPatch('os.unlink', die):
            self.assertRaises(
                SystemExit, self.mdevctl.put_aside, self.definition
            )
        self.assertEqual((self.definition,), self.mdevctl.read())
        self.assertEqual(WRITTEN, self.copy.read_text())
        self.mdevctl.put_aside(self.definition)
        self.assertEqual((), self.mdevctl.read())
        self.assertEqual(WRITTEN, self.copy.read_text())

    def test_the_two_folders_may_be_on_different_disks(self) -> None:
        """/etc and /var often are; no name can be moved between them."""

        def replace(source: str, target: str) -> None:
            if pathlib.Path(source).parent != pathlib.Path(target).parent:
                raise OSError(errno.EXDEV, 'other disk')
            rename(source, target)

        rename = os.rename
        for name in ('os.replace', 'os.rename', 'os.link'):
            self.patch(name, replace)
        self.mdevctl.put_aside(self.definition)
        self.assertEqual((), self.mdevctl.read())
        self.assertEqual(WRITTEN, self.copy.read_text())

    def test_no_room_for_the_copy(self) -> None:
        """Then the definition stays where it is."""

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, 'full')

        self.patch('os.fsync', full)
        self.assertRaises(OSError, self.mdevctl.put_aside, self.definition)
        self.assertEqual((self.definition,), self.mdevctl.read())

    def test_a_second_time_the_newer_copy_counts(self) -> None:
        """It was defined again in between, with another content."""
        self.mdevctl.put_aside(self.definition)
        self.put('{"mdev_type": "nvidia-196"}')
        (again,) = self.mdevctl.read()
        self.mdevctl.put_aside(again)
        self.assertEqual('{"mdev_type": "nvidia-196"}', self.copy.read_text())


class VirtualParentTest(MdevctlTestCase):
    """mdevctl names a parent by the last part of its path."""

    def test_both_names(self) -> None:
        """Read, written and put aside in mdevctl's own folder."""
        self.make_virtual_parent()
        self.put('{"mdev_type": "mtty-2", "start": "auto"}', parent='mtty')
        definition = MdevDefinition(UUID, 'mtty_mtty', 'mtty-2', True)
        self.assertEqual((definition,), self.mdevctl.read())
        self.mdevctl.put_aside(definition)
        self.assertEqual((), self.mdevctl.read())
        self.mdevctl.define(definition)
        self.assertTrue((self.folder / 'mtty' / UUID).exists())

    def test_parent_that_is_gone(self) -> None:
        """Its definition keeps the name that mdevctl gave it."""
        self.put('{"mdev_type": "mtty-2"}', parent='mtty')
        (definition,) = self.mdevctl.read()
        self.assertEqual('mtty', definition.parent)
