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
"""Nova's own test cases, run from its wheel."""

from __future__ import annotations

import importlib.metadata
import os
import sys
import unittest

# Before eventlet replaces classes that it subscripts.
import testtools  # noqa: F401

# Before Nova is imported. All of it runs on native threads from 34 on.
os.environ['OS_NOVA_DISABLE_EVENTLET_PATCHING'] = str(
    int(importlib.metadata.version('nova').partition('.')[0]) >= 34
).lower()

# The first import of Nova, for it chooses the kind of threads.
import nova.tests.functional  # isort: skip  # noqa: F401
from nova.tests.fixtures import conf as nova_conf_fixture


def run(suite: unittest.TestSuite) -> bool:
    """Run tests; what they say goes to standard error.

    :returns: whether all went well.
    """
    _find_paste()
    return unittest.TextTestRunner(verbosity=2).run(suite).wasSuccessful()


def _find_paste() -> None:
    """Let Nova's API find its pipeline where the wheel puts it.

    Nova's tests look for it in a checkout.
    """
    real = nova_conf_fixture.ConfFixture.setUp

    def set_up(fixture: nova_conf_fixture.ConfFixture) -> None:
        real(fixture)
        fixture.conf.set_default(
            'api_paste_config',
            os.path.join(sys.prefix, 'etc', 'nova', 'api-paste.ini'),
            group='wsgi',
        )

    nova_conf_fixture.ConfFixture.setUp = set_up
