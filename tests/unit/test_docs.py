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
"""Every command block of the documentation is run by some test."""

from __future__ import annotations

import functools
import importlib.util
import itertools
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata

from tests import base, doc_blocks
from tests.doc_blocks import Command

_PLACES = ('run-in-lab', 'run-in-cloud', 'usage')
_BY = 'run-by-'
#: What the scripts start once they have their packages.
_PROGRAMS = {
    'tools/cloud': (sys.executable, '-m', 'tools.minicloud'),
    'tools/lab': (sys.executable, '-m', 'tools.labvm'),
    'tools/test': ('tools/test',),
}
_LITERAL = re.compile(
    r'^(?!\.\. ).*::\n\n +([$#] |(openstack|nova-vgpu|tools/\w+) )',
    re.MULTILINE,
)
_OPTION = re.compile(r'--[a-z][a-z-]*')


@functools.cache
def _help(*words: str) -> str:
    done = subprocess.run(  # noqa: S603
        [*words, '--help'],
        cwd=doc_blocks.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


@functools.cache
def _commands() -> dict[tuple[str, ...], metadata.EntryPoint]:
    """Give every command of this project by its words."""
    return {
        (program, *point.name.split('_')): point
        for program, group in (
            ('nova-vgpu', 'nova_vgpu.cli'),
            ('openstack', 'openstack.vgpu.v1'),
        )
        for point in metadata.entry_points(group=group)
    }


def _calls(text: str) -> Iterator[tuple[metadata.EntryPoint, list[str]]]:
    """Find calls of this project's commands in a command line."""
    text = text.replace('\\\n', ' ')
    for word in shlex.split(text, comments=True):
        # As in: tools/lab run 'nova-vgpu gpu list'.
        if ' ' in word and word.split()[0] in ('nova-vgpu', 'openstack'):
            yield from _calls(word)
    lexer = shlex.shlex(text, posix=True, punctuation_chars='|&;<>')
    lexer.whitespace_split = True
    words = list(lexer)
    for start, program in enumerate(words):
        for end in range(start + 1, len(words) + 1):
            point = _commands().get((program, *words[start + 1 : end]))
            if point is not None:
                given = itertools.takewhile(
                    lambda word: word[0] not in '|&;<>', words[end:]
                )
                yield point, list(given)


class DocsTest(base.TestCase):
    """The blocks that stand in the pages themselves."""

    def test_each_block_says_where_it_is_run(self) -> None:
        """A page cannot get a command that nobody tries."""
        found = doc_blocks.blocks()
        self.assertGreater(len(found), 10)
        for block in found:
            if block.place.startswith(_BY):
                name = block.place.removeprefix(_BY)
                self.assertIsNotNone(importlib.util.find_spec(name), block)
            else:
                self.assertIn(block.place, _PLACES, str(block))
            self.assertTrue(block.commands, str(block))

    def test_commands_are_in_command_blocks(self) -> None:
        """A plain literal block is not read by the test above."""
        source = doc_blocks.ROOT / 'doc' / 'source'
        for path in sorted(source.rglob('*.rst')):
            self.assertIsNone(_LITERAL.search(path.read_text()), path)

    def test_usage(self) -> None:
        """The programs exist, and know the options."""
        seen = 0
        for block in doc_blocks.blocks():
            for command in block.commands if block.place == 'usage' else ():
                words = shlex.split(command.text, comments=True)
                if words[0] == 'cat':
                    continue
                self.assertIn(words[0], _PROGRAMS, str(block))
                program = _PROGRAMS[words[0]]
                known = _help(*program)
                if len(program) > 1:
                    known += _help(*program, words[1])
                for option in _OPTION.findall(command.text):
                    self.assertIn(option, known, str(block))
                seen += 1
        self.assertGreater(seen, 5)

    def test_own_commands(self) -> None:
        """Each takes its arguments, wherever the block is tested."""
        seen = 0
        for block in doc_blocks.blocks():
            for command in block.commands:
                for point, arguments in _calls(command.text):
                    parser = point.load()(None, None).get_parser('x')
                    try:
                        parser.parse_args(arguments)
                    except SystemExit:
                        self.fail(f'{block}: {command.text}')
                    seen += 1
        self.assertGreater(seen, 12)

    def test_a_block_with_output_is_read(self) -> None:
        """Commands over several lines, here documents, output."""
        (block,) = doc_blocks._of_page(
            'page',
            '\n'.join(
                (
                    '.. code-block:: console',
                    '   :class: usage',
                    '',
                    '   $ one \\',
                    '       two',
                    '   first',
                    '',
                    '   last',
                    "   root@gpu-lab:~# cat >x <<'END'",
                    '   # no prompt',
                    '   END',
                    '',
                    'Text.',
                )
            ),
        )
        self.assertEqual('usage', block.place)
        self.assertEqual(
            (
                Command('one \\\n    two', 'first\n\nlast'),
                Command("cat >x <<'END'\n# no prompt\nEND"),
            ),
            block.commands,
        )

    def test_output_is_compared(self) -> None:
        """Whole lines, but for those that ``...`` stands for."""
        uuid = 'd878445d-df99-4510-b467-c67a4c1a7c34'
        other = '0b7d9f4e-5f0b-4a52-9f61-6c1f5a3c2d10'
        for shown, printed, agrees in (
            ('', 'anything', True),
            ('a', 'a\n', True),
            ('a', 'ab', False),
            ('a', 'a\nb', False),
            ('a\n...\nd', 'a\nb\nc\nd', True),
            ('a\n...', 'a\nb\nc', True),
            ('a\n...\nd', 'a\nb\nc', False),
            (uuid, other, True),
            ('a.c', 'abc', False),
        ):
            found = Command('x', shown).check(printed)
            self.assertEqual(agrees, found is None, (shown, printed))
