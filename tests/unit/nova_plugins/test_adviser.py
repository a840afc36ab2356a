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
"""What the scheduler's filter and weighers are told."""

from __future__ import annotations

import gc
from collections.abc import Collection
from typing import Any
from unittest import mock

from nova.objects import flavor as flavor_obj
from nova.objects import request_spec
from nova.scheduler import host_manager
from nova.scheduler import weights as nova_weights

from nova_vgpu_ext import exception
from nova_vgpu_ext.models import Capacity
from nova_vgpu_ext.nova_plugins import adviser, filters, settings, weights
from nova_vgpu_ext.plan import policy
from nova_vgpu_ext.plan.policy import Policy
from tests import base

_Candidate = dict[str, Any]


def host(name: str, *candidates: _Candidate) -> Any:
    """Make a HostState whose node's UUID is its name."""
    state = host_manager.HostState(name, name, 'cell')
    state.uuid = name
    state.allocation_candidates = list(candidates)
    return state


def candidate(host_name: str, **gpus: int) -> _Candidate:
    """Make a candidate that takes vGPUs of GPUs beside memory."""
    taken = {host_name: {'resources': {'MEMORY_MB': 512}}}
    for gpu, amount in gpus.items():
        taken[gpu] = {'resources': {'VGPU': amount}}
    return {'allocations': taken, 'mappings': {'': list(taken)}}


def spec(**extra_specs: str) -> Any:
    """Make a RequestSpec; ``__`` in a name stands for a colon."""
    specs = {k.replace('__', ':'): v for k, v in extra_specs.items()}
    flavor = flavor_obj.Flavor(name='a flavor', extra_specs=specs)
    return request_spec.RequestSpec(flavor=flavor)


class _Lookup:
    """Knows what the test says, and counts the questions."""

    def __init__(self) -> None:
        self.known: dict[policy.Slot, Capacity] | None = {}
        self.found: policy.Places | None = None
        self.questions: list[Any] = []

    def capacities(
        self, name: str, required: Collection[str], root: str | None
    ) -> dict[policy.Slot, Capacity] | None:
        self.questions.append((name, set(required), root))
        return self.known

    def places(self, wait: bool) -> policy.Places | None:
        self.questions.append(wait)
        return self.found


class AdviserTestCase(base.TestCase):
    """An adviser that Nova's plugins share."""

    def setUp(self) -> None:
        super().setUp()
        self.lookup = _Lookup()
        self.advise()

    def advise(
        self, wanted: Policy | None = Policy.PACK, **options: Any
    ) -> None:
        """Set the options."""
        values = {
            'classes': frozenset(),
            'timeout': 5,
            'refresh': 60,
            'policy_multiplier': 1000.0,
            'host_multiplier': 1000.0,
            **options,
        }
        self.adviser = adviser.Adviser(
            settings.Settings(policy=wanted, **values),
            self.lookup,  # type: ignore[arg-type]
        )
        self.patch(f'{adviser.__name__}.shared', lambda: self.adviser)

    def used(self, total: int = 8, **gpus: int) -> None:
        """Say how many vGPUs of each GPU are used."""
        self.lookup.known = {
            (gpu, 'VGPU'): Capacity(total, n) for gpu, n in gpus.items()
        }

    def filter(self, request: Any, hosts: list[Any]) -> list[list[str]]:
        """Run the filter as Nova does; give the GPUs of the candidates."""
        before = [list(h.allocation_candidates) for h in hosts]
        passed = list(filters.VgpuPolicyFilter().filter_all(hosts, request))
        self.assertEqual(hosts, passed)
        for had, h in zip(before, hosts, strict=True):
            self.assertEqual(
                sorted(map(id, had)),
                sorted(map(id, h.allocation_candidates)),
            )
        return [
            [
                '+'.join(gpu for gpu in c['allocations'] if gpu != h.uuid)
                for c in h.allocation_candidates
            ]
            for h in hosts
        ]

    def weigh(self, weigher: Any, request: Any, hosts: list[Any]) -> list[str]:
        """Run a weigher as Nova does; give the hosts in order."""
        found = nova_weights.HostWeightHandler().get_weighed_objects(
            [weigher()], hosts, request
        )
        return [weighed.obj.host for weighed in found]


class FilterTest(AdviserTestCase):
    """The order of candidates."""

    def hosts(self) -> list[Any]:
        """Make two hosts with two GPUs each."""
        return [
            host('h1', candidate('h1', a=1), candidate('h1', b=1)),
            host('h2', candidate('h2', c=1), candidate('h2', d=1)),
        ]

    def test_the_policy_orders_every_host(self) -> None:
        """One question serves all of them."""
        self.used(a=1, b=2, c=4, d=3)
        found = self.filter(spec(), self.hosts())
        self.assertEqual([['b', 'a'], ['c', 'd']], found)
        self.assertEqual([('VGPU', set(), None)], self.lookup.questions)

    def test_the_flavor_goes_first(self) -> None:
        """It also brings a policy where there is none."""
        self.used(a=1, b=2, c=4, d=3)
        request = spec(vgpu__gpu_policy='spread')
        for wanted in (Policy.PACK, None):
            self.advise(wanted)
            found = self.filter(request, self.hosts())
            self.assertEqual([['a', 'b'], ['d', 'c']], found)

    def test_a_bad_policy_of_a_flavor_counts_as_not_set(self) -> None:
        """A flavor can be older than the validators."""
        self.used(a=1, b=2, c=4, d=3)
        request = spec(vgpu__gpu_policy='x' * 1000)
        found = self.filter(request, self.hosts())
        self.assertEqual([['b', 'a'], ['c', 'd']], found)
        self.assertIn("flavor 'a flavor'", self.logs.lines[0])
        self.assertLess(len(self.logs.lines[0]), 250)

    def test_without_a_policy_nothing_happens(self) -> None:
        """Not even a question."""
        self.advise(None)
        found = self.filter(spec(), self.hosts())
        self.assertEqual([['a', 'b'], ['c', 'd']], found)
        self.assertEqual([], self.lookup.questions)

    def test_without_an_answer_nothing_happens(self) -> None:
        """Placement is asked once, and the order stays."""
        self.lookup.known = None
        found = self.filter(spec(), self.hosts())
        self.assertEqual([['a', 'b'], ['c', 'd']], found)
        self.assertEqual(1, len(self.lookup.questions))

    def test_other_guests_are_none_of_its_business(self) -> None:
        """No vGPU, no candidates (a rebuild), no choice: no question."""
        for hosts in (
            [host('h1', candidate('h1'), candidate('h1'))],
            [host('h1')],
            [host('h1', candidate('h1', a=1))],
            [],
        ):
            self.filter(spec(), hosts)
        self.assertEqual([], self.lookup.questions)

    def test_a_flavor_without_extra_specs(self) -> None:
        """Nova can leave them out."""
        self.used(a=1, b=2, c=4, d=3)
        flavor = flavor_obj.Flavor(name='old')
        found = self.filter(
            request_spec.RequestSpec(flavor=flavor), self.hosts()
        )
        self.assertEqual([['b', 'a'], ['c', 'd']], found)

    def test_one_host_is_asked_for_alone(self) -> None:
        """As in a migration to a host that was chosen."""
        self.used(a=1, b=2)
        self.filter(spec(), self.hosts()[:1])
        self.assertEqual([('VGPU', set(), 'h1')], self.lookup.questions)

    def test_the_type_narrows_the_question(self) -> None:
        """Other traits can be those of the compute node."""
        self.filter(
            spec(
                resources__VGPU='1',
                trait__CUSTOM_NVIDIA_194='required',
                trait__HW_CPU_X86_AVX='required',
                trait__CUSTOM_VGPU_SERIES_A='forbidden',
            ),
            self.hosts(),
        )
        self.assertEqual(
            [('VGPU', {'CUSTOM_NVIDIA_194'}, None)], self.lookup.questions
        )

    def test_several_vgpus(self) -> None:
        """Each candidate of numbered groups counts as a whole."""
        self.used(a=7, b=1, c=0)
        hosts = [
            host(
                'h1',
                candidate('h1', b=1, c=1),
                candidate('h1', a=1, c=1),
                candidate('h1', a=1, b=1),
                candidate('h1', a=2),
            )
        ]
        found = self.filter(spec(), hosts)
        self.assertEqual([['a+b', 'a+c', 'b+c', 'a']], found)

    def test_other_classes(self) -> None:
        """Those of products are known, others have to be configured."""
        for name, classes, expected in (
            ('CUSTOM_NVIDIA_L40S_12Q', (), ['b', 'a']),
            ('CUSTOM_GOLD', ('CUSTOM_GOLD',), ['b', 'a']),
            ('CUSTOM_GOLD', (), ['a', 'b']),
        ):
            self.advise(classes=frozenset(classes))
            self.lookup.known = {
                ('a', name): Capacity(4, 0),
                ('b', name): Capacity(4, 2),
            }
            hosts = [
                host(
                    'h1',
                    *(
                        {'allocations': {gpu: {'resources': {name: 1}}}}
                        for gpu in 'ab'
                    ),
                )
            ]
            self.assertEqual([expected], self.filter(spec(), hosts))

    def test_vfs_stand_for_cards(self) -> None:
        """Nobody waits for the names that tell their cards."""
        self.used(1, a=0, b=0, c=1)
        cards = {'a': 'one', 'b': 'two', 'c': 'two'}
        for found, expected in (
            (None, ['a', 'b']),
            (policy.Places(cards=cards), ['b', 'a']),
        ):
            self.lookup.found = found
            hosts = [host('h', candidate('h', a=1), candidate('h', b=1))]
            self.assertEqual([expected], self.filter(spec(), hosts))
            self.assertIs(False, self.lookup.questions[-1])


class PolicyWeigherTest(AdviserTestCase):
    """The order of hosts under a policy."""

    def hosts(self) -> list[Any]:
        """Make three hosts."""
        return [
            host('h1', candidate('h1', a=1), candidate('h1', b=1)),
            host('h2', candidate('h2', c=1), candidate('h2', d=1)),
            host('h3', candidate('h3', e=1)),
        ]

    def weigh_policy(self, request: Any, hosts: list[Any]) -> list[str]:
        """Run the weigher."""
        return self.weigh(weights.VgpuPolicyWeigher, request, hosts)

    def test_the_policy_orders_hosts(self) -> None:
        """With a question of its own where the filter is not enabled."""
        self.used(a=1, b=2, c=4, d=3, e=0)
        self.assertEqual(
            ['h2', 'h1', 'h3'], self.weigh_policy(spec(), self.hosts())
        )
        request = spec(vgpu__gpu_policy='spread')
        self.assertEqual(
            ['h3', 'h1', 'h2'], self.weigh_policy(request, self.hosts())
        )
        self.assertEqual(2, len(self.lookup.questions))

    def test_filter_and_weigher_share_one_answer(self) -> None:
        """Each pass of both asks once, for it is another moment."""
        request, hosts = spec(), self.hosts()
        for n in (1, 2, 3):
            self.used(a=1, b=2, c=4 - n, d=0, e=n)
            self.filter(request, hosts)
            self.weigh_policy(request, hosts)
            self.assertEqual(n, len(self.lookup.questions))
        self.assertEqual(['h3', 'h1', 'h2'], self.weigh_policy(request, hosts))

    def test_an_answer_is_used_once(self) -> None:
        """A pass without filters, for forced hosts, has its own question."""
        request, hosts = spec(), self.hosts()
        self.used(a=1, b=2, c=4, d=3, e=0)
        self.filter(request, hosts)
        self.weigh_policy(request, hosts)
        self.used(a=1, b=2, c=0, d=0, e=7)
        self.assertEqual('h3', self.weigh_policy(request, hosts)[0])

    def test_a_pass_that_was_given_up_leaves_nothing(self) -> None:
        """Another filter may have sent every host away."""
        request, hosts = spec(), self.hosts()
        self.used(a=1, b=2, c=4, d=3, e=0)
        self.filter(request, hosts)
        self.used(a=7, b=2, c=0, d=0, e=0)
        self.filter(request, hosts)
        self.assertEqual('h1', self.weigh_policy(request, hosts)[0])
        self.filter(request, hosts)
        del request
        gc.collect()
        self.assertEqual(0, len(self.adviser._found))

    def test_requests_do_not_mix(self) -> None:
        """The scheduler works for several at once."""
        first, second = spec(), spec(vgpu__gpu_policy='spread')
        self.used(a=1, b=2, c=4, d=3, e=0)
        self.filter(first, self.hosts())
        self.filter(second, self.hosts())
        self.assertEqual(
            ['h2', 'h1', 'h3'], self.weigh_policy(first, self.hosts())
        )
        self.assertEqual(
            ['h3', 'h1', 'h2'], self.weigh_policy(second, self.hosts())
        )
        self.assertEqual(2, len(self.lookup.questions))

    def test_no_effect(self) -> None:
        """No answer, no policy, no vGPU, no candidates, no multiplier."""
        hosts = self.hosts()
        names = [h.host for h in hosts]
        self.lookup.known = None
        self.assertEqual(names, self.weigh_policy(spec(), hosts))
        self.used(a=1, b=2, c=4, d=3, e=0)
        self.lookup.questions.clear()
        for multiplier in (0.0, -1.0):
            self.advise(policy_multiplier=multiplier)
            self.assertEqual(names, self.weigh_policy(spec(), hosts))
        self.advise(None)
        self.assertEqual(names, self.weigh_policy(spec(), hosts))
        self.advise()
        for others in (
            [host(name, candidate(name)) for name in names],
            [host(name) for name in names],
        ):
            self.assertEqual(names, self.weigh_policy(spec(), others))
        self.assertEqual([], self.lookup.questions)


class GpuHostWeigherTest(AdviserTestCase):
    """Guests without a vGPU."""

    def setUp(self) -> None:
        super().setUp()
        self.lookup.found = policy.Places(frozenset({'h1', 'h2'}))

    def weigh_hosts(self, hosts: list[Any]) -> list[str]:
        """Run the weigher."""
        return self.weigh(weights.GpuHostWeigher, spec(), hosts)

    def test_hosts_with_gpus_come_last(self) -> None:
        """They are still there for when the others are full."""
        hosts = [host(n, candidate(n)) for n in ('h1', 'h2', 'h3', 'h4')]
        self.assertEqual(['h3', 'h4', 'h1', 'h2'], self.weigh_hosts(hosts))
        self.assertEqual([True], self.lookup.questions)

    def test_no_effect(self) -> None:
        """A vGPU, no candidates, no list, no multiplier."""
        hosts = [host(n, candidate(n, a=1)) for n in ('h1', 'h3')]
        self.assertEqual(['h1', 'h3'], self.weigh_hosts(hosts))
        hosts = [host(n) for n in ('h1', 'h3')]
        self.assertEqual(['h1', 'h3'], self.weigh_hosts(hosts))
        hosts = [host(n, candidate(n)) for n in ('h1', 'h3')]
        self.advise(host_multiplier=0.0)
        self.assertEqual(['h1', 'h3'], self.weigh_hosts(hosts))
        self.assertEqual([], self.lookup.questions)
        self.advise()
        self.lookup.found = None
        self.assertEqual(['h1', 'h3'], self.weigh_hosts(hosts))


class SharedTest(base.TestCase):
    """The adviser of a process."""

    def setUp(self) -> None:
        super().setUp()
        adviser.shared.cache_clear()
        self.addCleanup(adviser.shared.cache_clear)

    def configure(self, text: str) -> None:
        """Be a service that was started with a file."""
        conf = mock.Mock(config_file=[self.write_conf(text)], config_dir=[])
        self.patch('nova.conf.CONF', conf)

    def test_the_service_s_own_files_are_read(self) -> None:
        """Without asking anybody anything."""
        self.configure(
            '[vgpu]\ngpu_policy = spread\ngpu_classes = CUSTOM_A, CUSTOM_B\n'
            'gpu_policy_timeout = 1.5\ngpu_hosts_refresh = 7\n'
            'gpu_policy_weight_multiplier = 3\n'
            'gpu_host_weight_multiplier = -1\n'
        )
        self.assertEqual(
            settings.Settings(
                Policy.SPREAD,
                frozenset({'CUSTOM_A', 'CUSTOM_B'}),
                1.5,
                7,
                3,
                -1,
            ),
            adviser.shared().settings,
        )
        self.assertIs(
            filters.VgpuPolicyFilter()._adviser,
            weights.GpuHostWeigher()._adviser,
        )

    def test_a_mistake_in_an_option_is_told_at_the_start(self) -> None:
        """The service does not start with it, as with Nova's options."""
        self.configure('[vgpu]\ngpu_policy = pakc\n')
        error = self.assertRaises(
            exception.ConfigError, filters.VgpuPolicyFilter
        )
        self.assertEqual(
            "[vgpu] gpu_policy: found 'pakc', expected pack or spread; "
            'mend or remove the line',
            str(error),
        )

    def test_no_credentials(self) -> None:
        """The guest is scheduled, and the log says what is missing."""
        self.configure('[vgpu]\ngpu_policy = pack\n')
        hosts: list[Any] = [
            host('h', candidate('h', a=1), candidate('h', b=1))
        ]
        filters.VgpuPolicyFilter().filter_all(hosts, spec())
        self.assertIn('[placement] auth_type', self.logs.lines[-1])
