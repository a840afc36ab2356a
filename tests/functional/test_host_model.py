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
"""Random lives of a host against a simple model of it.

Commands, guests, reboots, Nova and changes of nova.conf come in any order.
The model knows nothing of the program's plans; it says what fits, who uses
what, and therefore what must be refused, must go, or must come back.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import tempfile
import unittest
from typing import ClassVar, NamedTuple

import hypothesis
from hypothesis import stateful
from hypothesis import strategies as st

from nova_vgpu_ext.sim import builder, description, kernel
from tests import base
from tests.functional import host_base
from tests.functional.base import NODE, Outcome, run_cli
from tests.functional.fixtures import libvirt

GPU, CARD = host_base.GPU, host_base.SRIOV
VFS = host_base.SRIOV_VFS[:3]
UUIDS = host_base.UUIDS[:6]
DOMAINS = ('instance-1', 'instance-2', 'instance-3')
PARAMETERS = ('disable_vnc', 'enable_uvm')

#: By type: its size, and how many fit on one card.
GPU_TYPES = {'nvidia-194': (1024, 3), 'nvidia-196': (4096, 2)}
CARD_TYPES = {'nvidia-558': (2048, 24), 'nvidia-567': (24576, 2)}
CARD_MEMORY = 49152


class Place(NamedTuple):
    """What an mdev is, and where."""

    type: str
    parent: str


@dataclasses.dataclass
class Domain:
    """A guest that libvirt knows."""

    mdevs: tuple[str, ...]
    is_running: bool = False


@dataclasses.dataclass
class Model:
    """A host with one GPU, and one card with functions."""

    has_vfs: bool = True
    mdevs: dict[str, Place] = dataclasses.field(default_factory=dict)
    #: By UUID and parent: the type.
    definitions: dict[tuple[str, str], str] = dataclasses.field(
        default_factory=dict
    )
    parameters: dict[str, dict[str, str]] = dataclasses.field(
        default_factory=dict
    )
    domains: dict[str, Domain] = dataclasses.field(default_factory=dict)
    gpu_type: str = 'nvidia-194'
    card_type: str = 'nvidia-558'

    def is_named(self, uuid: str) -> bool:
        """Whether a domain names an mdev."""
        return any(uuid in domain.mdevs for domain in self.domains.values())

    def places(self, gpu: str) -> tuple[str, ...]:
        """Give the devices that a name stands for."""
        if gpu == GPU:
            return (GPU,)
        vfs = VFS if self.has_vfs else ()
        return vfs if gpu == CARD else tuple(vf for vf in vfs if vf == gpu)

    def types(self, parent: str) -> dict[str, tuple[int, int]]:
        """Give the types that a device offers."""
        return GPU_TYPES if parent == GPU else CARD_TYPES

    def configured(self, parent: str) -> str:
        """Give the type that nova.conf says of a device."""
        return self.gpu_type if parent == GPU else self.card_type

    def fits(self, place: Place) -> bool:
        """Whether the driver would make one more."""
        if place.parent not in (
            GPU,
            *self.places(CARD),
        ) or place.type not in self.types(place.parent):
            return False
        size, most = self.types(place.parent)[place.type]
        if place.parent == GPU:
            on_gpu = [p for p in self.mdevs.values() if p.parent == GPU]
            return len(on_gpu) < most and {p.type for p in on_gpu} <= {
                place.type
            }
        on_card = [p for p in self.mdevs.values() if p.parent != GPU]
        taken = sum(CARD_TYPES[p.type][0] for p in on_card)
        return (
            all(p.parent != place.parent for p in on_card)
            and taken + size <= CARD_MEMORY
            and sum(p.type == place.type for p in on_card) < most
        )

    def homes(self, uuid: str) -> list[Place]:
        """Give the places where an mdev is defined."""
        return [
            Place(type_id, parent)
            for (name, parent), type_id in self.definitions.items()
            if name == uuid
        ]

    def known(self, uuid: str) -> list[Place]:
        """Give the places where an mdev is or is defined."""
        there = [self.mdevs[uuid]] if uuid in self.mdevs else []
        return there + self.homes(uuid)

    def choices(self, uuid: str, gpu: str, type_id: str) -> set[str]:
        """Tell where mdev create may make or find an mdev."""
        inside = self.places(gpu)
        for found in self.known(uuid):
            if found.type != type_id or found.parent not in inside:
                return set()
        if uuid in self.mdevs:
            return {self.mdevs[uuid].parent}
        rooms = {p for p in inside if self.fits(Place(type_id, p))}
        return rooms & {place.parent for place in self.homes(uuid)} or rooms

    def remove(self, uuid: str) -> None:
        """Remove an mdev and its definitions."""
        self.mdevs.pop(uuid, None)
        self.parameters.pop(uuid, None)
        for place in self.homes(uuid):
            del self.definitions[uuid, place.parent]

    def reboot(self) -> None:
        """Let only the cards, the definitions and the domains stay."""
        self.has_vfs = False
        self.mdevs.clear()
        self.parameters.clear()
        for domain in self.domains.values():
            domain.is_running = False


def _profile() -> description.Profile:
    small = host_base.small_host()
    kept = [gpu for gpu in small.gpus if gpu.address in (GPU, CARD)]
    return dataclasses.replace(small, gpus=tuple(_fewer(g) for g in kept))


def _fewer(gpu: description.GpuSpec) -> description.GpuSpec:
    """Let a GPU be full soon."""
    types = tuple(_rarer(t) for t in gpu.types)
    return dataclasses.replace(gpu, types=types, vfs=gpu.vfs[: len(VFS)])


def _rarer(spec: description.TypeSpec) -> description.TypeSpec:
    fewer = dataclasses.replace(spec, maximum=GPU_TYPES[spec.id][1])
    return dataclasses.replace(fewer, description=description.describe(fewer))


#: A number that picks one of what there is at that moment.
_picks = st.integers(0, 1 << 10)
_parents = st.sampled_from((GPU, *VFS))
#: Mostly what goes together.
_GPUS_AND_TYPES = (
    *((GPU, type_id) for type_id in GPU_TYPES),
    *((CARD, type_id) for type_id in CARD_TYPES),
    *((vf, type_id) for vf in VFS[1:] for type_id in CARD_TYPES),
    (GPU, 'nvidia-567'),
    (CARD, 'nvidia-194'),
)


def _has_mdevs(machine: HostMachine) -> bool:
    return bool(machine.model.mdevs)


class HostMachine(stateful.RuleBasedStateMachine):
    """Does the same to a host and to the model, and compares them."""

    #: How often it came to what.
    outcomes: ClassVar[dict[str, int]] = {}

    def __init__(self) -> None:
        super().__init__()
        self.check = unittest.TestCase()
        self.folder = tempfile.mkdtemp()
        self.host = host_base.Host(os.path.join(self.folder, 'host'))
        kernel.build(_profile(), self.host.root)
        self.kernel = kernel.SimulatedKernel(self.host.root)
        self.libvirt = libvirt.Libvirt()
        self.libvirt.setUp()
        self.model = Model()
        self.configure()

    def teardown(self) -> None:
        """Look at the tree a last time, and take the host away."""
        self.check_tree()
        self.libvirt.cleanUp()
        shutil.rmtree(self.folder)

    def configure(self) -> None:
        """Write nova.conf."""
        types = dict.fromkeys((self.model.gpu_type, self.model.card_type))
        self.conf = os.path.join(self.folder, 'nova.conf')
        with open(self.conf, 'w', encoding='utf-8') as stream:
            stream.write(
                f'[devices]\nenabled_mdev_types = {", ".join(types)}\n'
                f'[mdev_{self.model.card_type}]\n'
                f'device_addresses = {", ".join(VFS)}\n'
                f'[vgpu]\nlibvirt_uri = {libvirt.URI}\n'
            )

    def run(self, *command: str) -> Outcome:
        """Run a command; what a domain names survives it."""
        named = {u for u in self.host.mdevs if self.model.is_named(u)}
        found = run_cli(
            f'--config-file={self.conf}',
            f'--sysfs-root={self.host.root}',
            f'--node={NODE}',
            *command,
        )
        self.check.assertNotIn('Traceback', found.err)
        self.check.assertLessEqual(named, set(self.host.mdevs), command)
        return found

    def existing(self, pick: int) -> str:
        """Pick the UUID of an mdev or definition, or now and then any."""
        there = [uuid for uuid in UUIDS if self.model.known(uuid)]
        return [*there * 4, *UUIDS][pick % (4 * len(there) + len(UUIDS))]

    def unused(self, pick: int) -> str:
        """Pick a UUID of no mdev, or now and then any."""
        free = [uuid for uuid in UUIDS if uuid not in self.model.mdevs]
        return [*free * 4, *UUIDS][pick % (4 * len(free) + len(UUIDS))]

    def count(self, outcome: str) -> None:
        """Count what has come to pass."""
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1

    # -- commands -----------------------------------------------------------

    @stateful.initialize(
        picks=st.lists(_picks, min_size=3, max_size=3),
        parents=st.lists(_parents, min_size=2, max_size=2),
    )
    def begin(self, picks: list[int], parents: list[str]) -> None:
        """Begin with mdevs, and with guests that have some of them."""
        for uuid, parent, where in zip(
            UUIDS, (GPU, *parents), picks, strict=False
        ):
            types = sorted(self.model.types(parent))
            place = (parent, types[where % len(types)])
            self.make(uuid, place, persist=where % 3 == 0)
        for name, pick in zip(DOMAINS, picks, strict=False):
            self.define(name, [pick])

    @stateful.rule(
        pick=_picks,
        where=st.sampled_from(_GPUS_AND_TYPES),
        persist=st.booleans(),
    )
    def create(self, pick: int, where: tuple[str, str], persist: bool) -> None:
        """Make an mdev."""
        self.make(self.unused(pick), where, persist)

    def make(self, uuid: str, where: tuple[str, str], persist: bool) -> None:
        """Make an mdev with this UUID."""
        gpu, type_id = where
        found = self.run(
            'mdev',
            'create',
            f'--gpu={gpu}',
            f'--type={type_id}',
            f'--uuid={uuid}',
            *(['--persist'] if persist else []),
        )
        parents = self.model.choices(uuid, gpu, type_id)
        self.check.assertEqual(not parents, bool(found.code), found)
        if parents:
            place = Place(*self.host.mdevs[uuid])
            self.check.assertEqual(type_id, place.type)
            self.check.assertIn(place.parent, parents)
            self.model.mdevs[uuid] = place
            if persist:
                self.model.definitions[uuid, place.parent] = type_id

    @stateful.precondition(_has_mdevs)
    @stateful.rule(picks=st.lists(_picks, min_size=1, max_size=3))
    def remove(self, picks: list[int]) -> None:
        """Remove mdevs, unless one is used."""
        model = self.model
        uuids = {self.existing(pick) for pick in picks}
        found = self.run('mdev', 'remove', *uuids)
        there = {uuid for uuid in uuids if model.known(uuid)}
        if any(model.is_named(uuid) for uuid in uuids):
            self.check.assertEqual((1, ''), (found.code, found.out))
            self.count('refused')
            return
        self.check.assertEqual(there != uuids, bool(found.code), found)
        for uuid in there:
            model.remove(uuid)

    @stateful.rule(grace=st.sampled_from(((), ('--grace=0',))))
    def clean(self, grace: tuple[str, ...]) -> None:
        """Remove orphans."""
        found = self.run('mdev', 'clean', *grace)
        self.check.assertEqual(0, found.code, found)
        for uuid, place in list(self.model.mdevs.items()):
            wrong = place.type != self.model.configured(place.parent)
            if not self.model.is_named(uuid) and (grace or wrong):
                self.count('cleaned')
                self.model.remove(uuid)

    @stateful.precondition(_has_mdevs)
    @stateful.rule(
        pick=_picks,
        key=st.sampled_from(PARAMETERS),
        value=st.sampled_from(('0', '1')),
    )
    def set_parameter(self, pick: int, key: str, value: str) -> None:
        """Set a parameter beside others."""
        uuid = self.existing(pick)
        found = self.run('mdev', 'params', 'set', uuid, f'{key}={value}')
        self.check.assertEqual(uuid not in self.model.mdevs, bool(found.code))
        if uuid in self.model.mdevs:
            self.model.parameters.setdefault(uuid, {})[key] = value

    @stateful.precondition(_has_mdevs)
    @stateful.rule(
        pick=_picks, keys=st.lists(st.sampled_from(PARAMETERS), max_size=1)
    )
    def clear_parameters(self, pick: int, keys: list[str]) -> None:
        """Clear one parameter, or all."""
        uuid = self.existing(pick)
        found = self.run('mdev', 'params', 'clear', uuid, *keys)
        self.check.assertEqual(uuid not in self.model.mdevs, bool(found.code))
        for key in keys or PARAMETERS:
            self.model.parameters.get(uuid, {}).pop(key, None)

    @stateful.rule(where=st.sampled_from(_GPUS_AND_TYPES))
    def retype(self, where: tuple[str, str]) -> None:
        """Give a GPU another type, unless something of another is used."""
        gpu, type_id = where
        gpu = CARD if gpu in VFS else gpu
        origins = self.origins()
        found = self.run('gpu', 'retype', gpu, type_id)
        model = self.model
        inside = model.places(gpu)

        def is_other(place: Place) -> bool:
            return place.parent in inside and place.type != type_id

        others = {u for u in UUIDS if any(map(is_other, model.known(u)))}
        waiting = {
            uuid
            for uuid in {*origins} - {*model.mdevs}
            if any(map(is_other, origins[uuid]))
        }
        refused = (
            not inside
            or type_id not in model.types(inside[0])
            or any(model.is_named(uuid) for uuid in others | waiting)
        )
        self.check.assertEqual(refused, bool(found.code), found)
        if refused:
            self.count('retype refused')
            return
        for uuid in others:
            self.count('retyped')
            model.remove(uuid)

    @stateful.rule()
    def prepare(self) -> None:
        """Bring back what domains name; then nova-compute starts."""
        model, check = self.model, self.check
        origins = self.origins()
        before = dict(model.mdevs)
        found = self.run('prepare')
        model.has_vfs = True
        model.mdevs = {u: Place(*p) for u, p in self.host.mdevs.items()}
        check.assertLessEqual(before.items(), model.mdevs.items())
        lost = False
        for domain in model.domains.values():
            for uuid in domain.mdevs:
                if uuid not in model.mdevs:
                    lost = True
                    self.count('no room' if uuid in origins else 'unknown')
                    check.assertEqual(
                        uuid in origins, uuid in self.host.ledger
                    )
                    for origin in origins.get(uuid, ()):
                        check.assertFalse(model.fits(origin), found)
                elif uuid not in before:
                    self.count('restored')
                    check.assertIn(model.mdevs[uuid], origins[uuid])
        check.assertEqual(lost, bool(found.code), found)
        new = model.mdevs.keys() - before.keys()
        check.assertTrue(all(model.is_named(uuid) for uuid in new), found)
        self._check_definitions(found)
        self._check_ledger()
        self._start_compute()

    def origins(self) -> dict[str, list[Place]]:
        """Tell where mdevs belong: where they are defined, or were made."""
        found = {
            name: [Place(entry['type'], entry['parent'])]
            for name, entry in self.host.ledger.items()
        }
        homes = {uuid: self.model.homes(uuid) for uuid in UUIDS}
        return found | {
            uuid: places for uuid, places in homes.items() if places
        }

    def _check_definitions(self, found: Outcome) -> None:
        """Only what could not start has been put aside."""
        kept = self._definitions()
        model = self.model
        self.check.assertLessEqual(kept.items(), model.definitions.items())
        gone = model.definitions.keys() - kept.keys()
        model.definitions = kept
        full = dataclasses.replace(model, mdevs=dict(model.mdevs))
        for (uuid, parent), type_id in kept.items():
            full.mdevs.setdefault(uuid, Place(type_id, parent))
        for uuid, parent in gone:
            self.count('put aside')
            self.check.assertIn(uuid, found.out)
            place = Place(self._aside()[uuid, parent], parent)
            self.check.assertNotEqual(place, model.mdevs.get(uuid))
            self.check.assertTrue(
                uuid in full.mdevs or not full.fits(place), (place, found)
            )

    def _check_ledger(self) -> None:
        ledger = self.host.ledger
        model = self.model
        for uuid in UUIDS:
            known = model.known(uuid)
            if known:
                entry = ledger[uuid]
                place = Place(entry['type'], entry['parent'])
                self.check.assertEqual(known[0], place)
            elif uuid in ledger:
                self.check.assertTrue(model.is_named(uuid))

    def _start_compute(self) -> None:
        """Start what is defined, as nova-compute does; it must work."""
        for (uuid, parent), type_id in self.model.definitions.items():
            if uuid not in self.model.mdevs:
                self.count('started')
                self._make(uuid, Place(type_id, parent))

    # -- everybody else -----------------------------------------------------

    def _make(self, uuid: str, place: Place) -> None:
        folder = f'bus/pci/devices/{place.parent}/mdev_supported_types'
        self.kernel.write(
            f'{self.host.root}/{folder}/{place.type}/create', uuid
        )
        self.model.mdevs[uuid] = place

    @stateful.rule(pick=_picks, parent=_parents)
    def nova_makes(self, pick: int, parent: str) -> None:
        """Nova makes an mdev, and has libvirt define it."""
        model, uuid = self.model, self.unused(pick)
        place = Place(model.configured(parent), parent)
        if not model.known(uuid) and model.fits(place):
            self._make(uuid, place)
            self.host.define(parent, uuid, place.type)
            model.definitions[uuid, parent] = place.type

    @stateful.precondition(_has_mdevs)
    @stateful.rule(
        name=st.sampled_from(DOMAINS),
        picks=st.lists(_picks, min_size=1, max_size=2),
    )
    def define(self, name: str, picks: list[int]) -> None:
        """Define a domain, with mdevs that are there or not."""
        uuids = sorted({self.existing(pick) for pick in picks})
        known = self.model.domains.get(name)
        if known is None or not known.is_running:
            self.libvirt.define(name, uuids)
            self.model.domains[name] = Domain(tuple(uuids))

    @stateful.rule(name=st.sampled_from(DOMAINS))
    def start_or_stop(self, name: str) -> None:
        """Start a domain whose mdevs are there, or stop it."""
        domain = self.model.domains.get(name)
        if domain is None:
            return
        if domain.is_running:
            self.libvirt.stop(name)
            domain.is_running = False
        elif all(uuid in self.model.mdevs for uuid in domain.mdevs):
            self.libvirt.start(name)
            domain.is_running = True

    @stateful.rule(name=st.sampled_from(DOMAINS))
    def undefine(self, name: str) -> None:
        """Delete a server."""
        domain = self.model.domains.get(name)
        if domain is not None and not domain.is_running:
            self.libvirt.undefine(name)
            del self.model.domains[name]

    @stateful.rule(pick=_picks, parent=_parents)
    def somebody_defines(self, pick: int, parent: str) -> None:
        """Somebody defines an mdev, and does not ask whether it fits."""
        uuid = self.unused(pick)
        types = sorted(self.model.types(parent))
        if not self.model.known(uuid):
            type_id = types[pick % len(types)]
            self.host.define(parent, uuid, type_id)
            self.model.definitions[uuid, parent] = type_id

    @stateful.rule(is_prepared=st.booleans(), is_late=st.booleans())
    def reboot(self, is_prepared: bool, is_late: bool) -> None:
        """Reboot the host; libvirt remembers what is defined.

        Then somebody with another type may be faster than prepare.
        """
        named = {
            place.type
            for uuid, place in self.model.mdevs.items()
            if place.parent == GPU and self.model.is_named(uuid)
        }
        self.check_tree()
        for name, domain in self.model.domains.items():
            if domain.is_running:
                self.libvirt.stop(name)
        kernel.reboot(self.host.root)
        self.model.reboot()
        if is_late:
            other = min({*GPU_TYPES} - named, default='nvidia-194')
            self.make(UUIDS[-1], (GPU, other), persist=False)
        if is_prepared:
            self.prepare()

    @stateful.rule(
        gpu_type=st.sampled_from((*GPU_TYPES,)),
        card_type=st.sampled_from((*CARD_TYPES,)),
    )
    def change_configuration(self, gpu_type: str, card_type: str) -> None:
        """Change the types in nova.conf."""
        self.model.gpu_type, self.model.card_type = gpu_type, card_type
        self.configure()

    # -- what always holds --------------------------------------------------

    @stateful.invariant()
    def it_is_as_the_model_says(self) -> None:
        """The list, the parameters and the definitions."""
        listed = json.loads(self.run('mdev', 'list', '-f', 'json').out)
        self.check.assertEqual(
            self.model.mdevs,
            {row['uuid']: Place(row['type'], row['gpu']) for row in listed},
        )
        self.check.assertEqual(
            {u: p for u, p in self.model.parameters.items() if p},
            {
                row['uuid']: dict(
                    pair.split('=') for pair in row['parameters'].split(',')
                )
                for row in listed
                if row['parameters']
            },
        )
        self.check.assertEqual(self.model.definitions, self._definitions())

    def check_tree(self) -> None:
        """Compare the tree with one that is made as the host is now."""
        expected = tempfile.mkdtemp(dir=self.folder)
        builder.write_tree(host_base.description_of(self.host.root), expected)
        self.check.assertEqual(
            {},
            host_base.differences(
                host_base.tree(expected), host_base.tree(self.host.root)
            ),
        )
        shutil.rmtree(expected)

    @stateful.rule()
    def inventory(self) -> None:
        """Count what is there and what fits, as Nova does."""
        rows = json.loads(self.run('inventory', 'list', '-f', 'json').out)
        expected = {}
        for parent in (GPU, *self.model.places(CARD)):
            place = Place(self.model.configured(parent), parent)
            total = [*self.model.mdevs.values()].count(place)
            copy = dataclasses.replace(
                self.model, mdevs=dict(self.model.mdevs)
            )
            while copy.fits(place):
                copy.mdevs[f'new {len(copy.mdevs)}'] = place
                total += 1
            if total:
                name = parent.replace(':', '_').replace('.', '_')
                expected[f'{NODE}_pci_{name}'] = total
        self.check.assertEqual(
            expected, {row['provider']: row['total'] for row in rows}
        )

    def _definitions(self) -> dict[tuple[str, str], str]:
        return _by_uuid(self.host.definitions)

    def _aside(self) -> dict[tuple[str, str], str]:
        return _by_uuid(self.host.aside)


def _by_uuid(found: dict[str, dict[str, str]]) -> dict[tuple[str, str], str]:
    return {
        (path.partition('/')[2], path.partition('/')[0]): data['mdev_type']
        for path, data in found.items()
    }


class HostModelTest(base.TestCase):
    """The random lives of hosts."""

    def test_random_lives(self) -> None:
        """Some hundred steps, and most kinds of outcome."""
        HostMachine.outcomes.clear()
        stateful.run_state_machine_as_test(
            HostMachine,
            settings=hypothesis.settings(
                max_examples=70,
                # The same lives each time: a red run can be repeated.
                derandomize=True,
                stateful_step_count=20,
                deadline=None,
                database=None,
                suppress_health_check=list(hypothesis.HealthCheck),
            ),
        )
        # Chance decides which; a life without most of them tests little.
        self.assertGreaterEqual(
            len(HostMachine.outcomes), 6, HostMachine.outcomes
        )
