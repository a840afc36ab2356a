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
"""Several reads under way at once, with their results in order."""

from __future__ import annotations

import collections
import concurrent.futures
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

_In = TypeVar('_In')
_Out = TypeVar('_Out')


def each(
    function: Callable[[_In], _Out], items: Iterable[_In], readers: int
) -> Iterator[_Out]:
    """Call a function with each item, and give the results as they come.

    No more than twice as many items as readers are taken ahead of what the
    caller has seen, so a stream stays one.

    :param items: taken one by one.
    :param readers: how many calls are under way at once.
    :raises Exception: what a call raised; calls that have not begun are
        dropped.
    """
    pending: collections.deque[concurrent.futures.Future[_Out]] = (
        collections.deque()
    )
    pool = concurrent.futures.ThreadPoolExecutor(readers)
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) >= 2 * readers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
