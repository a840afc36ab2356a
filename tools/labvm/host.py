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
"""What this machine has: programs, certificates, hardware virtualisation."""

from __future__ import annotations

import contextlib
import functools
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterable

from tools.labvm import LabError

#: The Debian package of each program.
_PACKAGES = {
    'fakeroot': 'fakeroot',
    'git': 'git',
    'gpg': 'gpg',
    'mke2fs': 'e2fsprogs',
    'mmdebstrap': 'mmdebstrap',
    'newuidmap': 'uidmap',
    'qemu-img': 'qemu-utils',
    'qemu-system-x86_64': 'qemu-system-x86',
    'scp': 'openssh-client',
    'ssh': 'openssh-client',
    'ssh-keygen': 'openssh-client',
    'tar': 'tar',
}
_KEYRING = pathlib.Path('/usr/share/keyrings/debian-archive-keyring.gpg')
_CERTIFICATES = pathlib.Path('/etc/ssl/certs/ca-certificates.crt')

BUILDING = (
    'fakeroot',
    'git',
    'gpg',
    'mke2fs',
    'mmdebstrap',
    'ssh-keygen',
    'tar',
)
RUNNING = ('qemu-img', 'qemu-system-x86_64', 'scp', 'ssh')

#: A kernel that finds no root file system panics and reboots at once.
_KVM_PROBE_SECONDS = 20


@functools.cache
def program(name: str) -> str:
    """Find a program.

    :param name: the program's name.
    :returns: its path; the bare name where it is not installed.
    """
    return shutil.which(name, path=search_path()) or name


def search_path() -> str:
    """Give the PATH of root: mke2fs is where users do not look."""
    return f'{os.environ.get("PATH", os.defpath)}:/usr/sbin:/sbin'


def require(programs: Iterable[str]) -> None:
    """Refuse to go on without the programs.

    :param programs: their names.
    :raises LabError: names the Debian packages that are missing.
    """
    wanted = list(programs)
    building = 'mmdebstrap' in wanted
    if building and os.geteuid() != 0:
        wanted.append('newuidmap')
    missing = {
        _PACKAGES[name]: name
        for name in wanted
        if not os.path.isabs(program(name))
    }
    if building and not _KEYRING.exists():
        missing['debian-archive-keyring'] = str(_KEYRING)
    if missing:
        raise LabError(
            f'Not found: {", ".join(sorted(missing.values()))}.\n'
            'On Debian and Ubuntu, as root: apt-get install '
            f'{" ".join(sorted(missing))}\n'
            'bindep.txt lists every package of the lab.'
        )


def certificates() -> pathlib.Path | None:
    """Find the certificate authorities that this machine trusts."""
    named = os.environ.get('SSL_CERT_FILE')
    path = pathlib.Path(named) if named else _CERTIFICATES
    return path if path.is_file() else None


def free_memory_mib() -> int:
    """Tell how much memory is free, in MiB."""
    text = pathlib.Path('/proc/meminfo').read_text(encoding='ascii')
    found = re.search(r'^MemAvailable: +(\d+) kB$', text, re.MULTILINE)
    return int(found[1]) // 1024 if found else 0


def began(pid: int) -> int:
    """Tell when a process began, in clock ticks; 0 if there is none.

    With its number this names a process for good.
    """
    try:
        stat = pathlib.Path(f'/proc/{pid}/stat').read_text(encoding='ascii')
    except OSError:
        return 0
    fields = stat.rpartition(')')[2].split()
    state, began = fields[0], fields[19]
    return 0 if state == 'Z' else int(began)


def free_port() -> int:
    """Find a port of the loopback that nothing listens on."""
    with socket.socket() as found:
        found.bind(('127.0.0.1', 0))
        return int(found.getsockname()[1])


def kvm_works(kernel: pathlib.Path, folder: pathlib.Path) -> bool:
    """Tell whether a kernel really boots with KVM.

    On a virtual machine ``/dev/kvm`` may exist, and hang. So once per boot
    of this machine a kernel is started; the answer is kept.

    :param kernel: a kernel's image.
    :param folder: where the answer is kept.
    """
    flags = pathlib.Path('/proc/cpuinfo').read_text(encoding='utf-8')
    if not re.search(r'\b(vmx|svm)\b', flags) or not os.access(
        '/dev/kvm', os.R_OK | os.W_OK
    ):
        return False
    boot = pathlib.Path('/proc/sys/kernel/random/boot_id')
    answer = folder / 'kvm'
    this_boot = boot.read_text(encoding='ascii').strip()
    with contextlib.suppress(OSError, ValueError):
        known_boot, works = answer.read_text(encoding='ascii').split()
        if known_boot == this_boot:
            return works == 'works'
    works_now = _boots_with_kvm(kernel)
    text = f'{this_boot} {"works" if works_now else "fails"}\n'
    answer.write_text(text, encoding='ascii')
    return works_now


def _boots_with_kvm(kernel: pathlib.Path) -> bool:
    with tempfile.TemporaryDirectory(prefix='nova-vgpu-lab.') as folder:
        console = pathlib.Path(folder, 'console')
        command = [
            *(program('qemu-system-x86_64'), '-nodefaults'),
            *('-no-user-config', '-machine', 'q35', '-accel', 'kvm'),
            *('-cpu', 'host', '-m', '256', '-display', 'none'),
            *('-serial', f'file:{console}', '-no-reboot'),
            *('-kernel', str(kernel), '-append', 'console=ttyS0 panic=-1'),
        ]
        try:
            subprocess.run(  # noqa: S603
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_KVM_PROBE_SECONDS,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):
            return False
        return b'Unable to mount root fs' in console.read_bytes()
