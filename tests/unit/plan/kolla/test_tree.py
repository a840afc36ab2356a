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
"""The marked block, and what the operator's own lines set as well."""

from __future__ import annotations

from collections.abc import Mapping

from nova_vgpu_ext.models import TypeConfig
from nova_vgpu_ext.plan.kolla import ini, tree
from nova_vgpu_ext.plan.kolla.description import (
    Card,
    Description,
    Entry,
    Scheduler,
)
from nova_vgpu_ext.plan.kolla.inventory import Inventory
from tests import base

COMPUTE = 'nova/nova-compute.conf'
MDEV = Description(
    hosts=(Entry('gpu01', (TypeConfig('nvidia-194', ('0000:1a:00.0',)),)),)
)
VFIO = Description(
    groups=(
        Entry(
            'gpus',
            cards=(
                Card('0000:3b:00.0', 'L40S-12Q', '1153', ('0000:3b:00.4',)),
            ),
        ),
    ),
    scheduler=Scheduler('pack'),
)
INVENTORY = Inventory(
    'multinode',
    frozenset({'gpu01', 'ctl1'}),
    {'gpus': frozenset({'gpu01'}), 'all': frozenset({'gpu01', 'ctl1'})},
)


def changed(
    texts: Mapping[str, str], description: Description = MDEV
) -> dict[str, str | None]:
    """Give what is written without a finding."""
    changes, findings = tree.plan('/etc', texts, description, INVENTORY)
    assert not findings, findings  # noqa: S101
    return {c.path: c.new for c in changes if c.is_needed}


def findings(
    texts: Mapping[str, str], description: Description = VFIO
) -> list[str]:
    """Give what is wrong, as lines."""
    _, found = tree.plan('/etc', texts, description, INVENTORY)
    return [str(finding) for finding in found]


class BlockTest(base.TestCase):
    """Writing, writing again and removing."""

    def test_round_trip(self) -> None:
        """What the operator has written comes back to the byte."""
        for before in ('[DEFAULT]\ndebug = true\n', '# a comment\n'):
            written = changed({COMPUTE: before})
            self.assertEqual([COMPUTE], list(written))
            text = written[COMPUTE] or ''
            self.assertTrue(text.startswith(f'{before}\n{ini.BEGIN}\n'))
            self.assertIn('enabled_mdev_types = nvidia-194\n', text)
            self.assertEqual({}, changed({COMPUTE: text}))
            removed = changed({COMPUTE: text}, Description())
            self.assertEqual({COMPUTE: before}, removed)

    def test_file_of_ours(self) -> None:
        """A file with the block alone goes with it."""
        written = changed({})[COMPUTE] or ''
        self.assertEqual(
            {COMPUTE: None}, changed({COMPUTE: written}, Description())
        )

    def test_lines_behind(self) -> None:
        """They stay behind, if they begin with a section."""
        text = f'{changed({})[COMPUTE]}[libvirt]\ncpu_mode = none\n'
        self.assertEqual({}, changed({COMPUTE: text}))
        written = changed({COMPUTE: text.replace('194', '195')})[COMPUTE]
        self.assertEqual(text, written)

    def test_loose_lines_behind(self) -> None:
        """They would fall into a section of the block."""
        text = f'{changed({})[COMPUTE]}debug = true\n'
        (found,) = findings({COMPUTE: text}, MDEV)
        self.assertIn('without a section after the block', found)

    def test_marks(self) -> None:
        """A block that is not whole is left to the operator."""
        whole = changed({})[COMPUTE] or ''
        for text, where in (
            (f'{ini.BEGIN}\n', 'in the lines 1'),
            (f'a\n{ini.END}\n', 'in the lines 2'),
            (f'{ini.END}\n{ini.BEGIN}\n', 'in the lines 1, 2'),
            (whole * 2, 'in the lines 1, '),
        ):
            (found,) = findings({COMPUTE: text}, MDEV)
            self.assertIn(f'marks of the block {where}', found)


class ConflictTest(base.TestCase):
    """An option that is set twice counts once only: which, is unclear."""

    def test_same_file(self) -> None:
        """The line is named, and where its value belongs."""
        (found,) = findings(
            {COMPUTE: '[DEFAULT]\nx = 1\n[pci]\n  a\nalias = {}\n'}
        )
        self.assertEqual(
            'error: /etc/nova/nova-compute.conf: [pci] alias: found an '
            'option that the description sets, in line 5, expected it in '
            'one of the two; move your own values to aliases in the '
            'description',
            found,
        )

    def test_other_spellings(self) -> None:
        """Nova would read the new spelling alone."""
        for line in (
            '[devices]\nenabled_vgpu_types = nvidia-1',
            '[vgpu_nvidia-194]\ndevice_addresses = 0000:1b:00.0',
            '[mdev_nvidia-194]\ndevice_addresses: 0000:1b:00.0',
            "{% if inventory_hostname == 'x' %}\n[devices]\n"
            'enabled_mdev_types=a\n{% endif %}',
        ):
            self.assertEqual(1, len(findings({COMPUTE: line}, MDEV)), line)

    def test_shared_files(self) -> None:
        """Ours would replace what stands in a file for all services."""
        (found,) = findings({'nova.conf': '[pci]\nalias = {}\n'})
        self.assertIn('/etc/nova.conf: [pci] alias', found)
        (found,) = findings(
            {'global.conf': '[filter_scheduler]\nenabled_filters = A\n'}
        )
        self.assertIn('own values to scheduler in', found)

    def test_files_of_a_host(self) -> None:
        """They would replace ours on that host."""
        spec = '[pci]\ndevice_spec = {}\n'
        (found,) = findings({'nova/gpu01/nova-compute.conf': spec})
        self.assertIn("device_specs of the host's or group's entry", found)
        self.assertEqual([], findings({'nova/ctl1/nova-compute.conf': spec}))
        filters = '[filter_scheduler]\nenabled_filters = A\n'
        self.assertEqual(
            [], findings({'nova/ctl1/nova-compute.conf': filters})
        )
        self.assertEqual(1, len(findings({'nova/ctl1/nova.conf': filters})))

    def test_sections_of_a_type(self) -> None:
        """Also what the block says of a type by leaving it out."""
        for line in ('max_instances = 4', 'mdev_class = CUSTOM_BIG'):
            text = f'[mdev_nvidia-194]\n{line}\n'
            self.assertEqual(1, len(findings({COMPUTE: text}, MDEV)), line)
            other = text.replace('194', '195')
            self.assertEqual([], findings({COMPUTE: other}, MDEV))

    def test_conductor_of_a_host(self) -> None:
        """It reads a file of its own, too."""
        path = 'nova/ctl1/nova-conductor.conf'
        text = '[filter_scheduler]\npci_in_placement = false\n'
        self.assertEqual(1, len(findings({path: text})))
        self.assertEqual([], findings({path: '[pci]\nalias = {}\n'}))

    def test_other_lines(self) -> None:
        """Whatever else there is, is the operator's own."""
        texts = {
            COMPUTE: '[pci]\n# alias = x\n;alias = x\n[vgpu]\ntraits = type\n',
            'nova/nova-metadata.conf': '[pci]\nalias = {}\n',
        }
        self.assertEqual([], findings(texts))
