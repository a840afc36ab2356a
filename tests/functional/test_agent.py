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
"""nova-vgpu-agent, as systemd runs it, against a real Placement."""

from __future__ import annotations

import os
import signal
import time

from nova_vgpu_ext import runtime
from nova_vgpu_ext.agent import cycle
from nova_vgpu_ext.sim import kernel, profile
from tests import base
from tests.functional import host_base
from tests.functional.base import NODE
from tests.functional.fixtures import agent as agent_fixture
from tests.functional.fixtures import http_server, libvirt, placement
from tests.functional.host_base import GPU, UUIDS

CONF = '[devices]\nenabled_mdev_types = nvidia-194\n'
TOTAL_MIB = 80
ORPHAN, DEFINED, HELD, YOUNG = UUIDS[:4]


def gpu_provider(address: str = GPU) -> str:
    """Name a GPU's provider."""
    return f'{NODE}_pci_' + address.replace(':', '_').replace('.', '_')


class AgentTestCase(base.TestCase):
    """A simulated host, a Placement, and an agent for both."""

    profile: str | None = None
    conf = CONF

    def setUp(self) -> None:
        super().setUp()
        self.server = self.useFixture(placement.PlacementServer())
        self.server.create_provider(NODE)
        root = str(self.temp_dir() / 'host')
        name = self.profile
        kernel.build(
            profile.load(name) if name else host_base.small_host(), root
        )
        self.host = host_base.Host(root)
        self.kernel = kernel.SimulatedKernel(root)
        self.config_file = self.write_conf('')
        self.configure()

    def configure(self, text: str = '') -> None:
        """Write nova.conf."""
        with open(self.config_file, 'w') as stream:
            stream.write(self.conf + text + '\n' + self.server.config_text())

    def start(self, **environment: str) -> agent_fixture.Agent:
        """Start the agent."""
        return self.useFixture(
            agent_fixture.Agent(
                [
                    f'--config-file={self.config_file}',
                    f'--sysfs-root={self.host.root}',
                    f'--node={NODE}',
                ],
                environment,
            )
        )

    def started(self, **environment: str) -> agent_fixture.Agent:
        """Start the agent, and wait until systemd would go on."""
        agent = self.start(**environment)
        agent.notify.wait_for('READY=1')
        return agent

    def create(
        self, uuid: str, gpu: str = GPU, type_id: str = 'nvidia-194'
    ) -> None:
        """Make an mdev, as Nova would."""
        self.kernel.write(
            f'{self.host.root}/bus/pci/devices/{gpu}/mdev_supported_types/'
            f'{type_id}/create',
            uuid,
        )

    def total(self) -> int | None:
        """Give what Placement has for the GPU."""
        found = self.server.find(gpu_provider())
        if found is None:
            return None
        return self.server.provider(gpu_provider()).totals.get('VGPU')


class ReportTest(AgentTestCase):
    """Placement says what the host offers."""

    def test_first_cycle_and_idle(self) -> None:
        """The first cycle reports; one without changes costs one request."""
        agent = self.started()
        self.assertEqual(32, self.total())
        self.assertIn('CUSTOM_NVIDIA_194', self.provider_traits())
        with self.server.counting() as seen:
            for _ in range(3):
                status = agent.cycle()
                self.assertIn(' 0 changes, 1 request,', status)
        self.assertEqual(3, len(seen))
        self.assertEqual([], [r for r in seen if r.is_write])
        self.assertEqual(0, agent.stop())
        self.assertEqual('STOPPING=1', agent.notify.wait(bool))
        self.assertEqual([], agent.lines('Traceback'))
        self.assertEqual([], agent.lines('ERROR'))

    def provider_traits(self) -> frozenset[str]:
        """Give the traits of the GPU's provider."""
        return self.server.provider(gpu_provider()).traits

    def test_nothing_is_asked_while_nothing_happens(self) -> None:
        """Nor is the processor used."""
        agent = self.started()
        agent.cycle()
        with self.server.counting() as seen:
            ticks = agent.cpu_ticks()
            time.sleep(2)
            self.assertLessEqual(agent.cpu_ticks() - ticks, 2)
        self.assertEqual([], seen)

    def test_a_change_is_reported(self) -> None:
        """A type that takes the room of the configured one."""
        agent = self.started()
        self.create(UUIDS[0], type_id='nvidia-196')
        agent.cycle()
        self.assertIsNone(self.total())
        (line,) = agent.lines('ERROR', 'nvidia-196')
        agent.cycle()
        # It is not said again.
        self.assertEqual([line], agent.lines('ERROR'))
        self.kernel.write(
            f'{self.host.root}/bus/mdev/devices/{UUIDS[0]}/remove', '1'
        )
        agent.cycle()
        self.assertEqual(32, self.total())
        self.assertEqual([line], agent.lines('ERROR'))

    def test_timer(self) -> None:
        """Without any event, the interval."""
        self.configure('[vgpu_agent]\ninterval = 1\n')
        agent = self.started()
        self.server.delete_provider(gpu_provider())
        for _ in range(2):
            agent.notify.cycle()
        self.assertEqual(32, self.total())

    def test_refused_configuration(self) -> None:
        """What nova-compute refuses is said once; the agent goes on."""
        self.configure('[mdev_nvidia-194]\nmax_instances = none\n')
        agent = self.started()
        agent.cycle()
        (line,) = agent.lines('report', 'max_instances')
        self.assertIn('ERROR', line)
        self.assertIsNone(self.total())
        self.configure()
        agent.signal(signal.SIGHUP)
        agent.notify.cycle()
        self.assertEqual(32, self.total())

    def test_no_placement(self) -> None:
        """Without the section the ledger is kept all the same."""
        with open(self.config_file, 'w') as stream:
            stream.write(CONF)
        self.create(UUIDS[0])
        agent = self.started()
        self.assertEqual(1, len(agent.lines('no section [placement]')))
        self.assertEqual({UUIDS[0]}, set(self.host.ledger))
        self.assertEqual([], self.server.requests)


class MemoryTest(AgentTestCase):
    """A host with more than a few providers."""

    profile = 'a40-sriov'
    conf = '[devices]\nenabled_mdev_types = nvidia-562\n'

    def test_memory(self) -> None:
        """It stays under the limit, and does not grow."""
        agent = self.started()
        self.assertRegex(agent.cycle(), r'^reported [123][0-9] providers')
        first = agent.memory()
        for _ in range(5):
            agent.cycle()
        last = agent.memory()
        self.assertLess(last, TOTAL_MIB)
        self.assertLess(last, first + 2)


class LedgerTest(AgentTestCase):
    """The ledger follows the host."""

    def test_ledger(self) -> None:
        """A new mdev is remembered, a removed one is not forgotten."""
        agent = self.started()
        self.assertEqual({}, self.host.ledger)
        self.create(UUIDS[0])
        agent.cycle()
        self.assertEqual(
            {'parent': GPU, 'type': 'nvidia-194'},
            {
                key: self.host.ledger[UUIDS[0]][key]
                for key in ('parent', 'type')
            },
        )
        before = os.stat(self.host.ledger_path)
        agent.cycle()
        # Nothing new: it is not written again.
        self.assertEqual(before, os.stat(self.host.ledger_path))
        self.kernel.write(
            f'{self.host.root}/bus/mdev/devices/{UUIDS[0]}/remove', '1'
        )
        agent.cycle()
        self.assertIn(UUIDS[0], self.host.ledger)

    def test_ledger_of_another_version(self) -> None:
        """It is left alone, and the rest is done."""
        self.host.ledger_path.parent.mkdir(exist_ok=True)
        text = '{"version": 99, "entries": {}}'
        self.host.ledger_path.write_text(text)
        agent = self.started()
        agent.cycle()
        self.assertEqual(text, self.host.ledger_path.read_text())
        self.assertEqual(32, self.total())
        self.assertEqual(1, len(agent.lines('ERROR', 'version')))


class FaultTest(AgentTestCase):
    """Placement and the agent's own end."""

    def test_placement_down_at_start(self) -> None:
        """systemd does not wait; one line says so, one that it is over."""
        self.server.stop()
        agent = self.started()
        self.assertEqual(1, len(agent.lines('ERROR', 'report', 'no answer')))
        status = agent.notify.cycle()
        self.assertIn('no answer', status)
        self.server.start_again()
        agent.notify.wait(lambda m: m.startswith('STATUS=reported'))
        self.assertEqual(32, self.total())
        self.assertEqual(1, len(agent.lines('ERROR')))
        self.assertEqual(1, len(agent.lines('report: works again, after')))
        self.assertEqual([], agent.lines('Traceback'))

    def test_placement_down_later(self) -> None:
        """No event is lost: what changed meanwhile is reported."""
        agent = self.started()
        self.server.stop()
        self.create(UUIDS[0], type_id='nvidia-196')
        agent.cycle()
        # The ledger does not wait for Placement.
        self.assertIn(UUIDS[0], self.host.ledger)
        self.server.start_again()
        agent.notify.wait(lambda m: m.startswith('STATUS=reported'))
        self.assertIsNone(self.total())

    def test_end_while_it_waits(self) -> None:
        """SIGTERM and SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            agent = self.started()
            agent.signal(number)
            self.assertEqual(0, agent.process.wait(60))
            self.assertEqual([], agent.lines('Traceback'))

    def test_end_in_a_cycle(self) -> None:
        """It does not wait for a Placement that does not answer."""
        agent = self.started()
        self.server.fault_slow(300, times=9)
        asked = len(self.server.requests)
        agent.signal(signal.SIGUSR1)
        time.sleep(0.3)
        self.assertEqual(0, agent.stop())
        self.assertEqual(asked, len(self.server.requests))
        self.assertEqual([], agent.lines('Traceback'))
        agent.notify.wait_for('STOPPING=1')

    def test_end_in_a_write(self) -> None:
        """It waits for the write, and does not begin another one."""
        for uuid in UUIDS[:2]:
            self.create(uuid)
        agent = self.started()
        self.configure(
            '[vgpu]\norphan_grace = 0\n[vgpu_agent]\nremove_orphans = true\n'
        )
        with self.kernel.locked():
            agent.signal(signal.SIGHUP)
            http_server.wait_until(
                lambda: any(
                    name.startswith('/') and name.endswith('-sim/lock')
                    for name in agent.open_files()
                )
            )
            agent.signal(signal.SIGTERM)
            agent.notify.wait_for('STOPPING=1')
            time.sleep(1.5)
            self.assertIsNone(agent.process.poll())
        self.assertEqual(0, agent.process.wait(60))
        self.assertEqual(1, len(self.host.mdevs))
        self.assertEqual([], agent.lines('Traceback'))

    def test_slow_placement_does_not_keep_systemd(self) -> None:
        """Its watchdog is fed during a long cycle."""
        self.server.fault_slow(300, times=99)
        agent = self.start(WATCHDOG_USEC='200000')
        for _ in range(5):
            agent.notify.wait_for('WATCHDOG=1')
        self.assertNotIn('READY=1', agent.notify.messages)
        self.assertEqual(0, agent.stop())

    def test_other_s_watchdog(self) -> None:
        """It is not this process that systemd watches."""
        agent = self.started(WATCHDOG_USEC='100000', WATCHDOG_PID='1')
        time.sleep(0.5)
        agent.cycle()
        self.assertNotIn('WATCHDOG=1', agent.notify.messages)


class ReloadTest(AgentTestCase):
    """SIGHUP."""

    def reload(self, agent: agent_fixture.Agent) -> None:
        """Let the agent read its configuration again."""
        agent.signal(signal.SIGHUP)
        found = agent.notify.wait(lambda m: m.startswith('RELOADING=1\n'))
        self.assertRegex(found, r'^RELOADING=1\nMONOTONIC_USEC=[0-9]+$')
        agent.notify.wait_for('READY=1')

    def test_good(self) -> None:
        """The new types are reported."""
        agent = self.started()
        text = '[mdev_nvidia-194]\ndevice_addresses = 0000:1b:00.0\n'
        self.configure(text)
        self.reload(agent)
        agent.notify.cycle()
        self.assertIsNone(self.total())
        self.assertEqual(1, len(agent.lines('was read again')))

    def test_bad(self) -> None:
        """Each says what is wrong on one line; the old one stays."""
        agent = self.started()
        for text, named in (
            ('no option at all\n', self.config_file),
            ('[vgpu_agent]\ninterval = often\n', 'interval'),
            ('[vgpu_agent]\nremove_orphans = perhaps\n', 'remove_orphans'),
            ('[vgpu]\norphan_grace = -1\n', 'orphan_grace'),
            ('[DEFAULT]\ndebug = perhaps\n', 'perhaps'),
            ('[DEFAULT]\nlog_file = /proc/1/none\n', '/proc/1/none'),
        ):
            self.configure(text)
            self.reload(agent)
            lines = agent.lines('ERROR', 'the configuration stays as it was')
            self.assertIn(named, lines[-1])
        self.assertEqual(6, len(lines))
        self.assertEqual([], agent.lines('Traceback'))
        self.assertIn(' 0 changes, 1 request,', agent.cycle())

    def test_bad_at_start(self) -> None:
        """One line, and the exit code."""
        self.configure('[vgpu_agent]\ninterval = 0\n')
        agent = self.start()
        self.assertEqual(1, agent.process.wait(60))
        (line,) = agent.log.splitlines()
        self.assertIn("[vgpu_agent] interval: found '0', expected", line)


class LibvirtTest(AgentTestCase):
    """libvirt's events."""

    def setUp(self) -> None:
        super().setUp()
        self.libvirt = self.useFixture(agent_fixture.StandInLibvirt())
        self.configure('[vgpu]\nlibvirt_uri = qemu:///system\n')

    def connected(self) -> agent_fixture.Agent:
        """Start the agent, and wait until it hears libvirt."""
        agent = self.started(**self.libvirt.environment)
        http_server.wait_until(lambda: bool(agent.lines('connected to')))
        # It is an event: what happened before it was not heard.
        agent.notify.cycle()
        return agent

    def test_events(self) -> None:
        """A domain and a node device wake it, other devices do not."""
        agent = self.connected()
        self.create(UUIDS[0])
        self.libvirt.define('guest', UUIDS[0])
        self.libvirt.happen('domain')
        agent.notify.cycle()
        self.assertEqual('guest', self.host.ledger[UUIDS[0]]['domain'])
        self.create(UUIDS[1], type_id='nvidia-194')
        with self.server.counting() as seen:
            self.libvirt.happen('device net_tap0')
            time.sleep(0.5)
        self.assertEqual([], seen)
        self.libvirt.happen('device mdev_0000')
        agent.notify.cycle()
        self.assertIn(UUIDS[1], self.host.ledger)

    def test_many_events(self) -> None:
        """They are one cycle, or few."""
        agent = self.connected()
        with self.server.counting() as seen:
            for _ in range(20):
                self.libvirt.happen('domain')
            agent.notify.cycle()
        self.assertLessEqual(len(seen), 3)

    def test_loss_and_return(self) -> None:
        """It connects again, and sees what happened meanwhile."""
        agent = self.connected()
        for number in range(2):
            self.libvirt.stop()
            http_server.wait_until(
                lambda n=number: len(agent.lines('lost')) > n
            )
            self.create(UUIDS[number])
            self.libvirt.define(f'guest-{number}', UUIDS[number])
            http_server.wait_until(
                lambda n=number: len(agent.lines('ERROR', 'ledger: ')) > n
            )
            self.libvirt.start()
            http_server.wait_until(
                lambda n=number: len(agent.lines('ledger: works again')) > n
            )
            ledger = self.host.ledger[UUIDS[number]]
            self.assertEqual(f'guest-{number}', ledger['domain'])
        self.assertEqual(2, len(agent.lines('ERROR')), agent.log)
        self.assertEqual([], agent.lines('Traceback'))
        # Events are heard again.
        self.libvirt.undefine('guest-0')
        self.create(UUIDS[5])
        self.libvirt.happen('domain')
        http_server.wait_until(lambda: UUIDS[5] in self.host.ledger)

    def test_away_at_start(self) -> None:
        """The rest is done meanwhile."""
        self.libvirt.stop_quietly()
        agent = self.started(**self.libvirt.environment)
        self.assertEqual(32, self.total())
        self.libvirt.start()
        http_server.wait_until(
            lambda: bool(agent.lines('ledger: works again'))
        )
        self.assertEqual([], agent.lines('Traceback'))

    def test_no_module(self) -> None:
        """One line says that nothing is heard."""
        agent = self.started()
        self.assertEqual(1, len(agent.lines('no events of libvirt')))
        self.assertEqual(32, self.total())


class OrphansTest(AgentTestCase):
    """Removal of orphans, in this process, with Nova's fake libvirt."""

    def setUp(self) -> None:
        super().setUp()
        self.libvirt = self.useFixture(libvirt.Libvirt())
        for uuid in (ORPHAN, DEFINED, HELD, YOUNG):
            self.create(uuid)
            if uuid != YOUNG:
                self.host.age(uuid, 7200)
        self.libvirt.define('guest', [DEFINED])
        self.libvirt.define('running', [HELD], running=True)

    def run_cycle(self, remove: bool = True) -> set[str]:
        """Run one cycle; give the mdevs that are left."""
        self.configure(f'[vgpu]\nlibvirt_uri = {libvirt.URI}\n')
        host = runtime.Runtime([self.config_file], (), self.host.root, NODE)
        self.cycle = cycle.Cycle(host, remove)
        self.outcome = self.cycle.run()
        return set(self.host.mdevs)

    def test_off(self) -> None:
        """Nothing is removed."""
        self.assertEqual(
            {ORPHAN, DEFINED, HELD, YOUNG}, self.run_cycle(remove=False)
        )

    def test_default_is_off(self) -> None:
        """The agent asks the configuration."""
        self.configure('[vgpu]\norphan_grace = 0\n')
        self.started()
        self.assertIn(ORPHAN, self.host.mdevs)
        self.configure(
            '[vgpu]\norphan_grace = 0\n[vgpu_agent]\nremove_orphans = true\n'
        )
        agent = self.started()
        self.assertEqual({}, self.host.mdevs)
        self.assertEqual(4, len(agent.lines('INFO', 'remove mdev')))

    def test_on(self) -> None:
        """The old one goes; used and young ones stay."""
        self.assertEqual({DEFINED, HELD, YOUNG}, self.run_cycle())
        self.assertIn(f'remove mdev {ORPHAN}', '\n'.join(self.logs.lines))
        self.assertFalse(self.outcome.is_retry_due)

    def test_another_type(self) -> None:
        """The age does not matter for a leftover."""
        self.configure()
        gpu = host_base.OTHER_GPU
        self.create(UUIDS[5], gpu, 'nvidia-196')
        self.assertEqual({DEFINED, HELD, YOUNG}, self.run_cycle())

    def test_persistent(self) -> None:
        """Its definition is put aside first."""
        self.host.define(GPU, ORPHAN, 'nvidia-194')
        self.assertEqual({DEFINED, HELD, YOUNG}, self.run_cycle())
        self.assertEqual({}, self.host.definitions)
        self.assertEqual(1, len(self.host.aside))

    def test_an_allocation_in_flight(self) -> None:
        """Nova may be about to use it; said once."""
        self.run_cycle(remove=False)
        self.server.allocate({gpu_provider(): {'VGPU': 3}})
        everything = {ORPHAN, DEFINED, HELD, YOUNG}
        self.assertEqual(everything, self.run_cycle())
        self.cycle.run()
        self.assertEqual(everything, set(self.host.mdevs))
        said = [x for x in self.logs.lines if 'that no domain names' in x]
        self.assertEqual(1, len(said))

    def test_idle_costs_one_request(self) -> None:
        """Placement is asked of users only if there is an orphan."""
        self.run_cycle()
        with self.server.counting() as seen:
            self.cycle.run()
        self.assertEqual(1, len(seen))

    def test_no_libvirt(self) -> None:
        """Nothing is removed, and it is tried again."""
        self.libvirt.error = 'it is away'
        self.assertIn(ORPHAN, self.run_cycle())
        self.assertTrue(self.outcome.is_retry_due)
        self.libvirt.error = None
        self.cycle.run(everything=False)
        # Only what had failed; orphans come with the next whole cycle.
        self.assertIn(ORPHAN, self.host.mdevs)
        self.cycle.run()
        self.assertNotIn(ORPHAN, self.host.mdevs)

    def test_no_placement(self) -> None:
        """Down, or failing when it is asked of users: nothing is removed."""
        self.run_cycle(remove=False)
        self.server.fault_status(503, times=99)
        self.assertIn(ORPHAN, self.run_cycle())
        self.server.clear_faults()
        self.server.fault_status(503, times=99, skip=1)
        self.cycle.run()
        self.assertIn(ORPHAN, self.host.mdevs)
        self.server.clear_faults()
        self.cycle.run()
        self.assertNotIn(ORPHAN, self.host.mdevs)

    def test_stopped(self) -> None:
        """After the end was asked for no write begins."""
        self.run_cycle(remove=False)
        host = runtime.Runtime([self.config_file], (), self.host.root, NODE)
        ending = cycle.Cycle(host, True)
        ending.stop(0)
        ending.run()
        self.assertIn(ORPHAN, self.host.mdevs)
