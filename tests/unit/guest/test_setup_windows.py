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
"""The program that a guest with Windows runs: what can be told without one."""

from __future__ import annotations

from collections.abc import Iterator

import tree_sitter
import tree_sitter_powershell

from nova_vgpu_ext.guest import render
from nova_vgpu_ext.guest.render import Format
from nova_vgpu_ext.guest.settings import Driver, Server, Settings, System
from tests import base
from tests.unit.guest.values import SUM

#: Of Windows PowerShell 5.1, and of Windows itself.
_KNOWN = {
    *('Get-Content', 'Get-Date', 'Get-FileHash', 'Invoke-WebRequest'),
    *('Join-Path', 'New-Item', 'New-Object', 'Out-Null', 'Remove-Item'),
    *('Remove-ItemProperty', 'Restart-Service', 'Select-Object'),
    *('Select-String', 'Set-Content', 'Set-ItemProperty', 'Split-Path'),
    *('Start-Process', 'Start-Sleep', 'Test-Path', 'Write-Verbose'),
    'Where-Object',
    'icacls',
}
_AUTOMATIC = {
    *('_', 'null', 'lastexitcode'),
    *('env:programdata', 'env:programfiles', 'env:systemroot'),
}
#: All that settings let through.
_URL = 'https://h.example:1/a._~!*+,;=:@%/-/grid.exe?a._~!*+,;=:@%/?&-=1'
_TOKEN = 'aZ09_.=+/-'  # noqa: S105


def parse(settings: Settings) -> tree_sitter.Node:
    """Read the program for these settings as PowerShell does."""
    text = render.render(System.WINDOWS, settings, Format.SCRIPT)
    language = tree_sitter.Language(tree_sitter_powershell.language())
    return tree_sitter.Parser(language).parse(text.encode()).root_node


def nodes(node: tree_sitter.Node, *kinds: str) -> Iterator[tree_sitter.Node]:
    """Find the nodes of these kinds below one."""
    if node.type in kinds:
        yield node
    for child in node.children:
        yield from nodes(child, *kinds)


def names(node: tree_sitter.Node, *kinds: str) -> set[str]:
    """Give their texts, in lower case as PowerShell compares them."""
    return {
        (found.text or b'').decode().lower() for found in nodes(node, *kinds)
    }


class WindowsTest(base.TestCase):
    """Syntax and names."""

    def setUp(self) -> None:
        super().setUp()
        self.driver = Driver(_URL, SUM)
        self.program = parse(Settings(self.driver, _TOKEN))

    def test_syntax(self) -> None:
        """It is PowerShell, with whatever settings."""
        for settings in (
            Settings(),
            Settings(self.driver, _TOKEN),
            Settings(server=Server('2001:db8::1', 1), backup=Server('b')),
        ):
            self.assertFalse(parse(settings).has_error, settings)

    def test_commands(self) -> None:
        """Each that is called exists in Windows, or in the program."""
        own = names(self.program, 'function_name')
        called = names(self.program, 'command_name')
        self.assertGreater(len(own), 10)
        self.assertEqual(
            {name.lower() for name in _KNOWN}, called - own, 'called'
        )
        self.assertEqual(set(), own - called, 'never called')

    def test_variables(self) -> None:
        """Each that is read was set somewhere."""
        given = names(
            self.program, 'left_assignment_expression', 'script_parameter'
        )
        for loop in nodes(self.program, 'foreach_statement'):
            given |= {
                (child.text or b'').decode().lower()
                for child in loop.children
                if child.type == 'variable'
            }
        used = names(self.program, 'variable')
        self.assertGreater(len(used), 20)
        used, given = (
            {name.strip('${}') for name in found} for found in (used, given)
        )
        self.assertEqual(set(), used - given - _AUTOMATIC)

    def test_values_are_plain_strings(self) -> None:
        """Nothing of them is expanded."""
        strings = {
            (node.text or b'').decode()
            for node in nodes(self.program, 'verbatim_string_characters')
        }
        for value in (_URL, _TOKEN, SUM, 'grid.exe'):
            self.assertIn(f"'{value}'", strings)
