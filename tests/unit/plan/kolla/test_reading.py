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
"""From a parsed description to what is meant, and what is wrong with it."""

from __future__ import annotations

import json
from typing import Any

from nova_vgpu_ext.models import TypeConfig, VgpuType
from nova_vgpu_ext.plan.kolla import reading
from nova_vgpu_ext.plan.kolla.description import Card, Description, Entry
from tests import base

TYPES = (
    VgpuType('nvidia-194', 'GRID V100DX-1Q'),
    VgpuType('nvidia-196', 'GRID V100DX-4Q'),
    VgpuType('nvidia-558', 'NVIDIA A40-2Q'),
    VgpuType('nvidia-559', 'NVIDIA A40-2Q'),
    VgpuType('1153', 'NVIDIA L40S-12Q'),
)
GPU, OTHER = '0000:3d:00.0', '0000:3e:00.0'
CARD, VF = '0000:3b:00.0', '0000:3b:00.4'


def read(data: Any) -> tuple[Description, list[str]]:
    """Read with a few known types; give the findings as lines."""
    description, findings = reading.read(
        'vgpu.yml', data, TYPES, ('pack', 'spread')
    )
    return description, [str(finding) for finding in findings]


def host(**keys: Any) -> dict[str, Any]:
    """Make a description of one host."""
    return {'hosts': {'gpu01': keys}}


class ReadTest(base.TestCase):
    """What is meant."""

    def entry(self, **keys: Any) -> Entry:
        """Read one host without a finding."""
        description, findings = read(host(**keys))
        self.assertEqual([], findings)
        (entry,) = description.hosts
        return entry

    def test_types(self) -> None:
        """Addresses come together by type; a product becomes its id."""
        entry = self.entry(
            gpus={
                GPU: 'nvidia-196',
                OTHER: {'type': 'V100DX-4Q'},
                'mtty_mtty': {'type': 'mtty-2', 'class': 'CUSTOM_TTY'},
                'all': {'type': 'V100DX-1Q', 'max_instances': '64'},
            }
        )
        self.assertEqual(
            (
                TypeConfig('nvidia-196', (GPU, OTHER)),
                TypeConfig('mtty-2', ('mtty_mtty',), 'CUSTOM_TTY'),
                TypeConfig('nvidia-194', (), max_instances=64),
            ),
            entry.types,
        )

    def test_address_of_the_default_type(self) -> None:
        """With addresses of its own Nova would not take it as default."""
        entry = self.entry(gpus={GPU: 'nvidia-194', 'all': 'V100DX-1Q'})
        self.assertEqual((TypeConfig('nvidia-194'),), entry.types)

    def test_cards(self) -> None:
        """A number and a product are the same card; a new one is taken."""
        for text, product in (
            ('L40S-12Q', 'L40S-12Q'),
            ('1153', 'L40S-12Q'),
            ('H900-8C', 'H900-8C'),
        ):
            entry = self.entry(vendor_vfio={CARD: {'type': text, 'vfs': [VF]}})
            self.assertEqual((Card(CARD, product, text, (VF,)),), entry.cards)

    def test_own_types(self) -> None:
        """What the operator says of a product goes before the table."""
        description, findings = read(
            {
                'types': {'V100DX-1Q': 'nvidia-7', 'L40S-12Q': '77'},
                **host(
                    gpus={'all': 'V100DX-1Q'},
                    vendor_vfio={CARD: {'type': 'L40S-12Q', 'vfs': [VF]}},
                ),
            }
        )
        self.assertEqual([], findings)
        (entry,) = description.hosts
        self.assertEqual('nvidia-7', entry.types[0].id)
        self.assertEqual('77', entry.cards[0].type)

    def test_other_devices(self) -> None:
        """What cannot be a function of a described card may stand beside."""
        for spec in (
            {'address': '*:3c:00.*'},
            {'address': {'bus': '3[c-f]'}},
            {'vendor_id': '15b3', 'address': '*:*:*.*'},
            {'devname': 'eth0'},
        ):
            entry = self.entry(
                vendor_vfio={CARD: {'type': 'L40S-12Q', 'vfs': [VF]}},
                device_specs=[json.dumps(spec)],
            )
            self.assertEqual((json.dumps(spec),), entry.device_specs)

    def test_ids_that_may_be_a_cards(self) -> None:
        """A warning: another card of NVIDIA may be meant."""
        spec = '{"vendor_id": "10de", "product_id": "1eb8"}'
        description, findings = read(
            host(
                vendor_vfio={CARD: {'type': 'L40S-12Q', 'vfs': [VF]}},
                device_specs=[spec],
            )
        )
        self.assertEqual((spec,), description.hosts[0].device_specs)
        (found,) = findings
        self.assertIn('warning: vgpu.yml: hosts.gpu01.device_specs[0]', found)

    def test_no_gpu(self) -> None:
        """A host of a group can be said to have none."""
        self.assertEqual(Entry('gpu01'), self.entry(gpus={}))
        self.assertEqual((Description(), []), read({'hosts': {}}))


def alias(**keys: str | None) -> str:
    """Write an alias, with other values, or without some."""
    data = {'name': 'a', 'vendor_id': '15b3', 'product_id': '1018'} | keys
    return json.dumps({k: v for k, v in data.items() if v is not None})


#: Two cards with one type, of which one says yes.
TWO_CARDS = {
    'vendor_vfio': {
        CARD: {'type': 'L40S-12Q', 'vfs': [VF], 'live_migratable': 'yes'},
        GPU: {'type': 'L40S-12Q', 'vfs': ['0000:3d:00.4']},
    }
}

#: Keys below one host, and a part of the finding.
WRONG_HOSTS = (
    ({}, 'hosts.gpu01: found nothing, expected some of gpus'),
    ({'gpus': ''}, 'hosts.gpu01: found a key without a value'),
    ({'gpu': {}}, "hosts.gpu01: found key 'gpu', expected one of gpus"),
    ({'gpus': ['x']}, "hosts.gpu01.gpus: found ['x'], expected keys"),
    ({'gpus': {'3d:00.0': 'nvidia-194'}}, "gpus: found '3d:00.0', expected"),
    ({'gpus': {'0000:3D:00.0': 'nvidia-194'}}, "found '0000:3D:00.0'"),
    ({'gpus': {GPU: ''}}, f'gpus.{GPU}: found no type'),
    ({'gpus': {GPU: {'class': 'VGPU'}}}, f'gpus.{GPU}: found no type'),
    ({'gpus': {'all': 'nvidia-x'}}, "found type 'nvidia-x', expected an id"),
    ({'gpus': {'all': 'v100dx-1q'}}, "found type 'v100dx-1q', expected an"),
    ({'gpus': {'all': 'a\n[DEFAULT]-1Q'}}, 'expected an id such as'),
    ({'gpus': {'all': "x'-1Q"}}, 'expected an id such as nvidia-194'),
    ({'gpus': {'all': 'V100DX-3Q'}}, 'is known: V100DX-1Q, V100DX-4Q'),
    ({'gpus': {'all': 'A40-2Q'}}, 'A40-2Q, which is nvidia-558 or nvidia-559'),
    ({'gpus': {'all': 'L40S-12Q'}}, 'card and its functions below vendor'),
    (
        {'gpus': {'all': {'type': 'nvidia-194', 'class': 'CUSTOM_A'}}},
        'found class CUSTOM_A for all GPUs, expected a class with addresses',
    ),
    (
        {'gpus': {GPU: {'type': 'nvidia-194', 'class': 'Big'}}},
        f"gpus.{GPU}.class: found 'Big', expected VGPU, or CUSTOM_",
    ),
    (
        {
            'gpus': {
                GPU: {'type': 'nvidia-194', 'class': 'CUSTOM_A'},
                OTHER: 'nvidia-194',
            }
        },
        'nvidia-194 with the classes CUSTOM_A, VGPU, expected one class',
    ),
    (
        {
            'gpus': {
                GPU: {'type': 'nvidia-194', 'max_instances': '9'},
                OTHER: {'type': 'nvidia-194', 'max_instances': '10'},
            }
        },
        'nvidia-194 with the limits 9, 10',
    ),
    (
        {'gpus': {GPU: {'type': 'nvidia-194', 'max_instances': '0'}}},
        "max_instances: found '0', expected a whole number from 1",
    ),
    (
        {'vendor_vfio': {CARD: {'type': 'L40S-13Q', 'vfs': [VF]}}},
        "found type 'L40S-13Q', expected a product whose id is known: L40S",
    ),
    (
        {'vendor_vfio': {CARD: {'type': '99', 'vfs': [VF]}}},
        'found type 99, expected a number whose product is known',
    ),
    (
        {'vendor_vfio': {CARD: {'type': 'nvidia-194', 'vfs': [VF]}}},
        "found type 'nvidia-194', expected a product such as L40S-12Q",
    ),
    (
        {'vendor_vfio': {CARD: {'type': 'L40S-12Q'}}},
        f'vendor_vfio.{CARD}.vfs: found no virtual function',
    ),
    (
        {'vendor_vfio': {CARD: {'type': 'L40S-12Q', 'vfs': [VF, VF]}}},
        f'{VF} as a function of {CARD} and as a function of {CARD}',
    ),
    (
        {
            'gpus': {VF: 'nvidia-194'},
            'vendor_vfio': {CARD: {'type': 'L40S-12Q', 'vfs': [VF]}},
        },
        f'{VF} as a GPU with nvidia-194 and as a function of {CARD}',
    ),
    (
        {
            'vendor_vfio': {CARD: {'type': 'L40S-12Q', 'vfs': [VF]}},
            'device_specs': [
                f'{{"address": "{CARD}", "resource_class": "B"}}'
            ],
        },
        "with the class 'B', which vendor_vfio gives CUSTOM_NVIDIA_L40S_12Q",
    ),
    *(
        (
            {
                'vendor_vfio': {CARD: {'type': 'L40S-12Q', 'vfs': [VF]}},
                'device_specs': [json.dumps(spec)],
            },
            f'functions of {CARD} with the class None',
        )
        for spec in (
            {'address': '*:3B:00.*'},
            {'address': '3b:1f.7'},
            {'address': {'bus': '3[a-f]', 'function': '[0-3]'}},
            {'vendor_id': '10DE'},
        )
    ),
    *(
        ({'device_specs': [spec]}, f'found {found}')
        for spec, found in (
            ('{}', 'no device'),
            ('{"address": "3b:00.9"}', "address '3b:00.9'"),
            ('{"address": {"bus": "["}}', "address {'bus': '['}"),
            ('{"address": "*:3b:00.*", "devname": "eth0"}', 'address and dev'),
            ('{"vendor_id": "nvidia"}', "vendor_id 'nvidia'"),
            ('{"vendor_id": 4318}', 'vendor_id 4318'),
            ('{"vendor_id": "10de", "managed": "2"}', "managed '2'"),
        )
    ),
    (
        {
            'gpus': {
                GPU: 'nvidia-194',
                OTHER: {'type': 'nvidia-194', 'max_instances': '4'},
            }
        },
        'nvidia-194 with the limits 4, none',
    ),
    (TWO_CARDS, f'{GPU}: found no live_migratable, which other cards with'),
    ({'device_specs': ['[]']}, "device_specs[0]: found '[]', expected a JSON"),
    ({'device_specs': ['{"a": "{{ x }}"}']}, 'without {{, {% and {#'),
)

#: Whole files, and a part of the finding.
WRONG_FILES = (
    (None, 'vgpu.yml: found nothing, expected groups or hosts'),
    ([], 'vgpu.yml: found nothing'),
    (['x'], "vgpu.yml: found ['x'], expected keys and values"),
    ({'gpus': {}}, "vgpu.yml: found key 'gpus', expected one of policy"),
    ({'policy': 'both'}, "policy: found 'both', expected pack or spread"),
    ({'types': {'V100': 'nvidia-1'}}, "types.V100: found 'V100'"),
    ({'types': {'V100DX-1Q': 'x'}}, "types.V100DX-1Q: found 'x'"),
    ({'hosts': {"a'b": {'gpus': {}}}}, 'hosts: found "a\'b", expected a name'),
    ({'groups': {'a b': {'gpus': {}}}}, "groups: found 'a b', expected a"),
    ({'hosts': ''}, 'hosts: found a key without a value'),
    ({'aliases': [alias(name=None)]}, 'aliases[0]: found no name'),
    ({'aliases': [alias(vendor='15b3')]}, "found key 'vendor', expected one"),
    ({'aliases': [alias(vendor_id='1')]}, "aliases[0]: found vendor_id '1'"),
    ({'aliases': ['{"name": "a"}']}, 'found no device, expected vendor_id'),
    (
        {'aliases': [alias(), alias(product_id='0443')]},
        "found a second alias 'a'; there is one for aliases[0]",
    ),
    (
        {'scheduler': {'enabled_filters': ['A,B']}},
        "scheduler.enabled_filters[0]: found 'A,B'",
    ),
    (
        {'scheduler': {'enabled_filters': ''}},
        'scheduler.enabled_filters: found no value',
    ),
    ({'scheduler': {'filters': []}}, "scheduler: found key 'filters'"),
)


class WrongTest(base.TestCase):
    """What is wrong is said with file, key, found, expected and remedy."""

    def test_hosts(self) -> None:
        """One finding for one mistake in a host's entry."""
        for keys, part in WRONG_HOSTS:
            _, findings = read(host(**keys))
            self.assertEqual(1, len(findings), findings)
            self.assertIn(part, findings[0])
            self.assertIn('vgpu.yml: hosts.gpu01', findings[0])

    def test_files(self) -> None:
        """And in the rest of the file."""
        for data, part in WRONG_FILES:
            _, findings = read(data)
            self.assertEqual(1, len(findings), findings)
            self.assertIn(part, findings[0])

    def test_all_at_once(self) -> None:
        """Every mistake is found in one look."""
        data = host(gpus={'x': 'nvidia-194', 'all': 'y'}, other='')
        _, findings = read({'policy': 'z', 'w': '1', **data})
        self.assertEqual(5, len(findings), findings)
