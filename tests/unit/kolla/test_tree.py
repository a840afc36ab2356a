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
"""The files below node_custom_config."""

from __future__ import annotations

import os

from nova_vgpu_ext import exception
from nova_vgpu_ext.kolla import tree
from nova_vgpu_ext.plan.kolla.tree import Change
from tests import base

PATH = 'nova/nova-compute.conf'


class TreeTest(base.TestCase):
    """Reading and writing."""

    def setUp(self) -> None:
        super().setUp()
        self.root = self.temp_dir()

    def write(self, old: str | None, new: str | None) -> None:
        """Change the file."""
        tree.write(str(self.root), Change(PATH, old, new))

    def test_write(self) -> None:
        """Folders are made, and what was written is read."""
        self.assertEqual({}, tree.read(str(self.root / 'none')))
        self.write(None, 'one\n')
        self.assertEqual({PATH: 'one\n'}, tree.read(str(self.root)))
        self.assertEqual(['nova-compute.conf'], os.listdir(self.root / 'nova'))
        self.write('one\n', None)
        self.assertEqual({}, tree.read(str(self.root)))

    def test_mode_and_link(self) -> None:
        """A file that is there keeps its permissions and its place."""
        real = self.root / 'repository.conf'
        real.write_text('one\n')
        real.chmod(0o600)
        (self.root / 'nova').mkdir()
        (self.root / PATH).symlink_to(real)
        self.assertEqual({PATH: 'one\n'}, tree.read(str(self.root)))
        self.write('one\n', 'two\n')
        self.assertTrue((self.root / PATH).is_symlink())
        self.assertEqual('two\n', real.read_text())
        self.assertEqual(0o600, real.stat().st_mode & 0o777)
        self.write('two\n', None)
        self.assertEqual([], os.listdir(self.root / 'nova'))
        self.assertFalse(real.exists())

    def test_owner(self) -> None:
        """A file of another user goes on to be theirs."""
        (self.root / 'nova').mkdir()
        path = self.root / PATH
        path.write_text('one\n')
        if os.getuid() == 0:
            os.chown(path, 1234, 1235)
        owner = path.stat().st_uid, path.stat().st_gid
        self.write('one\n', 'two\n')
        self.assertEqual('two\n', path.read_text())
        self.assertEqual(owner, (path.stat().st_uid, path.stat().st_gid))

    def test_every_file_that_matters(self) -> None:
        """Those of one host as well, and no others."""
        names = [
            'global.conf',
            'nova.conf',
            'nova/nova-scheduler.conf',
            'nova/gpu01/nova.conf',
            'nova/gpu01/nova-compute.conf',
            'nova/gpu01/nova-conductor.conf',
        ]
        for name in (*names, 'nova/nova-ssh.conf', 'nova/gpu01/qemu.conf'):
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_text(name)
        self.assertEqual({n: n for n in names}, tree.read(str(self.root)))

    def test_not_readable(self) -> None:
        """One line that names the file."""
        (self.root / PATH).mkdir(parents=True)
        error = self.assertRaises(
            exception.ConfigError, tree.read, str(self.root)
        )
        self.assertIn(f'{PATH}: found no regular file', str(error))
        (self.root / PATH).rmdir()
        (self.root / PATH).write_bytes(b'\xff')
        error = self.assertRaises(
            exception.ConfigError, tree.read, str(self.root)
        )
        self.assertIn('expected UTF-8', str(error))

    def test_not_writable(self) -> None:
        """A file in the place of the folder."""
        (self.root / 'nova').write_text('')
        error = self.assertRaises(exception.ConfigError, self.write, None, 'x')
        self.assertIn('expected a file that this user may', str(error))

    def test_diff(self) -> None:
        """As diff -u shows it."""
        shown = tree.diff('/etc', Change(PATH, 'a\nb\n', 'a\nc\n'))
        self.assertEqual(
            f'--- /etc/{PATH}\n+++ /etc/{PATH}\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n',
            shown,
        )
        shown = tree.diff('/etc', Change(PATH, 'a\n', None))
        self.assertIn('+++ /dev/null\n', shown)
