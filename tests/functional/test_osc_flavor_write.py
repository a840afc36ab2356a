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
"""``openstack vgpu flavor create``, ``set`` and ``sync``."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from typing import Any

from tests.functional import base, osc_base

SIZE = ('--ram', '4096', '--vcpus', '2', '--disk', '20')
L40S = 'CUSTOM_NVIDIA_L40S_12Q'
ONE_194 = {'resources:VGPU': '1', 'trait:CUSTOM_NVIDIA_194': 'required'}
TWO_194 = {
    'resources1:VGPU': '1',
    'trait1:CUSTOM_NVIDIA_194': 'required',
    'resources2:VGPU': '1',
    'trait2:CUSTOM_NVIDIA_194': 'required',
    'group_policy': 'isolate',
}
#: How the paths of extra specs begin, and no other that is written to.
SPECS = '/v2.1/flavors/'
SYNCED = {
    'vgpu-l40s-12q': {'pci_passthrough:alias': 'l40s-12q:1'},
    'vgpu-v100dx-1q': ONE_194,
    'vgpu-v100dx-4q': {
        'resources:VGPU': '1',
        'trait:CUSTOM_NVIDIA_196': 'required',
    },
}
EMPTY_LIST = {
    'status': 200,
    'body': '{"flavors": []}',
    'content_type': 'application/json',
    'path': '/v2.1/flavors/detail',
}


def refusal(status: int) -> dict[str, Any]:
    """Give a fault in which Nova refuses, in Nova's words."""
    error = {'refused': {'code': status, 'message': 'not today'}}
    return {'status': status, 'body': json.dumps(error)}


class FlavorTestCase(osc_base.OscTestCase):
    """A test with GPUs of several kinds."""

    def setUp(self) -> None:
        super().setUp()
        self.gpu_host('gpu01')
        self.gpu_host('gpu02', gpus=1, type_=196, total=8)
        self.host('gpu03')
        self.card('gpu03')

    def flavor(self, *arguments: str, **kwargs: Any) -> base.Outcome:
        """Run ``openstack vgpu flavor ...``."""
        return self.run_osc('vgpu', 'flavor', *arguments, **kwargs)

    def create(self, name: str, type_: str, *more: str) -> base.Outcome:
        """Create a flavor, which must succeed."""
        outcome = self.flavor('create', name, '--type', type_, *SIZE, *more)
        self.assertEqual(0, outcome.code, outcome.err)
        return outcome

    def specs(self) -> dict[str, dict[str, str]]:
        """Read the extra specs of every flavor by its name."""
        found = self.nova.api('GET', '/flavors/detail?is_public=None')
        return {f['name']: f['extra_specs'] for f in found['flavors']}

    def assert_error(self, outcome: base.Outcome, *texts: str) -> None:
        """Expect one error, without a traceback."""
        self.assertEqual(1, outcome.code, outcome.out)
        self.assertNotIn('Traceback', outcome.err)
        for text in texts:
            self.assertIn(text, outcome.err)


class CreateTest(FlavorTestCase):
    """What is written, and that it is all or nothing."""

    def test_one(self) -> None:
        """The plain form, said line by line."""
        lines = [
            'create flavor one: 2 VCPUs, 4096 MiB of memory, 20 GiB of disk, '
            'public',
            'set resources:VGPU=1 of flavor one',
            'set trait:CUSTOM_NVIDIA_194=required of flavor one',
        ]
        with self.nova.counting() as requests:
            outcome = self.create('one', 'nvidia-194', '--dry-run')
        self.assertEqual(lines, outcome.out.splitlines())
        self.assertEqual({}, self.specs())
        self.assertEqual([], [r for r in requests if r.is_write])
        outcome = self.create('one', 'nvidia-194')
        self.assertEqual(lines, outcome.out.splitlines())
        self.assertEqual('one has room now on gpu01\n', outcome.err)
        self.assertEqual({'one': ONE_194}, self.specs())

    def test_size_and_access(self) -> None:
        """Nova has the size, and who may use it."""
        self.create('one', 'V100DX-1Q', '--private')
        (found,) = self.nova.api('GET', '/flavors/detail?is_public=None')[
            'flavors'
        ]
        self.assertEqual(
            (4096, 2, 20, False),
            (
                found['ram'],
                found['vcpus'],
                found['disk'],
                found['os-flavor-access:is_public'],
            ),
        )

    def test_several(self) -> None:
        """Groups, a policy and parameters."""
        self.create('two', 'nvidia-194', '--count', '2')
        self.create(
            'fast',
            'VGPU',
            '--param',
            'frame_rate_limiter=0',
            '--param',
            'disable_vnc=1',
        )
        parameters = {'vgpu:frame_rate_limiter': '0', 'vgpu:disable_vnc': '1'}
        self.assertEqual(
            {'two': TWO_194, 'fast': {'resources:VGPU': '1', **parameters}},
            self.specs(),
        )

    def test_not_isolated(self) -> None:
        """The user's word counts, with a warning."""
        outcome = self.create(
            'two', 'nvidia-194', '--count', '2', '--no-isolate'
        )
        self.assertEqual('none', self.specs()['two']['group_policy'])
        self.assertIn('warning: two: group_policy', outcome.err)

    def test_pci(self) -> None:
        """An alias, and what nova.conf needs for it."""
        for type_ in ('L40S-12Q', L40S):
            outcome = self.create(type_, type_, '--count', '2')
            self.assertIn('has room now on gpu03', outcome.err)
            self.assertIn('PCI alias l40s-12q', outcome.err)
        wanted = {'pci_passthrough:alias': 'l40s-12q:2'}
        self.assertEqual({'L40S-12Q': wanted, L40S: wanted}, self.specs())

    def test_custom_class(self) -> None:
        """The class, with the trait that tells its types apart."""
        self.gpu_host('gpu04', type_=199, total=1, resource_class='CUSTOM_BIG')
        self.create('type', 'nvidia-199')
        self.create('class', 'CUSTOM_BIG')
        plain = {'resources:CUSTOM_BIG': '1'}
        self.assertEqual(
            {
                'type': {**plain, 'trait:CUSTOM_NVIDIA_199': 'required'},
                'class': plain,
            },
            self.specs(),
        )

    def test_all_of_a_class_in_use(self) -> None:
        """It is found where no unit is free."""
        (name,) = self.gpu_host(
            'gpu04', 1, type_=None, total=1, resource_class='CUSTOM_BIG'
        )
        self.placement.allocate({name: {'CUSTOM_BIG': 1}})
        outcome = self.create('big', 'CUSTOM_BIG')
        self.assertIn('big has room on no host now', outcome.err)

    def test_again(self) -> None:
        """The same flavor is no error; what differs is listed."""
        name = 'my "big" \'flavor\' é'
        self.create(name, 'nvidia-194')
        before = self.nova.api('GET', '/flavors/detail')
        outcome = self.create(name, 'V100DX-1Q')
        self.assertEqual('', outcome.out)
        self.assertIn('nothing to do', outcome.err)
        for more, text in (
            (('--type', 'nvidia-196', *SIZE), 'trait:CUSTOM_NVIDIA_196'),
            (('--type', 'nvidia-194', *SIZE, '--count', '2'), 'group_policy'),
            (('--type', 'nvidia-194', *SIZE, '--private'), 'is_public'),
            (
                ('--type', 'nvidia-194', *SIZE, '--ram', '1'),
                'ram: it has 4096',
            ),
            (
                ('--type', 'VGPU', *SIZE, '--param', 'disable_vnc=1'),
                'vgpu:disable_vnc: it has nothing, not 1',
            ),
        ):
            outcome = self.flavor('create', name, *more)
            self.assert_error(
                outcome,
                text,
                f'openstack vgpu flavor set {shlex.quote(name)}',
            )
        self.assertEqual(before, self.nova.api('GET', '/flavors/detail'))

    def test_unknown_type(self) -> None:
        """The error lists what the cloud offers; nothing is written."""
        for type_ in ('nvidia-999', 'x' * 300, "a'b\n", 'CUSTOM_NOTHING', ''):
            outcome = self.flavor('create', 'one', '--type', type_, *SIZE)
            self.assert_error(
                outcome,
                'no vGPU type',
                'nvidia-194 (V100DX-1Q, VGPU)',
                'nvidia-196 (V100DX-4Q, VGPU)',
                f'L40S-12Q ({L40S})',
            )
            self.assertEqual(1, len(outcome.errors))
        self.assertEqual({}, self.specs())

    def test_bad_options(self) -> None:
        """Numbers out of range."""
        for option, value in (
            ('--count', '0'),
            ('--count', '65'),
            ('--count', 'two'),
            ('--ram', '0'),
            ('--vcpus', '-1'),
            ('--disk', '1.5'),
            ('--disk', '2147483648'),
        ):
            outcome = self.flavor(
                *('create', 'one', '--type', 'nvidia-194', *SIZE),
                *(option, value),
            )
            self.assertEqual(2, outcome.code)
            self.assertIn(option, outcome.err)
            self.assertIn('expected', outcome.err)

    def test_bad_parameters(self) -> None:
        """What the hook does not know is refused here."""
        for pair in ('frame_rate=1', 'disable_vnc=yes', 'disable_vnc', '=1'):
            outcome = self.flavor(
                *('create', 'one', '--type', 'nvidia-194', *SIZE),
                *('--param', pair),
            )
            self.assert_error(outcome, 'parameter: found', 'expected')
        self.assertEqual({}, self.specs())

    def test_names_that_nova_refuses(self) -> None:
        """Nova's own words are shown."""
        for name in ('', ' a', 'x' * 256):
            outcome = self.flavor(
                'create', name, '--type', 'nvidia-194', *SIZE
            )
            self.assert_error(outcome, "Nova's /flavors: answered 400")

    def test_user_without_rights(self) -> None:
        """Nothing is written, and the remedy is named."""
        outcome = self.flavor(
            *('create', 'one', '--type', 'nvidia-194', *SIZE), user='weak'
        )
        self.assert_error(outcome, '403', 'the role admin')
        self.assertEqual({}, self.specs())


class RoomTest(FlavorTestCase):
    """What is said of room."""

    def test_more_than_any_host_has(self) -> None:
        """It can never be scheduled."""
        outcome = self.create('three', 'nvidia-194', '--count', '3')
        self.assertIn('3 vGPUs of different GPUs', outcome.err)
        self.assertIn('at most 2', outcome.err)
        outcome = self.create('fat', 'nvidia-194', '--vcpus', '65')
        self.assertIn('VCPU: found 65', outcome.err)

    def test_full_now(self) -> None:
        """It can, once less is in use or the host is enabled."""
        self.placement.allocate({base.gpu_name(0, 'gpu02'): {'VGPU': 8}})
        outcome = self.create('four', 'nvidia-196')
        self.assertEqual(1, len(outcome.errors))
        self.assertIn('four has room on no host now', outcome.err)
        self.placement.add_traits('gpu01', 'COMPUTE_STATUS_DISABLED')
        outcome = self.create('one', 'nvidia-194')
        self.assertIn('one has room on no host now', outcome.err)

    def test_many_hosts(self) -> None:
        """A few are named, and the number of requests is the same."""
        with self.placement.counting() as few:
            self.create('few', 'nvidia-194', '--dry-run')
        for number in range(4, 20):
            self.gpu_host(f'gpu{number:02}', gpus=1)
        with self.placement.counting() as many:
            outcome = self.create('many', 'nvidia-194', '--dry-run')
        self.assertIn('gpu12 and 7 more', outcome.err)
        # At most 8 hosts are looked at.
        self.assertLessEqual(len(many), len(few) + 7)


class FaultTest(FlavorTestCase):
    """Services that fail, and two administrators."""

    def test_extra_specs_refused(self) -> None:
        """The flavor is deleted again."""
        for fault in (
            refusal(400),
            refusal(403),
            refusal(409),
            refusal(500),
            {'close': True},
        ):
            self.nova.fault(method='POST', path=SPECS, **fault)
            outcome = self.flavor(
                'create', 'one', '--type', 'nvidia-194', *SIZE
            )
            self.assert_error(outcome, 'os-extra_specs')
            self.assertEqual('', outcome.out)
            self.assertEqual({}, self.specs(), fault)
        self.create('one', 'nvidia-194')

    def test_answer_lost(self) -> None:
        """What Nova has made without saying so is deleted too."""
        self.nova.fault(method='POST', path='/v2.1/flavors', close_after=True)
        outcome = self.flavor('create', 'one', '--type', 'nvidia-194', *SIZE)
        self.assert_error(outcome, 'no good answer')
        self.assertEqual({}, self.specs())

    def test_not_even_deleted(self) -> None:
        """The error says what is left, and what to do."""
        self.nova.fault(method='POST', path=SPECS, **refusal(400))
        self.nova.fault(method='DELETE', path=SPECS, **refusal(500))
        outcome = self.flavor('create', 'one', '--type', 'nvidia-194', *SIZE)
        self.assert_error(outcome, 'openstack flavor delete', '400', '500')
        self.assertEqual({'one': {}}, self.specs())

    def test_placement_fails(self) -> None:
        """Nothing is written before it is asked."""
        self.placement.fault_status(500, times=50, path='/traits')
        outcome = self.flavor('create', 'one', '--type', 'nvidia-194', *SIZE)
        self.assert_error(outcome, 'answered 500')
        self.placement.clear_faults()
        self.assertEqual({}, self.specs())

    def test_placement_is_slow(self) -> None:
        """A late answer is an answer."""
        self.placement.fault_slow(1.0, path='/allocation_candidates')
        self.create('one', 'nvidia-194')

    def test_created_meanwhile(self) -> None:
        """Nova's conflict ends as if the flavor had been seen."""
        self.create('one', 'nvidia-194')
        self.nova.fault(**EMPTY_LIST)
        outcome = self.create('one', 'nvidia-194')
        self.assertIn('nothing to do', outcome.err)
        self.nova.fault(**EMPTY_LIST)
        outcome = self.flavor('create', 'one', '--type', 'nvidia-196', *SIZE)
        self.assert_error(outcome, 'is there with other values')
        self.assertEqual({'one': ONE_194}, self.specs())

    def test_two_administrators(self) -> None:
        """One flavor comes of it, and nobody sees a traceback."""
        command = [
            *(sys.executable, '-m', 'openstackclient.shell'),
            *('vgpu', 'flavor', 'create', 'one', '--type', 'nvidia-194'),
            *SIZE,
        ]
        running = [
            subprocess.Popen(  # noqa: S603
                command,
                env=self.environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(3)
        ]
        ended = [(*p.communicate(timeout=120), p.returncode) for p in running]
        self.assertEqual({'one': ONE_194}, self.specs())
        self.assertEqual(1, sum('create flavor' in out for out, *_ in ended))
        for out, err, code in ended:
            self.assertNotIn('Traceback', err)
            if code:
                self.assertIn('is there with other values', err)
            else:
                self.assertTrue(out or 'nothing to do' in err)


class SetTest(FlavorTestCase):
    """Changing what vGPUs a flavor asks for."""

    def set(self, *arguments: str) -> base.Outcome:
        """Change a flavor, which must succeed."""
        outcome = self.flavor('set', *arguments)
        self.assertEqual(0, outcome.code, outcome.err)
        return outcome

    def test_changes(self) -> None:
        """Each way from one wish to another, with nothing left behind."""
        self.nova.create_flavor('f', {'hw:cpu_policy': 'shared', **ONE_194})
        for arguments, expected in (
            (('--count', '2'), TWO_194),
            (('--no-isolate',), TWO_194 | {'group_policy': 'none'}),
            (('--isolate',), TWO_194),
            (
                ('--type', 'nvidia-196', '--count', '1'),
                {
                    'resources:VGPU': '1',
                    'trait:CUSTOM_NVIDIA_196': 'required',
                },
            ),
            (
                ('--type', L40S, '--count', '3'),
                {'pci_passthrough:alias': 'l40s-12q:3'},
            ),
            (('--count', '2'), {'pci_passthrough:alias': 'l40s-12q:2'}),
            (('--type', 'nvidia-194'), TWO_194),
            (('--type', 'VGPU', '--count', '1'), {'resources:VGPU': '1'}),
        ):
            dry = self.set('f', *arguments, '--dry-run')
            outcome = self.set('f', *arguments)
            self.assertEqual(dry.out, outcome.out)
            self.assertEqual(
                {'hw:cpu_policy': 'shared', **expected}, self.specs()['f']
            )
            self.assertIn('until they are resized', outcome.err)
            again = self.set('f', *arguments)
            self.assertEqual('', again.out)
            self.assertIn('nothing to do', again.err)

    def test_lines(self) -> None:
        """What is new is set before what is old goes."""
        flavor_id = self.nova.create_flavor('a b', ONE_194)
        with self.nova.counting() as requests:
            outcome = self.set(flavor_id, '--type', L40S)
        self.assertEqual(
            [
                'set pci_passthrough:alias=l40s-12q:1 of flavor a b',
                'unset resources:VGPU of flavor a b',
                'unset trait:CUSTOM_NVIDIA_194 of flavor a b',
            ],
            outcome.out.splitlines(),
        )
        writes = [r.method for r in requests if r.is_write]
        self.assertEqual(['POST', 'DELETE', 'DELETE'], writes)

    def test_parameters(self) -> None:
        """They are added to those that are there."""
        self.nova.create_flavor('f', {**ONE_194, 'vgpu:disable_vnc': '0'})
        self.set('f', '--param', 'disable_vnc=1', '--param', 'enable_uvm=1')
        self.assertEqual(
            {**ONE_194, 'vgpu:disable_vnc': '1', 'vgpu:enable_uvm': '1'},
            self.specs()['f'],
        )

    def test_what_was_meant(self) -> None:
        """Near misses go; what is of others stays."""
        others = {'resources1:CUSTOM_NET': '1', 'pci_passthrough:alias': 'n:1'}
        self.nova.create_flavor(
            'f',
            {
                'resource:VGPU': '1',
                'resources:vgpu': '1',
                'trait:nvidia-194': 'required',
                **others,
            },
        )
        self.set('f', '--type', 'nvidia-194')
        self.assertEqual({**others, **ONE_194}, self.specs()['f'])

    def test_custom_class(self) -> None:
        """A class that only the cloud knows as one of vGPUs."""
        self.gpu_host('gpu04', type_=199, total=1, resource_class='CUSTOM_BIG')
        self.nova.create_flavor('f', {'resources:CUSTOM_BIG': '1'})
        self.set('f', '--count', '2')
        self.assertEqual(
            {
                'resources1:CUSTOM_BIG': '1',
                'resources2:CUSTOM_BIG': '1',
                'group_policy': 'isolate',
            },
            self.specs()['f'],
        )

    def test_errors(self) -> None:
        """Nothing to go by."""
        self.nova.create_flavor('plain', {})
        self.nova.create_flavor('good', ONE_194)
        for arguments, text in (
            (('good',), 'nothing to set'),
            (('plain', '--count', '2'), 'give --type'),
            (('bad', '--count', '2'), "no flavor 'bad' here; there are: good"),
            (('good', '--type', 'nvidia-9'), 'no vGPU type'),
            (('good', '--param', 'a=b'), 'parameter: found'),
        ):
            self.assert_error(self.flavor('set', *arguments), text)
        self.assertEqual({'plain': {}, 'good': ONE_194}, self.specs())

    def test_interrupted(self) -> None:
        """The next run does what is left."""
        self.nova.create_flavor('f', TWO_194)
        self.nova.fault(method='DELETE', path=SPECS, skip=1, **refusal(500))
        outcome = self.flavor('set', 'f', '--count', '1')
        self.assert_error(outcome, 'answered 500')
        self.assertLessEqual(ONE_194.items(), self.specs()['f'].items())
        self.set('f', '--count', '1', '--type', 'nvidia-194')
        self.assertEqual(ONE_194, self.specs()['f'])


class SyncTest(FlavorTestCase):
    """One flavor for each type."""

    def sync(self, *arguments: str, code: int = 0) -> base.Outcome:
        """Run it."""
        outcome = self.flavor('sync', *SIZE, *arguments)
        self.assertEqual(code, outcome.code, outcome.err)
        return outcome

    def test_twice(self) -> None:
        """It creates what is missing, and then nothing."""
        dry = self.sync('--dry-run')
        self.assertEqual({}, self.specs())
        outcome = self.sync()
        self.assertEqual(dry.out, outcome.out)
        self.assertEqual(SYNCED, self.specs())
        with self.nova.counting() as requests:
            again = self.sync()
        self.assertEqual(('', 'nothing to do\n'), (again.out, again.err))
        self.assertEqual([], [r for r in requests if r.is_write])

    def test_repair(self) -> None:
        """What is there keeps its size, and gets what it lacks."""
        self.nova.create_flavor('p.v100dx-1q', {'resource:VGPU': '1'}, ram=512)
        self.sync('--prefix', 'p.', '--param', 'disable_vnc=1')
        found = self.specs()
        self.assertEqual(
            {**ONE_194, 'vgpu:disable_vnc': '1'}, found['p.v100dx-1q']
        )
        self.assertEqual(3, len(found))

    def test_what_it_leaves_alone(self) -> None:
        """Another flavor of that name, and one of a type that is gone."""
        gone = {'resources:VGPU': '1', 'trait:CUSTOM_NVIDIA_207': 'required'}
        self.nova.create_flavor('vgpu-v100dx-1q', {'hw:cpu_policy': 'shared'})
        self.nova.create_flavor('vgpu-gone', gone)
        outcome = self.sync(code=1)
        self.assertIn('vgpu-v100dx-1q: there is such a flavor', outcome.err)
        self.assertIn('vgpu-gone is none of these', outcome.err)
        self.assertEqual(
            SYNCED
            | {
                'vgpu-v100dx-1q': {'hw:cpu_policy': 'shared'},
                'vgpu-gone': gone,
            },
            self.specs(),
        )

    def test_types_without_a_name(self) -> None:
        """GPUs without traits, and a type of two classes, are told."""
        self.gpu_host('gpu04', 1, type_=None)
        self.gpu_host('gpu05', 1, resource_class='CUSTOM_GOLD')
        outcome = self.sync(code=1)
        self.assertIn('no trait of their type', outcome.err)
        self.assertIn('CUSTOM_GOLD and as VGPU', outcome.err)
        self.assertEqual(
            {'vgpu-l40s-12q', 'vgpu-v100dx-4q'}, set(self.specs())
        )

    def test_created_meanwhile(self) -> None:
        """The others are created all the same."""
        self.nova.create_flavor('vgpu-l40s-12q', {})
        self.nova.fault(**EMPTY_LIST)
        outcome = self.sync(code=1)
        self.assertIn('409', outcome.err)
        self.assertEqual(SYNCED.keys(), self.specs().keys())

    def test_check_finds_nothing(self) -> None:
        """What is written here has no fault."""
        self.sync()
        for number, type_ in enumerate(('nvidia-194', L40S, 'V100DX-4Q')):
            self.create(f'one{number}', type_)
        self.create('two', 'nvidia-194', '--count', '2')
        outcome = self.flavor('check', '-f', 'json')
        self.assertEqual((0, []), (outcome.code, json.loads(outcome.out)))
