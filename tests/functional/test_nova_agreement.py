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
"""Nova is the reference: the plan against Nova's own driver.

Random hosts and configurations go to Nova's real LibvirtDriver, over its fake
libvirt, and to this project's reader and plan. Both read the same nova.conf;
Nova sees the host as libvirt would describe it, we see its sysfs.
"""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
import tempfile
import uuid
from typing import Any

import hypothesis
import testtools
from hypothesis import strategies as st

from nova_vgpu_ext import models
from nova_vgpu_ext.conf import load
from nova_vgpu_ext.host import snapshot
from nova_vgpu_ext.plan import inventory
from nova_vgpu_ext.sim import builder, description
from tests import base
from tests.functional.fixtures import nova as nova_fixture

NODE = nova_fixture.NODE
_TYPES = ('nvidia-1', 'nvidia-2', 'nvidia-3', 'nvidia-4')
_ADDRESSES = tuple(f'0000:{bus:02x}:00.0' for bus in (0x1A, 0x3D, 0x89, 0xB2))
_SRIOV = '0000:41:00.0'
_NIC = '0000:5e:00.0'


def _spec(type_id: str) -> description.TypeSpec:
    return description.TypeSpec(
        id=type_id, name=f'GRID V100DX-{type_id[-1]}Q', maximum=4
    )


@st.composite
def devices(draw: st.DrawFn, address: str, most: int) -> dict[str, Any]:
    """Draw what a device offers and holds; the numbers need not add up."""
    offered = sorted(draw(st.sets(st.sampled_from(_TYPES))))
    held = (
        draw(st.lists(st.sampled_from(offered), max_size=most))
        if (offered)
        else []
    )
    return {
        'address': address,
        'types': tuple(_spec(t) for t in offered),
        'mdevs': tuple(
            description.MdevSpec(str(uuid.uuid4()), t) for t in held
        ),
        'available': {t: draw(st.integers(0, most)) for t in offered},
    }


@st.composite
def hosts(draw: st.DrawFn) -> description.Profile:
    """Draw a host: cards, perhaps one with VFs, perhaps mtty."""
    gpus = [
        description.GpuSpec(**draw(devices(address, 4)))
        for address in sorted(draw(st.sets(st.sampled_from(_ADDRESSES))))
    ]
    number = draw(st.integers(0, 4))
    if number:
        vfs = tuple(
            description.VfSpec(**draw(devices(address, 1)))
            for address in description.vf_addresses(_SRIOV, number)
        )
        gpus.append(description.GpuSpec(_SRIOV, vfs=vfs, total_vfs=number))
    if nova_fixture.KNOWS_VIRTUAL and draw(st.integers(0, 4)) == 0:
        mtty = draw(devices('mtty_mtty', 4))
        gpus.append(
            description.GpuSpec(
                **mtty, driver=None, class_id='000000', vendor_id='0000'
            )
        )
    nic = description.PciSpec(_NIC, '8086', '1572', '020000', 'i40e')
    return description.Profile('random', tuple(gpus), (nic,))


_GOOD = (
    *_ADDRESSES,
    _NIC,
    '0000:07:00.0',
    *description.vf_addresses(_SRIOV, 4),
    *(('mtty_mtty',) if nova_fixture.KNOWS_VIRTUAL else ()),
)
#: Some that Nova takes although no device matches, and some that it refuses.
_ODD = (
    *('0000:1A:00.0', '0000:1a:00:0', '1a:00.0', 'gpu0', 'x_y'),
    *(('', 'mtty') if nova_fixture.KNOWS_VIRTUAL else ()),
)


@st.composite
def configurations(draw: st.DrawFn) -> str:
    """Draw a nova.conf, right or wrong."""
    enabled = draw(
        st.lists(st.sampled_from((*_TYPES, 'nvidia-9', '')), max_size=4)
    )
    spelling = draw(
        st.sampled_from(('enabled_mdev_types', 'enabled_vgpu_types'))
    )
    lines = ['[devices]', f'{spelling} = {", ".join(enabled)}']
    addresses = list(_GOOD) + (
        list(_ODD) if draw(st.integers(0, 3)) == 0 else []
    )
    for type_id in dict.fromkeys(enabled):
        section = draw(st.sampled_from(('mdev', 'mdev', 'vgpu', '')))
        if not section:
            continue
        lines.append(f'[{section}_{type_id}]')
        chosen = draw(
            st.lists(
                st.sampled_from(addresses),
                max_size=4,
                unique=draw(st.integers(0, 9)) > 0,
            )
        )
        lines.append(f'device_addresses = {",".join(chosen)}')
        # A class or cap of None is no line at all.
        classes = (None, 'VGPU', 'CUSTOM_A', 'CUSTOM_B2')
        caps = (None, '1', '2', '5', '8')
        if draw(st.integers(0, 9)) == 0:
            classes, caps = ('vgpu', 'CUSTOM_a'), ('0', '-1', 'many', '')
        for name, values in (('mdev_class', classes), ('max_instances', caps)):
            value = draw(st.sampled_from(values))
            if value is not None:
                lines.append(f'{name} = {value}')
    return '\n'.join(lines) + '\n'


def _ours(
    conf: pathlib.Path, seen: models.Snapshot, reported: list[str]
) -> inventory.InventoryPlan:
    config = load.devices_config(load.load([str(conf)]))
    return inventory.plan(config, seen, NODE, ('type',), reported)


def _as_nova_has_it(
    plan: inventory.InventoryPlan,
) -> dict[str, dict[str, dict[str, Any]]]:
    return {
        p.name: {p.resource_class: dataclasses.asdict(p.inventory)}
        for p in plan.providers
    }


class TestNovaAgreement(base.TestCase):
    """Same providers, classes and records; an error where Nova has one."""

    def setUp(self) -> None:
        super().setUp()
        self.host = self.useFixture(
            nova_fixture.NovaHost(description.Profile('empty'))
        )
        self.outcomes: dict[str, int] = {}

    def test_random_hosts_and_configurations(self) -> None:
        """Hundreds of examples, among them refusals and non-empty trees."""

        @hypothesis.settings(
            max_examples=400,
            deadline=None,
            database=None,
            derandomize=False,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(hosts(), configurations(), st.data())
        def agree(
            profile: description.Profile, conf: str, data: st.DataObject
        ) -> None:
            with tempfile.TemporaryDirectory() as folder:
                self._compare(pathlib.Path(folder), profile, conf, data)

        agree()
        # The strategies must reach each kind of outcome, or prove nothing.
        for kind in ('refused', 'empty', 'reported', 'capped'):
            self.assertGreater(self.outcomes.get(kind, 0), 5, self.outcomes)

    def _compare(
        self,
        folder: pathlib.Path,
        profile: description.Profile,
        text: str,
        data: st.DataObject,
    ) -> None:
        root = folder / 'sys'
        builder.build(profile, str(root))
        conf = folder / 'nova.conf'
        conf.write_text(text)
        seen = snapshot.observe(str(root), None)
        parents = [d.address for d in seen.mdev_parents]
        first = data.draw(
            st.lists(st.sampled_from(parents), unique=True)
            if parents
            else st.just([])
        )
        # Nova follows the order of libvirt's list; ours puts what Placement
        # has first. Both get the same order here.
        order = sorted(parents, key=lambda address: address not in first)
        self.host.show(profile, order)
        expected, error = self.host.result(conf)
        plan = _ours(
            conf, seen, [inventory.provider_name(NODE, a) for a in first]
        )
        fatal = [f for f in plan.findings if f.severity.value == 'fatal']
        self.assertEqual(
            error is not None, plan.is_fatal, (error, fatal, text, profile)
        )
        self.assertEqual(expected, _as_nova_has_it(plan), (text, profile))
        self._count(error, expected, text)

    def _count(
        self, error: Exception | None, expected: object, text: str
    ) -> None:
        kinds = ['refused' if error else 'reported' if expected else 'empty']
        if expected and 'max_instances' in text:
            kinds.append('capped')
        for kind in kinds:
            self.outcomes[kind] = self.outcomes.get(kind, 0) + 1

    @testtools.skipUnless(
        nova_fixture.KNOWS_VIRTUAL, 'Nova before 34 knows no virtual parents'
    )
    def test_every_spelling_of_addresses(self) -> None:
        """Each good and odd address alone, on a host with everything."""
        everything = description.Profile(
            'all',
            (
                description.GpuSpec(_ADDRESSES[0], types=(_spec('nvidia-1'),)),
                description.GpuSpec(
                    'mtty_mtty',
                    types=(_spec('nvidia-1'),),
                    driver=None,
                    vendor_id='0000',
                    class_id='000000',
                ),
            ),
        )
        root = pathlib.Path(self.temp_dir()) / 'sys'
        builder.build(everything, str(root))
        seen = snapshot.observe(str(root), None)
        self.host.show(everything)
        conf = root.parent / 'nova.conf'
        for address, listed in itertools.product(
            (*_GOOD, *_ODD), ('', ',mtty_mtty')
        ):
            conf.write_text(
                '[devices]\nenabled_mdev_types = nvidia-1\n'
                f'[mdev_nvidia-1]\ndevice_addresses = {address}{listed}\n'
            )
            expected, error = self.host.result(conf)
            plan = _ours(conf, seen, [])
            message = repr((address, listed, error))
            self.assertEqual(error is not None, plan.is_fatal, message)
            self.assertEqual(expected, _as_nova_has_it(plan), message)

    def test_empty_type_is_no_default_for_good(self) -> None:
        """A stray comma leaves the default to the next type, as in Nova."""
        profile = description.Profile(
            'one',
            (
                description.GpuSpec(
                    _ADDRESSES[0],
                    types=(_spec('nvidia-1'), _spec('nvidia-2')),
                ),
            ),
        )
        root = pathlib.Path(self.temp_dir()) / 'sys'
        builder.build(profile, str(root))
        self.host.show(profile)
        conf = root.parent / 'nova.conf'
        conf.write_text('[devices]\nenabled_mdev_types = ,nvidia-2,nvidia-1\n')
        expected, error = self.host.result(conf)
        plan = _ours(conf, snapshot.observe(str(root), None), [])
        self.assertIsNone(error)
        self.assertEqual(4, next(iter(expected.values()))['VGPU']['total'])
        self.assertEqual(expected, _as_nova_has_it(plan))
