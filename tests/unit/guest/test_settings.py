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
"""What an operator says of driver and licence."""

from __future__ import annotations

from nova_vgpu_ext import exception
from nova_vgpu_ext.guest.settings import Driver, Server, Settings
from tests import base
from tests.unit.guest.values import RUN, SUM, TOKEN


class SettingsTest(base.TestCase):
    """What an operator may say."""

    def test_bad_values(self) -> None:
        """Nothing that a shell, a file or PowerShell could misread."""
        for bad in (
            {'url': "https://x/'; reboot; '.run"},
            {'url': 'https://user:secret@x/driver.run'},
            {'url': 'ftp://x/driver.run'},
            {'url': 'https://x/a\ndriver.run'},
            {'url': 'https://x/$(reboot).run'},
            {'url': 'https://x/'},
            {'sha256': SUM.upper()},
            {'sha256': SUM[1:]},
            {'kernel_source_path': 'usr/src'},
            {'kernel_source_path': '/usr/src/a b'},
            {'kernel_source_path': '/usr/src/$(reboot)'},
            {'kernel_source_path': '/usr/src/$(uname -r'},
            {'kernel_source_path': '/usr/src/$HOME'},
            {'kernel_source_path': '/usr/src/$(uname  -r)'},
            {'url': 'https://x/driver.deb', 'kernel_source_path': '/usr/src'},
            {'url': 'https://x/driver.rpm', 'dkms': False},
        ):
            values = {'url': RUN.url, 'sha256': SUM, **bad}
            self.assertRaises(exception.ConfigError, Driver, **values)
        for host, port in (
            ('', 7070),
            ('a b', 7070),
            ('-x', 7070),
            ('x;y', 7070),
            ('x', 0),
            ('x', 65536),
        ):
            self.assertRaises(exception.ConfigError, Server, host, port)
        server = Server('licence.example.org')
        for values in (
            {'token': TOKEN, 'server': server},
            {'backup': server},
            {'token': 'a b'},
            {'token': "x'"},
            {'token': ''},
            {'token': 'x' * (65 << 10)},
        ):
            self.assertRaises(exception.ConfigError, Settings, **values)

    def test_good_values(self) -> None:
        """Names, addresses and paths as they are."""
        for host in ('a', 'lic-1.example.org', '192.0.2.1', '2001:db8::1'):
            self.assertEqual(7070, Server(host).port)
        found = Driver(
            'http://[2001:db8::1]:8080/a%20b/x.run?sig=1',
            SUM,
            kernel_source_path='/usr/src/$(uname -r)/x$(uname -r)',
        )
        self.assertEqual(('x.run', '.run'), (found.file, found.suffix))

    def test_servers(self) -> None:
        """The last colon of an IPv6 address begins no port."""
        for text, host, port in (
            ('lic', 'lic', 7070),
            ('lic:80', 'lic', 80),
            ('192.0.2.1:80', '192.0.2.1', 80),
            ('2001:db8::7:1', '2001:db8::7:1', 7070),
            ('2001:db8::a:beef', '2001:db8::a:beef', 7070),
            ('[2001:db8::1]', '2001:db8::1', 7070),
            ('[2001:db8::1]:80', '2001:db8::1', 80),
        ):
            self.assertEqual(Server(host, port), Server.parse(text))
        for bad in ('', ':80', 'lic:', 'lic:x', 'a:b:x', '[::1]:x', '[]'):
            self.assertRaises(exception.ConfigError, Server.parse, bad)

    def test_a_token_is_not_shown(self) -> None:
        """Neither by itself nor in an error."""
        self.assertNotIn(TOKEN, repr(Settings(token=TOKEN)))
        error = self.assertRaises(
            exception.ConfigError, Settings, token=TOKEN + ' secret'
        )
        self.assertNotIn('secret', str(error))
