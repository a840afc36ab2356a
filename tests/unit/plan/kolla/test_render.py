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
"""Each host gets the options that the description asks for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import hypothesis
import jinja2
from hypothesis import strategies as st

from nova_vgpu_ext import models
from nova_vgpu_ext.conf import load
from nova_vgpu_ext.plan import functions, types
from nova_vgpu_ext.plan.kolla import reading, render
from tests import base

#: As kolla-ansible's merge_configs and Ansible set it up.
JINJA = jinja2.Environment(  # noqa: S701
    lstrip_blocks=True, trim_blocks=True, undefined=jinja2.StrictUndefined
)
HOSTS = ('gpu01', 'gpu-2.example.org', 'x_3')
GROUPS = ('gpus', 'gpu-v100')
GPUS = tuple(f'0000:{n:02x}:00.0' for n in range(0x10, 0x18))
CARDS = {
    f'0000:{n:02x}:00.0': [f'0000:{n:02x}:00.{f}' for f in range(4, 8)]
    for n in (0x3B, 0x3C)
}
CLASSES = {'nvidia-194': None, 'nvidia-196': 'CUSTOM_BIG', 'mtty-2': None}

types_of_gpus = st.fixed_dictionaries(
    {},
    optional={
        'all': st.just('nvidia-194'),
        **{gpu: st.sampled_from(sorted(CLASSES)) for gpu in GPUS},
    },
)
cards = st.fixed_dictionaries(
    {},
    optional={
        card: st.fixed_dictionaries(
            {
                'type': st.sampled_from(['L40S-12Q', 'H900-8C']),
                'vfs': st.lists(st.sampled_from(vfs), min_size=1, unique=True),
            }
        )
        for card, vfs in CARDS.items()
    },
)
entries = st.fixed_dictionaries(
    {'gpus': types_of_gpus},
    optional={
        'vendor_vfio': cards,
        'device_specs': st.just(['{"address": "*:0a:00.*"}']),
    },
)
descriptions = st.fixed_dictionaries(
    {
        'hosts': st.dictionaries(st.sampled_from(HOSTS), entries),
        'groups': st.dictionaries(st.sampled_from(GROUPS), entries),
    },
    optional={
        'aliases': st.just(
            ['{"name": "nic", "vendor_id": "15b3", "product_id": "1018"}']
        )
    },
)
memberships = st.dictionaries(st.sampled_from(HOSTS), st.sampled_from(GROUPS))


def long_form(type_id: str) -> Any:
    """Add the class of a type, which all GPUs of it have."""
    mdev_class = CLASSES[type_id]
    if mdev_class is None:
        return type_id
    return {'type': type_id, 'class': mdev_class}


def with_classes(data: dict[str, Any]) -> dict[str, Any]:
    """Write the types of a description's GPUs as the file has them."""
    return {
        **data,
        **{
            kind: {
                name: {
                    **entry,
                    'gpus': {
                        a: long_form(t) for a, t in entry['gpus'].items()
                    },
                }
                for name, entry in data[kind].items()
            }
            for kind in ('hosts', 'groups')
        },
    }


def block(data: Any, service: str = render.COMPUTE) -> str:
    """Render a description without a finding."""
    description, findings = reading.read('vgpu.yml', data, (), ('pack',))
    assert not findings, findings  # noqa: S101
    return render.blocks(description)[service]


class ComputeTest(base.TestCase):
    """nova-compute, by host."""

    def conf(self, text: str, host: str, member: Mapping[str, str]) -> Any:
        """Let Jinja and then oslo.config read the block for one host."""
        groups = {
            name: [h for h in HOSTS if member.get(h) == name]
            for name in GROUPS
        }
        rendered = JINJA.from_string(text).render(
            inventory_hostname=host, groups=groups
        )
        return load.load([self.write_conf(rendered)])

    def check(
        self, conf: Any, entry: Mapping[str, Any], has_cards: bool
    ) -> None:
        """Compare options with an entry of the description."""
        config = load.devices_config(conf)
        type_map, findings = types.resolve(config, models.Snapshot())
        self.assertEqual([], findings)
        wanted = entry['gpus']
        for gpu in GPUS:
            found = type_map.type_of(gpu)
            expected = wanted.get(gpu, wanted.get('all'))
            self.assertEqual(expected, found.id if found else None)
            if expected:
                self.assertEqual(
                    CLASSES[expected] or 'VGPU', type_map.class_of(gpu)
                )
        vfs = {
            vf: card['type']
            for card in entry.get('vendor_vfio', {}).values()
            for vf in card['vfs']
        }
        self.assertEqual(vfs, functions.parse_types(conf.vgpu.vf_types))
        specs = [json.loads(spec) for spec in conf.pci.device_spec]
        own = [s for s in specs if 'resource_class' not in s]
        self.assertEqual(len(entry.get('device_specs', ())), len(own))
        self.assertEqual(
            {
                vf: f'CUSTOM_NVIDIA_{t.replace("-", "_")}'
                for vf, t in vfs.items()
            },
            {s['address']: s['resource_class'] for s in specs if s not in own},
        )
        self.assertEqual(
            bool(vfs) or (has_cards and bool(own)),
            conf.pci.report_in_placement,
        )

    @hypothesis.settings(max_examples=60)
    @hypothesis.given(descriptions, memberships)
    def test_any_description(
        self, data: dict[str, Any], member: dict[str, str]
    ) -> None:
        """Host before group; a host in neither gets nothing."""
        text = block(with_classes(data))
        has_cards = any(
            entry.get('vendor_vfio')
            for kind in ('hosts', 'groups')
            for entry in data[kind].values()
        )
        for host in (*HOSTS, 'other'):
            entry = data['hosts'].get(host) or data['groups'].get(
                member.get(host), {'gpus': {}}
            )
            conf = self.conf(text, host, member)
            self.check(conf, entry, has_cards)
            self.assertEqual(
                has_cards or 'aliases' in data, bool(conf.pci.alias)
            )

    def test_unknown_group(self) -> None:
        """Ansible stops at a group that its inventory has no more."""
        text = block({'groups': {'gone': {'gpus': {'all': 'nvidia-1'}}}})
        self.assertRaises(
            jinja2.UndefinedError,
            JINJA.from_string(text).render,
            inventory_hostname='gpu01',
            groups={},
        )

    def test_live_migration(self) -> None:
        """Functions and alias say it, or neither does."""
        card, vfs = next(iter(CARDS.items()))
        entry = {'type': 'L40S-12Q', 'vfs': vfs, 'live_migratable': 'yes'}
        text = block({'hosts': {'gpu01': {'vendor_vfio': {card: entry}}}})
        self.assertEqual(5, text.count('"live_migratable": "yes"'))
        entry['live_migratable'] = 'no'
        text = block({'hosts': {'gpu01': {'vendor_vfio': {card: entry}}}})
        self.assertNotIn('live_migratable', text)


class ServicesTest(base.TestCase):
    """The services without GPUs."""

    def test_mdevs_alone(self) -> None:
        """Mediated devices need nothing but nova-compute."""
        data = {'groups': {'gpus': {'gpus': {'all': 'nvidia-194'}}}}
        for service in render.SERVICES:
            expected = service == render.COMPUTE
            self.assertEqual(expected, bool(block(data, service)), service)

    def test_own_scheduler(self) -> None:
        """What the operator has stays, and ours follows once."""
        text = block(
            {
                'policy': 'pack',
                'scheduler': {
                    'enabled_filters': ['Mine', 'VgpuPolicyFilter'],
                    'available_filters': ['my.filters'],
                    'weight_classes': ['my.weights'],
                },
                'hosts': {
                    'gpu01': {'gpus': {GPUS[0]: long_form('nvidia-196')}}
                },
            },
            render.SCHEDULER,
        )
        self.assertEqual(
            '[filter_scheduler]\n'
            'available_filters = my.filters\n'
            'available_filters = '
            'nova_vgpu_ext.nova_plugins.filters.VgpuPolicyFilter\n'
            'enabled_filters = Mine,VgpuPolicyFilter\n'
            'weight_classes = my.weights,'
            'nova_vgpu_ext.nova_plugins.weights.VgpuPolicyWeigher,'
            'nova_vgpu_ext.nova_plugins.weights.GpuHostWeigher\n'
            '[vgpu]\n'
            'gpu_policy = pack\n'
            'gpu_classes = CUSTOM_BIG\n',
            text,
        )
