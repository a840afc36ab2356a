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
"""Threads and signals, as the loop sees them."""

from __future__ import annotations

import os
import select
import signal
import threading

from nova_vgpu_ext.agent import signals, worker
from tests import base


class WorkerTest(base.TestCase):
    """Jobs in a thread."""

    def setUp(self) -> None:
        super().setUp()
        self.worker = worker.ThreadWorker[int]()
        self.addCleanup(self.worker.close)

    def wait(self) -> None:
        """Wait until the job has ended."""
        self.assertTrue(select.select([self.worker], [], [], 30)[0])

    def test_results(self) -> None:
        """One job after the other."""
        for number in range(3):
            self.worker.start(lambda n=number: n)
            self.assertTrue(self.worker.is_busy)
            self.wait()
            self.assertEqual(number, self.worker.take())
            self.assertFalse(self.worker.is_busy)

    def test_errors(self) -> None:
        """They are raised where the result is taken."""
        self.worker.start(lambda: 1 // 0)
        self.wait()
        self.assertRaises(ZeroDivisionError, self.worker.take)
        self.assertFalse(self.worker.is_busy)

    def test_it_is_another_thread(self) -> None:
        """Whoever starts a job goes on."""
        gate = threading.Event()
        self.worker.start(lambda: int(gate.wait(30)))
        self.assertFalse(select.select([self.worker], [], [], 0)[0])
        gate.set()
        self.wait()
        self.assertEqual(1, self.worker.take())

    def test_nothing_to_take(self) -> None:
        """It is a mistake of the caller."""
        self.assertRaises((RuntimeError, BlockingIOError), self.worker.take)


class SignalsTest(base.TestCase):
    """Real signals."""

    def test_signals(self) -> None:
        """All kinds are seen, and nothing is left behind."""
        before = signal.getsignal(signal.SIGUSR1)
        files = len(os.listdir('/proc/self/fd'))
        with signals.Signals((signal.SIGUSR1, signal.SIGHUP)) as seen:
            self.assertFalse(select.select([seen], [], [], 0)[0])
            for _ in range(5000):
                signal.raise_signal(signal.SIGUSR1)
            signal.raise_signal(signal.SIGHUP)
            self.assertTrue(select.select([seen], [], [], 30)[0])
            self.assertEqual({signal.SIGUSR1, signal.SIGHUP}, seen.take())
            self.assertFalse(select.select([seen], [], [], 0)[0])
            self.assertEqual(set(), seen.take())
        self.assertEqual(before, signal.getsignal(signal.SIGUSR1))
        self.assertEqual(files, len(os.listdir('/proc/self/fd')))
        self.assertEqual(-1, signal.set_wakeup_fd(-1))
