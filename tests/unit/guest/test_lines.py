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
"""The lines that a guest says, and the page that explains each."""

from __future__ import annotations

import re

from tests import base, doc_blocks

_FOLDER = doc_blocks.ROOT / 'nova_vgpu_ext/guest'
_PAGE = doc_blocks.ROOT / 'doc/source/user/guest-troubleshooting.rst'

#: ``fail TEXT`` and ``report STATE TEXT``, ``throw TEXT`` and ``Report ...``.
_SAID = {
    'setup-linux.sh': re.compile(
        r'\b(?:fail|report (?P<state>ok|working)) '
        r'(?:"(?P<text>(?:[^"$]|\$\([^)]*\)|\$\{[^}]*\}|\$\w+)+)"'
        r"|'(?P<plain>[^']+)')"
    ),
    'setup-windows.ps1': re.compile(
        r"\b(?:throw|Report '(?P<state>ok|working)') "
        r'(?:"(?P<text>[^"]+)"|\'(?P<plain>[^\']+)\')'
    ),
}
_VALUE = re.compile(r'\$\((?:[^()]|\(\))*\)|\$\{[^}]*\}|\$\w+')
_SHOWN = re.compile(r'^   \* - ``((?:working|ok|failed): .*)``$', re.MULTILINE)


def said(program: str) -> set[str]:
    """Give all that a program can say, with ``...`` for each value."""
    return {
        (match['state'] or 'failed')
        + ': '
        + (match['plain'] or _VALUE.sub('...', match['text']))
        for match in _SAID[program].finditer((_FOLDER / program).read_text())
    }


def shown() -> list[re.Pattern[str]]:
    """Give the lines of the page; ``...`` stands for anything."""
    return [
        re.compile('.+'.join(map(re.escape, line.split('...'))))
        for line in _SHOWN.findall(_PAGE.read_text())
    ]


class LinesTest(base.TestCase):
    """Program and page."""

    def test_each_line_is_explained_once(self) -> None:
        """Nothing is left out, and nothing is explained that is not said."""
        patterns = shown()
        explained = set()
        for program in _SAID:
            lines = said(program)
            self.assertGreater(len(lines), 8)
            for line in sorted(lines):
                found = [p.pattern for p in patterns if p.fullmatch(line)]
                self.assertEqual(1, len(found), f'{line}: {found}')
                explained.update(found)
        self.assertEqual({p.pattern for p in patterns}, explained)
