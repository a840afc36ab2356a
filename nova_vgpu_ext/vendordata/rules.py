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
"""Which section of the configuration holds for a guest. Pure."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Generic, TypeVar

from nova_vgpu_ext import exception
from nova_vgpu_ext.guest.settings import System

_Value = TypeVar('_Value')


@dataclasses.dataclass(frozen=True)
class Guest:
    """What a section can ask of a guest."""

    project: str
    #: The domain of the project; None where no section asks for it.
    domain: str | None
    #: Its products, in lower case.
    types: frozenset[str]
    system: System


@dataclasses.dataclass(frozen=True)
class Conditions:
    """For which guests a section is. An empty set lets any pass."""

    projects: frozenset[str] = frozenset()
    domains: frozenset[str] = frozenset()
    #: In lower case.
    types: frozenset[str] = frozenset()
    systems: frozenset[System] = frozenset()

    @property
    def weight(self) -> tuple[bool, ...]:
        """How special they are: a project counts most, a system least."""
        return tuple(bool(values) for values in self._sets())

    def match(self, guest: Guest) -> bool:
        """Tell whether a guest is one of them."""
        asked: tuple[frozenset[object], ...] = (
            frozenset({guest.project}),
            frozenset({guest.domain}),
            frozenset(guest.types),
            frozenset({guest.system}),
        )
        return all(
            not wanted or found <= wanted
            for wanted, found in zip(self._sets(), asked, strict=True)
        )

    def overlap(self, other: Conditions) -> bool:
        """Tell whether a guest can match both, and neither is more special."""
        return self.weight == other.weight and all(
            not mine or mine & theirs
            for mine, theirs in zip(self._sets(), other._sets(), strict=True)
        )

    def _sets(self) -> tuple[frozenset[object], ...]:
        return tuple(
            frozenset(getattr(self, field.name))
            for field in dataclasses.fields(self)
        )


@dataclasses.dataclass(frozen=True)
class Rule(Generic[_Value]):
    """What a section says."""

    section: str
    conditions: Conditions
    #: None: such guests get none, whatever more general sections say.
    value: _Value | None


def choose(rules: Sequence[Rule[_Value]], guest: Guest) -> Rule[_Value] | None:
    """Find the most special rule for a guest; None without one.

    :param rules: some that :func:`check` takes.
    """
    return max(
        (rule for rule in rules if rule.conditions.match(guest)),
        key=lambda rule: rule.conditions.weight,
        default=None,
    )


def check(rules: Sequence[Rule[_Value]], what: str) -> None:
    """Refuse rules of which it would be chance which one holds.

    :param what: what the rules say.
    :raises ConfigError: two are for the same guests.
    """
    for first, second in itertools.combinations(rules, 2):
        if first.conditions.overlap(second.conditions):
            raise exception.ConfigError(
                f'[{first.section}], [{second.section}]',
                f'{what} in both, for the same guests',
                'one of them to be more special',
                'add projects, domains, types or systems, or make one of two',
            )
