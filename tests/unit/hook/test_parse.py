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
"""What the hook takes from a guest's XML."""

from __future__ import annotations

from nova_vgpu_ext.hook import qemu
from nova_vgpu_ext.models import devices
from nova_vgpu_ext.plan import parameters
from tests import base
from tests.unit.hook.base import (
    DOMAIN,
    NEW,
    NIC,
    PLAIN,
    domain,
    extra_specs,
    hostdev_pci,
    instance,
)

BOMB = (
    '<!DOCTYPE domain [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">'
    '<!ENTITY c "&b;&b;&b;&b;">]><domain><name>&c;</name></domain>'
)


class ParseTest(base.TestCase):
    """Guests as libvirt and Nova write them."""

    def test_everything(self) -> None:
        """Name, UUID, devices and extra specs are found."""
        guest = qemu.parse(
            domain(
                [PLAIN, NEW],
                [NIC],
                {'vgpu:disable_vnc': '1', 'resources:VGPU': '1'},
            )
        )
        self.assertEqual('instance-0000031d', guest.name)
        self.assertEqual(DOMAIN, guest.uuid)
        self.assertEqual([PLAIN, NEW], guest.mdevs)
        self.assertEqual([NIC], guest.functions)
        self.assertTrue(guest.is_instance)
        self.assertEqual({'vgpu:disable_vnc': '1'}, guest.extra_specs)

    def test_guest_of_nobody(self) -> None:
        """Without Nova's metadata nothing is known of a flavor."""
        guest = qemu.parse(domain([PLAIN]))
        self.assertFalse(guest.is_instance)
        self.assertIsNone(guest.extra_specs)
        self.assertEqual((None, []), guest.parameters())

    def test_flavor_without_extra_specs(self) -> None:
        """Nova before 32 does not list them; that is not an empty list."""
        old = qemu.parse(domain([PLAIN], metadata=instance('')))
        self.assertTrue(old.is_instance)
        self.assertIsNone(old.extra_specs)
        new = qemu.parse(domain([PLAIN], specs={}))
        self.assertEqual({}, new.extra_specs)
        self.assertEqual(([], []), new.parameters())

    def test_other_prefix(self) -> None:
        """The namespace counts, not how it is written."""
        xml = instance(extra_specs({'vgpu:enable_uvm': '1'}))
        guest = qemu.parse(
            domain(
                [PLAIN],
                metadata=xml.replace('nova:', 'x:', 99).replace(
                    'xmlns:nova', 'xmlns:x'
                ),
            )
        )
        self.assertEqual({'vgpu:enable_uvm': '1'}, guest.extra_specs)

    def test_wrong_namespace(self) -> None:
        """What another program writes there is not Nova's."""
        specs = extra_specs({'vgpu:enable_uvm': '1'})
        for namespace in (
            'http://openstack.org/xmlns/libvirt/nova/1.0',
            'http://openstack.org/xmlns/libvirt/nova/1.1 ',
            'urn:a',
        ):
            try:
                guest = qemu.parse(
                    domain([PLAIN], metadata=instance(specs, namespace))
                )
            except qemu.BadXml:
                # Some versions of expat refuse a space in a namespace.
                continue
            self.assertFalse(guest.is_instance)
            self.assertIsNone(guest.extra_specs)

    def test_wrong_places(self) -> None:
        """An element counts only where libvirt and Nova put it."""
        spec = extra_specs({'vgpu:enable_uvm': '1'})
        nova = instance(spec)
        device = domain([PLAIN]).decode().partition('<emulator>')[2]
        device = device.partition('</emulator>')[2].partition('</devices>')[0]
        for xml in (
            f'<domain><x><devices>{device}</devices></x></domain>',
            f'<domainx><devices>{device}</devices></domainx>',
            f'<domain><metadata><devices>{device}</devices></metadata>'
            '</domain>',
            f'<domain><metadata><x>{nova}</x></metadata></domain>',
            f'<domain>{nova}</domain>',
            '<domain><metadata><nova:instance xmlns:nova='
            f'"http://openstack.org/xmlns/libvirt/nova/1.1">{spec}'
            '</nova:instance></metadata></domain>',
            f'<domain><!-- {device.replace("--", "")} --></domain>',
            f'<domain><description><![CDATA[{device}{nova}]]></description>'
            '</domain>',
        ):
            guest = qemu.parse(xml.encode())
            self.assertEqual([], guest.mdevs, xml)
            self.assertIsNone(guest.extra_specs, xml)

    def test_image_properties_are_no_extra_specs(self) -> None:
        """A tenant writes those."""
        flavor = instance('<nova:extraSpecs/>').replace(
            '</nova:instance>',
            '<nova:image><nova:properties><nova:property '
            'name="vgpu:enable_debugging">1</nova:property>'
            '<nova:extraSpecs><nova:extraSpec name="vgpu:enable_uvm">1'
            '</nova:extraSpec></nova:extraSpecs>'
            '</nova:properties></nova:image></nova:instance>',
        )
        guest = qemu.parse(domain([PLAIN], metadata=flavor))
        self.assertEqual({}, guest.extra_specs)

    def test_address_in_the_guest_is_not_the_source(self) -> None:
        """Each hostdev has two addresses."""
        xml = domain([PLAIN], [NIC])
        self.assertIn(b"slot='0x05'", xml)
        self.assertEqual([NIC], qemu.parse(xml).functions)

    def test_managed_functions_are_left_out(self) -> None:
        """libvirt binds those to another driver."""
        xml = domain().replace(
            b'</devices>', hostdev_pci(NIC, 'yes').encode() + b'</devices>'
        )
        self.assertEqual([], qemu.parse(xml).functions)

    def test_odd_functions_are_left_out(self) -> None:
        """They are for libvirt to judge."""
        good = hostdev_pci(NIC)
        for old, new in (
            ("slot='0x00'", "slot='0x20'"),
            ("slot='0x00'", "slot='00'"),
            ("slot='0x00'", "slot='0x'"),
            ("slot='0x00'", "slot='0x../..'"),
            ("function='0x0'", "function='0x8'"),
            ("function='0x0'", ''),
            ("domain='0x0000'", "domain='0x123456789'"),
            ("bus='0x21'", "bus='0x100'"),
        ):
            self.assertIn(old, good)
            xml = domain().replace(
                b'</devices>',
                good.replace(old, new).encode() + b'</devices>',
            )
            self.assertEqual([], qemu.parse(xml).functions, new)

    def test_large_domain_number(self) -> None:
        """Some hosts number above four digits."""
        xml = domain([], ['10000:21:00.0'])
        self.assertEqual(['10000:21:00.0'], qemu.parse(xml).functions)

    def test_a_device_twice_is_one(self) -> None:
        """libvirt refuses such a guest itself."""
        guest = qemu.parse(domain([PLAIN, PLAIN], [NIC, NIC]))
        self.assertEqual(([PLAIN], [NIC]), (guest.mdevs, guest.functions))

    def test_odd_names(self) -> None:
        """A name for the ledger has no controls and is not endless."""
        for name, expected in (
            ('Größe 見出し', 'Größe 見出し'),
            ('a' * 256, 'a' * 256),
            ('a' * 257, None),
            ('a\nb', None),
            ('a\x7fb', None),
            ('', None),
        ):
            guest = qemu.parse(domain([PLAIN], name=name))
            self.assertEqual(expected, guest.name)

    def test_odd_domain_uuid(self) -> None:
        """Something else than a UUID is nothing."""
        xml = domain([PLAIN]).replace(DOMAIN.encode(), b'../../etc')
        self.assertIsNone(qemu.parse(xml).uuid)


class HostileTest(base.TestCase):
    """XML that libvirt would never write."""

    def assert_bad(self, xml: bytes | str, *words: str) -> None:
        """Assert that XML is refused, with one short line."""
        data = xml if isinstance(xml, bytes) else xml.encode()
        text = str(self.assertRaises(qemu.BadXml, qemu.parse, data))
        self.assertLess(len(text), 300)
        self.assertTrue(text.isprintable(), text)
        for word in words:
            self.assertIn(word, text)

    def test_entities(self) -> None:
        """A declaration is refused before anything grows."""
        self.assert_bad(BOMB, 'DOCTYPE')
        for inside in (
            '<!ENTITY a SYSTEM "file:///etc/passwd">',
            '<!ENTITY % a SYSTEM "http://192.0.2.1/x"> %a;',
            '',
        ):
            self.assert_bad(
                f'<!DOCTYPE domain [{inside}]><domain/>', 'DOCTYPE'
            )
        self.assert_bad('<!DOCTYPE domain SYSTEM "a.dtd"><domain/>', 'DOCTYPE')

    def test_malformed(self) -> None:
        """Half a file, none, or another encoding."""
        for xml in (
            b'',
            b'<domain',
            domain([PLAIN])[:-3],
            b'<domain>&undefined;</domain>',
            b'<domain>\x00</domain>',
            b'<domain>\xff\xfe</domain>',
            b'<x:domain/>',
        ):
            self.assert_bad(xml, 'malformed')

    def test_declared_encoding_does_not_count(self) -> None:
        """It is UTF-8, as libvirt writes it; nothing looks for a codec."""
        head = b'<?xml version="1.0" encoding="no-such"?>'
        self.assertEqual([PLAIN], qemu.parse(head + domain([PLAIN])).mdevs)

    def test_too_large(self) -> None:
        """Nothing reads it."""
        self.assert_bad(domain([PLAIN]) + b' ' * (10 << 20), 'bytes')

    def test_large_but_not_too_large(self) -> None:
        """Long texts and many elements are no problem."""
        xml = domain([PLAIN], name='a' * 1000000).replace(
            b'<emulator>', b'<disk/>' * 100000 + b'<emulator>'
        )
        guest = qemu.parse(xml)
        self.assertEqual([PLAIN], guest.mdevs)
        self.assertIsNone(guest.name)

    def test_deep(self) -> None:
        """Deeper than any domain."""
        self.assert_bad('<a>' * 100000, 'levels')
        self.assert_bad(
            f'<domain>{"<a>" * 64}{"</a>" * 64}</domain>', 'levels'
        )
        qemu.parse(f'<domain>{"<a>" * 63}{"</a>" * 63}</domain>'.encode())

    def test_many_devices(self) -> None:
        """More than a guest can have, in one element or many."""
        uuids = [f'{PLAIN[:-4]}{n:04x}' for n in range(65)]
        self.assertEqual(64, len(qemu.parse(domain(uuids[:64])).mdevs))
        self.assert_bad(domain(uuids), 'host devices')
        one = ''.join(f"<address uuid='{uuid}'/>" for uuid in uuids)
        self.assert_bad(
            "<domain><devices><hostdev type='mdev'><source>"
            f'{one}</source></hostdev></devices></domain>',
            'host devices',
        )

    def test_odd_uuids(self) -> None:
        """Only what the kernel itself would print."""
        for uuid in (
            PLAIN.upper(),
            '',
            '../../../etc/passwd',
            f'{PLAIN[:8]}/{PLAIN[9:]}',
            f'{PLAIN}/..',
            f'{PLAIN}\n',
            f' {PLAIN}',
            PLAIN.replace('-', ''),
            PLAIN.replace('d', '\u0664'),
            f'{{{PLAIN}}}',
            'a' * 10240,
            '-' * 36,
        ):
            self.assert_bad(domain([uuid]), 'UUID in lower case')

    def test_mdev_without_a_uuid(self) -> None:
        """There is nothing to make."""
        xml = domain([PLAIN]).replace(f'uuid="{PLAIN}"'.encode(), b'')
        self.assert_bad(xml, 'UUID in lower case')

    def test_two_of_what_is_one(self) -> None:
        """Which one would libvirt, or Nova, mean?"""
        nova = instance(extra_specs({}))
        for xml in (
            domain([PLAIN], metadata=nova + nova),
            domain([PLAIN], metadata=instance('<nova:extraSpecs/>' * 2)),
            domain(
                [PLAIN],
                metadata=nova.replace(
                    '</nova:instance>', '<nova:flavor/></nova:instance>'
                ),
            ),
            domain([PLAIN]).replace(b'<metadata>', b'<metadata/><metadata>'),
            domain([PLAIN]).replace(b'<uuid>', b'<uuid>x</uuid><uuid>'),
            domain([PLAIN]).replace(b'<name>', b'<name>x</name><name>'),
        ):
            self.assert_bad(xml, 'twice')

    def test_an_extra_spec_twice(self) -> None:
        """Nova keeps them by name."""
        one = '<nova:extraSpec name="vgpu:enable_uvm">1</nova:extraSpec>'
        self.assert_bad(
            domain(
                [PLAIN],
                metadata=instance(
                    f'<nova:extraSpecs>{one * 2}</nova:extraSpecs>'
                ),
            ),
            'extra spec vgpu:enable_uvm twice',
        )


class ParametersTest(base.TestCase):
    """Of the flavor's extra specs only known keys with 0 or 1 count."""

    def parameters(
        self, specs: dict[str, str]
    ) -> tuple[list[str] | None, list[str]]:
        """Read what a flavor with these extra specs asks for."""
        return qemu.parse(domain([PLAIN], specs=specs)).parameters()

    def test_all(self) -> None:
        """Every known key, in the order of the keys."""
        specs = {f'vgpu:{key}': '1' for key in qemu.PARAMETERS}
        specs['vgpu:frame_rate_limiter'] = '0'
        self.assertEqual(
            (
                [
                    'disable_vnc=1',
                    'enable_debugging=1',
                    'enable_profiling=1',
                    'enable_uvm=1',
                    'frame_rate_limiter=0',
                ],
                [],
            ),
            self.parameters(specs),
        )

    def test_the_keys_are_those_of_the_plans(self) -> None:
        """The hook cannot import them."""
        self.assertEqual(set(parameters.KNOWN), qemu.PARAMETERS)
        for values in parameters.KNOWN.values():
            self.assertEqual(('0', '1'), values)

    def test_what_the_scheduler_reads_is_no_parameter(self) -> None:
        """It is neither set nor complained about."""
        for value in ('pack', 'spread', '1'):
            found = self.parameters({'vgpu:gpu_policy': value})
            self.assertEqual(([], []), found)

    def test_odd_values(self) -> None:
        """Whatever could say more than 0 or 1."""
        for value in (
            '2',
            '',
            'true',
            ' 1',
            '1\n',
            '1,enable_uvm=1',
            '1 enable_uvm=1',
            '=1',
            '1' * 10240,
            '\u0661',
            '01',
            '<x/>',
        ):
            wanted, ignored = self.parameters({'vgpu:disable_vnc': value})
            self.assertEqual([], wanted, value)
            self.assertEqual(1, len(ignored))
            self.assertLess(len(ignored[0]), 200)
            self.assertTrue(ignored[0].isprintable())

    def test_odd_keys(self) -> None:
        """Whatever is not in the list."""
        for key in (
            '',
            'DISABLE_VNC',
            'disable_vnc ',
            'disable_vnc=1,enable_uvm',
            'disable_vnc\n',
            'vgpu:disable_vnc',
            'x' * 10240,
            '../vgpu_params',
        ):
            wanted, ignored = self.parameters({f'vgpu:{key}': '1'})
            self.assertEqual([], wanted, key)
            self.assertEqual(1, len(ignored))
            self.assertLess(len(ignored[0]), 200)

    def test_other_prefixes_are_not_ours(self) -> None:
        """They are not even worth a word."""
        specs = {'hw:disable_vnc': '1', 'disable_vnc': '1', 'VGPU:x': '1'}
        self.assertEqual(([], []), self.parameters(specs))

    def test_elements_in_a_value(self) -> None:
        """Only plain text is a value."""
        for inside in ('1<x/>', '<x>1</x>', '1<x>,a=b</x>'):
            xml = domain([PLAIN], specs={'vgpu:disable_vnc': 'HERE'}).replace(
                b'HERE', inside.encode()
            )
            self.assertEqual([], qemu.parse(xml).parameters()[0])

    def test_character_references(self) -> None:
        """XML has several ways to write the same text."""
        xml = domain([PLAIN], specs={'vgpu:disable_vnc': 'HERE'})
        for text in (b'&#49;', b'&#x31;', b'<![CDATA[1]]>', b'<!---->1'):
            guest = qemu.parse(xml.replace(b'HERE', text))
            self.assertEqual(['disable_vnc=1'], guest.parameters()[0])


class PatternTest(base.TestCase):
    """What reaches a path of sysfs."""

    def test_addresses(self) -> None:
        """As the kernel prints them, and as the rest of the project has it."""
        for text in ('0000:1a:00.0', '10000:ff:1f.7', '00000000:00:00.0'):
            self.assertTrue(qemu.is_address(text), text)
            self.assertTrue(devices.PCI_ADDRESS.fullmatch(text))
        for odd in (
            '0000:1A:00.0',
            '0000:1a:00.8',
            '0000:1a:20.0',
            '000:1a:00.0',
            '000000000:1a:00.0',
            '0000:1a:00:0',
            '0000.1a.00.0',
            '../..:1a:00.0',
            '0000:1a:00.0\n',
            '',
            None,
            1,
        ):
            self.assertFalse(qemu.is_address(odd), odd)

    def test_words(self) -> None:
        """Names of folders, but no way to another one."""
        for text in ('nvidia-194', 'mtty_mtty', 'A.b', '0'):
            self.assertTrue(qemu.is_word(text, 64), text)
        for odd in ('..', '.', '.x', 'a/b', '', 'a b', 'ä', 'x' * 65, None):
            self.assertFalse(qemu.is_word(odd, 64), odd)

    def test_vendor_types(self) -> None:
        """A number; none is no type."""
        for text in ('1', '1153', '999999999'):
            self.assertTrue(qemu.is_vendor_type(text), text)
        for odd in ('0', '00', '', '-1', '1153\n', '\u0661', '1' * 10, 1153):
            self.assertFalse(qemu.is_vendor_type(odd), odd)

    def test_printable(self) -> None:
        """What is shown is short and on one line."""
        self.assertEqual('a?b?c', qemu.printable('a\nb\x1bc'))
        self.assertEqual('a' * 60 + '...', qemu.printable('a' * 61))
        self.assertEqual('?', qemu.printable('\udc80'))
