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
"""The hook as a file, and the commands that handle it."""

from __future__ import annotations

import ast
import os
import pathlib
import sys

from nova_vgpu_ext import exception
from nova_vgpu_ext.hook import qemu
from nova_vgpu_ext.host import hook_file
from nova_vgpu_ext.host.hook_file import State
from tests import base

SETTINGS: hook_file.Settings = {
    'sysfs_root': '/sys',
    'state_path': '/srv/it\'s "here"\\1',
    'mdevctl_path': '/etc/mdevctl.d',
}
OURS = pathlib.Path(qemu.__file__)


class HookFileTest(base.TestCase):
    """Install, look, remove."""

    def setUp(self) -> None:
        super().setUp()
        self.directory = self.temp_dir() / 'hooks'
        self.path = self.directory / 'qemu.d' / 'nova-vgpu'

    def install(
        self, settings: hook_file.Settings = SETTINGS, dry_run: bool = False
    ) -> list[str]:
        """Install; give what was done."""
        return hook_file.install(str(self.directory), settings, dry_run)

    def look(
        self, settings: hook_file.Settings = SETTINGS
    ) -> hook_file.HookFile:
        """See what is there."""
        return hook_file.look(str(self.directory), settings)

    def assert_state(self, state: State) -> None:
        """Assert what is there."""
        self.assertIs(state, self.look().state)

    def test_install(self) -> None:
        """The folder and the file."""
        self.assert_state(State.ABSENT)
        self.assertEqual(
            [f'make {self.path.parent}', f'write {self.path}'], self.install()
        )
        self.assert_state(State.INSTALLED)
        self.assertEqual(0o755, self.path.stat().st_mode & 0o7777)
        self.assertEqual(['nova-vgpu'], os.listdir(self.path.parent))
        self.assertEqual([], self.install())

    def test_umask(self) -> None:
        """libvirt passes over what it may not execute."""
        self.addCleanup(os.umask, os.umask(0o077))
        self.install()
        self.assertEqual(0o755, self.path.stat().st_mode & 0o7777)

    def test_dry_run(self) -> None:
        """Nothing is done."""
        expected = [f'make {self.path.parent}', f'write {self.path}']
        self.assertEqual(expected, self.install(dry_run=True))
        self.assertFalse(self.directory.exists())
        self.install()
        self.assertEqual(
            [f'remove {self.path}'],
            hook_file.remove(str(self.directory), dry_run=True),
        )
        self.assert_state(State.INSTALLED)

    def test_settings(self) -> None:
        """The file is the source with other settings, and nothing else."""
        self.install({**SETTINGS, 'refuse': False})
        found = self.look()
        self.assertEqual({**SETTINGS, 'refuse': False}, found.settings)
        text = self.path.read_text()
        ast.parse(text)
        ours = {line.strip() for line in OURS.read_text().splitlines()}
        odd = [li for li in text.splitlines() if li.strip() not in ours]
        self.assertEqual(2, len(odd), str(odd))

    def test_source_is_rendered_as_it_is(self) -> None:
        """With the settings of the source nothing changes."""
        self.assertEqual(OURS.read_text(), hook_file.render(qemu.SETTINGS))

    def test_other_settings(self) -> None:
        """Another configuration, or another answer to errors."""
        self.install()
        moved = {**SETTINGS, 'state_path': '/other'}
        self.assertIs(State.OUTDATED, self.look(moved).state)
        self.assertEqual([f'replace {self.path}'], self.install(moved))
        self.assertIs(State.INSTALLED, self.look(moved).state)

    def test_answer_to_errors_stays(self) -> None:
        """Unless another one is asked for."""
        self.install({**SETTINGS, 'refuse': False})
        self.assert_state(State.INSTALLED)
        self.assertEqual([], self.install())
        moved = {**SETTINGS, 'state_path': '/other'}
        self.install(moved)
        self.assertEqual({**moved, 'refuse': False}, self.look().settings)
        self.install({**moved, 'refuse': True})
        self.assertEqual({**moved, 'refuse': True}, self.look().settings)

    def test_changed(self) -> None:
        """Ours, edited, of an earlier version, or not executable."""
        self.install()
        text = self.path.read_text()
        for old, new in (
            ('WRITE_SECONDS = 20.0', 'WRITE_SECONDS = 5.0'),
            (', version 1', ', version 0'),
        ):
            self.assertIn(old, text)
            self.path.write_text(text.replace(old, new))
            self.assert_state(State.OUTDATED)
            self.assertEqual([f'replace {self.path}'], self.install())
            self.assertEqual(text, self.path.read_text())
        self.path.chmod(0o644)
        self.assert_state(State.OUTDATED)
        self.install()
        self.assert_state(State.INSTALLED)

    def assert_refused(self, word: str) -> None:
        """Assert that a file is left as it is."""
        before = os.lstat(self.path)
        error = self.assertRaises(exception.Refused, self.install)
        self.assertIn(str(self.path), str(error))
        self.assertIn(word, str(error))
        self.assertEqual(before, os.lstat(self.path))

    def test_newer(self) -> None:
        """Not replaced, but removed when that is asked for."""
        self.install()
        text = self.path.read_text().replace(', version 1', ', version 99')
        self.path.write_text(text)
        self.assert_state(State.NEWER)
        self.assert_refused('later version')
        hook_file.remove(str(self.directory))
        self.assertFalse(self.path.exists())

    def test_foreign(self) -> None:
        """Somebody else's file is neither replaced nor removed."""
        self.path.parent.mkdir(parents=True)
        self.install()
        ours = self.path.read_text()
        for data in (
            b'#!/bin/sh\nexit 0\n',
            b'',
            b'\xff\xfe',
            b' ' * (2 << 20),
            ours.replace('# nova-vgpu-ext: ', '# ').encode(),
            ours.replace('SETTINGS', 'OTHERS').encode(),
            ours.replace("'refuse': True", "'refuse': open").encode(),
        ):
            self.path.write_bytes(data)
            self.assert_state(State.FOREIGN)
            self.assert_refused('move it away')
            self.assertRaises(
                exception.Refused, hook_file.remove, str(self.directory)
            )
            self.assertTrue(self.path.exists())

    def test_link_or_folder(self) -> None:
        """Not even a link to ours."""
        self.path.parent.mkdir(parents=True)
        self.path.symlink_to(OURS)
        self.assert_state(State.FOREIGN)
        self.assert_refused('move it away')
        self.path.unlink()
        self.path.mkdir()
        self.assert_state(State.FOREIGN)
        self.assert_refused('move it away')

    def test_remove(self) -> None:
        """It goes; the folder is libvirt's."""
        self.assertEqual([], hook_file.remove(str(self.directory)))
        self.install()
        self.assertEqual(
            [f'remove {self.path}'], hook_file.remove(str(self.directory))
        )
        self.assert_state(State.ABSENT)
        self.assertTrue(self.path.parent.is_dir())

    def test_no_folder_can_be_made(self) -> None:
        """One line names the file."""
        self.directory.write_text('a file')
        error = self.assertRaises(exception.HostError, self.install)
        self.assertIn(str(self.path), str(error))
        self.assertIn('not a directory', str(error))


class SourceTest(base.TestCase):
    """What can be said of the file without running it."""

    def setUp(self) -> None:
        super().setUp()
        self.text = OURS.read_text()

    def test_python_3_8(self) -> None:
        """Containers have older Pythons than this project."""
        ast.parse(self.text, feature_version=(3, 8))

    def test_imports(self) -> None:
        """The standard library; at the start only what is there anyway."""
        tree = ast.parse(self.text)
        found = {
            name.partition('.')[0]
            for node in ast.walk(tree)
            for name in _imported(node)
        }
        self.assertLessEqual(found, {*sys.stdlib_module_names, '_socket'})
        first = {n for node in tree.body for n in _imported(node)}
        self.assertEqual({'__future__', 'errno', 'os'}, first)

    def test_limit(self) -> None:
        """What reads the XML knows how much of it is too much."""
        self.assertEqual(4 << 20, qemu.XML_LIMIT)
        self.assertIn('.read((4 << 20) + 1)', qemu.__doc__ or '')

    def test_nothing_is_printed(self) -> None:
        """libvirt takes standard output for XML when a guest migrates."""
        names = {
            node.id
            for node in ast.walk(ast.parse(self.text))
            if isinstance(node, ast.Name)
        }
        self.assertNotIn('print', names)
        self.assertNotIn('stdout', self.text)


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module or '']
    return []
