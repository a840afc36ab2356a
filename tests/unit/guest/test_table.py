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
"""Every series, with every system, licence, driver and format."""

from __future__ import annotations

import argparse
import email
import itertools
import subprocess
from collections.abc import Iterator

import yaml

from nova_vgpu_ext import exception, guest_options
from nova_vgpu_ext.models import VgpuType
from tests import base
from tests.unit.guest.values import SUM, TOKEN

#: Products of each series, as drivers call them.
_PRODUCTS = {
    'Q': ('V100DX-1Q', 'A40-48Q', 'RTX6000-Ada-2Q', 'T4-16Q'),
    'B': ('V100DX-2B', 'M10-0B', 'T4-2B4'),
    'A': ('V100DX-1A', 'A16-16A'),
    'C': ('V100DX-4C', 'A100-1-5C', 'H100-1-10CME', 'A100-40C'),
    None: ('mtty-1', 'i915-GVTg_V5_4', 'A40'),
}
#: Which of them run in which guests.
_RUN = {
    'debian': 'QBC',
    'ubuntu': 'QBC',
    'rocky': 'QBC',
    'windows': 'QBAC',
}
_DRIVERS = {
    None: ('debian', 'ubuntu', 'rocky', 'windows'),
    'run': ('debian', 'ubuntu', 'rocky'),
    'deb': ('debian', 'ubuntu'),
    'rpm': ('rocky',),
    'exe': ('windows',),
    'zip': (),
}
#: The options of a licence, and what shows it in a guest with Linux.
_LICENCES = {
    (): (),
    ('--token', '{token}'): ('FeatureType=1\n', TOKEN),
    ('--license-server', 'one'): ('FeatureType=1\nServerAddress=one\n',),
    ('--license-server', 'one:7', '--backup-server', 'two'): (
        'ServerAddress=one\nServerPort=7\nBackupServerAddress=two\n',
    ),
}
_FORMATS = ('cloud-config', 'script', 'mime')


class TableTest(base.TestCase):
    """What ``nova-vgpu guest config`` makes of its options."""

    def setUp(self) -> None:
        super().setUp()
        self.token = self.temp_dir() / 'token'
        self.token.write_text(TOKEN)
        self.token.chmod(0o600)

    def text(self, products: tuple[str, ...], *arguments: str) -> str:
        """Write the instructions; give the reasons where it is refused."""
        parser = argparse.ArgumentParser()
        guest_options.add(parser, '--os')
        options = parser.parse_args(arguments)
        types = [VgpuType('', name) for name in products]
        vgpus = [
            (t.product or p, t.series)
            for t, p in zip(types, products, strict=True)
        ]
        try:
            return guest_options.text(vgpus, options)
        except exception.Refused as refused:
            return f'refused: {refused}'

    def arguments(
        self, driver: str | None, licence: tuple[str, ...]
    ) -> Iterator[str]:
        """Give the options of a driver and a licence."""
        if driver is not None:
            yield from ('--driver-url', f'https://x.example/grid.{driver}')
            yield from ('--sha256', SUM)
        for text in licence:
            yield text.format(token=self.token)

    def test_all(self) -> None:
        """Each is what the tables above say."""
        made = refused = 0
        for letter, system, driver, licence, form in itertools.product(
            _PRODUCTS, _RUN, _DRIVERS, _LICENCES, _FORMATS
        ):
            reasons = list(_reasons(letter, system, driver, licence, form))
            arguments = (
                *('--os', system, '--format', form),
                *self.arguments(driver, licence),
            )
            for product in _PRODUCTS[letter]:
                case = f'{product} {" ".join(arguments)}'
                found = self.text((product,), *arguments)
                if reasons:
                    self.assertTrue(found.startswith('refused: '), case)
                    # The series is checked first, then driver and format.
                    self.assertIn(reasons[0], found, case)
                    refused += 1
                else:
                    self.assertFalse(found.startswith('refused: '), found)
                    made += 1
            if not reasons:
                self.check(found, system, form, driver, _LICENCES[licence])
        self.assertGreater(min(made, refused), 300)

    def check(
        self,
        found: str,
        system: str,
        form: str,
        driver: str | None,
        licence: tuple[str, ...],
    ) -> None:
        """Check instructions: their form, and what must be in them."""
        if form == 'mime':
            (part,) = email.message_from_string(found).get_payload()
            body = part.get_payload(decode=True).decode()
        elif form == 'cloud-config':
            self.assertTrue(found.startswith('#cloud-config\n'))
            files = yaml.safe_load(found)['write_files']
            body = ''.join(file['content'] for file in files)
        else:
            body = found
        wanted = [SUM, f'grid.{driver}'] if driver else []
        if system == 'windows':
            self.assertTrue(body.startswith('#ps1_sysnative\n'))
        else:
            wanted += licence
            self.assertEqual(bool(licence), 'FeatureType=' in body)
        for text in wanted:
            self.assertIn(text, body)
        self.assertNotIn(str(self.token), body)

    def test_scripts(self) -> None:
        """The shell reads those for Linux."""
        for system, driver, licence in itertools.product(
            _RUN, _DRIVERS, _LICENCES
        ):
            if system == 'windows' or system not in _DRIVERS[driver]:
                continue
            found = self.text(
                ('V100DX-1Q',),
                *('--os', system, '--format', 'script'),
                *self.arguments(driver, licence),
            )
            subprocess.run(
                ['bash', '-n'],  # noqa: S607
                input=found,
                text=True,
                check=True,
                timeout=60,
            )

    def test_two_vgpus(self) -> None:
        """Of one series they have one licence; of two they are refused."""
        for one, other in itertools.product('QBAC', repeat=2):
            found = self.text(
                (_PRODUCTS[one][0], _PRODUCTS[other][1]),
                *('--os', 'windows', '--format', 'script'),
            )
            first, second = sorted((one, other))
            if one == other:
                self.assertFalse(found.startswith('refused'), found)
            else:
                self.assertIn(f'series {first} and {second} in one', found)


def _reasons(
    letter: str | None,
    system: str,
    driver: str | None,
    licence: tuple[str, ...],
    form: str,
) -> Iterator[str]:
    """Work out by the tables why there are no instructions."""
    if letter is None:
        yield 'no series in the name'
    elif letter not in _RUN[system]:
        yield f'series {letter} on {system}'
    elif letter == 'C' and licence:
        yield 'series C needs a licence of compute'
    if system not in _DRIVERS[driver]:
        yield 'expected a file that ends in'
    if (system, form) == ('windows', 'cloud-config'):
        yield 'cloudbase-init takes a script'
