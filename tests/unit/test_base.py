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
"""The test base itself: a broken log line must not go unseen."""

from __future__ import annotations

import logging

from tests import base


class FormattedLogsTest(base.TestCase):
    """Log lines are formatted whoever listens."""

    def test_a_broken_debug_line_is_kept(self) -> None:
        """A format that does not fit is found at every level."""
        logger = logging.getLogger('checked_package.part')
        with base.FormattedLogs('checked_package') as logs:
            logger.debug('%d providers', 'many')
            logger.debug('%d providers', 8)
            self.assertEqual(['8 providers'], logs.lines)
            self.assertEqual(1, len(logs.broken))
            self.assertIn("'%d providers' with ('many',)", logs.broken[0])

    def test_a_broken_line_fails_the_test(self) -> None:
        """A test in which the package logs a broken line is red."""

        class Broken(base.TestCase):
            def test(self) -> None:
                logger = logging.getLogger(f'{base.PACKAGE}.somewhere')
                logger.debug('%d', 'no number')

        result = Broken('test').run()
        self.assertFalse(result.wasSuccessful())
        # This test's own listener heard it too.
        self.assertEqual(1, len(self.logs.broken))
        self.logs.broken.clear()
