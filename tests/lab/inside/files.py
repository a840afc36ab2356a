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
"""Runs in the guest: says where a tree of files differs from an expected one.

Standard input is JSON, by path below /sys: a text for a file, null for a
folder, and a list with the name of its target for a link.
"""

from __future__ import annotations

import json
import os
import sys


def found(path: str) -> object:
    """Read what is at a path."""
    try:
        if os.path.islink(path):
            return [os.path.basename(os.path.realpath(path))]
        if os.path.isdir(path):
            return None
        # As root all can be opened; what is for writing only looks empty.
        if not os.stat(path).st_mode & 0o400:
            return ''
        with open(path) as stream:
            return stream.read().strip()
    except FileNotFoundError:
        return 'nothing'


def main() -> None:
    """Compare, and print the differences."""
    expected = json.load(sys.stdin)
    differences = []
    for path, wanted in expected.items():
        there = found(f'/sys/{path}')
        if there != wanted:
            differences.append([path, wanted, there])
    json.dump(differences, sys.stdout)


main()
