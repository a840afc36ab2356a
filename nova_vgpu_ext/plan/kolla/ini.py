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
"""Which options a file sets, and the marked block that is ours in it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator

BEGIN = '# BEGIN nova-vgpu kolla render'
END = '# END nova-vgpu kolla render'
_NOTE = '# Written from vgpu.yml. Change that, and run the command again.'

_SECTION = re.compile(r'\[([^\]]+)\]')
_KEY = re.compile(r'([A-Za-z][A-Za-z0-9_.-]*)\s*[=:]')

#: Spellings that Nova reads as well, where the newer one wins.
_OLD_NAMES = {
    ('devices', 'enabled_vgpu_types'): ('devices', 'enabled_mdev_types'),
    ('DEFAULT', 'pci_alias'): ('pci', 'alias'),
}


@dataclasses.dataclass(frozen=True)
class Option:
    """A line that sets an option."""

    section: str
    name: str
    line: int

    @property
    def identity(self) -> tuple[str, str]:
        """Section and name as Nova spells them today."""
        section, name = _OLD_NAMES.get(
            (self.section, self.name), (self.section, self.name)
        )
        if section.startswith('vgpu_') and name == 'device_addresses':
            section = section.replace('vgpu_', 'mdev_', 1)
        return section, name

    def __str__(self) -> str:
        return f'[{self.section}] {self.name}'


class BlockError(Exception):
    """The marks of a file are not one pair.

    :param found: what there is instead.
    """

    def __init__(self, found: str) -> None:
        self.found = found
        super().__init__(found)


@dataclasses.dataclass(frozen=True)
class File:
    """A file taken apart: the operator's lines, and the block."""

    before: str
    #: With the marks; None where there is none.
    block: str | None
    after: str

    @property
    def without_block(self) -> str:
        """The operator's lines, each at its number."""
        return self.before + '\n' * (self.block or '').count('\n') + self.after

    def with_block(self, content: str) -> str:
        """Give the file with another block.

        :param content: lines; empty for no block.
        """
        before = self.before
        if not content:
            if self.block is not None and not self.after:
                before = before.removesuffix('\n')
            return f'{before}{self.after}'
        if self.block is None and before:
            before = before.removesuffix('\n') + '\n\n'
        return f'{before}{BEGIN}\n{_NOTE}\n{content}{END}\n{self.after}'


def split(text: str) -> File:
    """Find the block.

    :raises BlockError: a mark is missing, or there are several.
    """
    lines = text.splitlines(keepends=True)
    begins = [n for n, line in enumerate(lines) if line.strip() == BEGIN]
    ends = [n for n, line in enumerate(lines) if line.strip() == END]
    if not begins and not ends:
        return File(text, None, '')
    if len(begins) != 1 or len(ends) != 1 or begins > ends:
        where = ', '.join(str(n + 1) for n in sorted(begins + ends))
        raise BlockError(f'marks of the block in the lines {where}')
    begin, end = begins[0], ends[0] + 1
    return File(
        ''.join(lines[:begin]),
        ''.join(lines[begin:end]),
        ''.join(lines[end:]),
    )


def options(text: str) -> Iterator[Option]:
    """Give every line of a file that sets an option.

    Statements of Jinja are passed over, so that the lines of every branch
    count.
    """
    section = 'DEFAULT'
    for number, line in enumerate(text.splitlines(), 1):
        if found := _SECTION.match(line.strip()):
            section = found[1]
        elif found := _KEY.match(line):
            yield Option(section, found[1], number)


def begins_with_section(text: str) -> bool:
    """Tell whether no option stands before the first section."""
    for line in text.splitlines():
        if _SECTION.match(line.strip()):
            return True
        if _KEY.match(line):
            return False
    return True
