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
"""The protocol of sd_notify."""

from __future__ import annotations

import os
import time

from nova_vgpu_ext.agent import notify
from tests import base, notify_socket


class NotifierTest(base.TestCase):
    """With a real socket."""

    def check(self, is_abstract: bool) -> None:
        """Send each message."""
        heard = self.useFixture(notify_socket.NotifySocket(is_abstract))
        notifier = notify.Notifier({'NOTIFY_SOCKET': heard.address})
        notifier.ready()
        notifier.status('two\nlines, and\x00 more \udcff')
        notifier.watchdog()
        notifier.stopping()
        heard.wait_for('STOPPING=1')
        self.assertEqual(
            [
                'READY=1',
                'STATUS=two lines, and\x00 more ?',
                'WATCHDOG=1',
                'STOPPING=1',
            ],
            heard.messages,
        )
        before = time.monotonic_ns() // 1000
        notifier.reloading()
        text = heard.wait(bool)
        self.assertTrue(text.startswith('RELOADING=1\nMONOTONIC_USEC='))
        told = int(text.rpartition('=')[2])
        self.assertLessEqual(before, told)
        self.assertLessEqual(told, time.monotonic_ns() // 1000)

    def test_path(self) -> None:
        """A socket in the file system."""
        self.check(is_abstract=False)

    def test_abstract(self) -> None:
        """A socket that has a name in no folder."""
        self.check(is_abstract=True)

    def test_nobody_listens(self) -> None:
        """No socket, one that is gone, or an address that is none."""
        for address in (
            None,
            '',
            '/nowhere/socket',
            '@nowhere',
            'vsock:2:1',
            'x' * 200,
        ):
            environment = {} if address is None else {'NOTIFY_SOCKET': address}
            notify.Notifier(environment).ready()

    def test_watchdog(self) -> None:
        """Half of the limit, if it is meant for this process."""
        own = str(os.getpid())
        for expected, environment in (
            (None, {}),
            (None, {'WATCHDOG_USEC': ''}),
            (None, {'WATCHDOG_USEC': '0'}),
            (None, {'WATCHDOG_USEC': '-5'}),
            (None, {'WATCHDOG_USEC': '٣'}),
            (None, {'WATCHDOG_USEC': '3000000', 'WATCHDOG_PID': '1'}),
            (1.5, {'WATCHDOG_USEC': '3000000'}),
            (1.5, {'WATCHDOG_USEC': '3000000', 'WATCHDOG_PID': own}),
        ):
            found = notify.Notifier(environment).watchdog_seconds
            self.assertEqual(expected, found, environment)
