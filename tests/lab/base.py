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
"""What the tests with a real kernel, libvirt and QEMU stand on.

They share one guest at a time. It is started by the first test that needs it
and ended with the process, so that a whole run needs one boot per release.
"""

from __future__ import annotations

import atexit
import json
import pathlib
import re
import shlex
from typing import Any, ClassVar

from testtools import content

from tests import base
from tests.functional.fixtures import placement
from tools.labvm import LabError, host, images, machine

INSIDE = pathlib.Path(__file__).parent / 'inside'
FOLDER = images.ROOT / '.lab'
PYTHON = '/opt/openstack/bin/python'
#: The guest's name as a compute node.
NODE = 'gpu-lab.example.org'

#: Lines that are no fault of the module: it is neither signed nor part of
#: the kernel, and an emulated processor is slow.
_EXPECTED_LOG = re.compile(
    r'loading out-of-tree module taints kernel'
    r'|module verification failed: signature and/or required key missing'
    r'|hrtimer: interrupt took'
    r'|clocksource: '
    r'|perf: interrupt took too long'
    r'|workqueue: .* hogged CPU'
)

_DOMAIN = """\
<domain type='qemu'>
  <name>{name}</name>
  {metadata}
  <memory unit='MiB'>64</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <devices>
    {device}
  </devices>
</domain>
"""

#: Ends with 0 if the module makes a host just as it was asked for, with all of
#: its virtual functions: it need not be loaded again, which takes long.
_IS_HOST = """\
cd /sys/module/vgpu_sim/parameters || exit 1
[ "$(cat hosts)" = {profile} ] && [ "$(cat types_delay_ms)" = 0 ] || exit 1
grep -qv null gpus && exit 1
/usr/lib/nvidia/sriov-manage -e ALL || exit 1
for card in /sys/bus/pci/devices/*/sriov_totalvfs; do
    [ -e "$card" ] || continue
    [ "$(cat "$card")" = "$(cat "${{card%totalvfs}}numvfs")" ] || exit 1
done
"""

#: Ends every domain, and takes back whatever a test did to the host.
_CLEAR = """\
if [ "$(ls {/etc,/run}/libvirt/qemu/*.xml 2>/dev/null)" ]; then
    for d in $(virsh list --name); do virsh destroy $d; done
    for d in $(virsh list --all --name); do virsh undefine $d; done
fi
for f in /etc/mdevctl.d/*/*; do [ ! -e "$f" ] || rm "$f"; done
rm -rf /var/lib/nova-vgpu-ext /etc/nova/nova.conf
cd /sys/module/vgpu_sim/parameters || exit 0
for p in hold_removal create_errno create_fail_nth create_delay_ms sriov_busy
do
    echo 0 >$p
done
echo 1 >sriov_guard
for f in /sys/bus/mdev/devices/*/remove; do [ ! -e "$f" ] || echo 1 >"$f"; done
for f in /sys/bus/pci/devices/*/nvidia/current_vgpu_type; do
    [ ! -e "$f" ] || [ "$(cat "$f")" = 0 ] || echo 0 >"$f"
done
"""

_FORGIVE = 'dmesg --clear'
#: Prints the warnings, and below the mark the end of all.
_MARK = '-- all --'
_LOG = f"""\
dmesg --level=emerg,alert,crit,err,warn; echo '{_MARK}'; dmesg | tail -n 100
"""

_running: Guest | None = None
#: Why a release's guest did not start.
_failed: dict[str, LabError] = {}


class Guest:
    """A guest of the lab."""

    def __init__(self, settings: machine.Settings) -> None:
        builder = images.Builder(FOLDER)
        self.settings = settings
        self.machine = machine.Machine(FOLDER / 'machines' / 'test', builder)

    def start(self) -> None:
        """Start it afresh."""
        self.machine.stop()
        self.machine.start(self.settings)

    def try_run(
        self, line: str, seconds: float = 120, stdin: str = ''
    ) -> tuple[int, str, str]:
        """Run a shell line as root.

        :returns: its exit status, output and errors.
        """
        done = self.machine.call(line, seconds, stdin)
        return done.returncode, done.stdout, done.stderr

    def run(self, line: str, seconds: float = 120, stdin: str = '') -> str:
        """Run a shell line as root; it must succeed.

        :returns: its output, without the last line's end.
        :raises AssertionError: it failed.
        """
        code, out, err = self.try_run(line, seconds, stdin)
        if code:
            raise AssertionError(f'{line}: {code}\n{out}\n{err}')
        return out.rstrip('\n')

    def json(self, line: str) -> Any:
        """Run a shell line that prints JSON."""
        return json.loads(self.run(line))

    def inside(
        self,
        program: str,
        *arguments: str,
        stdin: str = '',
        seconds: int = 300,
    ) -> Any:
        """Run a program of ``tests/lab/inside``, which prints JSON.

        It runs with a Python that has Nova, this project and libvirt.

        :param program: its name.
        """
        text = (INSIDE / f'{program}.py').read_text()
        line = shlex.join([PYTHON, '-c', text, *arguments])
        return json.loads(self.run(line, seconds, stdin))


def guest(release: str = 'debian-12') -> Guest:
    """Give the guest of a release; end the one of another release.

    :raises LabError: it does not start; the next test is told so at once.
    """
    global _running
    if release in _failed:
        raise _failed[release]
    if _running is None or _running.settings.release != release:
        _end()
        # Before it starts, so that it ends also where it is interrupted.
        _running = Guest(
            machine.Settings(release=release, forward=(host.free_port(),))
        )
        try:
            _running.start()
        except LabError as error:
            _failed[release] = error
            raise
    if _running.machine.running() is None:
        raise LabError(
            f'The guest has died; its console: {_running.machine.console}'
        )
    return _running


@atexit.register
def _end() -> None:
    global _running
    if _running is not None:
        ended, _running = _running, None
        ended.machine.stop()


def until(line: str) -> str:
    """Give the shell line that waits for another one to succeed."""
    return f'for n in $(seq 100); do {line} && exit; sleep 0.2; done; exit 1'


class LabTestCase(base.TestCase):
    """A test in the guest, with a simulated host of its own."""

    release: ClassVar[str] = 'debian-12'
    #: What the host has at the beginning of each test.
    profile: ClassVar[str] = 'v100x8'

    def setUp(self) -> None:
        super().setUp()
        self.guest = guest(self.release)
        # A guest begins clear, and each test leaves it so.
        self.addCleanup(self._check_log)
        self.addCleanup(self.clear)
        is_host = _IS_HOST.format(profile=self.profile)
        if self.guest.try_run(f'({is_host}) && {_FORGIVE}')[0]:
            self.load(self.profile)
            self.forgive_log()

    def load(self, profile: str, vfs: bool = True, **module: object) -> None:
        """Make the guest another host.

        :param profile: the host's name.
        :param vfs: whether its virtual functions are enabled.
        :param module: more parameters of the module.
        """
        parameters = [f'{name}={value}' for name, value in module.items()]
        command = shlex.join(
            ['modprobe', 'vgpu_sim', f'hosts={profile}', *parameters]
        )
        self.guest.run(f'modprobe -r vgpu_sim && {command}')
        if vfs:
            self.guest.run('/usr/lib/nvidia/sriov-manage -e ALL')
        self.guest.run('udevadm settle')

    def with_placement(self) -> placement.PlacementServer:
        """Give the guest a Placement that knows the node."""
        server = self.useFixture(placement.PlacementServer())
        server.create_provider(NODE)
        port = server.url.rpartition(':')[2].strip('/')
        unit = f'lab-forward@{port}'
        self.guest.run(f'systemctl start {unit}.socket')
        self.addCleanup(
            self.guest.run, f'systemctl stop {unit}.socket {unit}.service'
        )
        return server

    def define_domain(
        self, name: str, device: str, metadata: str = ''
    ) -> None:
        """Define a domain with devices of the host.

        :param name: its name.
        :param device: the ``<hostdev>`` elements.
        :param metadata: the ``<metadata>`` element.
        """
        text = _DOMAIN.format(name=name, device=device, metadata=metadata)
        self.guest.run('virsh define /dev/stdin', stdin=text)

    def fails(self, line: str) -> str:
        """Run a line that must fail.

        :returns: its errors.
        """
        code, _, err = self.guest.try_run(f'LC_ALL=C; {line}')
        self.assertNotEqual(0, code, line)
        return err.strip()

    def reboot(self, crash: bool = False) -> None:
        """Boot the guest again; a boot warns of its own, which is forgiven.

        :param crash: without a shutdown.
        """
        self.guest.machine.reboot(crash=crash)
        self.forgive_log()

    def clear(self) -> None:
        """End every domain, forget all of mdevs, end every fault."""
        self.guest.run(_CLEAR)

    def forgive_log(self) -> None:
        """Forget what the kernel said so far: it is what was asked for."""
        self.guest.run(_FORGIVE)

    def _check_log(self) -> None:
        """Refuse any warning of the kernel since the test began."""
        log = self.guest.run(_LOG)
        warnings, _, end = log.partition(_MARK)
        lines = [
            line
            for line in warnings.splitlines()
            if not _EXPECTED_LOG.search(line)
        ]
        self.addDetail('kernel log', content.text_content(end))
        self.assertEqual([], lines)
