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
"""What libvirt says of its domains."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterable, Sequence

import fixtures

from nova_vgpu_ext import exception
from nova_vgpu_ext.host import libvirt
from tests import base

URI = 'qemu:///system'
MDEV = 'd878445d-df99-4510-b467-c67a4c1a7c34'
OTHER = '0b7d9f4e-5f0b-4a52-9f61-6c1f5a3c2d10'
DOMAIN = '4f3c1a6e-8f57-4c7c-8d22-1f7c1b8e9a02'
NO_DOMAIN = 42
INTERNAL = 1
INACTIVE = 2


class LibvirtError(Exception):
    """libvirt's own error, as far as it is used."""

    def __init__(self, message: str, code: int = INTERNAL) -> None:
        super().__init__(message)
        self.code = code

    def get_error_code(self) -> int:
        """Give the number of ``virErrorNumber``."""
        return self.code


def mdev(uuid: str) -> str:
    """Write a host device as libvirt does."""
    return (
        "<hostdev mode='subsystem' type='mdev' managed='no'"
        " model='vfio-pci' display='off'>"
        f"<source><address uuid='{uuid}'/></source>"
        "<address type='pci' domain='0x0000' bus='0x06' slot='0x00'"
        " function='0x0'/></hostdev>"
    )


def function(address: str) -> str:
    """Write a PCI function that is passed through."""
    return (
        "<hostdev mode='subsystem' type='pci' managed='no'>"
        f'<source><address {address}/></source>'
        "<address type='pci' domain='0x0000' bus='0x07' slot='0x00'"
        " function='0x0'/></hostdev>"
    )


def xml(*devices: str) -> str:
    """Write a domain."""
    return (
        f"<domain type='kvm'><name>x</name>"
        f'<devices>{"".join(devices)}</devices></domain>'
    )


class Domain:
    """A domain of libvirt's module."""

    def __init__(
        self,
        now: str,
        later: str | None = None,
        name: str = 'instance-0000031d',
        error: LibvirtError | None = None,
    ) -> None:
        self._now, self._later, self._name = now, later, name
        self._error = error

    def name(self) -> str:
        """Give its name, which it keeps when it is gone."""
        return self._name

    def UUIDString(self) -> str:
        """Give its UUID."""
        return DOMAIN

    def isActive(self) -> int:
        """Tell whether it runs: then the two descriptions may differ."""
        return int(self._later is not None)

    def XMLDesc(self, flags: int = 0) -> str:
        """Describe it as it runs, or as it will start."""
        if self._error:
            raise self._error
        if flags & INACTIVE and self._later is not None:
            return self._later
        return self._now


class Imported(fixtures.Fixture):
    """Puts a module where ``import`` looks first; None hides one."""

    def __init__(self, name: str, module: types.ModuleType | None) -> None:
        super().__init__()
        self._name, self._module = name, module

    def _setUp(self) -> None:
        before = {n: m for n, m in sys.modules.items() if n == self._name}
        self.addCleanup(sys.modules.update, before)
        self.addCleanup(sys.modules.pop, self._name, None)
        sys.modules[self._name] = self._module


class Module(fixtures.Fixture):
    """Stands for libvirt's module, and for its connection."""

    def __init__(
        self,
        domains: Iterable[Domain] = (),
        error: LibvirtError | None = None,
    ) -> None:
        super().__init__()
        self._domains = list(domains)
        self._error = error
        self.opened: list[tuple[str, int]] = []
        self.closed = 0

    def _setUp(self) -> None:
        module = types.ModuleType('libvirt')
        module.__dict__.update(
            libvirtError=LibvirtError,
            VIR_CONNECT_RO=1,
            VIR_DOMAIN_XML_INACTIVE=INACTIVE,
            VIR_ERR_NO_DOMAIN=NO_DOMAIN,
            registerErrorHandler=lambda *_: None,
            openAuth=self._open,
        )
        self.useFixture(Imported('libvirt', module))

    def _open(self, uri: str, auth: Sequence[object], flags: int) -> Module:
        self.opened.append((uri, flags))
        if self._error and not self._domains:
            raise self._error
        return self

    def listAllDomains(self, flags: int = 0) -> list[Domain]:
        """List them all: no flags leave none out."""
        if self._error:
            raise self._error
        return self._domains

    def close(self) -> None:
        """End the connection."""
        self.closed += 1


class DomainsTest(base.TestCase):
    """Which devices the domains name."""

    def domains(self, *found: Domain) -> tuple[libvirt.Domain, ...]:
        """Read them through libvirt's module."""
        module = self.useFixture(Module(found))
        read = libvirt.domains(URI)
        self.assertEqual([(URI, 1)], module.opened)
        self.assertEqual(1, module.closed)
        return read

    def test_a_defined_domain(self) -> None:
        """Its name is what Nova's server is called on the host."""
        (found,) = self.domains(Domain(xml(mdev(MDEV), mdev(OTHER))))
        self.assertEqual(
            libvirt.Domain(
                'instance-0000031d', DOMAIN, False, (MDEV, OTHER), ()
            ),
            found,
        )

    def test_a_running_domain_names_both(self) -> None:
        """What it has now, and what the next start will need."""
        (found,) = self.domains(Domain(xml(mdev(MDEV)), xml(mdev(OTHER))))
        self.assertTrue(found.is_active)
        self.assertEqual({MDEV, OTHER}, set(found.mdevs))

    def test_the_same_device_in_both_is_named_once(self) -> None:
        """As it nearly always is."""
        (found,) = self.domains(Domain(xml(mdev(MDEV)), xml(mdev(MDEV))))
        self.assertEqual((MDEV,), found.mdevs)

    def test_upper_case(self) -> None:
        """The kernel prints lower case; a definition by hand may not."""
        (found,) = self.domains(Domain(xml(mdev(MDEV.upper()))))
        self.assertEqual((MDEV,), found.mdevs)

    def test_functions(self) -> None:
        """A number may be missing, hexadecimal, and in any case."""
        (found,) = self.domains(
            Domain(
                xml(
                    function(
                        "domain='0x0000' bus='0xC1' slot='0x00' function='0x4'"
                    ),
                    function("bus='0x41' slot='0x1f'"),
                    function(
                        "domain='0x10000' bus='0x02' slot='0x00'"
                        " function='0x0'"
                    ),
                )
            )
        )
        self.assertEqual(
            ('0000:c1:00.4', '0000:41:1f.0', '10000:02:00.0'),
            found.functions,
        )
        self.assertEqual((), found.mdevs)

    def test_other_devices(self) -> None:
        """The guest's own addresses, USB, and devices without a source."""
        (found,) = self.domains(
            Domain(
                xml(
                    "<hostdev mode='subsystem' type='usb'>"
                    "<source><address bus='1' device='2'/></source></hostdev>",
                    "<hostdev mode='subsystem' type='mdev'/>",
                    "<hostdev type='mdev'><source/></hostdev>",
                    "<hostdev type='mdev'><source><address/></source>"
                    '</hostdev>',
                    "<hostdev><address uuid='x'/></hostdev>",
                    "<disk><source><address uuid='x'/></source></disk>",
                )
            )
        )
        self.assertEqual(((), ()), (found.mdevs, found.functions))

    def test_what_is_no_uuid_is_none(self) -> None:
        """It could lead anywhere, or break a line."""
        (found,) = self.domains(
            Domain(
                xml(
                    *map(
                        mdev,
                        (
                            f'../{MDEV}',
                            f'{MDEV}&#10;',
                            f'{{{MDEV}}}',
                            'x' * 10_000,
                            MDEV,
                        ),
                    )
                )
            )
        )
        self.assertEqual((MDEV,), found.mdevs)

    def test_a_domain_that_vanishes_is_left_out(self) -> None:
        """Between the list and its description; the others stay."""
        gone = LibvirtError('Domain not found', NO_DOMAIN)
        found = self.domains(
            Domain('', error=gone, name='gone'),
            Domain(xml(mdev(MDEV)), name='here'),
        )
        self.assertEqual(['here'], [d.name for d in found])

    def test_no_domains(self) -> None:
        """A host without guests."""
        self.assertEqual((), self.domains())


class RefusedTest(base.TestCase):
    """A libvirt that cannot be asked is never one without domains."""

    def refused(self, module: Module) -> exception.LibvirtError:
        """Ask, and check that the answer is one line that names the option."""
        self.useFixture(module)
        error = self.assertRaises(exception.LibvirtError, libvirt.domains, URI)
        self.assertIn(f'[vgpu] libvirt_uri = {URI}', str(error))
        self.assertNotIn('\n', str(error))
        return error

    def test_no_connection(self) -> None:
        """libvirt's own words say why."""
        error = self.refused(
            Module(error=LibvirtError('Failed to connect socket'))
        )
        self.assertIn('Failed to connect socket', str(error))

    def test_it_ends_in_the_middle(self) -> None:
        """The connection is closed all the same."""
        module = Module([Domain(xml())], LibvirtError('client socket closed'))
        self.refused(module)
        self.assertEqual(1, module.closed)

    def test_a_domain_that_cannot_be_described(self) -> None:
        """It may name an mdev, so nobody may go on without it."""
        broken = LibvirtError('internal error')
        module = Module([Domain(xml(mdev(MDEV))), Domain('', error=broken)])
        self.refused(module)
        self.assertEqual(1, module.closed)

    def test_hostile_xml(self) -> None:
        """Neither left out nor unpacked: it names the domain and ends."""
        bomb = (
            '<!DOCTYPE domain [<!ENTITY a "aaaaaaaaaa">'
            '<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
            '<domain><devices>&b;</devices></domain>'
        )
        outside = (
            '<!DOCTYPE domain [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
            '<domain>&a;</domain>'
        )
        for text in (bomb, outside, '', '<domain>', 'x', '<a>\x00</a>'):
            error = self.refused(Module([Domain(text, name='evil')]))
            self.assertIn('domain evil', str(error))

    def test_a_missing_module(self) -> None:
        """One line says what to install."""
        self.useFixture(Imported('libvirt', None))
        error = self.assertRaises(exception.LibvirtError, libvirt.domains, URI)
        self.assertIn('python3-libvirt', str(error))
