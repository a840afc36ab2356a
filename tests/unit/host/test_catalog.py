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
import testtools

from nova_vgpu_ext import models
from nova_vgpu_ext.host import catalog
from tests.unit.host import base

_CARD = models.PciDevice('0000:04:00.0', '10de', '13f2', '030200')
_TEXT = """<?xml version="1.0"?>
<!DOCTYPE vgpuconfig SYSTEM "vgpuConfig.dtd">
<vgpuconfig>
  <vgpuType id="11" name="GRID M60-0B" class="NVS">
    <devId vendorId="0x10de" deviceId="0x13f2"/>
    <profileSize>0x20000000</profileSize>
    <framebuffer>0x1A000000</framebuffer>
    <numHeads>2</numHeads>
    <display width="2560" height="1600"/>
  </vgpuType>
  <vgpuType id="12" name="GRID M60-1Q">
    <framebuffer>0x40000000</framebuffer>
  </vgpuType>
  <pgpu>
    <devId vendorId="0x10de" deviceId="0x13f2"/>
    <supportedVgpu vgpuId="11"><maxVgpus>16</maxVgpus></supportedVgpu>
  </pgpu>
</vgpuconfig>
"""
_BOMB = """<?xml version="1.0"?>
<!DOCTYPE b [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>
<vgpuconfig>&b;</vgpuconfig>
"""


class TestCatalog(base.HostTestCase):
    def complete(self, text, vgpu_type=None, card=_CARD):
        if text is not None:
            mode = 'wb' if isinstance(text, bytes) else 'w'
            with open(self.catalog, mode) as stream:
                stream.write(text)
        self.notes = []
        one = catalog.Catalog(self.catalog, lambda *a: self.notes.append(a))
        vgpu_type = vgpu_type or models.VgpuType('nvidia-11')
        return one.complete(
            vgpu_type, vgpu_type.id.removeprefix('nvidia-'), card
        )

    def test_complete(self):
        found = self.complete(_TEXT)
        self.assertEqual(
            models.VgpuType(
                'nvidia-11',
                name='GRID M60-0B',
                maximum=16,
                frame_buffer_mib=512,
                heads=2,
                resolution='2560x1600',
            ),
            found,
        )
        self.assertEqual([], self.notes)

    def test_sysfs_wins(self):
        mine = models.VgpuType('nvidia-11', name='other', heads=7)
        found = self.complete(_TEXT, mine)
        self.assertEqual(
            ('other', 7, 16), (found.name, found.heads, found.maximum)
        )

    def test_partial_type(self):
        found = self.complete(_TEXT, models.VgpuType('12'))
        self.assertEqual(1024, found.frame_buffer_mib)
        self.assertIsNone(found.maximum)

    def test_unknown_type_and_other_card(self):
        other = models.PciDevice('0000:05:00.0', '8086', '13f2', '030000')
        for vgpu_type, card in (
            (models.VgpuType('nvidia-99'), _CARD),
            (models.VgpuType('nvidia-11'), other),
            (models.VgpuType('nvidia-11'), None),
        ):
            self.assertEqual(vgpu_type, self.complete(_TEXT, vgpu_type, card))

    def refuse(self, text, found):
        vgpu_type = models.VgpuType('nvidia-11')
        self.assertEqual(vgpu_type, self.complete(text, vgpu_type))
        self.assertEqual(1, len(self.notes), self.notes)
        self.assertEqual(self.catalog, self.notes[0][0])
        self.assertIn(found, self.notes[0][1])

    def test_absent(self):
        self.assertEqual(models.VgpuType('nvidia-11'), self.complete(None))
        self.assertEqual([], self.notes)

    def test_bomb(self):
        self.refuse(_BOMB, 'entities')

    def test_external_entity(self):
        self.refuse(
            '<!DOCTYPE b [<!ENTITY a SYSTEM "file:///etc/passwd">]><b>&a;</b>',
            'entities',
        )

    def test_malformed(self):
        self.refuse('<vgpuconfig>', 'malformed')
        self.refuse('', 'malformed')
        self.refuse(b'\xff\xfe\x00', 'malformed')
        self.refuse('<?xml version="1.0" encoding="no-such"?><a/>', 'malform')

    def test_too_large(self):
        self.refuse(b' ' * (catalog.SIZE_LIMIT + 1), 'larger')

    def test_directory(self):
        self.catalog = self.temp
        self.assertEqual(models.VgpuType('nvidia-11'), self.complete(None))
        self.assertIn('directory', self.notes[0][1])

    def test_garbage_number(self):
        found = self.complete(_TEXT.replace('<numHeads>2', '<numHeads>x'))
        self.assertIsNone(found.heads)
        self.assertEqual(512, found.frame_buffer_mib)
        self.assertIn("numHeads 'x'", self.notes[0][1])

    def test_problem_is_in_the_snapshot(self):
        self.build('l40s-vendor-vfio')
        with open(self.catalog, 'w') as stream:
            stream.write(_BOMB)
        found = self.observe(catalog=self.catalog)
        self.assert_problem(found, 'vgpuConfig.xml', 'entities')


class TestNoPath(testtools.TestCase):
    def test_none(self):
        one = catalog.Catalog(None, self.fail)
        vgpu_type = models.VgpuType('1')
        self.assertEqual(vgpu_type, one.complete(vgpu_type, '1', _CARD))
