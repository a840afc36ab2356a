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
"""The commands that the documentation shows for the small OpenStack."""

from __future__ import annotations

import os
import shlex
import subprocess

from tests import doc_blocks
from tests.cloud import base


class DocsTest(base.CloudTestCase):
    """Every block of the kind ``run-in-cloud``."""

    def test_commands(self) -> None:
        """They succeed, and print what the page shows."""
        # Made by a command of the page.
        self._names.append('first')
        run = 0
        for block in doc_blocks.blocks():
            for command in block.commands:
                if block.place == 'run-in-cloud':
                    self.check(block, command)
                    run += 1
        self.assertGreater(run, 3)

    def check(
        self, block: doc_blocks.Block, command: doc_blocks.Command
    ) -> None:
        """Run one command in the cloud of the tests."""
        name = base.FOLDER.name
        text = command.text.replace('\\\n', ' ')
        text = text.replace('.cloud/cloud/', f'.cloud/{name}/')
        words = shlex.split(text)
        if words[0] == 'tools/cloud':
            words[1:1] = ['--name', name]
        done = subprocess.run(  # noqa: S603
            words,
            cwd=doc_blocks.ROOT,
            env={k: v for k, v in os.environ.items() if k[:3] != 'OS_'},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        printed = done.stdout + done.stderr
        self.assertEqual(0, done.returncode, f'{block}: {text}\n{printed}')
        difference = command.check(printed)
        self.assertIsNone(difference, f'{block}: {difference}')
