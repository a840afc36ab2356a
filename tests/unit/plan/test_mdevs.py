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
"""Which mdevs to make, which may go, and which must come back."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable

import hypothesis
from hypothesis import strategies as st

from nova_vgpu_ext import exception, models
from nova_vgpu_ext.models import MdevDefinition, Snapshot, Usage
from nova_vgpu_ext.plan import mdevs, removal, restore
from nova_vgpu_ext.plan.actions import (
    Action,
    CreateMdev,
    DefineMdev,
    HostPlan,
    RemoveMdev,
    UndefineMdev,
)
from tests import base
from tests.unit.plan import hosts
from tests.unit.plan.hosts import CARD, GPU_1, GPU_2, UUIDS, mdev

ONE_Q = 'nvidia-194'
TWO_Q = 'nvidia-195'
HOUR = 3600.0


def v100(*held: models.Mdev, address: str = GPU_1) -> models.Gpu:
    """Make a V100 as its driver shows it: one type at a time."""
    kinds = {one.type_id for one in held}
    left = {
        ONE_Q: 32 - len(held) if kinds <= {ONE_Q} else 0,
        TWO_Q: 16 - len(held) if kinds <= {TWO_Q} else 0,
    }
    return hosts.holding(hosts.gpu(address, left), *held)


#: Two types of an A40: its memory, 48 GiB, holds 32 of one or 4 of the other.
A40_TYPES = (
    models.VgpuType('nvidia-557', 'NVIDIA A40-1Q', 0, 32, 1024),
    models.VgpuType('nvidia-562', 'NVIDIA A40-12Q', 0, 4, 12288),
)
VFS = tuple(f'0000:41:{n // 8:02x}.{n % 8}' for n in range(4, 12))


def a40(*held: models.Mdev | None) -> models.Gpu:
    """Make an A40 with eight VFs, of which the first hold these mdevs.

    Each VF without an mdev says that it has room for one of each type, as
    long as the card has memory for one more.
    """
    sizes = {'nvidia-557': 1024, 'nvidia-562': 12288}
    free = 49152 - sum(sizes[one.type_id] for one in held if one)
    vfs = []
    for address, one in itertools.zip_longest(VFS, held):
        vf = models.VirtualFunction(
            address,
            types=tuple(
                dataclasses.replace(
                    t, available=int(one is None and free >= sizes[t.id])
                )
                for t in A40_TYPES
            ),
            physical_function=CARD,
        )
        vfs.append(hosts.holding(vf, one) if one else vf)
    return models.Gpu(
        CARD,
        framework=models.Framework.MDEV,
        total_vfs=8,
        vfs=tuple(vfs),
    )


def created(plan: HostPlan) -> dict[str, str]:
    """Give the parents of the mdevs to make, by UUID."""
    return {a.uuid: a.parent for a in plan.actions if type(a) is CreateMdev}


class FindTest(base.TestCase):
    """What a user names."""

    def test_types(self) -> None:
        """By id, product or whole name."""
        for text in (TWO_Q, 'V100DX-2Q', 'GRID V100DX-2Q'):
            self.assertEqual(TWO_Q, mdevs.resolve_type(v100(), text).id)
        # Where the VFs offer the types, they are the card's.
        for text in ('nvidia-562', 'A40-12Q'):
            found = mdevs.resolve_type(a40(), text)
            self.assertEqual('nvidia-562', found.id)
            found = mdevs.resolve_type(a40().vfs[0], text)
            self.assertEqual('nvidia-562', found.id)

    def test_a_type_that_is_not_offered(self) -> None:
        """The line says what is, with products."""
        for text in ('nvidia-9', 'V100DX-9Q', 'GRID', '1Q', '', '194'):
            error = self.assertRaises(
                exception.NotFound, mdevs.resolve_type, v100(), text
            )
            for part in (ONE_Q, 'V100DX-1Q', TWO_Q, 'V100DX-2Q'):
                self.assertIn(part, str(error))
        error = self.assertRaises(
            exception.NotFound, mdevs.resolve_type, a40(), 'V100DX-1Q'
        )
        self.assertIn('A40-12Q', str(error))

    def test_an_ambiguous_product(self) -> None:
        """The line names the ids to choose from."""
        twins = tuple(
            models.VgpuType(f'nvidia-{n}', 'GRID V100DX-1Q', 1)
            for n in (194, 999)
        )
        gpu = dataclasses.replace(hosts.gpu(), types=twins)
        error = self.assertRaises(
            exception.Refused, mdevs.resolve_type, gpu, 'V100DX-1Q'
        )
        self.assertIn('nvidia-194, nvidia-999', str(error))
        self.assertEqual(
            'nvidia-999', mdevs.resolve_type(gpu, 'nvidia-999').id
        )

    def test_types_without_names(self) -> None:
        """A name that could not be read is nobody's name."""
        gpu = dataclasses.replace(
            hosts.gpu(), types=(models.VgpuType('nvidia-1', None, 1),)
        )
        self.assertRaises(exception.NotFound, mdevs.resolve_type, gpu, 'None')

    def test_devices_and_mdevs(self) -> None:
        """A GPU, a VF or an mdev; what is there where it is none."""
        host = hosts.host(v100(mdev(0)), a40(mdev(1, 'nvidia-557')))
        for address in (GPU_1, CARD, VFS[0]):
            found = mdevs.find_device(host, address)
            self.assertEqual(address, found.address)
        device, one = mdevs.find_mdev(host, UUIDS[1])
        self.assertEqual((VFS[0], UUIDS[1]), (device.address, one.uuid))
        error = self.assertRaises(
            exception.NotFound, mdevs.find_device, host, GPU_2
        )
        self.assertIn(GPU_1, str(error))
        error = self.assertRaises(
            exception.NotFound, mdevs.find_mdev, host, UUIDS[2]
        )
        self.assertIn(UUIDS[1], str(error))


class CreateTest(base.TestCase):
    """New mdevs."""

    def refused(self, *args: object, **more: object) -> str:
        """Plan what cannot be, and give the line that says why."""
        error = self.assertRaises(
            exception.VgpuError, mdevs.create, *args, **more
        )
        self.assertNotIn('\n', str(error))
        return str(error)

    def test_on_a_gpu(self) -> None:
        """As many as are asked for, in the order of their UUIDs."""
        plan = mdevs.create(hosts.host(v100()), GPU_1, ONE_Q, UUIDS[:2])
        self.assertEqual(
            (
                CreateMdev(UUIDS[0], GPU_1, ONE_Q),
                CreateMdev(UUIDS[1], GPU_1, ONE_Q),
            ),
            plan.actions,
        )

    def test_until_it_is_full(self) -> None:
        """And not one more: none at all is made then."""
        held = [models.Mdev(f'held-{n}', TWO_Q, GPU_1) for n in range(14)]
        host = hosts.host(v100(*held))
        plan = mdevs.create(host, GPU_1, TWO_Q, UUIDS[:2])
        self.assertEqual(2, len(plan.actions))
        line = self.refused(host, GPU_1, TWO_Q, UUIDS[:3])
        for part in (GPU_1, 'room for 2', 'expected 3'):
            self.assertIn(part, line)

    def test_one_type_at_a_time(self) -> None:
        """The line names the type that takes the room."""
        host = hosts.host(v100(mdev(7, TWO_Q)))
        line = self.refused(host, GPU_1, ONE_Q, UUIDS[:1])
        self.assertIn('room for 0', line)
        self.assertIn(TWO_Q, line)

    def test_functions_hold_one_each(self) -> None:
        """The card is named, and its functions are used."""
        plan = mdevs.create(
            hosts.host(a40(mdev(7, 'nvidia-557'))),
            CARD,
            'nvidia-557',
            UUIDS[:3],
        )
        self.assertEqual(
            dict(zip(UUIDS, VFS[1:4], strict=False)), created(plan)
        )

    def test_functions_share_the_memory_of_their_card(self) -> None:
        """Eight of them say that there is room for a quarter of it."""
        big = 'nvidia-562'
        for held, room in (
            ((), 4),
            ((mdev(7, big),), 3),
            ((mdev(6, big), None, mdev(7, big)), 2),
            # Four small ones take the room of a big one.
            ([mdev(n, 'nvidia-557') for n in range(4, 8)], 3),
            ((mdev(6, 'nvidia-557'), mdev(7, big), mdev(5, big)), 1),
        ):
            host = hosts.host(a40(*held))
            plan = mdevs.create(host, CARD, big, UUIDS[:room])
            self.assertEqual(room, len(set(created(plan).values())))
            line = self.refused(host, CARD, big, UUIDS[: room + 1])
            self.assertIn(f'room for {room}', line)

    def test_one_function(self) -> None:
        """It takes one, whatever its card has."""
        host = hosts.host(a40())
        plan = mdevs.create(host, VFS[3], 'A40-12Q', UUIDS[:1])
        self.assertEqual({UUIDS[0]: VFS[3]}, created(plan))
        self.refused(host, VFS[3], 'A40-12Q', UUIDS[:2])

    def test_a_command_that_is_given_again(self) -> None:
        """What was made is not made again."""
        host = hosts.host(v100(mdev(0)), a40(mdev(1, 'nvidia-557')))
        for address, type_id, uuid in (
            (GPU_1, ONE_Q, UUIDS[0]),
            (GPU_1, 'V100DX-1Q', UUIDS[0]),
            (CARD, 'nvidia-557', UUIDS[1]),
            (VFS[0], 'nvidia-557', UUIDS[1]),
        ):
            plan = mdevs.create(host, address, type_id, [uuid])
            self.assertEqual(HostPlan(), plan)
        plan = mdevs.create(host, GPU_1, ONE_Q, [UUIDS[0], UUIDS[2]])
        self.assertEqual({UUIDS[2]: GPU_1}, created(plan))

    def test_also_on_a_gpu_that_is_full_now(self) -> None:
        """The last one made is what filled it."""
        held = [mdev(0, TWO_Q)]
        held += [models.Mdev(f'held-{n}', TWO_Q, GPU_1) for n in range(15)]
        host = hosts.host(v100(*held))
        self.assertEqual(
            HostPlan(), mdevs.create(host, GPU_1, TWO_Q, [UUIDS[0]])
        )

    def test_a_uuid_of_something_else(self) -> None:
        """Of another GPU, VF or type; the line says where it is."""
        host = hosts.host(
            v100(mdev(0)), v100(address=GPU_2), a40(mdev(1, 'nvidia-557'))
        )
        for address, type_id, uuid, where in (
            (GPU_2, ONE_Q, UUIDS[0], GPU_1),
            (GPU_1, TWO_Q, UUIDS[0], GPU_1),
            (CARD, 'nvidia-557', UUIDS[0], GPU_1),
            (VFS[1], 'nvidia-557', UUIDS[1], VFS[0]),
        ):
            line = self.refused(host, address, type_id, [uuid])
            self.assertIn(uuid, line)
            self.assertIn(where, line)

    def test_persistent_ones(self) -> None:
        """They are started at each boot, also where they exist already."""
        host = hosts.host(v100(mdev(0)))
        plan = mdevs.create(host, GPU_1, ONE_Q, UUIDS[:2], persist=True)
        self.assertEqual(
            [
                DefineMdev(MdevDefinition(uuid, GPU_1, ONE_Q, True))
                for uuid in UUIDS[:2]
            ],
            [a for a in plan.actions if type(a) is DefineMdev],
        )
        self.assertEqual({UUIDS[1]: GPU_1}, created(plan))

    def test_one_that_is_defined(self) -> None:
        """It is made where its definition is, so that both are one."""
        definitions = [hosts.definition(1, VFS[0], 'nvidia-557')]
        for uuids in ([UUIDS[1]], UUIDS[:2], UUIDS[1::-1]):
            plan = mdevs.create(
                hosts.host(a40()),
                CARD,
                'nvidia-557',
                uuids,
                definitions=definitions,
            )
            self.assertEqual(VFS[0], created(plan)[UUIDS[1]])
            self.assertEqual(len(uuids), len(set(created(plan).values())))

    def test_one_that_is_defined_on_the_last_vf(self) -> None:
        """It is made there, although the card has no room for all VFs."""
        plan = mdevs.create(
            hosts.host(a40()),
            CARD,
            'nvidia-562',
            UUIDS[:4],
            definitions=[hosts.definition(1, VFS[-1], 'nvidia-562')],
        )
        self.assertEqual(VFS[-1], created(plan)[UUIDS[1]])
        self.assertEqual(4, len(set(created(plan).values())))
        line = self.refused(
            hosts.host(a40()),
            CARD,
            'nvidia-562',
            UUIDS[:5],
            definitions=[hosts.definition(1, VFS[-1], 'nvidia-562')],
        )
        self.assertIn('found room for 4', line)

    def test_one_that_is_defined_elsewhere(self) -> None:
        """Its guest expects it there."""
        line = self.refused(
            hosts.host(v100()),
            GPU_1,
            ONE_Q,
            UUIDS[:1],
            definitions=[hosts.definition(0, GPU_2)],
        )
        self.assertIn(GPU_2, line)

    def test_cards_without_mdevs(self) -> None:
        """The line says what to use instead, or who knows what is wrong."""
        line = self.refused(
            hosts.host(hosts.vendor(None)), CARD, '1153', UUIDS[:1]
        )
        self.assertIn('vendor-vfio', line)
        line = self.refused(
            hosts.host(hosts.vendor(None)), '0000:41:00.4', '1153', UUIDS[:1]
        )
        self.assertIn('prepare', line)
        line = self.refused(
            hosts.host(hosts.no_types('nvidia')), GPU_1, ONE_Q, UUIDS[:1]
        )
        self.assertIn('nova-vgpu doctor', line)

    def test_a_gpu_that_is_none(self) -> None:
        """A network card, or an address of nothing."""
        for address in (hosts.NIC, '0000:77:00.0', ''):
            self.refused(hosts.host(v100()), address, ONE_Q, UUIDS[:1])


class RemoveTest(base.TestCase):
    """What a user wants to be gone."""

    def refused(
        self,
        host: Snapshot,
        usage: Usage,
        uuids: Iterable[str] = UUIDS[:1],
    ) -> tuple[str, ...]:
        """Plan what must not be, and give the reasons."""
        error = self.assertRaises(
            exception.Refused, removal.remove, host, usage, list(uuids)
        )
        for reason in error.reasons:
            self.assertNotIn('\n', reason)
        return error.reasons

    def test_those_that_nobody_uses(self) -> None:
        """And no others."""
        host = hosts.host(v100(mdev(0), mdev(1)), a40(mdev(2, 'nvidia-557')))
        plan = removal.remove(host, Usage(), [UUIDS[2], UUIDS[0], UUIDS[2]])
        self.assertEqual(
            (
                RemoveMdev(UUIDS[2], VFS[0], 'nvidia-557'),
                RemoveMdev(UUIDS[0], GPU_1, ONE_Q),
            ),
            plan.actions,
        )

    def test_their_definitions_go_first(self) -> None:
        """Otherwise an interruption leaves one that comes back."""
        both = (hosts.definition(0), hosts.definition(0, GPU_2))
        usage = Usage(definitions=(*both, hosts.definition(1)))
        plan = removal.remove(hosts.host(v100(mdev(0))), usage, UUIDS[:1])
        self.assertEqual(
            [*both, UUIDS[0]],
            [
                a.definition if isinstance(a, UndefineMdev) else a.uuid
                for a in plan.actions
            ],
        )

    def test_one_that_is_only_defined(self) -> None:
        """After a boot at which it could not be made."""
        usage = Usage(definitions=(hosts.definition(0),))
        plan = removal.remove(hosts.host(v100()), usage, UUIDS[:1])
        (step,) = plan.actions
        self.assertEqual(hosts.definition(0), step.definition)
        usage = dataclasses.replace(usage, domains=(hosts.domain('vm', 0),))
        (reason,) = self.refused(hosts.host(v100()), usage)
        self.assertIn('domain vm', reason)

    def test_each_kind_of_user(self) -> None:
        """Each alone is enough, and is named."""
        for one, usage, user in (
            (mdev(0), Usage(domains=(hosts.domain('a', 0),)), 'domain a'),
            (
                mdev(0),
                Usage(domains=(hosts.domain('b', 0, is_active=True),)),
                'domain b (running)',
            ),
            (mdev(0), Usage(holders={UUIDS[0]: ('qemu (7)',)}), 'qemu (7)'),
            (mdev(0, guest='instance-7'), Usage(), 'instance-7'),
            (mdev(0), Usage(allocated={GPU_1: 1}), 'Placement'),
        ):
            (reason,) = self.refused(hosts.host(v100(one)), usage)
            self.assertIn(user, reason)

    def test_all_reasons_are_given(self) -> None:
        """So that one look is enough; what nobody uses stays as well."""
        host = hosts.host(
            v100(mdev(0, guest='x'), mdev(1), mdev(2)),
            v100(mdev(3), address=GPU_2),
        )
        usage = Usage(
            domains=(hosts.domain('a', 0, 1), hosts.domain('b', 1)),
            holders={UUIDS[0]: ('qemu (7)', 'qemu (8)')},
            allocated={GPU_1: 4, GPU_2: 1},
        )
        reasons = self.refused(host, usage, UUIDS[:4])
        # Five users of the first, two of the second, and two GPUs.
        self.assertEqual(len(set(reasons)), len(reasons))
        text = '\n'.join(reasons)
        for part in ('domain a', 'domain b', '(7)', '(8)', 'guest x', GPU_2):
            self.assertIn(part, text)
        self.assertEqual(8, len(reasons))

    def test_an_allocation_that_a_domain_explains(self) -> None:
        """Only what no domain names may be a guest about to start."""
        host = hosts.host(v100(mdev(0), mdev(1)))
        named = (hosts.domain('vm', 1),)
        for allocated, refused in ((0, False), (1, False), (2, True)):
            usage = Usage(domains=named, allocated={GPU_1: allocated})
            if refused:
                self.refused(host, usage)
            else:
                plan = removal.remove(host, usage, UUIDS[:1])
                self.assertEqual(1, len(plan.actions))

    def test_a_domain_with_two_of_them(self) -> None:
        """It explains two allocations; one named twice explains one."""
        host = hosts.host(v100(mdev(0), mdev(1), mdev(2)))
        two = (hosts.domain('a', 1, 2),)
        usage = Usage(domains=two, allocated={GPU_1: 2})
        self.assertEqual(
            1, len(removal.remove(host, usage, UUIDS[:1]).actions)
        )
        same = (hosts.domain('a', 1), hosts.domain('b', 1))
        usage = Usage(domains=same, allocated={GPU_1: 2})
        self.refused(host, usage)

    def test_allocations_of_other_gpus(self) -> None:
        """They say nothing of this one."""
        host = hosts.host(v100(mdev(0)), v100(mdev(1), address=GPU_2))
        usage = Usage(allocated={GPU_2: 5})
        self.assertEqual(
            1, len(removal.remove(host, usage, UUIDS[:1]).actions)
        )

    def test_what_is_not_there(self) -> None:
        """The line says what is; with others that are, it is a finding."""
        host = hosts.host(v100(mdev(1)))
        error = self.assertRaises(
            exception.NotFound, removal.remove, host, Usage(), [UUIDS[0]]
        )
        self.assertIn(UUIDS[1], str(error))
        plan = removal.remove(host, Usage(), UUIDS[:2])
        self.assertEqual((RemoveMdev(UUIDS[1], GPU_1, ONE_Q),), plan.actions)
        (finding,) = plan.findings
        self.assertIn(UUIDS[0], str(finding))


class CleanTest(base.TestCase):
    """Orphans, and nothing but orphans."""

    def clean(
        self,
        *gpus: models.Gpu,
        configured: str | None = None,
        **usage: object,
    ) -> HostPlan:
        """Plan a clean-up with an hour of grace."""
        names = {}
        if configured:
            names = {d.address: configured for g in gpus for d in g.devices}
        return removal.clean(hosts.host(*gpus), Usage(**usage), names, HOUR)

    def removed(self, *gpus: models.Gpu, **other: object) -> set[str]:
        """Give the UUIDs of what goes, where nothing is in the way."""
        plan = self.clean(*gpus, **other)
        self.assertEqual((), plan.findings)
        return {a.uuid for a in plan.actions if type(a) is RemoveMdev}

    def test_the_grace_time(self) -> None:
        """An mdev of which Nova has not told libvirt yet is young."""
        gpu = v100(mdev(0), mdev(1), mdev(2), mdev(3))
        ages = {UUIDS[0]: HOUR - 1, UUIDS[1]: HOUR, UUIDS[2]: HOUR + 1}
        self.assertEqual(set(UUIDS[1:3]), self.removed(gpu, ages=ages))

    def test_an_mdev_in_use(self) -> None:
        """However old it is, and whatever its type."""
        old = {UUIDS[0]: 100 * HOUR}
        for one, usage in (
            (mdev(0), {'domains': (hosts.domain('a', 0),)}),
            (mdev(0), {'domains': (hosts.domain('a', 0, is_active=True),)}),
            (mdev(0), {'holders': {UUIDS[0]: ('qemu (7)',)}}),
            (mdev(0, guest='instance-7'), {}),
        ):
            for configured in (None, ONE_Q, TWO_Q):
                self.assertEqual(
                    set(),
                    self.removed(
                        v100(one), configured=configured, ages=old, **usage
                    ),
                )

    def test_leftovers_of_another_type(self) -> None:
        """Nova can never use them, and they take the whole GPU away."""
        gpu = v100(mdev(0, TWO_Q))
        for ages in ({}, {UUIDS[0]: 0.0}):
            self.assertEqual(
                {UUIDS[0]}, self.removed(gpu, configured=ONE_Q, ages=ages)
            )
            self.assertEqual(set(), self.removed(gpu, ages=ages))
            self.assertEqual(
                set(), self.removed(gpu, configured=TWO_Q, ages=ages)
            )

    def test_a_type_that_could_not_be_read(self) -> None:
        """It is nobody's leftover; its age counts."""
        gpu = v100(mdev(0, None))
        self.assertEqual(set(), self.removed(gpu, configured=ONE_Q))
        ages = {UUIDS[0]: HOUR}
        self.assertEqual(
            {UUIDS[0]}, self.removed(gpu, configured=ONE_Q, ages=ages)
        )

    def test_a_guest_that_is_about_to_start(self) -> None:
        """Nova has allocated, and may take any of them: all stay."""
        gpu = v100(mdev(0), mdev(1, TWO_Q))
        old = dict.fromkeys(UUIDS, HOUR)
        other = v100(mdev(2), address=GPU_2)
        plan = self.clean(
            gpu, other, configured=ONE_Q, ages=old, allocated={GPU_1: 1}
        )
        self.assertEqual((RemoveMdev(UUIDS[2], GPU_2, ONE_Q),), plan.actions)
        (finding,) = plan.findings
        self.assertIs(models.Severity.WARNING, finding.severity)
        self.assertEqual(GPU_1, finding.option)

    def test_an_allocation_that_a_domain_explains(self) -> None:
        """It keeps no other mdev."""
        old = dict.fromkeys(UUIDS, HOUR)
        self.assertEqual(
            {UUIDS[1]},
            self.removed(
                v100(mdev(0), mdev(1)),
                domains=(hosts.domain('a', 0),),
                ages=old,
                allocated={GPU_1: 1},
            ),
        )

    def test_no_warning_where_nothing_would_go(self) -> None:
        """A guest that starts is no reason to tell anybody."""
        plan = self.clean(v100(mdev(0)), allocated={GPU_1: 1})
        self.assertEqual(HostPlan(), plan)

    def test_without_libvirt(self) -> None:
        """Nobody knows what its domains name, so nothing goes."""
        for gpus in ((), (v100(mdev(0)),)):
            error = self.assertRaises(
                exception.Refused, self.clean, *gpus, has_domains=False
            )
            self.assertIn('[vgpu] libvirt_uri', str(error))

    def test_the_definition_goes_before_the_mdev(self) -> None:
        """Otherwise mdevctl or nova-compute would make it again."""
        plan = self.clean(
            v100(mdev(0), mdev(1)),
            ages={UUIDS[0]: HOUR},
            definitions=(hosts.definition(0), hosts.definition(1)),
        )
        first, second = plan.actions
        self.assertEqual(hosts.definition(0), first.definition)
        self.assertEqual(RemoveMdev(UUIDS[0], GPU_1, ONE_Q), second)

    def test_functions(self) -> None:
        """Each is a provider of its own."""
        gpu = a40(mdev(0, 'nvidia-557'), mdev(1, 'nvidia-557'))
        plan = self.clean(
            gpu, ages=dict.fromkeys(UUIDS, HOUR), allocated={VFS[0]: 1}
        )
        self.assertEqual(
            (RemoveMdev(UUIDS[1], VFS[1], 'nvidia-557'),), plan.actions
        )

    def test_definitions_alone_are_no_orphans(self) -> None:
        """What is not there takes no room."""
        plan = self.clean(v100(), definitions=(hosts.definition(0),))
        self.assertEqual(HostPlan(), plan)


class RestoreTest(base.TestCase):
    """What a reboot took away."""

    def restore(self, *gpus: models.Gpu, **usage: object) -> HostPlan:
        """Plan the return of everything."""
        return restore.restore(hosts.host(*gpus), Usage(**usage))

    def actions(self, *gpus: models.Gpu, **usage: object) -> list[Action]:
        """Plan it where nothing is in the way."""
        plan = self.restore(*gpus, **usage)
        self.assertEqual((), plan.findings)
        return list(plan.actions)

    def test_from_a_definition(self) -> None:
        """It counts more than the ledger: somebody wrote it down."""
        self.assertEqual(
            [CreateMdev(UUIDS[0], GPU_2, TWO_Q)],
            self.actions(
                v100(),
                v100(address=GPU_2),
                domains=(hosts.domain('a', 0),),
                definitions=(
                    hosts.definition(0, GPU_2, TWO_Q, autostart=False),
                ),
                ledger=hosts.entry(0, GPU_1, ONE_Q),
            ),
        )

    def test_from_the_ledger(self) -> None:
        """Where /etc/mdevctl.d was lost with its container."""
        self.assertEqual(
            [
                CreateMdev(UUIDS[0], GPU_1, ONE_Q),
                CreateMdev(UUIDS[1], VFS[2], 'nvidia-557'),
            ],
            self.actions(
                v100(),
                a40(),
                domains=(hosts.domain('a', 0), hosts.domain('b', 1)),
                ledger={
                    **hosts.entry(0),
                    **hosts.entry(1, VFS[2], 'nvidia-557'),
                },
            ),
        )

    def test_nothing_that_no_domain_names(self) -> None:
        """An orphan of yesterday is not made again."""
        self.assertEqual([], self.actions(v100(), ledger=hosts.entry(0)))

    def test_what_is_there_stays(self) -> None:
        """The second run, or a domain that was started already."""
        self.assertEqual(
            [],
            self.actions(
                v100(mdev(0)),
                domains=(hosts.domain('a', 0, is_active=True),),
                definitions=(hosts.definition(0),),
                ledger=hosts.entry(0),
            ),
        )

    def test_two_domains_with_one_mdev(self) -> None:
        """Only one of them can run, but either may."""
        self.assertEqual(
            [CreateMdev(UUIDS[0], GPU_1, ONE_Q)],
            self.actions(
                v100(),
                domains=(hosts.domain('a', 0), hosts.domain('b', 0)),
                ledger=hosts.entry(0),
            ),
        )

    def test_nobody_knows_it(self) -> None:
        """The line names the domain and says how to help."""
        plan = self.restore(
            v100(),
            domains=(hosts.domain('a', 0), hosts.domain('b', 1)),
            ledger=hosts.entry(1),
        )
        self.assertEqual({UUIDS[1]: GPU_1}, created(plan))
        (finding,) = plan.findings
        for part in ('domain a', UUIDS[0], 'mdev create --uuid'):
            self.assertIn(part, str(finding))

    def test_types_beside_each_other(self) -> None:
        """A virtual parent takes any, a GPU one at a time."""
        for gpu, names, fit in (
            (v100(), (ONE_Q, TWO_Q), False),
            (hosts.mtty({'a': 8, 'b': 4}), ('a', 'b'), True),
        ):
            definitions = tuple(
                hosts.definition(number, gpu.address, name)
                for number, name in enumerate(names)
            )
            plan = self.restore(gpu, definitions=definitions)
            self.assertEqual(fit, not plan.actions, gpu)

    def test_its_gpu_is_gone(self) -> None:
        """Or no longer offers the type; a definition of it goes."""
        for gpu, place in (
            (v100(), (GPU_2, ONE_Q)),
            (v100(), (GPU_1, 'nvidia-9')),
            (hosts.no_types('nvidia'), (GPU_1, ONE_Q)),
        ):
            one = hosts.definition(0, *place)
            for known in (
                {'definitions': (one,)},
                {'ledger': hosts.entry(0, *place)},
            ):
                plan = self.restore(
                    gpu, domains=(hosts.domain('a', 0),), **known
                )
                (finding,) = plan.findings
                self.assertIn('domain a', str(finding))
                self.assertIn(place[0], str(finding))
                self.assertEqual(
                    [one] if 'definitions' in known else [],
                    [a.definition for a in plan.actions],
                )

    def test_definitions_that_nova_could_not_start(self) -> None:
        """One of them, and nova-compute does not start at all."""
        stale = (
            hosts.definition(0, GPU_2),
            hosts.definition(1, GPU_1, 'nvidia-9'),
            hosts.definition(2, GPU_1, TWO_Q, autostart=False),
        )
        good = (hosts.definition(3), hosts.definition(4, autostart=False))
        gpu = v100(mdev(7))
        steps = self.actions(gpu, definitions=(*stale, *good))
        self.assertEqual(set(stale), {step.definition for step in steps})
        for step in steps:
            self.assertIn(step.definition.parent, step.reason)

    def test_a_gpu_that_is_full(self) -> None:
        """Sixteen fit; one more definition would stop nova-compute."""
        definitions = tuple(
            MdevDefinition(f'defined-{n}', GPU_1, TWO_Q) for n in range(17)
        )
        (step,) = self.actions(v100(), definitions=definitions)
        self.assertEqual(definitions[16], step.definition)

    def test_definitions_of_what_is_there_take_no_room(self) -> None:
        """A GPU that is full of them is as it should be."""
        held = [models.Mdev(f'held-{n}', TWO_Q, GPU_1) for n in range(16)]
        definitions = tuple(
            MdevDefinition(one.uuid, GPU_1, TWO_Q) for one in held
        )
        self.assertEqual(
            [], self.actions(v100(*held), definitions=definitions)
        )
        # Half of them are there, and a guest waits for each of the others.
        waiting = models.Domain(
            'a', 'a', mdevs=tuple(one.uuid for one in held[8:])
        )
        self.assertEqual(
            [CreateMdev(one.uuid, GPU_1, TWO_Q) for one in held[8:]],
            self.actions(
                v100(*held[:8]), definitions=definitions, domains=(waiting,)
            ),
        )

    def test_domains_come_before_definitions(self) -> None:
        """Whatever is left, is for those that nobody waits for."""
        (first, second) = self.actions(
            v100(),
            definitions=(hosts.definition(0, GPU_1, TWO_Q),),
            domains=(hosts.domain('a', 1),),
            ledger=hosts.entry(1),
        )
        self.assertEqual(CreateMdev(UUIDS[1], GPU_1, ONE_Q), first)
        self.assertEqual(hosts.definition(0, GPU_1, TWO_Q), second.definition)

    def test_functions_share_the_memory_of_their_card(self) -> None:
        """Five big ones do not fit, although eight functions are free."""
        big = 'nvidia-562'
        definitions = tuple(
            MdevDefinition(f'defined-{n}', VFS[n], big) for n in range(4)
        )
        (first, second) = self.actions(
            a40(),
            definitions=definitions,
            domains=(hosts.domain('a', 0),),
            ledger=hosts.entry(0, VFS[7], big),
        )
        self.assertEqual(CreateMdev(UUIDS[0], VFS[7], big), first)
        self.assertEqual(definitions[3], second.definition)

    def test_no_room_for_a_domain(self) -> None:
        """It is told, and the others come back."""
        plan = self.restore(
            v100(),
            domains=(hosts.domain('a', 0), hosts.domain('b', 1)),
            ledger={
                **hosts.entry(0),
                **hosts.entry(1, GPU_1, TWO_Q),
            },
        )
        self.assertEqual({UUIDS[0]: GPU_1}, created(plan))
        (finding,) = plan.findings
        self.assertIn('domain b', str(finding))
        self.assertIn('no room', str(finding))

    def test_a_uuid_that_is_defined_twice(self) -> None:
        """mdevctl keeps it for each parent; only one of them can start."""
        both = (hosts.definition(0), hosts.definition(0, GPU_2))
        gpus = (v100(), v100(address=GPU_2))
        for there, expected in (
            (gpus, [both[1]]),
            ((v100(mdev(0)), gpus[1]), [both[1]]),
            ((gpus[0], v100(mdev(0), address=GPU_2)), [both[0]]),
        ):
            steps = self.actions(*there, definitions=both)
            self.assertEqual(expected, [step.definition for step in steps])


Planner = Callable[[Snapshot, Usage, st.DataObject], HostPlan]

NUMBERS = st.integers(0, 5)
PLACES = (GPU_1, GPU_2, VFS[0], VFS[1])


@st.composite
def situations(draw: st.DrawFn) -> tuple[Snapshot, Usage]:
    """Draw a host and who uses it; the numbers need not add up."""
    where = {
        number: draw(st.sampled_from((None, *PLACES))) for number in range(6)
    }
    types = (ONE_Q, TWO_Q, None)

    def made(address: str) -> list[models.Mdev]:
        return [
            mdev(
                number,
                draw(st.sampled_from(types)),
                draw(st.sampled_from((None, None, 'instance-7'))),
            )
            for number, place in where.items()
            if place == address
        ]

    card = a40()
    vfs = tuple(hosts.holding(vf, *made(vf.address)) for vf in card.vfs[:2])
    host = hosts.host(
        *(
            hosts.holding(hosts.gpu(a, {ONE_Q: 3, TWO_Q: 3}), *made(a))
            for a in (GPU_1, GPU_2)
        ),
        dataclasses.replace(card, vfs=vfs),
    )
    few = st.lists(NUMBERS, max_size=2, unique=True)
    usage = Usage(
        domains=tuple(
            hosts.domain(name, *draw(few), is_active=draw(st.booleans()))
            for name in 'ab'[: draw(st.integers(0, 2))]
        ),
        # Only what exists can be held open.
        holders={UUIDS[n]: ('qemu (7)',) for n in draw(few) if where[n]},
        definitions=tuple(
            hosts.definition(n, draw(st.sampled_from(PLACES)))
            for n in draw(few)
        ),
        ledger={k: v for n in draw(few) for k, v in hosts.entry(n).items()},
        ages={UUIDS[n]: draw(st.sampled_from((0.0, HOUR))) for n in range(6)},
        allocated=draw(
            st.none()
            | st.dictionaries(st.sampled_from(PLACES), st.integers(0, 3))
        ),
    )
    return host, usage


class NeverTest(base.TestCase):
    """No plan takes away what somebody has, or may be about to have."""

    def check(self, host: Snapshot, usage: Usage, plan: HostPlan) -> int:
        """Check each removal of a plan, and count them."""
        named = {u for domain in usage.domains for u in domain.mdevs}
        parents = {m.uuid: m.parent for m in host.mdevs}
        guests = {m.uuid for m in host.mdevs if m.guest}
        gone: set[str] = set()
        for step in plan.actions:
            uuid = (
                step.definition.uuid
                if isinstance(step, UndefineMdev)
                else step.uuid
            )
            self.assertNotIn(uuid, {*named, *usage.holders, *guests})
            if isinstance(step, RemoveMdev):
                gone.add(uuid)
        for address, allocated in (usage.allocated or {}).items():
            here = {u for u, parent in parents.items() if parent == address}
            if allocated > len(here & named):
                self.assertEqual(set(), here & gone, (address, allocated))
        return len(gone)

    def run_random(self, plan: Planner) -> None:
        """Check many plans, of which some remove something."""
        removed = [0]

        @hypothesis.settings(
            max_examples=400,
            deadline=None,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(situations(), st.data())
        def run(
            situation: tuple[Snapshot, Usage], data: st.DataObject
        ) -> None:
            host, usage = situation
            try:
                found = plan(host, usage, data)
            except exception.VgpuError:
                return
            removed[0] += self.check(host, usage, found)

        run()
        self.assertGreater(removed[0], 20)

    def test_clean(self) -> None:
        """With any configuration and grace time."""

        def plan(
            host: Snapshot, usage: Usage, data: st.DataObject
        ) -> HostPlan:
            configured = data.draw(
                st.dictionaries(
                    st.sampled_from(PLACES), st.sampled_from((ONE_Q, TWO_Q))
                )
            )
            grace = data.draw(st.sampled_from((0.0, HOUR)))
            return removal.clean(host, usage, configured, grace)

        self.run_random(plan)

    def test_remove(self) -> None:
        """Of any of them."""

        def plan(
            host: Snapshot, usage: Usage, data: st.DataObject
        ) -> HostPlan:
            chosen = data.draw(st.lists(NUMBERS, min_size=1, unique=True))
            return removal.remove(host, usage, [UUIDS[n] for n in chosen])

        self.run_random(plan)

    def test_leaving_a_type(self) -> None:
        """For any GPU; what is left is of the new type alone."""

        def plan(
            host: Snapshot, usage: Usage, data: st.DataObject
        ) -> HostPlan:
            gpu = data.draw(st.sampled_from(host.gpus))
            found = removal.leave_type(host, usage, gpu, ONE_Q)
            gone = {a.uuid for a in found.actions if type(a) is RemoveMdev}
            kinds = {
                m.type_id
                for d in gpu.devices
                for m in d.mdevs
                if m.uuid not in gone
            }
            self.assertLessEqual(kinds, {ONE_Q})
            return found

        self.run_random(plan)
