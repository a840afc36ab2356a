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
"""A machine outside of its devices: kernel, services, libvirt, containers.

Nothing here changes anything, needs root, or waits for long. What cannot be
read is an :class:`~nova_vgpu_ext.models.Unknown` that says why.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from nova_vgpu_ext import exception
from nova_vgpu_ext.host import hook_file, libvirt, libvirtd, systemd
from nova_vgpu_ext.host.question import ask
from nova_vgpu_ext.host.read import text
from nova_vgpu_ext.models import (
    Folder,
    Hook,
    Hypervisor,
    Libvirtd,
    System,
    Unknown,
    Version,
)

T = TypeVar('T')

#: The units that are looked at.
SERVICES = (
    'nvidia-vgpud.service',
    'nvidia-vgpu-mgr.service',
    'nova-vgpu-prepare.service',
    'nova-vgpu-agent.service',
)

_RELEASE = re.compile(r'[A-Za-z0-9._+~-]{1,128}', re.ASCII)
_RULE = '60-mdevctl.rules'
#: The first folder that has a rule of a name counts. Source: udev(7).
_RULE_FOLDERS = (
    'etc/udev/rules.d',
    'run/udev/rules.d',
    'usr/local/lib/udev/rules.d',
    'usr/lib/udev/rules.d',
    'lib/udev/rules.d',
)
_PROGRAM_FOLDERS = (
    'usr/local/sbin',
    'usr/local/bin',
    'usr/sbin',
    'usr/bin',
    'sbin',
    'bin',
)
_CONTAINER_FILES = ('run/.containerenv', '.dockerenv')


@dataclasses.dataclass(frozen=True)
class Places:
    """Where things are on a machine; tests have others.

    :param sysfs: where sysfs is.
    :param catalog: the driver's list of types.
    :param hook_settings: what the hook's file should say.
    """

    sysfs: str
    catalog: str
    hook_settings: hook_file.Settings
    root: str = '/'
    hooks: str = hook_file.DIRECTORY
    systemctl: str = 'systemctl'
    environment: Mapping[str, str] = dataclasses.field(
        default_factory=lambda: os.environ
    )

    def below(self, *parts: str) -> str:
        """Give a path below the root."""
        return os.path.join(self.root, *(p.lstrip('/') for p in parts))


def observe(places: Places) -> System:
    """Look at the machine.

    :param places: where to look.
    """
    is_container = _is_container(places)
    daemon = ask(lambda: libvirtd.find(places.below('proc')))

    def of_libvirt(function: Callable[[str], T]) -> T | Unknown:
        if is_container and daemon is None:
            return _hidden('libvirt')
        return ask(lambda: function(_view(places, daemon)))

    return System(
        kernel=ask(lambda: text(places.below('proc/sys/kernel/osrelease'))),
        command_line=ask(lambda: text(places.below('proc/cmdline'))),
        has_iommu_groups=ask(lambda: _has_iommu_groups(places.sysfs)),
        modules=ask(lambda: _modules(places)),
        driver=ask(lambda: _driver(places.sysfs)),
        catalog=ask(lambda: _catalog(places.catalog)),
        services=systemd.services(SERVICES, places.systemctl),
        mdevctl=of_libvirt(_mdevctl),
        mdevctl_rule=_hidden('udev')
        if is_container
        else ask(lambda: _rule(places)),
        libvirtd=daemon,
        hook=of_libvirt(lambda root: _hook(places, root)),
        is_container=is_container,
        mounts=ask(
            lambda: libvirtd.mounts(places.below('proc/self/mountinfo'))
        ),
    )


def hypervisor(uri: str) -> Hypervisor:
    """Ask libvirt for versions.

    :param uri: as of ``virsh --connect``.
    :raises LibvirtError: libvirt cannot be asked.
    """
    module = libvirt.module(uri)
    connection = None
    try:
        connection = module.openAuth(
            uri, [[], lambda *_: 0, None], module.VIR_CONNECT_RO
        )
        return Hypervisor(
            version(connection.getLibVersion()),
            version(connection.getVersion()),
        )
    except module.libvirtError as error:
        raise exception.LibvirtError(
            uri, str(error), 'start libvirt'
        ) from error
    finally:
        if connection is not None:
            connection.close()


def version(number: int) -> Version:
    """Take libvirt's form of a version apart: 8006000 is 8.6.0."""
    return number // 1000000, number // 1000 % 1000, number % 1000


def folder(path: str) -> Folder:
    """Look at a folder that this program keeps.

    :param path: it need not exist.
    :raises OSError: it cannot be looked at.
    """
    try:
        status = os.stat(path)
    except FileNotFoundError:
        above = os.path.dirname(os.path.abspath(path))
        while not os.path.exists(above):
            above = os.path.dirname(above)
        return Folder(path, exists=False, is_writable=_can_write(above))
    return Folder(
        path,
        exists=True,
        is_folder=os.path.isdir(path),
        mode=stat.S_IMODE(status.st_mode),
        is_writable=_can_write(path),
    )


def _can_write(path: str) -> bool:
    """Tell whether files can be made in a folder.

    :raises PermissionError: not by this user.
    """
    if os.access(path, os.W_OK | os.X_OK):
        return True
    if os.geteuid() != 0:
        raise _denied(path)
    return False


def _hidden(what: str) -> Unknown:
    return Unknown(
        f'a container, which hides {what} of the host',
        'run this on the host itself',
    )


def _is_container(places: Places) -> bool:
    if any(name.startswith('KOLLA_') for name in places.environment):
        return True
    return any(os.path.exists(places.below(name)) for name in _CONTAINER_FILES)


def _has_iommu_groups(sysfs: str) -> bool:
    try:
        with os.scandir(os.path.join(sysfs, 'kernel/iommu_groups')) as names:
            return any(True for _ in names)
    except FileNotFoundError:
        return False


def _modules(places: Places) -> frozenset[str]:
    """List the modules, loaded or built in."""
    found = {
        line.split()[0]
        for line in text(places.below('proc/modules')).splitlines()
        if line.strip()
    }
    return frozenset(found | _built_in(places))


def _built_in(places: Places) -> set[str]:
    """List the modules of the kernel's own file; a container has none."""
    try:
        release = text(places.below('proc/sys/kernel/osrelease'))
        if not _RELEASE.fullmatch(release):
            return set()
        found = text(places.below('lib/modules', release, 'modules.builtin'))
    except OSError:
        return set()
    return {
        os.path.basename(line).partition('.')[0].replace('-', '_')
        for line in found.splitlines()
    }


def _driver(sysfs: str) -> str | None:
    try:
        return text(os.path.join(sysfs, 'module/nvidia/version'))[:60]
    except FileNotFoundError:
        return None


def _catalog(path: str) -> str | None:
    if not path:
        return None
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), 'rb') as stream:
            stream.read(1)
    except FileNotFoundError:
        return None
    return path


def _view(places: Places, daemon: Libvirtd | Unknown | None) -> str:
    """Give the folder that is the root for libvirt's process.

    :raises PermissionError: this user may not know.
    """
    if not isinstance(daemon, Libvirtd) or daemon.mounts is None:
        return places.root
    if isinstance(daemon.mounts, Unknown):
        raise _denied(f'/proc/{daemon.pid}')
    return places.below('proc', str(daemon.pid), 'root')


def _denied(path: str) -> PermissionError:
    return PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)


def _mdevctl(root: str) -> str | None:
    """Find the program where libvirt, which runs it, finds it."""
    names = [f'{folder}/mdevctl' for folder in _PROGRAM_FOLDERS]
    found = _first(root, names)
    return f'/{found}' if found else None


def _first(root: str, names: Iterable[str]) -> str | None:
    for name in names:
        try:
            # A link is an answer: its target may be absolute, and another
            # one from here.
            os.lstat(os.path.join(root, name))
        except (FileNotFoundError, NotADirectoryError):
            continue
        return name
    return None


def _rule(places: Places) -> str | None:
    names = [f'{folder}/{_RULE}' for folder in _RULE_FOLDERS]
    found = _first(places.root, names)
    if found is None:
        return None
    # An empty file, or a link to /dev/null, turns a rule off.
    return f'/{found}' if os.path.getsize(places.below(found)) else None


def _hook(places: Places, root: str) -> Hook:
    """Look at the hook.

    :param root: what libvirt's process sees as its root.
    """
    settings = places.hook_settings
    found = hook_file.look(places.below(places.hooks), settings)
    changed = None
    if found.state is not hook_file.State.ABSENT:
        changed = os.lstat(found.path).st_ctime
    below = os.path.join(places.hooks, hook_file.NAME).lstrip('/')
    is_visible = None
    if root != places.root:
        is_visible = _first(root, [below]) is not None
    return Hook(f'/{below}', found.state.value, changed, is_visible)
