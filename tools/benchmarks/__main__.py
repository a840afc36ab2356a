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
"""Runs the benchmarks named on the command line; see tools/bench."""

from __future__ import annotations

import logging
import os
import platform
import sys
from collections.abc import Iterable, Sequence

from tools.benchmarks import agents, hooks, hosts, mdevs, reports, startup
from tools.benchmarks.rows import Row

_ALL = {
    'report': (reports.run,),
    'host': (hosts.run, hooks.run, agents.run, mdevs.run),
    'startup': (startup.run,),
}


def _table(rows: Iterable[Row]) -> Iterable[str]:
    cells = [('what', 'who', 'requests', 'seconds', 'ratio')]
    cells += [row.cells() for row in rows]
    widths = [max(len(c[n]) for c in cells) for n in range(len(cells[0]))]
    rule = '  '.join('=' * width for width in widths)
    yield rule
    for number, line in enumerate(cells):
        padded = zip(line, widths, strict=True)
        yield '  '.join(f'{text:<{width}}' for text, width in padded).rstrip()
        if number == 0:
            yield rule
    yield rule


def _machine() -> str:
    model = platform.machine()
    with open('/proc/cpuinfo') as lines:
        for line in lines:
            if line.startswith('model name'):
                model = line.partition(':')[2].strip()
                break
    memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') >> 30
    return (
        f'{os.cpu_count()} cores ({model}), {memory} GiB, '
        f'Python {platform.python_version()}'
    )


def main(arguments: Sequence[str]) -> None:
    """Print a table for each benchmark."""
    logging.disable(logging.CRITICAL)
    names = list(_ALL) if arguments[0] == 'all' else arguments
    print(_machine())
    for name in names:
        print(f'\n{name}\n')
        rows = (row for run in _ALL[name] for row in run())
        for line in _table(rows):
            print(line, flush=True)


main(sys.argv[1:])
