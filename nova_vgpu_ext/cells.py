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
"""Table cells of the commands, on a host and of the cloud."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cliff import columns


class Cell(columns.FormattableColumn[Any]):
    """A value that people and programs want to see differently.

    People see nothing for None and the items of a list or mapping with
    commas; programs get the value itself.
    """

    def human_readable(self) -> str:
        """Give the text for a table."""
        if self._value is None:
            return ''
        if isinstance(self._value, Mapping):
            return ', '.join(f'{k}: {v}' for k, v in self._value.items())
        if isinstance(self._value, list):
            return ', '.join(str(item) for item in self._value)
        return str(self._value)


def cells(values: Iterable[object]) -> tuple[object, ...]:
    """Wrap what a table shall show in another way than a program.

    :param values: one row.
    """
    return tuple(
        Cell(v) if v is None or isinstance(v, (list, Mapping)) else v
        for v in values
    )
