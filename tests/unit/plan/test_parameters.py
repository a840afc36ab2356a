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
"""Plugin parameters: what passes, and what does not."""

from __future__ import annotations

import hypothesis
from hypothesis import strategies as st

from nova_vgpu_ext import exception
from nova_vgpu_ext.plan import parameters
from tests import base

KEYS = (
    'frame_rate_limiter',
    'disable_vnc',
    'enable_uvm',
    'enable_debugging',
    'enable_profiling',
)
GOOD = st.dictionaries(st.sampled_from(KEYS), st.sampled_from('01'))


class ParseTest(base.TestCase):
    """Texts of a command line or a flavor."""

    def refused(self, *pairs: str) -> str:
        """Parse what is wrong, and give the one line that says so."""
        error = self.assertRaises(
            exception.ParameterRefused, parameters.parse, pairs
        )
        self.assertNotIn('\n', str(error))
        self.assertLess(len(str(error)), 400)
        return str(error)

    def test_every_key_with_every_value(self) -> None:
        """NVIDIA documents these five, each 0 or 1."""
        for key in KEYS:
            for value in '01':
                self.assertEqual(
                    {key: value}, parameters.parse([f'{key}={value}'])
                )
        self.assertEqual({}, parameters.parse([]))

    def test_values_that_are_none(self) -> None:
        """The line names the key and both values."""
        for value in (
            *('', '2', '-1', '01', '10', ' 1', '1 ', 'true', 'yes', '=1'),
            *('1=1', '1,enable_uvm=1', '1 enable_uvm=1', '1;x', '0x1'),
            *('1\n', '\n1', '1\r', '1\0', '1\x1b[0m', '\u0661', '\uff11'),
            '1' * 10_000,
        ):
            line = self.refused(f'disable_vnc={value}')
            self.assertIn('disable_vnc=0 or 1', line)

    def test_keys_that_are_none(self) -> None:
        """The line names those that there are."""
        for pair in (
            *('', '=', '=1', 'disable_vnc', 'disable-vnc=1', 'DISABLE_VNC=1'),
            *(' disable_vnc=1', 'disable_vnc =1', '\ndisable_vnc=1'),
            *('unknown=1', 'x/../../y=1', 'a,disable_vnc=1', '#=1'),
            'x' * 10_000 + '=1',
            'disable_vnc' * 1000,
        ):
            line = self.refused(pair)
            for key in KEYS:
                self.assertIn(key, line)

    def test_a_key_twice(self) -> None:
        """Also with the same value: it was not meant."""
        for values in ('01', '11'):
            pairs = [f'disable_vnc={value}' for value in values]
            self.assertIn('disable_vnc twice', self.refused(*pairs))

    def test_one_that_is_wrong_spoils_all(self) -> None:
        """Half of what was asked for is worse than none."""
        self.refused('disable_vnc=1', 'unknown=1')
        self.refused('unknown=1', 'disable_vnc=1')

    @hypothesis.given(st.text())
    def test_nothing_else_passes(self, text: str) -> None:
        """Whatever the text."""
        hypothesis.assume(text not in [f'{k}={v}' for k in KEYS for v in '01'])
        self.refused(text)


class WriteTest(base.TestCase):
    """What goes to the driver, and what comes back from it."""

    def test_as_the_driver_takes_them(self) -> None:
        """Commas, no space; nothing for none."""
        self.assertEqual(
            'disable_vnc=1,frame_rate_limiter=0',
            parameters.join({'frame_rate_limiter': '0', 'disable_vnc': '1'}),
        )
        self.assertEqual('', parameters.join({}))

    @hypothesis.given(GOOD)
    def test_the_order_does_not_matter(self, found: dict[str, str]) -> None:
        """The same parameters are the same text: no needless write."""
        again = dict(reversed(found.items()))
        self.assertEqual(parameters.join(found), parameters.join(again))

    @hypothesis.given(GOOD)
    def test_what_is_written_is_read(self, found: dict[str, str]) -> None:
        """By whoever adds one to those that are set."""
        self.assertEqual(found, parameters.known_in(parameters.join(found)))

    def test_every_spelling_of_the_driver(self) -> None:
        """Commas, spaces or both between them; nothing where none is set."""
        for text in (
            'disable_vnc=1,enable_uvm=0',
            'disable_vnc=1 enable_uvm=0',
            ' disable_vnc=1,  enable_uvm=0,\n',
        ):
            self.assertEqual(
                {'disable_vnc': '1', 'enable_uvm': '0'},
                parameters.known_in(text),
            )
        for text in (None, '', ' ', '\n', ','):
            self.assertEqual({}, parameters.known_in(text))

    def test_what_is_not_known_is_left_out(self) -> None:
        """It would be refused when it is written again."""
        self.assertEqual(
            {'disable_vnc': '1'},
            parameters.known_in('x=1,disable_vnc=1,enable_uvm=2,a,=,enable'),
        )
