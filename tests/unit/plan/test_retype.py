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
"""Another type on one GPU: what must go, and what nova.conf must say."""

from __future__ import annotations

import pathlib
import tempfile

import hypothesis
from hypothesis import strategies as st

from nova_vgpu_ext import exception, models
from nova_vgpu_ext.conf import load
from nova_vgpu_ext.models import DevicesConfig, Snapshot, TypeConfig, Usage
from nova_vgpu_ext.plan import functions, retype, types
from nova_vgpu_ext.plan.actions import (
    ClearVendorType,
    RemoveMdev,
    SetVendorType,
    UndefineMdev,
)
from tests import base
from tests.unit.plan import hosts
from tests.unit.plan.hosts import CARD, GPU_1, GPU_2, GPU_3, UUIDS, at

TYPES = ('nvidia-1', 'nvidia-2', 'nvidia-3')
OFFERS = dict.fromkeys(TYPES, 4)
VFS = tuple(f'0000:41:00.{4 + n}' for n in range(2))


def text_of(config: DevicesConfig) -> str:
    """Write a nova.conf."""
    names = ', '.join(t.id for t in config.types)
    lines = ['[devices]', f'enabled_mdev_types = {names}']
    for one in config.types:
        if one.device_addresses:
            addresses = ', '.join(one.device_addresses)
            lines += [f'[mdev_{one.id}]', f'device_addresses = {addresses}']
    return '\n'.join(lines) + '\n'


def changed(config: DevicesConfig, lines: list[str]) -> DevicesConfig:
    """Read a nova.conf in which these lines were changed."""
    with tempfile.TemporaryDirectory() as folder:
        before = pathlib.Path(folder, '1.conf')
        before.write_text(text_of(config))
        after = pathlib.Path(folder, '2.conf')
        after.write_text('\n'.join(lines) + '\n')
        return load.devices_config(load.load([str(before), str(after)]))


def types_of(config: DevicesConfig, host: Snapshot) -> dict[str, str | None]:
    """Give the type of every device that has some, as Nova resolves it."""
    type_map, findings = types.resolve(config, host)
    fatal = [f for f in findings if f.severity is models.Severity.FATAL]
    assert not fatal, fatal  # noqa: S101
    found = {
        d.address: type_map.type_of(d.address) for d in host.devices if d.types
    }
    # A stray comma is a type without a name, which is none.
    return {a: (one.id or None) if one else None for a, one in found.items()}


def two_vfs() -> models.Gpu:
    """Make a card with two functions that offer every type."""
    card = hosts.sriov(2)
    vfs = tuple(
        models.VirtualFunction(
            address,
            types=hosts.types(OFFERS),
            physical_function=CARD,
        )
        for address in VFS
    )
    return models.Gpu(
        CARD,
        card.vendor_id,
        card.device_id,
        driver='nvidia',
        framework=models.Framework.MDEV,
        total_vfs=2,
        vfs=vfs,
    )


class ConfigurationTest(base.TestCase):
    """The lines of nova.conf."""

    def lines(
        self,
        config: DevicesConfig,
        *gpus: models.Gpu,
        address: str = GPU_1,
        type_text: str = 'nvidia-2',
    ) -> list[str]:
        """Give the lines for one GPU of a host."""
        host = hosts.host(*gpus)
        gpu = retype.find_gpu(host, address)
        return retype.configuration(config, host, gpu, type_text)

    def test_the_first_exception_to_a_default(self) -> None:
        """The other GPUs keep the default, which stays without addresses."""
        self.assertEqual(
            [
                '[devices]',
                'enabled_mdev_types = nvidia-1, nvidia-2',
                '[mdev_nvidia-2]',
                f'device_addresses = {GPU_1}',
            ],
            self.lines(
                hosts.config(['nvidia-1']),
                hosts.gpu(GPU_1, OFFERS),
                hosts.gpu(GPU_2, OFFERS),
            ),
        )

    def test_nothing_is_configured(self) -> None:
        """One GPU gets a type; the others get none by that."""
        self.assertEqual(
            [
                '[devices]',
                'enabled_mdev_types = nvidia-2',
                '[mdev_nvidia-2]',
                f'device_addresses = {GPU_1}',
            ],
            self.lines(hosts.config([]), hosts.gpu(GPU_1, OFFERS)),
        )

    def test_from_one_section_to_another(self) -> None:
        """Only the sections that change are printed."""
        self.assertEqual(
            [
                '[devices]',
                'enabled_mdev_types = nvidia-1, nvidia-2, nvidia-3',
                '[mdev_nvidia-1]',
                f'device_addresses = {GPU_2}',
                '[mdev_nvidia-2]',
                f'device_addresses = {GPU_3}, {GPU_1}',
            ],
            self.lines(
                hosts.config(
                    {
                        'nvidia-1': at(GPU_1, GPU_2),
                        'nvidia-2': at(GPU_3),
                        'nvidia-3': {},
                    }
                ),
                *(hosts.gpu(a, OFFERS) for a in (GPU_1, GPU_2, GPU_3)),
            ),
        )

    def test_the_last_gpu_of_a_type(self) -> None:
        """A type left without addresses would be everybody's default."""
        config = hosts.config({'nvidia-1': at(GPU_1), 'nvidia-2': at(GPU_2)})
        gpus = [hosts.gpu(a, OFFERS) for a in (GPU_1, GPU_2, GPU_3)]
        lines = self.lines(config, *gpus)
        self.assertIn('enabled_mdev_types = nvidia-2', lines)
        found = types_of(changed(config, lines), hosts.host(*gpus))
        self.assertEqual(
            {GPU_1: 'nvidia-2', GPU_2: 'nvidia-2', GPU_3: None}, found
        )

    def test_back_to_the_default(self) -> None:
        """Its address is taken out, not written to the default."""
        self.assertEqual(
            ['[devices]', 'enabled_mdev_types = nvidia-2'],
            self.lines(
                hosts.config({'nvidia-2': {}, 'nvidia-1': at(GPU_1)}),
                hosts.gpu(GPU_1, OFFERS),
            ),
        )

    def test_nova_conf_says_so_already(self) -> None:
        """By the default, or by a section."""
        for config in (
            hosts.config(['nvidia-2']),
            hosts.config({'nvidia-1': {}, 'nvidia-2': at(GPU_1)}),
        ):
            gpu = hosts.gpu(GPU_1, OFFERS)
            self.assertEqual([], self.lines(config, gpu))

    def test_a_card_with_functions(self) -> None:
        """Its functions are named: the card itself offers nothing."""
        self.assertIn(
            f'device_addresses = {", ".join(VFS)}',
            self.lines(hosts.config(['nvidia-1']), two_vfs(), address=CARD),
        )

    def test_a_virtual_parent_is_named_where_a_type_is_default(self) -> None:
        """Nova's default is for PCI devices only."""
        config = hosts.config(['nvidia-2'])
        host = hosts.host(hosts.mtty(OFFERS), hosts.gpu(GPU_1, OFFERS))
        lines = self.lines(
            config,
            hosts.mtty(OFFERS),
            hosts.gpu(GPU_1, OFFERS),
            address='mtty_mtty',
        )
        self.assertEqual(
            {'mtty_mtty': 'nvidia-2', GPU_1: 'nvidia-2'},
            types_of(changed(config, lines), host),
        )

    def test_a_product(self) -> None:
        """As everywhere, a type may be named by its product."""
        self.assertIn(
            'enabled_mdev_types = nvidia-1, nvidia-2',
            self.lines(
                hosts.config(['nvidia-1']),
                hosts.gpu(GPU_1, OFFERS),
                type_text='V100DX-2Q',
            ),
        )

    def test_what_is_not_there(self) -> None:
        """A type that the GPU does not offer, or a GPU that is none."""
        gpu = hosts.gpu(GPU_1, OFFERS)
        self.assertRaises(
            exception.NotFound,
            self.lines,
            hosts.config(['nvidia-1']),
            gpu,
            type_text='nvidia-9',
        )
        host = hosts.host(gpu, two_vfs())
        for address in (GPU_2, VFS[0], hosts.NIC, '', 'x'):
            error = self.assertRaises(
                exception.NotFound, retype.find_gpu, host, address
            )
            self.assertIn(GPU_1, str(error))


_GPUS = (GPU_1, GPU_2, GPU_3)
_ADDRESSES = (*_GPUS, *VFS, 'mtty_mtty', '0000:77:00.0')


@st.composite
def configurations(draw: st.DrawFn) -> DevicesConfig:
    """Draw a nova.conf that Nova starts with; each address once."""
    enabled = draw(
        st.lists(st.sampled_from((*TYPES, 'nvidia-9', '')), max_size=5)
    )
    left = list(draw(st.permutations(_ADDRESSES)))
    sections: dict[str, tuple[str, ...]] = {}
    for type_id in dict.fromkeys(enabled):
        count = draw(st.integers(0, 3)) if type_id else 0
        sections[type_id] = tuple(left[:count])
        del left[:count]
    return DevicesConfig(
        types=tuple(TypeConfig(t, sections[t]) for t in sections)
    )


@st.composite
def machines(draw: st.DrawFn) -> Snapshot:
    """Draw a host: GPUs, perhaps a card with functions, perhaps mtty."""
    gpus = [
        hosts.gpu(address, OFFERS) for address in _GPUS if draw(st.booleans())
    ]
    if draw(st.booleans()):
        gpus.append(two_vfs())
    if not gpus or draw(st.booleans()):
        gpus.append(hosts.mtty(OFFERS))
    host = hosts.host(*gpus)
    return models.Snapshot(
        host.gpus, host.pci_devices, host.virtual_devices | {'mtty_mtty'}
    )


class RandomConfigurationTest(base.TestCase):
    """The lines do what they say, and nothing else."""

    def test_any_configuration(self) -> None:
        """The GPU has the type then; every other one has what it had."""
        kinds: dict[str, int] = {}

        @hypothesis.settings(
            max_examples=200,
            deadline=None,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(
            configurations(), machines(), st.sampled_from(TYPES), st.data()
        )
        def check(
            config: DevicesConfig,
            host: Snapshot,
            type_id: str,
            data: st.DataObject,
        ) -> None:
            gpu = data.draw(st.sampled_from(host.gpus))
            before = types_of(config, host)
            lines = retype.configuration(config, host, gpu, type_id)
            after = types_of(changed(config, lines), host)
            mine = {d.address for d in gpu.devices if d.types}
            wanted = {
                address: type_id if address in mine else old
                for address, old in before.items()
            }
            self.assertEqual(wanted, after, (config, lines))
            again = changed(config, lines)
            self.assertEqual(
                [], retype.configuration(again, host, gpu, type_id)
            )
            kind = 'changed' if lines else 'same'
            kinds[kind] = kinds.get(kind, 0) + 1

        check()
        self.assertGreater(min(kinds.values()), 3, kinds)
        self.assertEqual({'changed', 'same'}, set(kinds))


class VfTypesTest(base.TestCase):
    """The line for a card with vendor-specific VFIO."""

    def items(
        self, items: list[str], type_text: str = '1153', *current: str | None
    ) -> list[str]:
        """Give the new vf_types; the old one where nothing changes."""
        gpu = hosts.vendor(*(current or (None, None)))
        lines = retype.vf_types(items, gpu, type_text)
        if not lines:
            return items
        section, line = lines
        self.assertEqual('[vgpu]', section)
        name, _, values = line.partition(' = ')
        self.assertEqual('vf_types', name)
        return values.split(', ')

    def test_every_function_gets_the_type(self) -> None:
        """Whatever was said before; other cards keep what they have."""
        other = '0000:c1:00.0'
        for items in (
            [],
            ['1153'],
            ['L40S-12Q'],
            ['1145'],
            [f'{CARD}=1145'],
            [f'{CARD}=1153'],
            [f'{VFS[0]}=1145'],
            ['1145', f'{CARD}=1153', f'{VFS[0]}=1145', f'{other}=1145'],
            ['1153', f'{VFS[0]}=1153'],
        ):
            before = functions.parse_types(items)
            after = functions.parse_types(self.items(items))
            card = hosts.vendor('1145', None)
            plan = functions.set_types(hosts.host(card), Usage(), after)
            self.assertLessEqual(
                {SetVendorType(VFS[0], '1153'), SetVendorType(VFS[1], '1153')},
                set(plan.actions),
                items,
            )
            self.assertEqual(before.get(''), after.get(''))
            self.assertEqual(before.get(other), after.get(other))

    def test_nothing_to_change(self) -> None:
        """By number or product."""
        for items in (['1153'], ['L40S-12Q'], ['1145', f'{CARD}=L40S-12Q']):
            self.assertEqual(items, self.items(items))
            self.assertEqual(items, self.items(items, 'L40S-12Q'))

    def test_what_was_there_need_not_be_right(self) -> None:
        """A slip of the hand is what the command may be there to mend."""
        for wrong in ('L40S-7Q', '9999'):
            for current in ((None, None), ('1145', None)):
                self.assertEqual(
                    [f'{CARD}=1153'],
                    self.items([f'{CARD}={wrong}'], '1153', *current),
                )


class PlanTest(base.TestCase):
    """What must go before the switch."""

    def plan(
        self,
        gpu: models.Gpu,
        usage: Usage | None = None,
        type_text: str = 'nvidia-2',
    ) -> tuple[object, ...]:
        """Plan the switch of one GPU, beside another one in use."""
        other = hosts.holding(
            hosts.gpu(GPU_2, OFFERS), hosts.mdev(7, 'nvidia-1', 'vm')
        )
        host = hosts.host(gpu, other)
        found = retype.plan(host, usage or Usage(), gpu, type_text)
        self.assertEqual((), found.findings)
        return found.actions

    def test_mdevs_of_other_types(self) -> None:
        """Those of the new type stay, as does everything on other GPUs."""
        gpu = hosts.holding(
            hosts.gpu(GPU_1, OFFERS),
            hosts.mdev(0, 'nvidia-1'),
            hosts.mdev(1, 'nvidia-2'),
            hosts.mdev(2, 'nvidia-3'),
        )
        self.assertEqual(
            (
                RemoveMdev(UUIDS[0], GPU_1, 'nvidia-1'),
                RemoveMdev(UUIDS[2], GPU_1, 'nvidia-3'),
            ),
            self.plan(gpu),
        )

    def test_definitions_of_other_types(self) -> None:
        """They would bring the old type back at the next boot."""
        mine = hosts.definition(0, GPU_1, 'nvidia-1')
        usage = Usage(
            definitions=(
                mine,
                hosts.definition(1, GPU_1, 'nvidia-2'),
                hosts.definition(2, GPU_2, 'nvidia-1'),
            )
        )
        (step,) = self.plan(hosts.gpu(GPU_1, OFFERS), usage)
        self.assertIsInstance(step, UndefineMdev)
        self.assertEqual(mine, step.definition)

    def test_functions_that_hold_mdevs(self) -> None:
        """They are the GPU's."""
        card = two_vfs()
        vfs = (
            hosts.holding(card.vfs[0], hosts.mdev(0, 'nvidia-1')),
            card.vfs[1],
        )
        card = models.Gpu(
            CARD, framework=models.Framework.MDEV, vfs=vfs, total_vfs=2
        )
        self.assertEqual(
            (RemoveMdev(UUIDS[0], VFS[0], 'nvidia-1'),), self.plan(card)
        )

    def test_anything_in_use_refuses_all(self) -> None:
        """With every user; the mdev that nobody uses stays as well."""
        gpu = hosts.holding(
            hosts.gpu(GPU_1, OFFERS),
            hosts.mdev(0, 'nvidia-1'),
            hosts.mdev(1, 'nvidia-1'),
            hosts.mdev(2, 'nvidia-1'),
        )
        usage = Usage(
            domains=(hosts.domain('one', 0),),
            holders={UUIDS[1]: ('qemu-kvm (4711)',)},
        )
        error = self.assertRaises(exception.Refused, self.plan, gpu, usage)
        self.assertIn('domain one', str(error))
        self.assertIn('4711', str(error))

    def test_a_guest_that_waits_for_its_mdev(self) -> None:
        """After a boot its mdev is not there, but it needs the old type."""
        usage = Usage(
            domains=(hosts.domain('one', 0),),
            ledger=hosts.entry(0, GPU_1, 'nvidia-1'),
        )
        gpu = hosts.gpu(GPU_1, OFFERS)
        error = self.assertRaises(exception.Refused, self.plan, gpu, usage)
        self.assertIn('domain one', str(error))
        # Those of another GPU, or of the new type, are not in the way.
        for place in ((GPU_2, 'nvidia-1'), (GPU_1, 'nvidia-2')):
            usage = Usage(
                domains=(hosts.domain('one', 0),),
                ledger=hosts.entry(0, *place),
            )
            self.assertEqual((), self.plan(gpu, usage))

    def test_functions_with_a_vendors_type(self) -> None:
        """They are cleared; those that have the new type stay."""
        card = hosts.vendor('1145', '1153', None)
        self.assertEqual(
            (ClearVendorType(VFS[0], '1145'),),
            self.plan(card, type_text='L40S-12Q'),
        )

    def test_nothing_to_do(self) -> None:
        """An empty GPU, or one that has the type."""
        self.assertEqual((), self.plan(hosts.gpu(GPU_1, OFFERS)))
        gpu = hosts.holding(
            hosts.gpu(GPU_1, OFFERS), hosts.mdev(0, 'nvidia-2', 'vm')
        )
        self.assertEqual((), self.plan(gpu))
