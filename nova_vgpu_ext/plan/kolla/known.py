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
"""Which id a product has, and the other way round."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from nova_vgpu_ext.models import VgpuType

_MDEV_ID = re.compile(
    r'nvidia-[0-9]{1,9}|(?!nvidia)[a-z][a-z0-9_]{0,30}-[A-Za-z0-9_-]{1,60}',
    re.ASCII,
)
_NUMBER = re.compile('[0-9]{1,9}', re.ASCII)
_PRODUCT_WORD = re.compile('[A-Za-z0-9][A-Za-z0-9_-]{0,60}', re.ASCII)


def is_product(text: str) -> bool:
    """Tell whether a text is a product as ``V100DX-1Q``."""
    return (
        VgpuType('', text).product == text
        and _PRODUCT_WORD.fullmatch(text) is not None
    )


def is_mdev_id(text: str) -> bool:
    """Tell whether a text is the id of a type as ``nvidia-194``.

    A product in small letters, ``v100dx-1q``, is none.
    """
    return _MDEV_ID.fullmatch(text) is not None and not is_product(
        text.upper()
    )


def is_number(text: str) -> bool:
    """Tell whether a text is the id of a type of vendor-specific VFIO."""
    return _NUMBER.fullmatch(text) is not None


class KnownTypes:
    """The types that are known without a GPU at hand.

    A driver has more than these, and its ids are its own: what the operator
    says counts.

    :param types: with id and name.
    :param own: the operator's own ids, by product.
    """

    def __init__(
        self, types: Iterable[VgpuType], own: Mapping[str, str]
    ) -> None:
        self._ids: dict[str, set[str]] = {}
        for found in types:
            if found.product:
                self._ids.setdefault(found.product, set()).add(found.id)
        self._own = own

    def mdev_ids(self, product: str) -> tuple[str, ...]:
        """Give the ids of a product as a type of mediated devices."""
        return self._matching(product, is_mdev_id)

    def numbers(self, product: str) -> tuple[str, ...]:
        """Give the ids of a product with vendor-specific VFIO."""
        return self._matching(product, is_number)

    def ids(self, product: str) -> tuple[str, ...]:
        """Give every id of a product."""
        return self._matching(product, bool)

    def own_number(self, product: str) -> str | None:
        """Give the number that the operator says a product has."""
        found = self._own.get(product)
        return found if found and is_number(found) else None

    def product(self, number: str) -> str | None:
        """Find the product of a type of vendor-specific VFIO."""
        for product, own in self._own.items():
            if own == number:
                return product
        for product, ids in self._ids.items():
            if number in ids and product not in self._own:
                return product
        return None

    def siblings(self, product: str) -> tuple[str, ...]:
        """Give the products of the same card: those of ``L40S-``."""
        card = product.split('-')[0]
        known = {*self._ids, *self._own}
        return tuple(sorted(p for p in known if p.split('-')[0] == card))

    def _matching(
        self, product: str, is_one: Callable[[str], bool]
    ) -> tuple[str, ...]:
        own = self._own.get(product)
        if own and is_one(own):
            return (own,)
        return tuple(sorted(filter(is_one, self._ids.get(product, ()))))
