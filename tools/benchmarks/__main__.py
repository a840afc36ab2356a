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

import argparse
import functools
import logging
import os
import platform
import signal
import sys
from collections.abc import Callable, Iterable, Sequence

from tools.benchmarks import (
    agents,
    clouds,
    hooks,
    hosts,
    mdevs,
    reports,
    startup,
    vendordata,
)
from tools.benchmarks.rows import Row
from tools.minicloud import CloudError

_Runs = Sequence[Callable[[], Iterable[Row]]]

_HEADS = ('what', 'who', 'requests', 'seconds', 'MiB', 'ratio')


def _benchmarks(cloud_hosts: int) -> dict[str, _Runs]:
    return {
        'report': (reports.run,),
        'host': (hosts.run, hooks.run, agents.run, mdevs.run),
        'startup': (startup.run,),
        'vendordata': (vendordata.run,),
        'cloud': (functools.partial(clouds.run, cloud_hosts),),
    }


def _table(rows: Iterable[Row]) -> Iterable[str]:
    columns = zip(_HEADS, *[row.cells() for row in rows], strict=True)
    used = [column for column in columns if any(column[1:])]
    cells = list(zip(*used, strict=True))
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


def _arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog='tools/bench')
    parser.add_argument('name', choices=[*_benchmarks(0), 'all'])
    parser.add_argument('--hosts', type=_hosts, default=1000)
    return parser.parse_args(arguments)


def _hosts(text: str) -> int:
    number = int(text)
    if not 10 <= number <= 10_000:
        msg = f'found {number}, expected 10 to 10000 hosts'
        raise argparse.ArgumentTypeError(msg)
    return number


def main(arguments: Sequence[str]) -> None:
    """Print a table for each benchmark."""
    asked = _arguments(arguments)
    # What was started is ended, as after Ctrl-C.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
    logging.disable(logging.CRITICAL)
    benchmarks = _benchmarks(asked.hosts)
    names = list(benchmarks) if asked.name == 'all' else [asked.name]
    print(_machine())
    for name in names:
        print(f'\n{name}\n')
        rows = (row for run in benchmarks[name] for row in run())
        for line in _table(rows):
            print(line, flush=True)


try:
    main(sys.argv[1:])
except CloudError as error:
    sys.exit(f'tools/bench: {error}')
except KeyboardInterrupt:
    sys.exit(130)
