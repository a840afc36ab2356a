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
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

_In = TypeVar('_In')
_Out = TypeVar('_Out')

#: The name of the threads.
READER = 'reader'


def each(
    function: Callable[[_In], _Out], items: Iterable[_In], readers: int
) -> Iterator[_Out]:
    """Call a function with each item, and give the results in order.

    No more than twice as many items as readers are taken ahead of what the
    caller has seen, so a stream stays one. Where the caller stops early, as
    on Ctrl-C, calls that have not begun are dropped and those under way are
    not waited for: let them only read.

    :param items: taken one by one.
    :param readers: how many calls are under way at once.
    :raises Exception: what a call raised, or the items.
    """
    pending: collections.deque[concurrent.futures.Future[_Out]] = (
        collections.deque()
    )
    calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
    threads = 0
    try:
        for item in items:
            future: concurrent.futures.Future[_Out] = (
                concurrent.futures.Future()
            )
            pending.append(future)
            calls.put(_call(function, item, future))
            if threads < readers:
                threads += 1
                _start(calls)
            if len(pending) >= 2 * readers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()
        for _ in range(threads):
            calls.put(None)


def _call(
    function: Callable[[_In], _Out],
    item: _In,
    future: concurrent.futures.Future[_Out],
) -> Callable[[], None]:
    def run() -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(function(item))
        except BaseException as error:
            future.set_exception(error)

    return run


def _start(calls: queue.SimpleQueue[Callable[[], None] | None]) -> None:
    """Start a reader; as a daemon it does not keep the process alive."""

    def work() -> None:
        for run in iter(calls.get, None):
            run()

    threading.Thread(target=work, name=READER, daemon=True).start()
