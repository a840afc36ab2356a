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
"""Every check of the doctor: all well, wrong, and unknown."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable

from nova_vgpu_ext import exception, models
from nova_vgpu_ext.plan import doctor
from nova_vgpu_ext.plan.doctor import checks
from nova_vgpu_ext.plan.doctor import facts as doctor_facts
from tests import base
from tests.unit.plan import hosts
from tests.unit.plan.doctor_cases import CASES
from tests.unit.plan.doctor_cases.hosts import (
    BROKEN,
    ERROR,
    HIDDEN,
    OK,
    UNKNOWN,
    WARNING,
    facts,
    held,
    mdev,
    on,
)

_PROBLEM = models.ReadProblem('/sys/x/name', 'bytes', 'text')
_HIDES = models.ReadProblem(
    '/sys/bus/pci/devices', 'permission denied', 'a list', hides=True
)

ORDER = """\
sysfs iommu kernel modules driver services catalog vfs config types leftovers
orphans domains definitions mdevctl mdevctl-udev libvirt qemu
live-migration-options hook mounts state ledger prepare agent placement
"""
SIMULATED = """\
sysfs vfs config types leftovers orphans domains definitions
live-migration-options state ledger placement
"""
NAMES = tuple(check.name for check in doctor.CHECKS)


def result_of(name: str, given: doctor.Facts) -> doctor.Result:
    """Make one check."""
    return next(r for r in doctor.run(given) if r.check == name)


class CasesTest(base.TestCase):
    """The table above."""

    def test_cases(self) -> None:
        """Each check says of each host what it shall."""
        wrong = []
        for number, case in enumerate(CASES):
            found = result_of(case.check, case.facts)
            if (
                found.status is not case.status
                or case.found not in found.found
                or case.remedy not in found.remedy
            ):
                wrong.append(f'case {number} of {case.check}: {found}')
        self.assertEqual([], wrong)

    def test_every_check_can_be_ok_wrong_and_unknown(self) -> None:
        """The table leaves none of them out, for no check."""
        seen = {
            name: {c.status for c in CASES if c.check == name}
            for name in NAMES
        }
        for name, statuses in seen.items():
            self.assertLessEqual({OK, UNKNOWN}, statuses, name)
            self.assertTrue(statuses & {WARNING, ERROR}, name)

    def test_what_is_not_ok_has_a_remedy(self) -> None:
        """Nobody is left alone; and there is none where all is well."""
        for case in CASES:
            for result in doctor.run(case.facts):
                self.assertNotEqual('', result.found, result)
                is_well = result.status is OK
                self.assertEqual(is_well, not result.remedy, result)
                self.assertNotIn('bug', result.remedy, result)


class RunTest(base.TestCase):
    """The table of checks as a whole."""

    def test_names_and_order(self) -> None:
        """Monitoring relies on both."""
        self.assertEqual(ORDER.split(), list(NAMES))

    def test_all_is_well(self) -> None:
        """Every row is there, and the exit code 0."""
        results = doctor.run(facts())
        self.assertEqual(NAMES, tuple(r.check for r in results))
        self.assertEqual({OK}, {r.status for r in results})
        self.assertEqual(0, doctor.exit_code(results))

    def test_exit_codes(self) -> None:
        """An error counts more than a warning; unknown is not well."""
        for given, code in (
            (facts(live_migration=doctor.LiveMigration()), 1),
            (facts(ledger=HIDDEN), 1),
            (facts(ledger=BROKEN), 2),
            (facts(ledger=BROKEN, live_migration=HIDDEN), 2),
        ):
            self.assertEqual(code, doctor.exit_code(doctor.run(given)))

    def test_skip(self) -> None:
        """What is left out does not count."""
        results = doctor.run(facts(ledger=BROKEN), ['ledger', 'hook'])
        self.assertEqual(
            [n for n in NAMES if n not in ('ledger', 'hook')],
            [r.check for r in results],
        )
        self.assertEqual(0, doctor.exit_code(results))

    def test_simulated_host(self) -> None:
        """Nothing is said of the machine, which is another one."""
        results = doctor.run(facts(system=None))
        self.assertEqual(
            SIMULATED.split(),
            [r.check for r in results],
        )
        self.assertEqual(0, doctor.exit_code(results))

    def test_machine_of_a_simulated_host(self) -> None:
        """A check that asks for it all the same is unknown."""
        (result,) = doctor.run(
            facts(system=None),
            checks=[doctor.Check('x', 'y', lambda f: f.machine)],
        )
        self.assertIs(UNKNOWN, result.status)

    def test_nothing_is_known(self) -> None:
        """Every row is there, and says why."""
        machine = models.System(
            **{
                field.name: HIDDEN
                for field in dataclasses.fields(models.System)
                if field.name != 'is_container'
            },
            is_container=False,
        )
        given = {
            field.name: HIDDEN
            for field in dataclasses.fields(doctor.Facts)
            if field.name not in ('system', 'sees_processes')
        }
        results = doctor.run(doctor.Facts(**given, system=machine))
        self.assertEqual(NAMES, tuple(r.check for r in results))
        self.assertEqual({UNKNOWN}, {r.status for r in results})
        self.assertEqual({HIDDEN.remedy}, {r.remedy for r in results})
        self.assertEqual(1, doctor.exit_code(results))

    def failing(self, error: Exception) -> doctor.Result:
        """Run a check that fails among others."""

        def check(given: doctor.Facts) -> doctor_facts.Verdict:
            raise error

        first, last = doctor.CHECKS[0], doctor.CHECKS[-1]
        middle = dataclasses.replace(first, name='bad', function=check)
        results = doctor.run(facts(), checks=[first, middle, last])
        self.assertEqual(
            [OK, results[1].status, OK], [r.status for r in results]
        )
        self.assertEqual('bad', results[1].check)
        return results[1]

    def test_check_that_raises(self) -> None:
        """It hides no other, and says what it was."""
        result = self.failing(ZeroDivisionError('a\nb\x1b[31m'))
        self.assertEqual(
            (UNKNOWN, 'ZeroDivisionError: a b [31m'),
            (result.status, result.found),
        )
        self.assertIn('bug', result.remedy)

    def test_check_that_is_refused(self) -> None:
        """An error of this project is told as such."""
        result = self.failing(exception.HostError('/a', 'b', 'c', 'do this'))
        self.assertEqual(
            (ERROR, '/a: found b, expected c', 'do this'),
            (result.status, result.found, result.remedy),
        )

    def test_found_is_one_short_line(self) -> None:
        """Whatever a file holds."""
        for text in ('x' * 100000, '\x00\n\r\x1b\u202e' * 1000, '\udc80'):
            found = result_of('driver', on(driver=text)).found
            self.assertLess(len(found), 600)
            self.assertTrue(found.isprintable(), repr(found[:20]))


class DocumentationTest(base.TestCase):
    """The table of the user guide."""

    def test_table(self) -> None:
        """It has every check, in order, with what the check expects."""
        page = pathlib.Path(__file__).parents[3] / 'doc/source/user/doctor.rst'
        _, *rows = page.read_text().split('\n   * - ')[1:]
        found = []
        for row in rows:
            cells = [' '.join(cell.split()) for cell in row.split('\n     - ')]
            self.assertEqual(4, len(cells), row)
            found.append((cells[0].strip('`'), cells[2]))
        self.assertEqual(
            [(check.name, check.expected) for check in doctor.CHECKS], found
        )


class CoverageTest(base.TestCase):
    """What a report finds at addresses and files has a row as well."""

    def test_no_finding_is_lost(self) -> None:
        """A host with such a finding is never all well."""
        wrong: list[models.Snapshot] = [
            hosts.host(hosts.gpu(), hosts.no_types(d, n, hosts.GPU_2))
            for d in (None, 'nvidia')
            for n in (0, 16)
        ]
        wrong += [
            hosts.host(hosts.gpu(), problems=(_PROBLEM,)),
            hosts.host(hosts.gpu(), problems=(_HIDES,)),
            hosts.host(hosts.gpu(), hosts.vendor('1145', '1153')),
            hosts.host(hosts.gpu(), hosts.vendor(None)),
            hosts.host(held(mdev('nvidia-196'), nvidia_194=0, nvidia_196=1)),
        ]
        find: Callable[..., tuple[models.Finding, ...]] = (
            checks.vgpus.plan_findings
        )
        for snapshot in wrong:
            given = facts(snapshot=snapshot)
            self.assertNotEqual((), find(given))
            code = doctor.exit_code(doctor.run(given))
            self.assertNotEqual(0, code, find(given))
