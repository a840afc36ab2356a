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
"""One guest: its disk, QEMU in the background, its state."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

from tools.labvm import LabError, host, images, ssh

#: How long a guest may take to boot, under emulation on a busy machine.
BOOT_SECONDS = 300
_STOP_SECONDS = 60
_LINKED = ('vmlinuz', 'initrd', 'root.ext4', 'project.ext4')


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the user asked for."""

    release: str = 'debian-12'
    profile: str = 'v100x8'
    #: In MiB.
    memory: int = 2560
    #: Ports of this machine's loopback that the guest's loopback has too.
    forward: tuple[int, ...] = ()
    #: Whether the virtual functions are enabled at each boot.
    vfs: bool = True
    #: Parameters of the kernel module, as ``name=value``.
    module: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Running:
    """A guest that was started."""

    settings: Settings
    pid: int
    #: When the process began, in clock ticks since this machine's boot; with
    #: the pid it names the process for good.
    began: int
    port: int
    accelerator: str
    #: A short path for SSH's control socket.
    control: str

    @property
    def is_alive(self) -> bool:
        """Whether QEMU still runs."""
        return host.began(self.pid) == self.began


class Machine:
    """A guest and its folder.

    :param folder: its own.
    :param builder: where its disks come from.
    """

    def __init__(self, folder: pathlib.Path, builder: images.Builder) -> None:
        self.folder = folder
        self.builder = builder
        self.console = folder / 'console.log'
        self.ssh = ssh.Ssh(folder)
        self._state = folder / 'state.json'

    def running(self) -> Running | None:
        """Tell what runs; None if nothing does."""
        found = self._started()
        return found if found and found.is_alive else None

    def start(self, settings: Settings) -> bool:
        """Start the guest with a new disk, and wait until it is ready.

        :param settings: what it should be.
        :returns: False if it ran already.
        :raises LabError: it runs with other settings, a program or memory is
            missing, or it did not boot.
        """
        with self._locked():
            found = self.running()
            if found and found.settings == settings:
                return False
            if found:
                raise LabError(
                    'The guest runs already, with other options: '
                    f'{describe(found.settings)}.\n'
                    'tools/lab stop ends it.'
                )
            self._forget()
            host.require(host.RUNNING)
            if host.free_memory_mib() < settings.memory:
                raise LabError(
                    f'The guest needs {settings.memory} MiB of memory; '
                    f'{host.free_memory_mib()} MiB are free.\n'
                    'Free some, or start it with a smaller --memory.'
                )
            built = self.builder.build(settings.release)
            self._lay_out(built)
            self._boot(settings)
        return True

    def reboot(self, crash: bool = False) -> None:
        """Boot the guest again, from the same disk.

        :param crash: as when the power fails, without a shutdown.
        :raises LabError: it does not run, or did not boot.
        """
        with self._locked():
            found = self._running()
            command = 'systemctl reboot'
            if crash:
                command = 'echo b >/proc/sysrq-trigger'
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.call(command, _STOP_SECONDS)
            # QEMU ends where a real machine starts again.
            _await_end(found)
            self._forget()
            self._boot(found.settings)

    def stop(self) -> bool:
        """Shut the guest down, and throw its disk away.

        :returns: False if it did not run.
        """
        with self._locked():
            found = self.running()
            if found:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.call('systemctl poweroff', _STOP_SECONDS)
                _await_end(found)
            self._forget()
            for name in (*_LINKED, 'disk.qcow2'):
                (self.folder / name).unlink(missing_ok=True)
        return found is not None

    def attach(self, *arguments: str) -> int:
        """Run a command in the guest, with this process's own streams.

        :param arguments: the command, which the guest's shell reads; none
            for a shell of its own.
        :returns: its exit status.
        :raises LabError: the guest does not run.
        """
        self._running()
        return self.ssh.attach(*arguments)

    def call(
        self, line: str, seconds: float = 60, stdin: str = ''
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell line as root in the guest, and take its output.

        :param line: what the guest's shell reads.
        :param seconds: how long it may take.
        :param stdin: its standard input.
        :raises subprocess.TimeoutExpired: it took longer.
        """
        return self.ssh.call(line, seconds, stdin)

    def copy(self, sources: Sequence[str], target: str) -> int:
        """Copy files and folders; ``guest:`` begins a path in the guest.

        :returns: the exit status of scp.
        :raises LabError: the guest does not run.
        """
        self._running()
        return self.ssh.copy(sources, target)

    def _running(self) -> Running:
        found = self.running()
        if found is None:
            raise LabError('The guest does not run: tools/lab start')
        return found

    def _lay_out(self, built: images.Images) -> None:
        """Take hold of the images, so that a later build leaves them."""
        for source in (*built.root.iterdir(), *built.project.iterdir()):
            target = self.folder / source.name
            target.unlink(missing_ok=True)
            os.link(source, target)
        disk = self.folder / 'disk.qcow2'
        disk.unlink(missing_ok=True)
        self.console.unlink(missing_ok=True)
        subprocess.run(  # noqa: S603
            [
                *(host.program('qemu-img'), 'create', '-q', '-f', 'qcow2'),
                *('-b', 'root.ext4', '-F', 'raw', str(disk)),
            ],
            check=True,
        )

    def _boot(self, settings: Settings) -> None:
        kernel = self.folder / 'vmlinuz'
        accelerator = 'tcg,thread=multi'
        if host.kvm_works(kernel, self.builder.folder):
            accelerator = 'kvm'
        control = tempfile.mkdtemp(prefix='nova-vgpu-lab.')
        port = host.free_port()
        self.ssh.configure(
            port,
            pathlib.Path(control, 'ssh'),
            self.builder.private_key,
            self.folder / 'host_key.pub',
        )
        qemu = _launch(
            _qemu(settings, accelerator, port),
            self.folder,
            self.folder / 'qemu.log',
        )
        found = Running(
            settings,
            qemu.pid,
            host.began(qemu.pid),
            port,
            accelerator,
            control,
        )
        self._state.write_text(
            json.dumps(dataclasses.asdict(found)), encoding='utf-8'
        )
        try:
            self._await_ready(qemu)
        except BaseException:
            qemu.kill()
            qemu.wait()
            self._forget()
            raise

    def _await_ready(self, qemu: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + BOOT_SECONDS
        while time.monotonic() < end:
            if qemu.poll() is not None:
                log = (self.folder / 'qemu.log').read_text(errors='replace')
                raise LabError(f'QEMU ended at once: {log.strip()}')
            with contextlib.suppress(subprocess.TimeoutExpired):
                done = self.call('systemctl is-system-running --wait')
                if done.stdout.strip():
                    break
            time.sleep(0.5)
        else:
            raise LabError(
                f'The guest did not boot within {BOOT_SECONDS} s. Its '
                f'console is in {self.console}'
            )
        if done.stdout.strip() != 'running':
            failed = self.call(
                'systemctl --failed --no-legend --plain; dmesg | tail -n 20'
            )
            raise LabError(
                'The guest booted, but not all of it works; what failed, '
                f'and its kernel log:\n{failed.stdout}'
            )

    def _started(self) -> Running | None:
        """Tell what was started last; it may have ended."""
        try:
            text = self._state.read_text(encoding='utf-8')
            return _from_json(json.loads(text))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _forget(self) -> None:
        """End the connection to a guest that has ended."""
        found = self._started()
        if found is None:
            return
        self.ssh.close()
        shutil.rmtree(found.control, ignore_errors=True)
        self._state.unlink()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / 'lock', 'w') as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield


def describe(settings: Settings) -> str:
    """Say the settings in one line."""
    text = (
        f'profile {settings.profile}, release {settings.release}, '
        f'{settings.memory} MiB'
    )
    if settings.forward:
        text += f', forwards {", ".join(map(str, settings.forward))}'
    if not settings.vfs:
        text += ', no VFs'
    if settings.module:
        text += f', {" ".join(settings.module)}'
    return text


def _qemu(settings: Settings, accelerator: str, port: int) -> list[str]:
    half = settings.memory // 2
    forward = f'hostfwd=tcp:127.0.0.1:{port}-:22'
    append = [
        'root=/dev/vda rw console=ttyS0 quiet mitigations=off panic=-1',
        f'vgpu_sim.hosts={settings.profile}',
        *(f'vgpu_sim.{setting}' for setting in settings.module),
        *(f'systemd.wants=lab-forward@{p}.socket' for p in settings.forward),
    ]
    if settings.vfs:
        append.append('systemd.wants=nvidia-sriov.service')
    return [
        *(host.program('qemu-system-x86_64'), '-nodefaults'),
        *('-no-user-config', '-name', 'nova-vgpu-lab'),
        *('-machine', 'q35,sata=off'),
        *('-accel', accelerator),
        *('-cpu', 'host' if accelerator == 'kvm' else 'max,la57=off,svm=off'),
        # Two NUMA nodes, because the simulated GPUs have one each.
        *('-smp', '2,sockets=2', '-m', f'{half * 2}M'),
        *('-object', f'memory-backend-ram,id=m0,size={half}M'),
        *('-object', f'memory-backend-ram,id=m1,size={half}M'),
        *('-numa', 'node,nodeid=0,cpus=0,memdev=m0'),
        *('-numa', 'node,nodeid=1,cpus=1,memdev=m1'),
        *('-display', 'none', '-no-reboot'),
        *('-chardev', 'file,id=console,path=console.log,append=on'),
        *('-serial', 'chardev:console', '-device', 'virtio-rng-pci'),
        *('-kernel', 'vmlinuz', '-initrd', 'initrd'),
        *('-append', ' '.join(append)),
        *('-drive', 'file=disk.qcow2,if=virtio,format=qcow2,cache=unsafe'),
        *('-drive', 'file=project.ext4,if=virtio,format=raw,readonly=on'),
        *('-nic', f'user,model=virtio-net-pci,{forward}'),
    ]


def _launch(
    command: list[str], folder: pathlib.Path, log: pathlib.Path
) -> subprocess.Popen[bytes]:
    with log.open('wb') as stream:
        return subprocess.Popen(  # noqa: S603
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _await_end(found: Running) -> None:
    """Wait until QEMU has ended by itself, or end it."""
    end = time.monotonic() + _STOP_SECONDS
    while found.is_alive and time.monotonic() < end:
        time.sleep(0.2)
    if found.is_alive:
        os.kill(found.pid, signal.SIGKILL)
    while found.is_alive:
        time.sleep(0.1)


def _from_json(state: dict[str, Any]) -> Running:
    settings = dict(state.pop('settings'))
    for name in ('forward', 'module'):
        settings[name] = tuple(settings[name])
    return Running(settings=Settings(**settings), **state)
