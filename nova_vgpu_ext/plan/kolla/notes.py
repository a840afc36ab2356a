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
"""Collects what is wrong with a description, so that all is shown at once."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from nova_vgpu_ext.models import Finding, Severity

_SHORT = 60


class Notes:
    """The findings about one file.

    :param file: its name; each finding begins with it and the key.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self.findings: list[Finding] = []

    def add(
        self,
        key: str,
        found: str,
        expected: str,
        remedy: str = 'mend the description',
        severity: Severity = Severity.ERROR,
    ) -> None:
        """Note one thing.

        :param key: as ``hosts.gpu01.gpus``; empty for the whole file.
        """
        where = f'{self.file}: {key}' if key else self.file
        self.findings.append(Finding(severity, where, found, expected, remedy))

    def mapping(
        self, key: str, value: Any, allowed: Collection[str] | None = None
    ) -> dict[str, Any]:
        """Take keys and values; what is not allowed is noted and left out."""
        if value == '':
            return {}
        if not isinstance(value, dict):
            self.add(key, short(value), 'keys and values')
            return {}
        known = {}
        for name, item in value.items():
            if allowed is None or name in allowed:
                known[name] = item
            else:
                self.add(
                    key, f'key {short(name)}', f'one of {", ".join(allowed)}'
                )
        return known

    def items(self, key: str, value: Any) -> list[Any]:
        """Take a list."""
        if value == '':
            return []
        if not isinstance(value, list):
            self.add(key, short(value), 'a list')
            return []
        return value


def short(value: Any) -> str:
    """Write what was found, without the rest of something long."""
    text = repr(value)
    return text if len(text) <= _SHORT else f'{text[:_SHORT]}...'
