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
"""Where guests land under pack and spread."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import ClassVar

import hypothesis
from hypothesis import strategies as st

from nova_vgpu_ext.conf import scheduler
from nova_vgpu_ext.models import Capacity, ReportedProvider
from nova_vgpu_ext.plan import policy
from nova_vgpu_ext.plan.policy import Policy
from tests import base

VGPU = 'VGPU'


def slot(gpu: str, resource_class: str = VGPU) -> policy.Slot:
    """Name the slot of a GPU."""
    return (gpu, resource_class)


def preference(
    wanted: Policy,
    used: Mapping[str, int],
    total: int = 8,
    cards: Mapping[str, str] | None = None,
) -> policy.Preference:
    """Make a preference among GPUs that are alike."""
    capacities = {slot(gpu): Capacity(total, n) for gpu, n in used.items()}
    return policy.Preference(wanted, capacities, cards or {})


def ordered(
    wanted: policy.Preference, candidates: Sequence[Sequence[str]]
) -> list[str]:
    """Order candidates that take one vGPU of each GPU that they name."""

    def amounts(candidate: Sequence[str]) -> dict[policy.Slot, int]:
        return {slot(gpu): candidate.count(gpu) for gpu in candidate}

    return [''.join(c) for c in wanted.order(candidates, amounts)]


class OrderTest(base.TestCase):
    """The order of the candidates of one host."""

    USED: ClassVar = {'a': 0, 'b': 5, 'c': 8, 'd': 2, 'e': 0}

    def test_pack_fills_the_fullest_that_fits(self) -> None:
        """A full GPU comes last, and GPUs that are alike stay in order."""
        wanted = preference(Policy.PACK, self.USED)
        self.assertEqual(['b', 'd', 'a', 'e', 'c'], ordered(wanted, 'abcde'))
        self.assertEqual(['b', 'd', 'e', 'a', 'c'], ordered(wanted, 'edcba'))

    def test_spread_takes_the_least_loaded(self) -> None:
        """The fullest that fits is the last choice before a full one."""
        wanted = preference(Policy.SPREAD, self.USED)
        self.assertEqual(['a', 'e', 'd', 'b', 'c'], ordered(wanted, 'abcde'))

    def test_an_amount_must_fit(self) -> None:
        """Four vGPUs of one GPU do not fit where three are free."""
        wanted = preference(Policy.PACK, self.USED)
        self.assertEqual(
            ['dddd', 'aaaa', 'bbbb'], ordered(wanted, ['bbbb', 'aaaa', 'dddd'])
        )

    def test_an_unknown_gpu_is_full(self) -> None:
        """Placement describes every tree in which something is free."""
        for wanted in Policy:
            found = ordered(preference(wanted, self.USED), 'xb')
            self.assertEqual(['b', 'x'], found)

    def test_nothing_known_changes_nothing(self) -> None:
        """Without knowledge the order stays Placement's."""
        for wanted in Policy:
            found = ordered(preference(wanted, {}), 'edcba')
            self.assertEqual(list('edcba'), found)

    def test_pack_takes_several_where_fewest_gpus_are_begun(self) -> None:
        """Two vGPUs share a GPU that is in use before any is begun."""
        wanted = preference(Policy.PACK, {'a': 0, 'b': 2, 'c': 7, 'd': 0})
        self.assertEqual(
            ['bc', 'bb', 'ac', 'aa', 'ad'],
            ordered(wanted, ['ad', 'aa', 'ac', 'bb', 'bc']),
        )

    def test_spread_takes_several_from_the_emptiest(self) -> None:
        """Two vGPUs come from two GPUs rather than one."""
        wanted = preference(Policy.SPREAD, {'a': 0, 'b': 1, 'c': 7, 'd': 0})
        self.assertEqual(
            ['ad', 'ab', 'aa', 'ac'],
            ordered(wanted, ['ac', 'aa', 'ab', 'ad']),
        )

    def test_classes_are_told_apart(self) -> None:
        """A GPU that has both classes is full of one, empty of the other."""
        capacities = {
            slot('a', 'CUSTOM_A'): Capacity(4, 4),
            slot('b', 'CUSTOM_A'): Capacity(4, 1),
            slot('a', 'CUSTOM_B'): Capacity(4, 0),
        }
        wanted = policy.Preference(Policy.PACK, capacities, {})
        candidates = [slot('a', 'CUSTOM_A'), slot('b', 'CUSTOM_A')]
        self.assertEqual(
            candidates[::-1], wanted.order(candidates, lambda s: {s: 1})
        )

    def test_sizes_are_compared_in_parts(self) -> None:
        """8 of 32 is as full as 1 of 4; 2 of 4 is fuller than 8 of 32."""
        capacities = {
            slot('a'): Capacity(32, 8),
            slot('b'): Capacity(4, 2),
            slot('c'): Capacity(4, 0),
        }
        for wanted, expected in (
            (Policy.PACK, ['b', 'a', 'c']),
            (Policy.SPREAD, ['c', 'a', 'b']),
        ):
            found = policy.Preference(wanted, capacities, {})
            self.assertEqual(expected, ordered(found, 'abc'))


class CardTest(base.TestCase):
    """VFs, each with one vGPU, stand for cards."""

    CARDS: ClassVar = {
        **dict.fromkeys('abc', 'first'),
        **dict.fromkeys('xyz', 'second'),
    }
    USED: ClassVar = {'a': 0, 'b': 1, 'c': 1, 'x': 1, 'y': 0, 'z': 0}

    def test_pack_takes_a_vf_of_the_fullest_card(self) -> None:
        """Two VFs of the first card are taken, one of the second."""
        wanted = preference(Policy.PACK, self.USED, 1, self.CARDS)
        self.assertEqual(['a', 'z', 'y'], ordered(wanted, 'zya'))

    def test_spread_takes_a_vf_of_the_emptiest_card(self) -> None:
        """VFs of the second card come in Placement's order."""
        wanted = preference(Policy.SPREAD, self.USED, 1, self.CARDS)
        self.assertEqual(['z', 'y', 'a'], ordered(wanted, 'azy'))

    def test_a_gpu_with_room_for_more_is_no_vf(self) -> None:
        """GPUs on one bus, as in a virtual machine, are told apart."""
        wanted = preference(
            Policy.PACK, {'a': 0, 'b': 1, 'c': 1}, 2, self.CARDS
        )
        self.assertEqual(['b', 'c', 'a'], ordered(wanted, 'abc'))


class RankTest(base.TestCase):
    """The order of hosts."""

    USED: ClassVar = {'a': 0, 'b': 5, 'c': 8, 'd': 2, 'e': 0, 'f': 0}

    def rank(self, wanted: Policy, hosts: Sequence[str]) -> list[float]:
        """Rank hosts with these GPUs."""
        return preference(wanted, self.USED).rank(
            [[{slot(gpu): 1} for gpu in host] for host in hosts]
        )

    def test_pack_prefers_the_host_with_the_fullest_gpu(self) -> None:
        """Only GPUs count on which the guest fits."""
        self.assertEqual(
            [1.0, 3.0, 2.0, 0.0], self.rank(Policy.PACK, ['e', 'ab', 'd', 'c'])
        )

    def test_spread_prefers_the_host_with_the_emptiest_gpu(self) -> None:
        """A host that is full comes last."""
        self.assertEqual(
            [3.0, 1.0, 2.0, 0.0],
            self.rank(Policy.SPREAD, ['bf', 'b', 'd', 'c']),
        )

    def test_between_hosts_alike_the_rest_of_the_host_counts(self) -> None:
        """Pack begins a GPU on the host with less left, spread with more."""
        self.assertEqual([1.0, 0.0], self.rank(Policy.PACK, ['e', 'af']))
        self.assertEqual([0.0, 1.0], self.rank(Policy.SPREAD, ['e', 'af']))

    def test_hosts_alike_are_equal(self) -> None:
        """What they have in common has no weight."""
        for wanted in Policy:
            self.assertEqual([0.0, 0.0], self.rank(wanted, ['a', 'e']))
            self.assertEqual([0.0, 0.0], self.rank(wanted, ['', '']))
            self.assertEqual([], self.rank(wanted, []))


class PlacesTest(base.TestCase):
    """What the names of providers say."""

    def test_hosts_and_cards(self) -> None:
        """VFs of a card are put together, hosts and domains kept apart."""
        found = policy.places(
            [
                ReportedProvider('h1', 'one.example.org', 1, None),
                ReportedProvider('h2', 'two', 1, None),
                ReportedProvider('h3', 'nic', 1, None),
                self.child('one.example.org', 'h1', 'pci_0000_41_00_0'),
                self.child('one.example.org', 'h1', 'pci_0000_41_00_4'),
                self.child('one.example.org', 'h1', 'pci_0000_41_04_3'),
                self.child('one.example.org', 'h1', 'pci_0001_41_00_4'),
                self.child('two', 'h2', 'pci_0000_41_00_4'),
                self.child('two', 'h2', 'mtty_mtty'),
                self.child('nic', 'h3', '0000:81:00.0'),
                self.child('other', 'h3', 'pci_0000_41_00_4'),
                ReportedProvider('lost', 'two_pci_0000_42_00_0', 1, 'gone'),
            ]
        )
        self.assertEqual({'h1', 'h2'}, found.hosts)
        together: dict[str, set[str]] = {}
        for provider, card in found.cards.items():
            together.setdefault(card, set()).add(provider)
        self.assertEqual(
            [
                {'h1 pci_0000_41_00_0'},
                {'h1 pci_0000_41_00_4', 'h1 pci_0000_41_04_3'},
                {'h1 pci_0001_41_00_4'},
                {'h2 mtty_mtty'},
                {'h2 pci_0000_41_00_4'},
            ],
            sorted(together.values(), key=sorted),
        )

    def child(self, host: str, parent: str, device: str) -> ReportedProvider:
        """Make a child as Nova names it."""
        return ReportedProvider(
            f'{parent} {device}', f'{host}_{device}', 1, parent
        )


_GPUS = st.dictionaries(
    st.sampled_from('abcdefgh'),
    st.tuples(st.integers(1, 32), st.integers(0, 32)).map(
        lambda pair: Capacity(pair[0], min(pair))
    ),
    min_size=1,
)
_CANDIDATES = st.lists(
    st.dictionaries(
        st.sampled_from('abcdefghi'), st.integers(1, 4), min_size=1, max_size=3
    )
)
_CARDS = st.dictionaries(st.sampled_from('abcdefgh'), st.sampled_from('12'))


class PropertyTest(base.TestCase):
    """What holds for any load."""

    @hypothesis.given(st.sampled_from(Policy), _GPUS, _CARDS, _CANDIDATES)
    def test_an_order_loses_and_adds_nothing(
        self,
        wanted: Policy,
        gpus: dict[str, Capacity],
        cards: dict[str, str],
        candidates: list[dict[str, int]],
    ) -> None:
        """The same candidates, the very objects; those that fit first."""
        found = policy.Preference(
            wanted, {slot(gpu): has for gpu, has in gpus.items()}, cards
        ).order(candidates, lambda c: {slot(gpu): n for gpu, n in c.items()})
        self.assertEqual(sorted(map(id, candidates)), sorted(map(id, found)))
        fits = [
            all(g in gpus and gpus[g].free >= n for g, n in c.items())
            for c in found
        ]
        self.assertEqual(sorted(fits, reverse=True), fits)

    @hypothesis.given(st.sampled_from(Policy), _GPUS, _CARDS, _CANDIDATES)
    def test_an_order_is_stable(
        self,
        wanted: Policy,
        gpus: dict[str, Capacity],
        cards: dict[str, str],
        candidates: list[dict[str, int]],
    ) -> None:
        """What is ordered once stays as it is."""
        preferred = policy.Preference(
            wanted, {slot(gpu): has for gpu, has in gpus.items()}, cards
        )

        def amounts(candidate: dict[str, int]) -> dict[policy.Slot, int]:
            return {slot(gpu): n for gpu, n in candidate.items()}

        once = preferred.order(candidates, amounts)
        again = preferred.order(once, amounts)
        self.assertEqual([id(c) for c in once], [id(c) for c in again])


class OutcomeTest(base.TestCase):
    """Guests come and go on a host of eight GPUs with eight vGPUs each."""

    GPUS = 'abcdefgh'

    def live(self, wanted: Policy | None, seed: int) -> tuple[float, float]:
        """Run a load that keeps about half of the vGPUs in use.

        :param wanted: None chooses as a Placement that shuffles.
        :returns: how many GPUs were free, and how full the fullest was, on
            average.
        """
        chance = random.Random(seed)  # noqa: S311
        used = dict.fromkeys(self.GPUS, 0)
        guests: list[str] = []
        free, fullest = 0, 0
        rounds = 400
        for _ in range(rounds):
            if guests and chance.random() < len(guests) / 48:
                used[guests.pop(chance.randrange(len(guests)))] -= 1
            else:
                candidates = [g for g in self.GPUS if used[g] < 8]
                chance.shuffle(candidates)
                if wanted is not None:
                    candidates = ordered(preference(wanted, used), candidates)
                guests.append(candidates[0])
                used[candidates[0]] += 1
            free += sum(n == 0 for n in used.values())
            fullest += max(used.values())
        return free / rounds, fullest / rounds

    def test_random_loads(self) -> None:
        """Pack keeps more GPUs whole, spread fills none more than it must."""
        for seed in range(5):
            packed = self.live(Policy.PACK, seed)
            spread = self.live(Policy.SPREAD, seed)
            neither = self.live(None, seed)
            self.assertGreater(packed[0], neither[0] + 1)
            self.assertLess(spread[1], neither[1] - 1)


class NamesTest(base.TestCase):
    """The policy's names."""

    def test_the_option_offers_the_policies(self) -> None:
        """No policy is missing, and none is made up."""
        option = next(o for o in scheduler.opts if o.dest == 'gpu_policy')
        self.assertEqual(
            [wanted.value for wanted in Policy], list(option.type.choices)
        )
