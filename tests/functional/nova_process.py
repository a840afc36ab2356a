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
"""A process for test cases that are Nova's own."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys

from testtools import content

from tests import base

_TIMEOUT = 900
_PACKAGE = 'tests.functional.inside_nova'
_RAN = re.compile(r'^Ran (\d+) tests? in', re.MULTILINE)


def run(test: base.TestCase, number: int, *arguments: str) -> None:
    """Run tests of :mod:`tests.functional.inside_nova`; all must pass.

    :param test: fails with them, and shows what they said.
    :param number: how many there are at least.
    :param arguments: of that program.
    """
    done = subprocess.run(  # noqa: S603
        [sys.executable, '-W', 'ignore', '-m', _PACKAGE, *arguments],
        cwd=pathlib.Path(__file__).parents[2],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_TIMEOUT,
        check=False,
    )
    test.addDetail('inside Nova', content.text_content(done.stdout))
    ran = _RAN.search(done.stdout)
    test.assertEqual(0, done.returncode)
    test.assertGreaterEqual(int(ran[1]) if ran else 0, number)
