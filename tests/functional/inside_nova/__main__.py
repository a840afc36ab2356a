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
"""Runs one module of this folder, or some of its tests.

usage: python -m tests.functional.inside_nova MODULE [CLASS[.METHOD]...]
"""

from __future__ import annotations

import importlib
import sys
import unittest

from tests.functional.inside_nova import wheel


def main() -> int:
    """Run, and tell by the exit code how it went."""
    _, module, *names = sys.argv
    found = importlib.import_module(f'{__package__}.{module}')
    loader = unittest.defaultTestLoader
    suite = (
        loader.loadTestsFromNames(names, found)
        if names
        else loader.loadTestsFromModule(found)
    )
    return 0 if wheel.run(suite) else 1


if __name__ == '__main__':
    sys.exit(main())
