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
"""Questions whose failure is an answer."""

from __future__ import annotations

import socket
import time

from nova_vgpu_ext import exception
from nova_vgpu_ext.host import question
from nova_vgpu_ext.models import Unknown
from tests import base


class QuestionTest(base.TestCase):
    """Errors and silence become answers."""

    def unknown(self, error: Exception, user: int = 0) -> Unknown:
        """Ask something that fails."""

        def fail() -> None:
            raise error

        self.patch('os.geteuid', lambda: user)
        found = question.ask(fail)
        assert isinstance(found, Unknown)  # noqa: S101
        return found

    def test_answer(self) -> None:
        """It is given as it is."""
        self.assertEqual(7, question.ask(lambda: 7))
        asked = question.Question('it', lambda: 7)
        self.assertEqual(7, asked.answer(time.monotonic() + 60))

    def test_silence(self) -> None:
        """It is waited for until a time, and not longer."""
        left, right = socket.socketpair()
        self.addCleanup(left.close)
        self.addCleanup(right.close)
        asked = question.Question('libvirt', lambda: left.recv(1))
        found = asked.answer(time.monotonic() + 0.05)
        assert isinstance(found, Unknown)  # noqa: S101
        self.assertEqual('libvirt: no answer in time', found.found)
        self.assertFalse(found.is_fault)
        found = asked.answer(time.monotonic() - 60)
        self.assertIsInstance(found, Unknown)
        right.send(b'x')
        self.assertEqual(b'x', asked.answer(time.monotonic() + 60))

    def test_own_errors(self) -> None:
        """They are faults, and keep their remedy."""
        error = exception.HostError('/a', 'b', 'c', 'do this')
        self.assertEqual(
            Unknown('/a: found b, expected c', 'do this', True),
            self.unknown(error),
        )
        error = exception.ConfigError('[vgpu] x', 'b', 'c')
        self.assertEqual(
            Unknown(
                '[vgpu] x: found b, expected c',
                'correct what is named there',
                True,
            ),
            self.unknown(error),
        )
        fatal = exception.FatalFindings(['a', 'b'])
        self.assertFalse(self.unknown(fatal).is_fault)

    def test_permissions(self) -> None:
        """Without root it is root that is missing."""
        error = exception.HostError('/a', 'b', 'c', 'do this')
        error.__cause__ = PermissionError(13, 'Permission denied', '/a')
        self.assertEqual(
            Unknown('/a: found b, expected c', 'run this as root'),
            self.unknown(error, user=1000),
        )
        self.assertTrue(self.unknown(error).is_fault)
        plain = PermissionError(13, 'Permission denied', '/a')
        self.assertEqual(
            Unknown('/a: permission denied', 'run this as root'),
            self.unknown(plain, user=1000),
        )
        self.assertIn('privileged', self.unknown(plain).remedy)

    def test_libvirt(self) -> None:
        """Root knows that it is down; another user may not ask."""
        error = exception.LibvirtError('qemu:///system', 'down', 'start it')
        found = self.unknown(error)
        self.assertEqual((True, 'start it'), (found.is_fault, found.remedy))
        found = self.unknown(error, user=1000)
        self.assertEqual(
            (False, 'run this as root'), (found.is_fault, found.remedy)
        )
        error.__cause__ = ImportError('libvirt')
        for user in (0, 1000):
            found = self.unknown(error, user)
            self.assertEqual(
                (False, 'start it'), (found.is_fault, found.remedy)
            )

    def test_anything_else(self) -> None:
        """A bug is called one; its text is one printable line."""
        found = self.unknown(ValueError('a\nb\x1b' + 'x' * 1000))
        self.assertTrue(found.found.startswith('ValueError: a b?xx'))
        self.assertLess(len(found.found), 400)
        self.assertIn('bug', found.remedy)
