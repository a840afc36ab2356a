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
"""The reporter against the real Placement: requests, conflicts, faults."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nova_vgpu_ext import exception, models
from nova_vgpu_ext.plan import report
from tests.functional import base
from tests.functional.base import NODE, gpu, gpu_name

#: The compute node, and the constant that a first report may cost.
CONSTANT = 12


class BudgetTest(base.PlacementTestCase):
    """How many requests a cycle costs, where reshaping is allowed."""

    per_provider = 2

    def _count(
        self, process: base.Process, desired: Sequence[Any]
    ) -> list[Any]:
        with self.server.counting() as seen:
            process.run(desired)
        self.assertEqual(len(seen), len(self.server.requests[-len(seen) :]))
        return seen

    def _first_and_steady(self, count: int) -> None:
        desired = [gpu(n) for n in range(count)]
        process = self.process(readers=8)
        before = process.client.requests
        first = self._count(process, desired)
        self.assertLessEqual(len(first), self.per_provider * count + CONSTANT)
        # What the last line of a report says is what was really asked.
        self.assertEqual(len(first), process.client.requests - before)
        for _ in range(3):
            (request,) = self._count(process, desired)
            self.assertFalse(request.is_write)
            self.assertIn('in_tree=', request.path)

        self.server.touch(gpu_name(count // 2))
        moved = self._count(process, desired)
        self.assertLessEqual(len(moved), 1 + 2)
        uuid = self.server.find(gpu_name(count // 2))['uuid']
        for request in moved[1:]:
            self.assertIn(uuid, request.path)
            self.assertFalse(request.is_write)
        self.assertEqual(1, len(self._count(process, desired)))

        restarted = self._count(self.process(readers=8), desired)
        self.assertEqual([], [r for r in restarted if r.is_write])
        self.assertLessEqual(len(restarted), 2 * count + CONSTANT)
        bulk = [r for r in restarted if 'candidates' in r.path]
        self.assertEqual(1, len(bulk))
        self.assertEqual([], [r for r in restarted if '/traits' in r.path])
        # The bulk answer leaves one request for each provider.
        self.assertLessEqual(len(restarted), count + 1 + CONSTANT // 2)

    def test_eight_gpus(self) -> None:
        """A usual host."""
        self._first_and_steady(8)

    def test_512_vfs(self) -> None:
        """A host full of virtual functions is as cheap when steady."""
        self._first_and_steady(512)


class BudgetWithoutReshaperTest(BudgetTest):
    """The same, where the service user may not reshape."""

    reshaper = False
    per_provider = 3

    test_512_vfs = None

    def test_reshaping_is_tried_once(self) -> None:
        """A refusal is remembered; the inventories go one by one."""
        process = self.process()
        for total in (32, 16, 8):
            process.run([gpu(n, total) for n in range(4)])
            found = self.server.providers(NODE)
            totals = [found[gpu_name(n)].totals['VGPU'] for n in range(4)]
            self.assertEqual([total] * 4, totals)
        reshapes = [
            r for r in self.server.requests if r.path.startswith('/reshaper')
        ]
        self.assertEqual([403], [r.status for r in reshapes])


class ReportTest(base.PlacementTestCase):
    """What a report leaves behind."""

    def test_first_report(self) -> None:
        """Providers, inventories and traits are as wanted, under the node."""
        result = self.process().run([gpu(0), gpu(1, 8, 'CUSTOM_BIG')])
        root = self.server.provider(NODE)
        found = self.server.provider(gpu_name(0))
        self.assertEqual(root.uuid, found.parent_uuid)
        self.assertEqual(base.TRAITS, found.traits)
        self.assertEqual(
            {
                'VGPU': {
                    'total': 32,
                    'max_unit': 32,
                    'min_unit': 1,
                    'step_size': 1,
                    'reserved': 0,
                    'allocation_ratio': 1.0,
                }
            },
            found.inventories,
        )
        other = self.server.provider(gpu_name(1))
        self.assertEqual({'CUSTOM_BIG': 8}, other.totals)
        self.assertEqual((3, ()), (result.providers, result.findings))
        self.assertEqual(6, len(result.actions))

    def test_it_is_idempotent(self) -> None:
        """A second report, of this or of a new process, does nothing."""
        process = self.process()
        desired = [gpu(n) for n in range(5)]
        process.run(desired)
        before = self.server.providers()
        for again in (process, self.process()):
            self.assertEqual((), again.run(desired).actions)
        self.assertEqual(before, self.server.providers())

    def test_a_dry_run_writes_nothing(self) -> None:
        """It tells the actions that a run then takes."""
        process = self.process()
        before = self.server.providers()
        dry = process.reporter.dry_run(lambda tree: ([gpu(0), gpu(1)], ()))
        self.assertEqual(before, self.server.providers())
        done = process.run([gpu(0), gpu(1)]).actions
        self.assertEqual(set(dry.actions), set(done))
        self.assertEqual(len(dry.actions), len(done))

    def test_full_gpus(self) -> None:
        """With no unit free there is no bulk answer, and all is still right.

        Placement describes a tree only as a candidate.
        """
        count = 6
        desired = [gpu(n, 2) for n in range(count)]
        self.process().run(desired)
        self.server.add_traits(gpu_name(0), 'CUSTOM_FOREIGN')
        self.server.allocate({gpu_name(n): {'VGPU': 2} for n in range(count)})
        with self.server.counting() as seen:
            result = self.process().run(desired)
        self.assertEqual((), result.actions)
        self.assertLessEqual(len(seen), 2 * count + CONSTANT)
        self.assertEqual(count, sum('/traits' in r.path for r in seen))
        changed = self.process().run([gpu(n, 3) for n in range(count)])
        self.assertEqual(count, len(changed.actions))
        self.assertIn(
            'CUSTOM_FOREIGN', self.server.provider(gpu_name(0)).traits
        )

    def test_memory_describes_the_tree_as_well(self) -> None:
        """Where GPUs are full, the node's memory gives the bulk answer."""
        desired = [gpu(n, 1) for n in range(4)]
        self.process().run(desired)
        self.server.set_inventories(NODE, {'MEMORY_MB': 1024})
        self.server.allocate({gpu_name(n): {'VGPU': 1} for n in range(4)})
        with self.server.counting() as seen:
            self.assertEqual((), self.process().run(desired).actions)
        self.assertEqual([], [r for r in seen if '/traits' in r.path])

    def test_other_services_children_stay(self) -> None:
        """Neither their providers nor the node's own inventories change."""
        root = self.server.find(NODE)['uuid']
        self.server.set_inventories(NODE, {'VCPU': 8, 'MEMORY_MB': 1024})
        foreign = {
            f'{NODE}:Open vSwitch agent:br-ex': 'NET_BW_EGR_KILOBIT_PER_SEC',
            f'{NODE}_0000:C1:00.0': 'CUSTOM_PCI_10DE_26B9',
            gpu_name(77): 'CUSTOM_ACCELERATOR',
        }
        for name, resource_class in foreign.items():
            self.server.create_provider(name, root)
            self.server.set_inventories(name, {resource_class: 3})
        self.server.set_traits(gpu_name(77), ['OWNER_CYBORG'])
        before = self.state()
        self.process().run([gpu(0)])
        self.process().run([])
        self.assertEqual(before, self.state())

    def test_gpu_that_is_gone(self) -> None:
        """Its provider goes; held ones stay."""
        self.process().run([gpu(0), gpu(1), gpu(20)])
        self.process().run([gpu(0)], held=(f'{NODE}_pci_0000_03_',))
        self.assertEqual(
            {NODE, gpu_name(0), gpu_name(20)}, set(self.server.providers())
        )

    def test_release_is_noticed_while_watching(self) -> None:
        """What an allocation held back is done once the allocation is gone.

        Placement does not move the generation when a consumer goes.
        """
        process = self.process()
        process.run([gpu(0), gpu(1)])
        first = self.server.allocate({gpu_name(0): {'VGPU': 5}})
        second = self.server.allocate({gpu_name(1): {'VGPU': 5}})
        for _ in range(2):
            result = process.run([gpu(0, 4)])
            self.assertEqual(
                {gpu_name(0), gpu_name(1)},
                {finding.option for finding in result.findings},
            )
        self.assertEqual(5, self.server.provider(gpu_name(0)).totals['VGPU'])
        self.server.release(first)
        self.server.release(second)
        result = process.run([gpu(0, 4)])
        self.assertEqual((), result.findings)
        self.assertEqual(4, self.server.provider(gpu_name(0)).totals['VGPU'])
        self.assertIsNone(self.server.find(gpu_name(1)))


class NodeTest(base.PlacementTestCase):
    """The compute node's own provider."""

    def test_missing(self) -> None:
        """A node that Placement does not know is named, with the way out."""
        process = self.process(node='elsewhere')
        with self.server.counting() as seen:
            error = self.assertRaises(
                exception.NodeNotFound, process.run, [gpu(0)]
            )
        self.assertIn("'elsewhere'", str(error))
        self.assertIn('--node', error.remedy)
        self.assertEqual([], [r for r in seen if r.is_write])

    def test_deleted_and_made_again_while_watching(self) -> None:
        """The tree is found anew under the same name."""
        process = self.process()
        desired = [gpu(0), gpu(1)]
        process.run(desired)
        for name in (gpu_name(0), gpu_name(1), NODE):
            self.server.delete_provider(name)
        self.assertRaises(exception.NodeNotFound, process.run, desired)
        root = self.server.create_provider(NODE)
        result = process.run(desired)
        self.assertEqual(3, result.providers)
        for name in (gpu_name(0), gpu_name(1)):
            self.assertEqual(root, self.server.provider(name).parent_uuid)

    def test_vgpu_on_the_node_itself(self) -> None:
        """A tree from before Stein is Nova's to reshape: nothing is done."""
        self.server.set_inventories(NODE, {'VGPU': 8})
        with self.server.counting() as seen:
            result = self.process().run([gpu(0)])
        self.assertEqual([], [r for r in seen if r.is_write])
        (finding,) = result.findings
        self.assertIs(models.Severity.ERROR, finding.severity)
        self.assertEqual(NODE, finding.option)
        self.assertIn('nova-compute', finding.remedy)


class ConflictTest(base.PlacementTestCase):
    """Others write between our reading and our writing."""

    def _converges(
        self,
        method: str,
        path: str,
        interfere: Callable[[], Any],
        desired: Sequence[models.DesiredProvider],
    ) -> Any:
        """Interfere with a write; give the result of the run."""
        self.server.before(method, path, interfere)
        process = self.process()
        result = process.run(desired)
        statuses = [r.status for r in self.server.requests]
        self.assertIn(409, statuses)
        self.assertEqual((), self.process().run(desired).actions)
        return result

    def test_setting_traits(self) -> None:
        """A trait that another adds in between stays, and ours come."""
        self.process().run([gpu(0, traits=())])
        self._converges(
            'PUT',
            '/resource_providers/.*/traits',
            lambda: self.server.add_traits(gpu_name(0), 'CUSTOM_FOREIGN'),
            [gpu(0)],
        )
        self.assertEqual(
            base.TRAITS | {'CUSTOM_FOREIGN'},
            self.server.provider(gpu_name(0)).traits,
        )

    def test_setting_one_inventory(self) -> None:
        """The generation that another moved is read again."""
        self.process().run([gpu(0)])
        result = self._converges(
            'PUT',
            '/inventories',
            lambda: self.server.set_inventories(gpu_name(0), {'VGPU': 3}),
            [gpu(0, 16)],
        )
        # What was begun and refused is not told twice.
        self.assertEqual(1, len(result.actions))
        self.assertEqual(16, self.server.provider(gpu_name(0)).totals['VGPU'])

    def test_reshaping(self) -> None:
        """One provider that moved refuses all, and all are planned anew."""
        desired = [gpu(n) for n in range(4)]
        self._converges(
            'POST',
            '/reshaper',
            lambda: self.server.touch(gpu_name(2)),
            desired,
        )
        found = self.server.providers()
        for provider in desired:
            self.assertEqual({'VGPU': 32}, found[provider.name].totals)

    def test_creating(self) -> None:
        """Nova may be first to create the provider; it is taken as it is."""
        root = self.server.find(NODE)['uuid']
        self._converges(
            'POST',
            '/resource_providers',
            lambda: self.server.create_provider(gpu_name(0), root),
            [gpu(0), gpu(1)],
        )
        self.assertEqual(3, len(self.server.providers()))

    def test_deleting_what_is_gone(self) -> None:
        """Somebody else deleted it first: that is what was wanted."""
        self.process().run([gpu(0), gpu(1)])
        self.server.before(
            'DELETE',
            '/resource_providers',
            lambda: self.server.delete_provider(gpu_name(1)),
        )
        result = self.process().run([gpu(0)])
        self.assertEqual((), result.findings)
        self.assertEqual({NODE, gpu_name(0)}, set(self.server.providers()))

    def test_deleting_what_is_taken_meanwhile(self) -> None:
        """A server came in between: the provider stays and is reported."""
        self.process().run([gpu(0), gpu(1)])
        self.server.before(
            'DELETE',
            '/resource_providers',
            lambda: self.server.allocate({gpu_name(1): {'VGPU': 2}}),
        )
        result = self.process().run([gpu(0)])
        (finding,) = result.findings
        self.assertEqual(gpu_name(1), finding.option)
        self.assertIn('2 VGPU', finding.found)
        self.assertEqual({'VGPU': 2}, self.server.provider(gpu_name(1)).usages)
        self.assertEqual(
            [
                f'set traits of {gpu_name(1)}: add CUSTOM_VGPU_GONE; '
                'remove CUSTOM_VGPU_SERIES_Q',
                f'set inventory of {gpu_name(1)}: VGPU total 2',
            ],
            [str(a) for a in result.actions],
        )

    def test_provider_that_goes_between_list_and_read(self) -> None:
        """A 404 of one provider is planned afresh, not an error."""
        self.process().run([gpu(0), gpu(1)])
        uuid = self.server.provider(gpu_name(1)).uuid
        self.server.before(
            'GET',
            f'/resource_providers/{uuid}/inventories',
            lambda: self.server.delete_provider(gpu_name(1)),
        )
        result = self.process().run([gpu(0), gpu(1)])
        self.assertEqual((), result.findings)
        self.assertEqual(
            {NODE, gpu_name(0), gpu_name(1)}, set(self.server.providers())
        )

    def test_traits_that_are_gone(self) -> None:
        """A process does not believe that a custom trait is for ever."""
        process = self.process()
        process.run([gpu(0)])
        traits = self.server.provider(gpu_name(0)).traits
        self.server.delete_provider(gpu_name(0))
        for trait in traits:
            self.server.api('DELETE', f'/traits/{trait}')
        process.run([gpu(0)])
        self.assertEqual(traits, self.server.provider(gpu_name(0)).traits)

    def test_class_of_somebody_else(self) -> None:
        """What Nova's provider configuration files add is left there."""
        process = self.process()
        process.run([gpu(0)])
        record = self.server.provider(gpu_name(0)).inventories['VGPU']
        self.server.set_inventories(
            gpu_name(0), {'VGPU': record, 'CUSTOM_LICENCE': 4}
        )
        self.assertEqual((), process.run([gpu(0)]).actions)
        process.run([gpu(0, total=3)])
        self.assertEqual(
            {'VGPU': 3, 'CUSTOM_LICENCE': 4},
            self.server.provider(gpu_name(0)).totals,
        )

    def test_lowering_what_is_taken_meanwhile(self) -> None:
        """The total never falls below what was allocated in between."""
        for count in (1, 3):
            desired = [gpu(n) for n in range(count)]
            self.process().run(desired)
            consumer: list[str] = []

            def take(consumer: list[str] = consumer) -> None:
                consumer.append(
                    self.server.allocate({gpu_name(0): {'VGPU': 10}})
                )

            # One inventory is put, several are reshaped.
            self.server.before('PUT' if count == 1 else 'POST', '/', take)
            result = self.process().run([gpu(n, 4) for n in range(count)])
            self.assertEqual(1, len(consumer))
            (finding,) = result.findings
            self.assertIn('10 VGPU', finding.found)
            found = self.server.providers()
            self.assertEqual({'VGPU': 10}, found[gpu_name(0)].totals)
            for n in range(1, count):
                self.assertEqual({'VGPU': 4}, found[gpu_name(n)].totals)
            self.server.release(consumer[0])

    def test_class_that_is_taken_meanwhile(self) -> None:
        """A class in use is not taken away, however late it came in use."""
        self.process().run([gpu(0)])
        self.server.before(
            'PUT',
            '/inventories',
            lambda: self.server.allocate({gpu_name(0): {'VGPU': 1}}),
        )
        result = self.process().run([gpu(0, 16, 'CUSTOM_BIG')])
        (finding,) = result.findings
        self.assertIn('1 VGPU', finding.found)
        self.assertEqual(
            {'VGPU': 32}, self.server.provider(gpu_name(0)).totals
        )

    def test_somebody_always_writes(self) -> None:
        """It ends, after a bounded time, with an error that says why."""
        self.process().run([gpu(0)])

        def again() -> None:
            self.server.before('PUT', '/inventories', again)
            self.server.touch(gpu_name(0))

        again()
        with self.server.counting() as seen:
            error = self.assertRaises(
                exception.WriteFailed, self.process().run, [gpu(0, 16)]
            )
        self.assertIn('409', str(error))
        self.assertIn('something else writes', error.remedy)
        self.assertLessEqual(sum(r.is_write for r in seen), 5)
        # Backing off, but for seconds only.
        self.assertGreater(len(self.waits.seconds), 2)
        self.assertLess(sum(self.waits.seconds), 10)
        self.server.clear_faults()
        self.process().run([gpu(0, 16)])
        self.assertEqual(16, self.server.provider(gpu_name(0)).totals['VGPU'])


#: What can become of a request, as arguments of WsgiServer.fault.
FAULTS: dict[str, dict[str, Any]] = {
    'status 500': {'status': 500},
    'status 503': {'status': 503},
    'closed before': {'close': True},
    'closed after': {'close_after': True},
    'truncated': {'truncate': True},
    'login page': {
        'status': 200,
        'body': b'<html><body>Sign in</body></html>',
        'content_type': 'text/html',
    },
}


class _Prepared(base.PlacementTestCase):
    """A tree in which a report has something of each kind to do."""

    def _prepare(self, node: str) -> list[models.DesiredProvider]:
        """Make a tree in which a report has something of each kind to do."""
        root = self.server.create_provider(node)
        for number in (1, 2, 3):
            name = gpu_name(number, node)
            self.server.create_provider(name, root)
            self.server.set_inventories(name, {'VGPU': 8})
        self.server.set_traits(
            gpu_name(1, node), ['CUSTOM_VGPU_SERIES_B', 'CUSTOM_FOREIGN']
        )
        self.server.allocate({gpu_name(2, node): {'VGPU': 6}})
        return [
            gpu(0, node=node),
            gpu(1, resource_class='CUSTOM_BIG', node=node),
            gpu(2, total=4, node=node),
        ]


class FaultTest(_Prepared):
    """Each request of a report fails in each way, one after the other."""

    def _one_fault(
        self, kind: str, index: int, expected: dict[str, Any]
    ) -> tuple[bool, bool]:
        """Let one request fail; tell whether the run was right anyway.

        :returns: whether the request was a write, and whether it ended
            without an error.
        """
        node = f'{kind}-{index}'.replace(' ', '-')
        desired = self._prepare(node)
        process = self.process(node)
        start = len(self.server.requests)
        self.server.fault(skip=index, **FAULTS[kind])
        try:
            process.run(desired)
            right = True
            self.assertEqual(expected, self.state(node), node)
        except exception.VgpuError as error:
            right = False
            self.assertNotIn('\n', str(error))
            self.assertNotEqual('', str(error).partition('; ')[2])
        hit = self.server.requests[start + index]
        self.server.clear_faults()
        # The watching process goes on, and so does a new one.
        process.run(desired)
        self.assertEqual(expected, self.state(node), node)
        with self.server.counting() as seen:
            self.assertEqual((), self.process(node).run(desired).actions)
        self.assertEqual([], [r for r in seen if r.is_write])
        return hit.is_write, right

    def _check(self, kind: str) -> list[tuple[bool, bool]]:
        desired = self._prepare('plain')
        # Custom traits and classes stay known: make them before counting.
        self.process('plain').run(desired)
        expected = self.state('plain')
        desired = self._prepare('counted')
        process = self.process('counted')
        with self.server.counting() as seen:
            process.run(desired)
        self.assertEqual(expected, self.state('counted'))
        kinds = {r.method for r in seen}
        self.assertEqual({'GET', 'POST', 'PUT', 'DELETE'}, kinds)
        return [
            self._one_fault(kind, index, expected)
            for index, _ in enumerate(seen)
        ]

    def test_status_500(self) -> None:
        """Reads are tried again; writes are planned again."""
        self.assertEqual({True}, {r for _, r in self._check('status 500')})

    def test_status_503(self) -> None:
        """So they are while a load balancer has no server."""
        self.assertEqual({True}, {r for _, r in self._check('status 503')})

    def test_closed_before(self) -> None:
        """A connection that breaks before the work is done."""
        self.assertEqual({True}, {r for _, r in self._check('closed before')})

    def test_closed_after(self) -> None:
        """A write whose answer was lost has happened; it is found done."""
        self.assertEqual({True}, {r for _, r in self._check('closed after')})

    def test_truncated(self) -> None:
        """Half an answer is none."""
        self._check('truncated')

    def test_login_page(self) -> None:
        """HTML is an error at once; the next run goes on from there.

        Only where it would have told the generations after a reshape, it
        takes nothing away from what was written.
        """
        right = [r for _, r in self._check('login page')]
        self.assertEqual(1, right.count(True))

    def test_reads_are_not_tried_for_ever(self) -> None:
        """A Placement that stays away is an error after a few attempts."""
        process = self.process()
        self.server.fault_status(503, times=1000)
        with self.server.counting() as seen:
            error = self.assertRaises(
                exception.PlacementUnavailable, process.run, [gpu(0)]
            )
        self.assertLessEqual(len(seen), 5)
        self.assertIn('503', str(error))
        self.assertLess(sum(self.waits.seconds), 10)

    def test_stopped(self) -> None:
        """Connection refused is an error that says so; later all is well."""
        process = self.process()
        process.run([gpu(0)])
        self.server.stop()
        error = self.assertRaises(
            exception.PlacementUnavailable, process.run, [gpu(0), gpu(1)]
        )
        self.assertIn('no answer', error.found)
        self.server.start_again()
        process.run([gpu(0), gpu(1)])
        self.assertEqual(3, len(self.server.providers()))


class Killed(BaseException):
    """Stands for the end of the process."""


class KillTest(_Prepared):
    """A process that dies at any point leaves what the next one repairs."""

    def test_at_each_action(self) -> None:
        """Death before each write, with and without reshaping."""
        desired = self._prepare('plain')
        done = self.process('plain').run(desired).actions
        expected = self.state('plain')
        self.assertGreater(len(done), 5)
        for index in range(len(done)):
            node = f'killed-{index}'
            desired = self._prepare(node)
            process = self.process(node)

            def die(action: report.Action, last: int = index) -> None:
                if len(process.begun) > last:  # noqa: B023
                    raise Killed

            self.assertRaises(Killed, process.run, desired, (), die)
            self.process(node).run(desired)
            self.assertEqual(expected, self.state(node), node)


class KillWithoutReshaperTest(KillTest):
    """The same where each inventory is written by itself."""

    reshaper = False
