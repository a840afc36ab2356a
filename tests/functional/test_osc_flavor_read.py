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
"""``openstack vgpu flavor show`` and ``check``."""

from __future__ import annotations

import json
from typing import Any

from tests.functional import base, osc_base
from tests.functional.test_osc_flavor_write import (
    L40S,
    ONE_194,
    TWO_194,
    FlavorTestCase,
    refusal,
)

#: Each with one fault: what somebody wrote, the key, and a word of what is
#: found.
FAULTS: dict[str, tuple[dict[str, str], str, str]] = {
    'near miss': ({'resource:VGPU': '1'}, 'resource:VGPU', 'passes over'),
    'small': ({'resources:vgpu': '1'}, 'resources:vgpu', 'without a GPU'),
    'zero': ({'resources:VGPU': '0'}, 'resources:VGPU', 'without a GPU'),
    'trait value': (
        {'resources:VGPU': '1', 'trait:CUSTOM_NVIDIA_194': 'yes'},
        'trait:CUSTOM_NVIDIA_194',
        'any type',
    ),
    'two of one': ({'resources:VGPU': '2'}, 'resources:VGPU', 'one GPU'),
    'too many': ({'resources:VGPU': '33'}, 'resources:VGPU', 'one GPU'),
    'no such trait': (
        {'resources:VGPU': '1', 'trait:CUSTOM_NVIDIA_207': 'required'},
        'trait:CUSTOM_NVIDIA_207',
        'no GPU has it',
    ),
    'no such class': (
        {'resources:CUSTOM_NVIDIA_A40_8Q': '1'},
        'resources:CUSTOM_NVIDIA_A40_8Q',
        'no GPU that offers',
    ),
    'lost class': (
        {'resources:CUSTOM_NVIDIA_V100DX_1Q': '1'},
        'resources:CUSTOM_NVIDIA_V100DX_1Q',
        'such GPUs offer VGPU',
    ),
    'pci class': ({f'resources:{L40S}': '1'}, f'resources:{L40S}', 'PCI'),
    'no policy': (
        {'resources1:VGPU': '1', 'resources2:VGPU': '1'},
        'group_policy',
        'no policy',
    ),
    'trait elsewhere': (
        {'resources1:VGPU': '1', 'trait:CUSTOM_NVIDIA_194': 'required'},
        'trait:CUSTOM_NVIDIA_194',
        'beside no vGPU',
    ),
    'trait alone': (
        {'resources:VGPU': '1', 'trait1:CUSTOM_NVIDIA_194': 'required'},
        'trait1:CUSTOM_NVIDIA_194',
        'without resources',
    ),
    'three gpus': (
        {
            **{f'resources{n}:VGPU': '1' for n in (1, 2, 3)},
            'group_policy': 'isolate',
        },
        'resources1:VGPU',
        'different GPUs',
    ),
    'all have it': (
        {
            f'resources:{L40S}': '1',
            'trait:COMPUTE_MANAGED_PCI_DEVICE': 'forbidden',
        },
        'trait:COMPUTE_MANAGED_PCI_DEVICE',
        'every GPU has it',
    ),
    'parameter': (
        {**ONE_194, 'vgpu:frame_rate': '0'},
        'vgpu:frame_rate',
        'without this parameter',
    ),
    'alias': (
        {'pci_passthrough:alias': 'l40s-12q'},
        'pci_passthrough:alias',
        'refuses',
    ),
}


class CheckTest(FlavorTestCase):
    """Faults that somebody wrote into flavors."""

    def check(self, *arguments: str) -> tuple[int, list[dict[str, str]]]:
        """Run it; give its code and rows."""
        outcome = self.flavor('check', *arguments, '-f', 'json')
        return outcome.code, json.loads(outcome.out)

    def test_each_fault(self) -> None:
        """One row for each, and none for the flavors that are good."""
        self.nova.create_flavor('plain', {'hw:cpu_policy': 'shared'})
        self.nova.create_flavor('one', ONE_194)
        self.nova.create_flavor('two', TWO_194)
        for name, (specs, _, _) in FAULTS.items():
            self.nova.create_flavor(name, specs)
        self.nova.create_flavor('big', ONE_194, vcpus=1000)
        code, rows = self.check()
        self.assertEqual(1, code)
        self.assertEqual(
            {name: key for name, (_, key, _) in FAULTS.items()}
            | {'big': 'VCPU'},
            {row['flavor']: row['key'] for row in rows},
        )
        self.assertEqual(len(FAULTS) + 1, len(rows))
        for row in rows:
            found = FAULTS.get(row['flavor'], ({}, '', '1000'))[2]
            self.assertIn(found, row['found'])
            self.assertEqual('error', row['severity'])
            self.assertTrue(row['expected'] and row['remedy'])

    def test_placement_agrees(self) -> None:
        """A server of a flavor that can never be scheduled has no room."""
        without_a_gpu = {
            'near miss',
            'small',
            'zero',
            'pci class',
            'two of one',
            'trait value',
            'parameter',
            'alias',
        }
        for name, (specs, _, _) in FAULTS.items():
            if name not in without_a_gpu:
                self.nova.create_flavor(name, specs)
                shown = self.osc_json('vgpu', 'flavor', 'show', name)
                self.assertEqual((0, {}), (shown['fits'], shown['hosts']))
                self.assertEqual(1, len(shown['problems']), name)

    def test_one_flavor(self) -> None:
        """The others do not count."""
        self.nova.create_flavor('bad', {'resource:VGPU': '1'})
        good = self.nova.create_flavor('a "good" one', ONE_194)
        for name in ('a "good" one', good):
            self.assertEqual((0, []), self.check(name))
        code, rows = self.check('bad')
        self.assertEqual((1, 1), (code, len(rows)))
        outcome = self.flavor('check', 'other')
        self.assert_error(outcome, "no flavor 'other'", 'a "good" one, bad')

    def test_warning(self) -> None:
        """It is shown, and the exit code stays 0."""
        self.nova.create_flavor('two', TWO_194 | {'group_policy': 'none'})
        code, rows = self.check()
        self.assertEqual(0, code)
        self.assertEqual(['warning'], [row['severity'] for row in rows])

    def test_full_and_disabled_hosts(self) -> None:
        """They are no faults of a flavor."""
        self.nova.create_flavor('four', {'resources:VGPU': '1'} | TRAIT_196)
        self.placement.allocate({base.gpu_name(0, 'gpu02'): {'VGPU': 8}})
        self.placement.add_traits('gpu02', 'COMPUTE_STATUS_DISABLED')
        self.assertEqual((0, []), self.check())

    def test_formats(self) -> None:
        """Every formatter takes the rows."""
        self.nova.create_flavor('bad', {'resource:VGPU': '1'})
        for name in ('csv', 'json', 'table', 'value', 'yaml'):
            outcome = self.flavor('check', '-f', name)
            self.assertEqual(1, outcome.code, outcome.err)
            self.assertIn('resource:VGPU', outcome.out)

    def test_user_without_rights(self) -> None:
        """The remedy is named."""
        outcome = self.flavor('check', user='weak')
        self.assert_error(outcome, '403', 'the role admin')

    def test_nova_fails(self) -> None:
        """One line says so."""
        self.nova.fault(path='/v2.1/flavors', times=9, **refusal(503))
        outcome = self.flavor('check')
        self.assert_error(outcome, "Nova's /flavors/detail: answered 503")


TRAIT_196 = {'trait:CUSTOM_NVIDIA_196': 'required'}


class ShowTest(FlavorTestCase):
    """What a flavor asks for, and where it goes."""

    def show(self, name: str) -> dict[str, Any]:
        """Show a flavor."""
        found: dict[str, Any] = self.osc_json('vgpu', 'flavor', 'show', name)
        return found

    def test_all(self) -> None:
        """Every field."""
        flavor_id = self.nova.create_flavor(
            'a b',
            {**TWO_194, 'vgpu:disable_vnc': '1', 'vgpu:gpu_policy': 'pack'},
        )
        self.placement.allocate({base.gpu_name(0, 'gpu01'): {'VGPU': 30}})
        self.assertEqual(
            {
                'name': 'a b',
                'id': flavor_id,
                'vcpus': 1,
                'ram_mib': 1024,
                'disk_gib': 1,
                'public': True,
                'asks_for': '2 vGPUs of the type nvidia-194, each of another '
                'GPU',
                'vgpus': 2,
                'classes': ['VGPU'],
                'traits': ['CUSTOM_NVIDIA_194'],
                'parameters': {'disable_vnc': '1', 'gpu_policy': 'pack'},
                'hosts': {'gpu01': 2},
                'fits': 2,
                'problems': [],
            },
            self.show(flavor_id),
        )

    def test_hosts(self) -> None:
        """Each with the number of servers that it has room for."""
        self.nova.create_flavor('any', {'resources:VGPU': '1'})
        self.nova.create_flavor('wide', {'resources:VGPU': '1'}, vcpus=32)
        self.nova.create_flavor(
            'card', {'pci_passthrough:alias': 'l40s-12q:2'}
        )
        self.assertEqual({'gpu01': 64, 'gpu02': 8}, self.show('any')['hosts'])
        self.assertEqual({'gpu01': 2, 'gpu02': 2}, self.show('wide')['hosts'])
        self.assertEqual({'gpu03': 2}, self.show('card')['hosts'])
        self.placement.add_traits('gpu01', 'COMPUTE_STATUS_DISABLED')
        self.assertEqual({'gpu02': 8}, self.show('any')['hosts'])

    def test_custom_class(self) -> None:
        """A class that only the cloud knows as one of vGPUs."""
        self.gpu_host('gpu04', type_=199, total=1, resource_class='CUSTOM_BIG')
        self.nova.create_flavor('f', {'resources:CUSTOM_BIG': '1'})
        shown = self.show('f')
        self.assertEqual(
            ('1 vGPU of the class CUSTOM_BIG', 1, {'gpu04': 2}),
            (shown['asks_for'], shown['vgpus'], shown['hosts']),
        )

    def test_problems(self) -> None:
        """What the check finds, beside what can be said."""
        self.nova.create_flavor('f', {f'resources:{L40S}': '1'})
        shown = self.show('f')
        self.assertEqual({'gpu03': 4}, shown['hosts'])
        (problem,) = shown['problems']
        self.assertIn('starts without a GPU', problem)

    def test_other_flavor(self) -> None:
        """It asks for nothing, and no host is named for it."""
        self.nova.create_flavor('plain', {})
        shown = self.show('plain')
        self.assertEqual(
            ('', 0, {}, []),
            (
                shown['asks_for'],
                shown['vgpus'],
                shown['hosts'],
                shown['problems'],
            ),
        )

    def test_more_candidates_than_are_read(self) -> None:
        """Placement's limit hides no host."""
        self.patch('nova_vgpu_ext.osc.places._LIMIT', 1)
        self.nova.create_flavor('any', {'resources:VGPU': '1'})
        self.assertEqual({'gpu01': 64, 'gpu02': 8}, self.show('any')['hosts'])
        outcome = self.create('one', 'nvidia-194')
        self.assertIn('gpu01, and maybe others', outcome.err)

    def test_formats(self) -> None:
        """Every formatter takes the fields."""
        self.nova.create_flavor('one', ONE_194)
        for name in ('json', 'shell', 'table', 'value', 'yaml'):
            outcome = self.flavor('show', 'one', '-f', name)
            self.assertEqual(0, outcome.code, outcome.err)
            self.assertIn('nvidia-194', outcome.out)

    def test_unknown(self) -> None:
        """The error names the flavors that ask for vGPUs."""
        self.nova.create_flavor('one', ONE_194)
        self.nova.create_flavor('plain', {})
        outcome = self.flavor('show', "it's")
        self.assert_error(outcome, '"it\'s"', 'there are: one\n')


class ReadCostTest(osc_base.OscTestCase):
    """Requests grow with hosts, not with flavors or GPUs."""

    def test_check(self) -> None:
        """One for each host, and a constant."""
        for number in range(6):
            self.gpu_host(f'gpu{number:02}', gpus=4)
        for number in range(12):
            self.nova.create_flavor(f'f{number}', ONE_194)
        with (
            self.placement.counting() as asked,
            self.nova.counting() as asked_nova,
        ):
            outcome = self.run_osc('vgpu', 'flavor', 'check')
        self.assertEqual(0, outcome.code, outcome.err)
        self.assertLessEqual(len(asked), 6 + 3)
        self.assertLessEqual(len(asked_nova), 4)
