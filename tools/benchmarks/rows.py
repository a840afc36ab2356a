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
"""One line of a benchmark's table, and how to measure it."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class Row:
    """What somebody took for something.

    ``base`` is the row that this one is compared with: the ratio says how
    many times its seconds, or requests where both have them, this one took.
    ``mebibytes`` is the most memory that a process of it needed.
    """

    what: str
    who: str
    seconds: float
    requests: int | None = None
    base: Row | None = None
    mebibytes: int | None = None

    def cells(self) -> tuple[str, ...]:
        """Write the row as text."""
        ratio = ''
        if self.base is not None and self.base.seconds:
            ratio = f'{self.seconds / self.base.seconds:.1f} x time'
            if self.requests is not None and self.base.requests:
                ratio += (
                    f', {self.requests / self.base.requests:.1f} x requests'
                )
        return (
            self.what,
            self.who,
            '' if self.requests is None else str(self.requests),
            f'{self.seconds:.3f}',
            '' if self.mebibytes is None else str(self.mebibytes),
            ratio,
        )


def seconds(function: Callable[[], object], repeat: int = 1) -> float:
    """Take the median time of some calls."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)
