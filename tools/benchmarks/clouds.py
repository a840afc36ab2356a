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
"""A large cloud: the commands of an administrator, and the scheduler.

Every command runs as it is typed, against the same Keystone, Placement and
Nova over MariaDB. What would take hours is done for some GPUs, and multiplied.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from tools.benchmarks import clouds_plan as plan
from tools.benchmarks.clouds_commands import (
    Commands,
    OneProcess,
    Taken,
    Typing,
)
from tools.benchmarks.clouds_fill import FilledCloud, filled, run_module
from tools.benchmarks.rows import Row

_PROVIDER = ('resource', 'provider')
_LIST = (*_PROVIDER, 'list')
_INVENTORIES = (*_PROVIDER, 'inventory', 'list')
_TRAITS = (*_PROVIDER, 'trait', 'list')
_ALLOCATIONS = (*_PROVIDER, 'show', '--allocations')

#: For each question what ``openstack resource provider`` has to be asked about
#: each GPU. The list of inventories shows usage as well.
_QUESTIONS = {
    'gpu list': (_INVENTORIES, _TRAITS),
    'type list': (_INVENTORIES, _TRAITS),
    'usage show': (_INVENTORIES,),
}
#: For the GPUs of so many hosts they are typed in one process; in processes of
#: their own, which takes much longer, for those of one host.
_TYPED_HOSTS = 5
#: How long nova-manage may work; it is measured by how far it comes.
_AUDIT_SECONDS = 60

_POLICY = """\
[vgpu]
gpu_policy = pack
# On a slow machine, a slow answer shall count and not be given up.
gpu_policy_timeout = 60
"""


def run(hosts: int) -> Iterator[Row]:
    """Measure in a cloud of some GPU hosts.

    :param hosts: how many; at least 10.
    """
    with filled(hosts) as cloud:
        yield from _commands(cloud)
        yield from _scheduling(cloud)


def _commands(cloud: FilledCloud) -> Iterator[Row]:
    commands = Commands(cloud)
    host, *others = cloud.hosts[-_TYPED_HOSTS:]
    gpus = cloud.gpus(host)
    more = [*gpus, *(gpu for other in others for gpu in cloud.gpus(other))]
    ways = {
        f'openstack resource provider, {len(gpus)} GPUs typed': Typing(
            commands, gpus
        ),
        f'the same in one process, {len(more)} GPUs typed': OneProcess(
            commands, more
        ),
    }
    number = len(cloud.hosts) * plan.GPUS
    whole = {way: how.once(*_LIST) for way, how in ways.items()}
    for question, each in _QUESTIONS.items():
        answer = commands.openstack('vgpu', *question.split(), '-f', 'json')
        if question == 'gpu list':
            _expect(number, len(answer.rows()))
        base = _row(f'{number} GPUs: {question}', 'this project', answer.taken)
        yield base
        for way, how in ways.items():
            taken = whole[way]
            for words in each:
                taken += how.each(*words).times(number)
            yield _row(base.what, f'{way}, extrapolated', taken, base)
    yield from _servers(commands, ways, host, gpus)
    yield from _audit(cloud, commands)


def _servers(
    commands: Commands,
    ways: dict[str, Typing],
    host: plan.Host,
    gpus: Sequence[str],
) -> Iterator[Row]:
    answer = commands.openstack(
        *('vgpu', 'server', 'list', '--host', host.name, '-f', 'json')
    )
    _expect(len(host.servers), len(answer.rows()))
    base = _row('server list --host', 'this project', answer.taken)
    yield base
    for way, how in ways.items():
        taken = (
            how.once(*_LIST, '--in-tree', host.uuid)
            + how.each(*_ALLOCATIONS).times(len(gpus))
            + how.once('server', 'list', '--all-projects', '--host', host.name)
        )
        yield _row(base.what, f'{way}, for {len(gpus)}', taken, base)


def _audit(cloud: FilledCloud, commands: Commands) -> Iterator[Row]:
    servers = len(cloud.hosts) * plan.SERVERS
    what = f'{servers} servers: audit'
    answer = commands.openstack('vgpu', 'audit', '-f', 'json')
    _expect(0, len(answer.rows()))
    base = _row(what, 'this project', answer.taken)
    yield base
    before = cloud.allocation_lists()
    answer = commands.nova_manage(
        'placement', 'audit', '--verbose', seconds=_AUDIT_SECONDS
    )
    seen = cloud.allocation_lists() - before
    providers = len(cloud.hosts) * (1 + plan.GPUS)
    who = 'nova-manage placement audit'
    if answer.status:
        who += f', {seen} of {providers} providers, extrapolated'
    yield _row(what, who, answer.taken.times(providers / seen), base)


def _scheduling(cloud: FilledCloud) -> Iterator[Row]:
    policy = cloud.settings.etc / 'policy.conf'
    policy.write_text(_POLICY, encoding='utf-8')
    number = len(cloud.hosts)
    flavors = {
        cloud.flavor(plan.RARE): len(plan.by_type(cloud.hosts)[plan.RARE]),
        cloud.flavor(None): number,
    }
    printed = run_module(
        *('clouds_scheduling', str(cloud.placement_log), cloud.nova_conf),
        *(str(policy), *flavors),
    )
    for flavor, taken in json.loads(printed).items():
        what = f'{flavors[flavor]} candidate hosts: one server scheduled'
        base = None
        for name, who in (
            ('nova', 'Nova'),
            ('policy', 'Nova with our filter and weighers'),
        ):
            row = Row(
                what,
                who,
                taken[name]['seconds'],
                round(taken[name]['requests']),
                base,
            )
            base = base or row
            yield row


def _row(what: str, who: str, taken: Taken, base: Row | None = None) -> Row:
    return Row(
        what,
        who,
        taken.seconds,
        round(taken.requests),
        base,
        round(taken.mebibytes),
    )


def _expect(number: int, found: int) -> None:
    """See that what was measured is the right answer."""
    if number != found:
        msg = f'{found} rows where {number} were expected'
        raise RuntimeError(msg)
