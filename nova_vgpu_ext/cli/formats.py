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
"""Output formats that cliff does not have for a single object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TextIO

from cliff.formatters import base, commaseparated


class CsvShow(commaseparated.CSVLister, base.SingleFormatter):
    """One object as CSV: a line of names, and a line of values."""

    def emit_one(
        self,
        column_names: Sequence[str],
        data: Sequence[Any],
        stdout: TextIO,
        parsed_args: Any,
    ) -> None:
        """Write both lines."""
        self.emit_list(column_names, [data], stdout, parsed_args)
