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
"""The commands of the page for kolla-ansible, as their programs parse them."""

from __future__ import annotations

import argparse
import importlib.metadata
import pathlib
import shlex
from typing import Any

from kolla.common import config
from oslo_config import cfg

from tests import base

ROOT = pathlib.Path(__file__).parents[2]
PAGE = ROOT / 'doc/source/install/kolla.rst'
SOURCE = '/opt/src/nova-vgpu-ext'
#: How often each program is on the page.
PROGRAMS = {'kolla-build': 1, 'kolla-ansible': 6, 'ln': 4, 'cp': 2}


def commands(text: str) -> list[list[str]]:
    """Take the commands from the console blocks of a page."""
    lines = text.replace('\\\n', ' ').splitlines()
    return [
        shlex.split(line.strip()[2:])
        for line in lines
        if line.startswith('   ') and line.strip()[:2] in ('# ', '$ ')
    ]


class KollaDocsTest(base.TestCase):
    """What an operator types."""

    def of(self, program: str) -> list[list[str]]:
        """Give the arguments of each call of a program."""
        found = [
            arguments
            for name, *arguments in commands(PAGE.read_text('utf-8'))
            if name == program
        ]
        self.assertEqual(PROGRAMS[program], len(found), found)
        return found

    def test_kolla_ansible(self) -> None:
        """Actions and options exist, and the playbook is ours."""
        group = importlib.metadata.entry_points(group='kolla_ansible.cli')
        for action, *arguments in self.of('kolla-ansible'):
            (found,) = [
                entry
                for entry in group
                if entry.name.replace('_', '-') == action
            ]
            command: Any = found.load()(None, None)
            parser: argparse.ArgumentParser = command.get_parser(action)
            parsed = parser.parse_args(arguments)
            self.assertEqual(['inventory'], parsed.inventory)
            self.assertTrue(parsed.tags == 'nova' or parsed.playbook)

    def test_kolla_build(self) -> None:
        """Options exist, and the files are there."""
        (arguments,) = self.of('kolla-build')
        arguments = [
            str(ROOT / x) if x.startswith('kolla_configs/') else x
            for x in arguments
        ]
        conf = cfg.ConfigOpts()
        config.parse(conf, arguments)
        self.assertEqual(['^nova-', 'nova-vgpu-agent'], conf.regex)
        for path in (*conf.template_override, *conf.docker_dir):
            self.assertTrue(pathlib.Path(path).exists(), path)

    def test_files(self) -> None:
        """What is linked and copied is in this checkout."""
        for arguments in (*self.of('ln'), *self.of('cp')):
            path = arguments[-2].replace(f'{SOURCE}/', '')
            self.assertTrue((ROOT / path).exists(), path)
