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
"""The description as a file."""

from __future__ import annotations

from nova_vgpu_ext import exception
from nova_vgpu_ext.kolla import document
from tests import base


class DocumentTest(base.TestCase):
    """Text stays text, and each key is there once."""

    def test_text(self) -> None:
        """Nothing becomes a number, a truth value or a date."""
        text = '{a: 0000:10:00.0, b: [yes, 012], "c": ~, d: {}}'
        self.assertEqual(
            {'a': '0000:10:00.0', 'b': ['yes', '012'], 'c': '~', 'd': {}},
            document.parse('f', text).data,
        )
        self.assertIsNone(document.parse('f', '# nothing').data)

    def test_twice(self) -> None:
        """Two types for one address are found, with the line."""
        found = document.parse('f', 'a:\n  b: {x: 1, x: 2}\n  c: 1\na: 2\n')
        self.assertEqual(
            [
                'error: f: a.b: found x twice, again in line 2, expected '
                'each key once; remove one of the two',
                'error: f: found a twice, again in line 4, expected each '
                'key once; remove one of the two',
            ],
            [str(finding) for finding in found.findings],
        )

    def test_no_yaml(self) -> None:
        """Whatever it is, it is one line."""
        endless = 'a: &a {b: *a}'
        for text, part in (
            ('a: [', 'expected'),
            ('a: b: c', 'mapping values'),
            ('{[a]: b}', 'a key that is no text in line 1'),
            ('a: \0', 'unacceptable character'),
            (endless, 'more than 8 levels at a.b.b'),
            ('[' * 3000, 'a description in YAML'),
        ):
            error = self.assertRaises(
                exception.ConfigError, document.parse, 'f', text
            )
            self.assertIn(part, str(error))
            self.assertNotIn('\n', str(error))

    def test_no_file(self) -> None:
        """A file that is not there, a folder, and bytes."""
        folder = self.temp_dir()
        (folder / 'bytes').write_bytes(b'\xff')
        for name, part in (
            ('none', 'no such file'),
            ('', 'is a directory'),
            ('bytes', 'no UTF-8'),
        ):
            path = str(folder / name)
            error = self.assertRaises(
                exception.ConfigError, document.load, path
            )
            self.assertIn(part, str(error))

    def test_create(self) -> None:
        """A description is never written over."""
        path = str(self.temp_dir() / 'vgpu.yml')
        document.create(path, 'one')
        error = self.assertRaises(
            exception.ConfigError, document.create, path, 'two'
        )
        self.assertIn('found a file, expected none', str(error))
        with open(path, encoding='utf-8') as stream:
            self.assertEqual('one', stream.read())
        error = self.assertRaises(
            exception.ConfigError, document.create, f'{path}/x', 'two'
        )
        self.assertIn('not a directory', str(error))
