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
"""Extra specs, read by Nova and by this project."""

from __future__ import annotations

import json
import re

from tests.functional.fixtures import nova_scheduler  # isort: skip

import hypothesis
from hypothesis import strategies as st
from nova import objects
from nova.pci import request as pci_request
from nova.scheduler import utils as scheduler_utils

from nova_vgpu_ext import models
from nova_vgpu_ext.placement import candidates
from nova_vgpu_ext.plan import pci
from nova_vgpu_ext.plan.flavors import request
from tests import base

#: What a compute node itself must, and must not, have.
ROOT = 'root_required'

ALIASES = ('l40s-12q', 'a16-4c')

_SUFFIXES = st.sampled_from(
    ['', '1', '2', '_GPU', '-', '__', ' 1', '.1', 'é', 'x' * 64, 'x' * 65]
)
_CLASSES = st.sampled_from(
    [
        'VGPU',
        'vgpu',
        'VGPU ',
        'VCPU',
        'CUSTOM_GOLD',
        'CUSTOM_NVIDIA_L40S_12Q',
        'CUSTOM_',
        'NOTHING',
        'a:b',
        '',
    ]
)
_AMOUNTS = st.sampled_from(
    ['0', '1', '2', ' 3 ', '1_0', '+1', '-1', '1.0', 'one', '', '٣', '0x1']
)
_TRAITS = st.sampled_from(
    ['CUSTOM_NVIDIA_194', 'HW_CPU_X86_AVX', 'custom_nvidia_194', 'x:y', '']
)
_VALUES = st.sampled_from(['required', 'forbidden', 'Required', 'yes', ''])


def _item(
    prefixes: list[str], names: st.SearchStrategy[str], values: object
) -> st.SearchStrategy[tuple[str, str]]:
    keys = st.builds(
        '{}{}:{}'.format, st.sampled_from(prefixes), _SUFFIXES, names
    )
    return st.tuples(keys, values)  # type: ignore[arg-type]


EXTRA_SPECS = st.lists(
    st.one_of(
        _item(['resources', 'resource', 'Resources'], _CLASSES, _AMOUNTS),
        _item(['trait', 'traits', 'Trait'], _TRAITS, _VALUES),
        st.tuples(
            st.just('group_policy'),
            st.sampled_from(['none', 'isolate', 'Isolate', '']),
        ),
        st.tuples(st.just('hw:cpu_policy'), st.just('shared')),
    ),
    max_size=8,
).map(dict)


def plain(query: dict[str, str]) -> object:
    """Forget the names of groups, and a policy where there is one group."""
    names = {re.sub('resources|required', '', k) for k in query} - {
        'limit',
        'group_policy',
    }
    groups = sorted(
        (
            bool(name),
            query.get(f'resources{name}', ''),
            query.get(f'required{name}', ''),
        )
        for name in names
        if query.get(f'resources{name}') or query.get(f'required{name}')
    )
    policy = query.get('group_policy')
    is_several = sum(numbered for numbered, *_ in groups) > 1
    return groups, query['limit'], policy if is_several else None


class FlavorRequestTest(base.TestCase):
    """Nova's own reading is the reference."""

    def setUp(self) -> None:
        super().setUp()
        aliases = '\n'.join(
            'alias = '
            + json.dumps(
                {
                    'name': name,
                    'resource_class': pci.class_of(name),
                    'device_type': 'type-VF',
                }
            )
            for name in ALIASES
        )
        path = self.write_conf(
            f'[pci]\n{aliases}\n[filter_scheduler]\npci_in_placement = true\n'
        )
        self.scheduler = self.useFixture(nova_scheduler.NovaScheduler(path))

    def test_groups(self) -> None:
        """The same groups, amounts, traits and policy."""
        seen = set()

        @hypothesis.settings(
            max_examples=500,
            deadline=None,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(EXTRA_SPECS)
        def agree(specs: dict[str, str]) -> None:
            theirs = scheduler_utils.ResourceRequest()
            theirs._process_extra_specs(objects.Flavor(extra_specs=specs))
            theirs.strip_zeros()
            ours = request.read(specs)
            self.assertEqual(theirs.group_policy, ours.policy)
            self.assertEqual(
                {
                    ident or '': (
                        dict(group.resources),
                        frozenset(group.required_traits),
                        frozenset(group.forbidden_traits),
                    )
                    for ident, group in theirs._rg_by_id.items()
                },
                {
                    g.suffix: (dict(g.resources), g.required, g.forbidden)
                    for g in ours.groups
                },
            )
            seen.update((len(ours.groups), ours.policy))

        agree()
        self.assertLessEqual({0, 1, 2, None, 'none', 'isolate'}, seen)

    def test_aliases(self) -> None:
        """The same number of devices of each class."""
        counts = st.sampled_from(['1', '2', ' 3', '0'])
        items = st.builds(
            '{}{}:{}'.format,
            st.sampled_from(['', ' ']),
            st.sampled_from(ALIASES),
            counts,
        )

        @hypothesis.settings(
            max_examples=100,
            deadline=None,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(st.lists(items, min_size=1, max_size=4))
        def agree(items: list[str]) -> None:
            specs = {'pci_passthrough:alias': ','.join(items)}
            spec = objects.RequestSpec(requested_resources=[])
            spec.pci_requests = pci_request.get_pci_requests_from_flavor(
                objects.Flavor(extra_specs=specs)
            )
            spec.generate_request_groups_from_pci_requests()
            theirs = sorted(
                name
                for group in spec.requested_resources
                for name, amount in group.resources.items()
                for _ in range(amount)
            )
            ours = sorted(
                name
                for group in request.vgpu_groups(specs)
                for name, amount in group.resources.items()
                for _ in range(amount)
            )
            self.assertEqual(theirs, ours)

        agree()

    def test_questions(self) -> None:
        """The scheduler's question for a whole flavor."""
        keys = st.sampled_from(
            [
                'resources:VGPU',
                'resources1:VGPU',
                'resources_B:CUSTOM_GOLD',
                'resources:VCPU',
                'resources:DISK_GB',
                'resources1:MEMORY_MB',
            ]
        )
        others = st.sampled_from(
            [
                {},
                {'hw:cpu_policy': 'shared'},
                {'hw:cpu_policy': 'dedicated'},
                {
                    'hw:cpu_policy': 'dedicated',
                    'hw:emulator_threads_policy': 'isolate',
                },
                {'pci_passthrough:alias': 'l40s-12q:2'},
                {'pci_passthrough:alias': 'l40s-12q:1,a16-4c:1'},
                {'group_policy': 'isolate'},
                {'trait1:CUSTOM_NVIDIA_194': 'forbidden'},
                {'trait:CUSTOM_NVIDIA_194': 'required'},
            ]
        )
        sizes = st.tuples(
            st.integers(1, 8),
            st.integers(1, 4096),
            st.integers(0, 40),
            st.just(True),
            st.integers(0, 3),
            st.sampled_from([0, 1, 1024, 1500]),
        )

        @hypothesis.settings(
            max_examples=300,
            deadline=None,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(
            st.dictionaries(keys, st.sampled_from(['0', '1', '2', 'one'])),
            others,
            sizes,
        )
        def agree(
            given: dict[str, str],
            others: dict[str, str],
            size: tuple[int, int, int, bool, int, int],
        ) -> None:
            specs = given | others
            if 'hw:cpu_policy' in specs:
                # Nova refuses both at once.
                specs.pop('resources:VCPU', None)
            flavor = models.Flavor('id', 'a flavor', *size, specs)
            theirs = self.scheduler.query(flavor)
            self.assertEqual('!COMPUTE_STATUS_DISABLED', theirs.pop(ROOT))
            ours = candidates.query(request.asked(flavor), 1000)
            traits = ours['required'].split(',')
            traits.remove('!COMPUTE_STATUS_DISABLED')
            ours['required'] = ','.join(traits)
            self.assertEqual(plain(theirs), plain(ours), flavor)

        agree()

    def test_a_class_alone_attaches_no_pci_device(self) -> None:
        """Why such a flavor starts guests without a GPU."""
        flavor = objects.Flavor(
            extra_specs={'resources:CUSTOM_NVIDIA_L40S_12Q': '1'}
        )
        found = pci_request.get_pci_requests_from_flavor(flavor)
        self.assertEqual([], found.requests)
