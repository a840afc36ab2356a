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
import socket
from unittest import mock

import testtools

from nova_vgpu_ext.host import node


class TestNodeName(testtools.TestCase):
    def check(self, wanted, name, answer):
        if isinstance(answer, str):
            answer = [[(None, None, 0, answer, None)]]
        with (
            mock.patch.object(socket, 'gethostname', return_value=name),
            mock.patch.object(
                socket, 'getaddrinfo', side_effect=answer
            ) as resolver,
        ):
            self.assertEqual(wanted, node.default_node_name())
        return resolver

    def test_full_name_is_kept(self):
        resolver = self.check('gpu01.example.org', 'gpu01.example.org', 'x')
        resolver.assert_not_called()

    def test_localhost_is_kept(self):
        self.check('localhost', 'localhost', 'x.example.org')

    def test_canonical_name(self):
        resolver = self.check(
            'gpu01.example.org', 'gpu01', 'gpu01.example.org'
        )
        resolver.assert_called_once_with(
            'gpu01', None, flags=socket.AI_CANONNAME
        )

    def test_canonical_name_is_localhost(self):
        self.check('gpu01', 'gpu01', 'localhost.localdomain')

    def test_no_answer(self):
        self.check('gpu01', 'gpu01', socket.gaierror(-2, 'unknown'))
        self.check('gpu01', 'gpu01', UnicodeError('label too long'))
        self.check('gpu01', 'gpu01', '')
