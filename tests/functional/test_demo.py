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
"""tools/demo holds what it says, and the README shows what it prints."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys

from tests import base
from tools import demo_picture, doc_outputs

ROOT = pathlib.Path(__file__).parents[2]
PICTURE = ROOT / 'doc/source/images/demo.svg'


class DemoTest(base.TestCase):
    """The first command of a newcomer."""

    def test_demo(self) -> None:
        """Every claim is so, nothing is left, and the picture is right."""
        folder = self.temp_dir()
        done = subprocess.run(  # noqa: S603
            [sys.executable, ROOT / 'tools/demo.py'],
            env=os.environ
            | {
                'TMPDIR': str(folder),
                'PATH': f'{pathlib.Path(sys.executable).parent}:'
                + os.environ['PATH'],
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=500,
        )
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)
        self.assertEqual([], list(folder.iterdir()))
        self.assertEqual(
            self.words(demo_picture.draw(done.stdout)),
            self.words(PICTURE.read_text()),
            'run tools/demo | python -m tools.demo_picture >' + str(PICTURE),
        )

    def words(self, picture: str) -> list[str]:
        """Take the text of a picture, without what differs each time."""
        found = re.findall('<text[^>]*>([^<]*)</text>', picture)
        self.assertGreater(len(found), 30)
        return [doc_outputs.normalise(text) for text in found]
