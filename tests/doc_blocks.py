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
"""The command blocks of the documentation, and where each of them is run.

A command whose output a page shows is best made into a file of
``doc/source/outputs`` (``tools.doc_outputs``). What stands in a page itself,
as ``.. code-block:: console``, says with its ``:class:`` how it is tested:

``run-in-lab``
    ``tests.lab.test_docs`` runs it in the virtual machine.
``run-in-cloud``
    ``tests.cloud.test_docs`` runs it in the small OpenStack.
``usage``
    It starts what CI itself runs; program and options are compared with its
    ``--help``.
``run-by-MODULE``
    That module of tests does with other paths what a test can do of it; what
    needs root, a package index or an OpenStack stands there to be read.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Iterator

from tools import doc_outputs

ROOT = pathlib.Path(__file__).parents[1]
_DIRECTIVE = '.. code-block:: console'
_PROMPT = re.compile(r'(?:[$#]|[\w@:~-]+#) (.*)')
_HERE = re.compile(r"<<'(\w+)'$")


@dataclasses.dataclass(frozen=True)
class Command:
    """A command, and what the page shows of its output."""

    text: str
    #: Empty where the page shows none; ``...`` stands for any lines.
    output: str = ''

    def check(self, printed: str) -> str | None:
        """Compare the output with what was printed; None if they agree."""
        if not self.output:
            return None
        wanted = doc_outputs.normalise(self.output).split('\n')
        pattern = '\n'.join(
            '(?:.*\n)*?.*' if line.strip() == '...' else re.escape(line)
            for line in wanted
        )
        found = doc_outputs.normalise(printed).rstrip('\n')
        if re.fullmatch(pattern, found):
            return None
        return f'{self.text}\nshown:\n{self.output}\nprinted:\n{printed}'


@dataclasses.dataclass(frozen=True)
class Block:
    """A command block of a page."""

    page: str
    line: int
    #: The value of ``:class:``; empty where there is none.
    place: str
    commands: tuple[Command, ...]

    def __str__(self) -> str:
        return f'{self.page}:{self.line}'


def blocks(*pages: str) -> list[Block]:
    """Read the blocks in the order of the pages and of the text.

    :param pages: such as ``user/hook``; all pages if none is given.
    """
    source = ROOT / 'doc' / 'source'
    paths = [source / f'{page}.rst' for page in pages] or sorted(
        source.rglob('*.rst')
    )
    return [
        block
        for path in paths
        for block in _of_page(
            str(path.relative_to(source).with_suffix('')), path.read_text()
        )
    ]


def _of_page(page: str, text: str) -> Iterator[Block]:
    lines = text.split('\n')
    for number, line in enumerate(lines):
        if line.strip() != _DIRECTIVE:
            continue
        indent = len(line) - len(line.lstrip())
        body = []
        for following in lines[number + 1 :]:
            if following.strip() and not following.startswith(
                ' ' * (indent + 3)
            ):
                break
            body.append(following[indent + 3 :])
        place = ''
        if body and body[0].startswith(':class:'):
            place = body.pop(0).removeprefix(':class:').strip()
        yield Block(page, number + 1, place, tuple(_commands(body)))


def _commands(lines: list[str]) -> Iterator[Command]:
    text: list[str] = []
    output: list[str] = []
    here: str | None = None
    for line in lines:
        prompt = _PROMPT.fullmatch(line)
        if here is not None:
            text.append(line)
            if line == here:
                here = None
        elif prompt:
            if text:
                yield _command(text, output)
            text, output = [prompt[1]], []
            found = _HERE.search(prompt[1])
            here = found[1] if found else None
        elif text and not output and text[-1].endswith('\\'):
            text.append(line)
        elif text:
            output.append(line)
    if text:
        yield _command(text, output)


def _command(text: list[str], output: list[str]) -> Command:
    return Command('\n'.join(text), '\n'.join(output).strip('\n'))
