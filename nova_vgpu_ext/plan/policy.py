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
"""Which GPU a guest gets: pack or spread.

A *slot* is one resource class of one provider: what a vGPU is taken from. A
*candidate* is one way to serve a request; here it is what it takes of slots.
"""

from __future__ import annotations

import collections
import dataclasses
import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from nova_vgpu_ext.models import Capacity, ReportedProvider
from nova_vgpu_ext.plan import gpus

#: The provider's UUID and the resource class.
Slot = tuple[str, str]

#: What a candidate takes: at least 1 of each slot.
Amounts = Mapping[Slot, int]

_Candidate = TypeVar('_Candidate')

#: Sorts behind all that fits.
_DOES_NOT_FIT: tuple[Any, ...] = (True,)


class Policy(enum.Enum):
    """How vGPUs are shared out among GPUs."""

    #: Fill the fullest GPU that still fits: whole GPUs stay free.
    PACK = 'pack'
    #: Give each guest the least loaded GPU.
    SPREAD = 'spread'


@dataclasses.dataclass(frozen=True)
class Places:
    """Where the GPUs of a cloud are."""

    #: The UUIDs of compute nodes that have GPUs.
    hosts: frozenset[str] = frozenset()
    #: For each GPU, or VF, the card that it is on, by the provider's UUID.
    cards: Mapping[str, str] = dataclasses.field(default_factory=dict)


def places(providers: Iterable[ReportedProvider]) -> Places:
    """Find GPUs that offer mdevs by the names that Nova gives to providers.

    VFs of a card differ from it, and from each other, in slot and function
    only.

    :param providers: every provider of the cloud.
    """
    by_uuid = {provider.uuid: provider for provider in providers}
    cards = {}
    hosts = set()
    for provider in by_uuid.values():
        root = by_uuid.get(provider.parent_uuid or '')
        if root is None:
            continue
        address = gpus.mdev_address(root.name, provider.name)
        if address is not None:
            hosts.add(root.uuid)
            cards[provider.uuid] = f'{root.uuid} {_card(address)}'
    return Places(frozenset(hosts), cards)


def _card(address: str) -> str:
    if address.endswith(':00.0'):  # No VF is there.
        return address
    return address.rpartition(':')[0]


class Preference:
    """Tells which candidates a policy prefers at one moment.

    A GPU counts by how full the whole card is; where VFs stand for a card,
    each with one vGPU, they are added up. Only between candidates on cards
    that are alike the single provider counts.

    :param policy: what to prefer.
    :param capacities: how full the slots are; one that is missing is full.
    :param cards: as of :class:`Places`; a provider that is missing is a card
        of its own.
    """

    def __init__(
        self,
        policy: Policy,
        capacities: Mapping[Slot, Capacity],
        cards: Mapping[str, str],
    ) -> None:
        self._policy = policy
        self._capacities = capacities
        self._cards = cards
        totals: dict[str, int] = collections.Counter()
        used: dict[str, int] = collections.Counter()
        for slot, has in capacities.items():
            totals[self._card(slot)] += has.total
            used[self._card(slot)] += has.used
        self._by_card = {c: Capacity(totals[c], used[c]) for c in totals}

    def order(
        self,
        candidates: Sequence[_Candidate],
        amounts: Callable[[_Candidate], Amounts],
    ) -> list[_Candidate]:
        """Put the preferred candidates first, and those that are full last.

        Candidates that are alike keep their order.

        :param amounts: tells what a candidate takes.
        """
        return sorted(candidates, key=lambda c: self._key(amounts(c)))

    def rank(self, hosts: Sequence[Iterable[Amounts]]) -> list[float]:
        """Rank hosts by their best candidates; the highest is preferred.

        Between hosts whose best are alike, pack prefers the one with fewer
        vGPUs free, and spread the one with more.

        :param hosts: for each host what its candidates take.
        :returns: for each host 0, 1, 2...; hosts that are alike have the
            same.
        """
        keys = [self._host_key(list(candidates)) for candidates in hosts]
        ranks = {k: n for n, k in enumerate(sorted(set(keys), reverse=True))}
        return [float(ranks[key]) for key in keys]

    def _host_key(self, candidates: Sequence[Amounts]) -> tuple[Any, ...]:
        best = min(map(self._key, candidates), default=_DOES_NOT_FIT)
        slots = {slot for amounts in candidates for slot in amounts}
        free = sum(self._capacity(slot).free for slot in slots)
        return best, free if self._policy is Policy.PACK else -free

    def _key(self, amounts: Amounts) -> tuple[Any, ...]:
        """Make what sorts a candidate before those that are worse."""
        if not amounts or any(
            self._capacity(slot).free < amount
            for slot, amount in amounts.items()
        ):
            return _DOES_NOT_FIT
        by_card: dict[str, int] = collections.Counter()
        for slot, amount in amounts.items():
            by_card[self._card(slot)] += amount
        return (
            False,
            self._wish((self._by_card[c], n) for c, n in by_card.items()),
            self._wish((self._capacity(s), n) for s, n in amounts.items()),
        )

    def _wish(self, shares: Iterable[tuple[Capacity, int]]) -> tuple[Any, ...]:
        """Compare what is taken of some GPUs.

        Spread wants the fullest of them, afterwards, to be as empty as it
        can be, and many of them; pack wants to begin few that were free, and
        to fill the fullest.
        """
        taken = list(shares)
        after = sorted(((has.used + n) / has.total for has, n in taken))[::-1]
        if self._policy is Policy.SPREAD:
            return after[0], -len(after), *after
        begun = sum(has.used == 0 for has, _ in taken)
        return begun, *(-load for load in after)

    def _capacity(self, slot: Slot) -> Capacity:
        return self._capacities.get(slot, Capacity(0, 0))

    def _card(self, slot: Slot) -> str:
        provider, _ = slot
        if self._capacity(slot).total > 1:  # No VF has room for more.
            return provider
        return self._cards.get(provider, provider)
