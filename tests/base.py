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
"""What every test of this project stands on."""

from __future__ import annotations

import itertools
import logging
import pathlib
from typing import Any

import fixtures
import hypothesis
import testtools

PACKAGE = 'nova_vgpu_ext'

# No test fails because the machine is slow.
hypothesis.settings.register_profile(
    'tests',
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile('tests')


class _Formatter(logging.Handler):
    """Formats each record, and keeps what could not be formatted."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self.broken: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.lines.append(record.getMessage())
        except Exception as error:
            self.broken.append(
                f'{record.pathname}:{record.lineno}: {record.msg!r} '
                f'with {record.args!r}: {error!r}'
            )


class FormattedLogs(fixtures.Fixture):
    """Formats every log line of the package, debug ones included.

    A line whose format does not fit its arguments is an error, also where
    the code that logged it would have gone on.
    """

    def __init__(self, package: str = PACKAGE) -> None:
        super().__init__()
        self._package = package

    def _setUp(self) -> None:
        self._handler = _Formatter()
        logger = logging.getLogger(self._package)
        self.addCleanup(logger.setLevel, logger.level)
        self.addCleanup(logger.removeHandler, self._handler)
        logger.setLevel(logging.DEBUG)
        logger.addHandler(self._handler)
        # A service that a test runs may have made the root print all this.
        self.addCleanup(setattr, logger, 'propagate', logger.propagate)
        logger.propagate = False

    @property
    def lines(self) -> list[str]:
        """The lines so far."""
        return self._handler.lines

    @property
    def broken(self) -> list[str]:
        """The calls that could not be formatted so far."""
        return self._handler.broken


class TestCase(testtools.TestCase):
    """A test with temporary folders and checked log lines."""

    def setUp(self) -> None:
        super().setUp()
        self._numbers = itertools.count()
        self.logs = self.useFixture(FormattedLogs())
        self.addCleanup(self._check_logs)

    def _check_logs(self) -> None:
        self.assertEqual([], self.logs.broken)

    def temp_dir(self) -> pathlib.Path:
        """Make a folder that goes with the test."""
        return pathlib.Path(self.useFixture(fixtures.TempDir()).path)

    def write_conf(self, text: str, name: str | None = None) -> str:
        """Write a configuration file.

        :returns: its path.
        """
        path = self.temp_dir() / (name or f'nova-{next(self._numbers)}.conf')
        path.write_text(text)
        return str(path)

    def patch(self, name: str, value: Any) -> None:
        """Replace an attribute, named with its module, for this test."""
        self.useFixture(fixtures.MonkeyPatch(name, value))
