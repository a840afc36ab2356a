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
"""The parts of ``tools/bench cloud`` that need no cloud."""

from __future__ import annotations

import collections
import json
import pathlib
import subprocess
import sys

from tests import base
from tools.benchmarks import clouds_plan as plan
from tools.benchmarks import measured
from tools.benchmarks.clouds_commands import Taken
from tools.benchmarks.rows import Row

_MEBIBYTE = 1024


class PlanTest(base.TestCase):
    """The cloud that is filled has the size that is promised."""

    def test_thousand_hosts(self) -> None:
        """1,000 hosts have 8,000 GPUs and 20,000 servers."""
        hosts = plan.hosts(1000)
        servers = [server for host in hosts for server in host.servers]
        self.assertEqual(20_000, len(set(servers)))
        self.assertEqual(8000, len(hosts) * plan.GPUS)
        self.assertEqual(1000, len({host.name for host in hosts}))
        self.assertEqual(1000, len({host.uuid for host in hosts}))

    def test_types(self) -> None:
        """Each type has its share, and one is on a host of ten."""
        counted = collections.Counter(h.type_id for h in plan.hosts(1000))
        self.assertEqual([600, 300, 100], [counted[t] for t in plan.TYPES])
        self.assertEqual(100, counted[plan.RARE])

    def test_smallest(self) -> None:
        """Ten hosts have every type."""
        self.assertTrue(all(plan.by_type(plan.hosts(10)).values()))

    def test_json(self) -> None:
        """What is written is read again."""
        hosts = plan.hosts(10)
        text = json.dumps(plan.to_json(hosts))
        self.assertEqual(hosts, plan.from_json(json.loads(text)))


class TakenTest(base.TestCase):
    """What commands took is added up; of their memory the most counts."""

    def test_extrapolated(self) -> None:
        """A list, and a question for each of a thousand."""
        taken = Taken(2.0, 1, 80.0) + Taken(0.5, 2, 90.0).times(1000)
        self.assertEqual(Taken(502.0, 2001, 90.0), taken)


class RowTest(base.TestCase):
    """Lines of the table."""

    def test_cells(self) -> None:
        """Ratios are of seconds and of requests; memory has its column."""
        first = Row('a list', 'this', 2.0, 10, mebibytes=100)
        other = Row('a list', 'that', 5.0, 40, first, 80)
        self.assertEqual(
            ('a list', 'this', '10', '2.000', '100', ''), first.cells()
        )
        self.assertEqual('80', other.cells()[4])
        self.assertEqual('2.5 x time, 4.0 x requests', other.cells()[5])


class MeasuredTest(base.TestCase):
    """Time, memory and exit status are those of the command."""

    def measure(
        self, code: str, seconds: int = 60, text: str = ''
    ) -> tuple[float, int, int, str]:
        """Run some Python with a small interpreter."""
        output = self.temp_dir() / 'output'
        done = subprocess.run(  # noqa: S603
            [
                *(sys.executable, '-IS', str(pathlib.Path(measured.__file__))),
                *(str(seconds), str(output)),
                *(sys.executable, '-IS', '-c', code),
            ],
            input=text,
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        taken, memory, status = json.loads(done.stdout)
        return taken, memory, status, output.read_text()

    def test_memory(self) -> None:
        """A command that needs 64 MiB more is seen to need them."""
        _, small, _, _ = self.measure('pass')
        _, large, _, _ = self.measure('bytes(range(64)) * (1 << 20)')
        self.assertLess(small, 40 * _MEBIBYTE)
        self.assertGreater(large - small, 60 * _MEBIBYTE)

    def test_not_ours(self) -> None:
        """The memory of who asks is not the command's."""
        mine = bytes(range(256)) * (1 << 19)
        _, memory, _, _ = self.measure('pass')
        self.assertLess(memory * 1024, len(mine))

    def test_output_and_status(self) -> None:
        """Input and output are passed on, and the exit status."""
        code = 'import sys; print(input()); sys.exit(3)'
        _, _, status, output = self.measure(code, text='typed\n')
        self.assertEqual((3, 'typed\n'), (status, output))

    def test_limit(self) -> None:
        """What takes too long is ended."""
        code = 'import time; time.sleep(60)'
        taken, _, status, _ = self.measure(code, seconds=1)
        self.assertLess(taken, 30)
        self.assertLess(status, 0)
