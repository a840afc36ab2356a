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
"""Draws a part of what tools/demo prints, for the README.

``tools/demo | python -m tools.demo_picture >doc/source/images/demo.svg``, with
the virtual environment of tools/test.
"""

from __future__ import annotations

import io
import re
import sys

from rich import console, text

#: The first and the last line of each part.
_PARTS = (
    (r'\$ nova-vgpu .* gpu list', r'   ok: eight GPUs'),
    (r'\$ nova-vgpu .* config check', r'   ok: no finding.*'),
    (r'\$ nova-vgpu .* inventory list .*', r'   ok: eight inventories'),
    (r'\$ openstack allocation .*_196 .*', r'   ok: 2 GPUs .*'),
)
#: What the demo adds to each command to find its host.
_OPTIONS = re.compile(
    r' --config-file \S+ --sysfs-root \S+ --node \S+|( -c (\w+|\'[^\']*\'))+$'
)
_WIDTH = 110


def parts(printed: str) -> list[list[str]]:
    """Take the parts that are drawn from the output of the demo.

    :raises ValueError: the demo no longer prints one of them.
    """
    found = []
    for first, last in _PARTS:
        match = re.search(f'^{first}$(?s:.*?)^{last}$', printed, re.MULTILINE)
        if match is None:
            raise ValueError(f'the demo printed no {first!r} to {last!r}')
        command, *lines = match[0].split('\n')
        found.append([_OPTIONS.sub('', command), *lines])
    return found


def draw(printed: str) -> str:
    """Draw them as they look in a terminal.

    :returns: an SVG, which needs no font from elsewhere.
    """
    screen = console.Console(record=True, width=_WIDTH, file=io.StringIO())
    for lines in parts(printed):
        for line in lines:
            style = ''
            if line.startswith('$'):
                style = 'bold'
            elif line.startswith('   ok:'):
                style = 'green'
            screen.print(text.Text(line, style))
        screen.print()
    drawn = screen.export_svg(title='tools/demo', unique_id='demo')
    return re.sub(r'@font-face \{.*?\}\n', '', drawn, flags=re.DOTALL)


if __name__ == '__main__':
    sys.stdout.write(draw(sys.stdin.read()))
