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
"""What kernel and driver do when something writes to a simulated host.

A simulated host is files, which do nothing by themselves. This does to them
what a write to the same file does on a real host, with the same errors.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import os
import re
import shutil
from collections.abc import Callable, Iterator
from typing import Any

from nova_vgpu_ext.sim import builder, changes, description, state

#: Below the root of a simulated host.
FOLDER = '.nova-vgpu-sim'
#: The driver's list of types, in that folder.
CATALOG = 'vgpuConfig.xml'
_STATE = 'host.json'
_LIMIT = 1023
_NUMBER = re.compile('[0-9]{1,9}', re.ASCII)
_UUID = re.compile(
    '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}', re.ASCII
)

#: From a card or VF to the same, changed.
_Change = Callable[[Any], Any]


def is_simulated(root: str) -> bool:
    """Tell whether a folder is a simulated host that takes writes."""
    return os.path.isfile(os.path.join(root, FOLDER, _STATE))


def build(
    profile: description.Profile, directory: str, vfs: bool = True
) -> None:
    """Write a simulated host that takes writes.

    :param profile: what the host has.
    :param directory: as of :func:`~nova_vgpu_ext.sim.builder.build`.
    :param vfs: whether the virtual functions are enabled; if not, the host
        is as after a boot, without any vGPU.
    :raises exception.VgpuError: as of the same.
    """
    # Every command on a host imports this module, and none needs XML.
    from nova_vgpu_ext.sim import catalog

    if not vfs:
        profile = _booted(profile)
    builder.build(profile, directory)
    kernel = SimulatedKernel(directory)
    os.mkdir(kernel.folder)
    path = os.path.join(kernel.folder, CATALOG)
    with open(path, 'w', encoding='utf-8') as stream:
        stream.write(catalog.text(profile))
    kernel.save(profile)


def _error(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)


class SimulatedKernel:
    """The kernel of one simulated host.

    :param root: its folder.
    """

    def __init__(self, root: str) -> None:
        self.root = os.path.realpath(root)
        self.folder = os.path.join(self.root, FOLDER)
        self._file = os.path.join(self.folder, _STATE)

    def write(self, path: str, text: str) -> None:
        """Write to a file of the host.

        :param path: as it would be opened.
        :raises OSError: as the kernel or the driver would.
        """
        where = os.path.relpath(os.path.realpath(path), self.root)
        full = os.path.join(self.root, where)
        if where.startswith('../') or not os.path.isfile(full):
            raise _error(errno.ENOENT, path)
        folder, name = os.path.split(where)
        if name == 'create':
            self._create(folder, text.removesuffix('\n').lower(), path)
        elif name == 'remove':
            self._remove(os.path.basename(folder), text, path)
        elif name == 'vgpu_params':
            self._parameters(os.path.dirname(folder), text, path)
        elif name == 'current_vgpu_type':
            device = os.path.basename(os.path.dirname(folder))
            self._set_type(device, text.strip(), path)
        else:
            raise _error(errno.EACCES, path)

    def enable_vfs(self, address: str) -> None:
        """Do what ``sriov-manage -e`` does.

        :raises OSError: there is no such card, or it has no VFs.
        """
        with self.locked() as profile:
            gpu = _gpu_of(profile, address)
            if gpu is None or not (gpu.hidden_vfs or gpu.vfs):
                raise _error(errno.ENODEV, address)
            if gpu.vfs:
                return
            enabled = dataclasses.replace(
                gpu, vfs=gpu.hidden_vfs, hidden_vfs=()
            )
            changes.add_vfs(self.root, enabled)
            self.save(_replaced(profile, enabled))

    def _create(self, folder: str, name: str, path: str) -> None:
        type_id = os.path.basename(folder)
        address = self._address(os.path.dirname(os.path.dirname(folder)))
        if not _UUID.fullmatch(name):
            raise _error(errno.EINVAL, path)
        with self.locked() as profile:
            gpu, device = _device_of(profile, address)
            vgpu_type = device.type(type_id) if device else None
            if gpu is None or device is None or vgpu_type is None:
                raise _error(errno.ENOENT, path)
            if any(name == m.uuid for m in _mdevs(profile)):
                raise _error(errno.EEXIST, path)
            if description.available(gpu, device, vgpu_type) < 1:
                raise _error(errno.ENOSPC, path)
            mdev = description.MdevSpec(name, type_id)
            changed = _with_device(gpu, address, lambda d: _add(d, mdev))
            changes.add_mdev(self.root, changed, address, mdev)
            changes.refresh(self.root, changed)
            self.save(_replaced(profile, changed))

    def _remove(self, name: str, text: str, path: str) -> None:
        if not _NUMBER.fullmatch(text.strip()):
            raise _error(errno.EINVAL, path)
        if int(text) == 0:
            return
        with self.locked() as profile:
            for gpu in profile.gpus:
                for device in gpu.devices:
                    for mdev in device.mdevs:
                        if mdev.uuid == name:
                            self._take_away(profile, gpu, device, mdev, path)
                            return
        raise _error(errno.ENODEV, path)

    def _take_away(
        self,
        profile: description.Profile,
        gpu: description.GpuSpec,
        device: description.DeviceSpec,
        mdev: description.MdevSpec,
        path: str,
    ) -> None:
        if mdev.guest:
            # The kernel would wait for the guest, maybe for ever.
            raise _error(errno.EBUSY, path)
        changed = _with_device(
            gpu,
            device.address,
            lambda d: dataclasses.replace(
                d, mdevs=tuple(m for m in d.mdevs if m.uuid != mdev.uuid)
            ),
        )
        changes.remove_mdev(self.root, gpu, device.address, mdev)
        changes.refresh(self.root, changed)
        self.save(_replaced(profile, changed))

    def _parameters(self, folder: str, text: str, path: str) -> None:
        new = text.strip() or None
        if len(text) > _LIMIT or not (new or '').isprintable():
            raise _error(errno.EINVAL, path)
        name = os.path.basename(folder)
        with self.locked() as profile:
            for gpu in profile.gpus:
                for device in gpu.devices:
                    change = _parameter_change(device, name, new)
                    if change is not None:
                        changed = _with_device(gpu, device.address, change)
                        changes.rewrite(
                            self.root,
                            os.path.relpath(os.path.realpath(path), self.root),
                            new or '',
                        )
                        self.save(_replaced(profile, changed))
                        return
        raise _error(errno.ENODEV, path)

    def _set_type(self, address: str, text: str, path: str) -> None:
        with self.locked() as profile:
            gpu, vf = _device_of(profile, address)
            if gpu is None or not isinstance(vf, description.VfSpec):
                raise _error(errno.ENODEV, path)
            if not _NUMBER.fullmatch(text):
                raise _error(errno.EINVAL, path)
            new = None if text == '0' else vf.type(text)
            if text != '0':
                if new is None:
                    raise _error(errno.EINVAL, path)
                if vf.current_type is not None:
                    raise _error(errno.EEXIST, path)
                if not description.fits(gpu, new):
                    raise _error(errno.ENOSPC, path)
            changed = _with_device(
                gpu,
                address,
                lambda d: dataclasses.replace(
                    d,
                    current_type=new.id if new else None,
                ),
            )
            changes.refresh(self.root, changed)
            self.save(_replaced(profile, changed))

    def _address(self, folder: str) -> str:
        virtual = 'devices/virtual/'
        if folder.startswith(virtual):
            return folder.removeprefix(virtual).replace('/', '_')
        return os.path.basename(folder)

    @contextlib.contextmanager
    def locked(self) -> Iterator[description.Profile]:
        """Give the host as it is, while nobody else changes it."""
        with open(os.path.join(self.folder, 'lock'), 'w') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with open(self._file, encoding='utf-8', errors='replace') as file:
                text = file.read()
            yield state.load(self._file, text)

    def save(self, profile: description.Profile) -> None:
        """Keep the host as it is now."""
        temporary = f'{self._file}.new'
        with open(temporary, 'w', encoding='utf-8') as stream:
            stream.write(state.dump(profile))
        os.replace(temporary, self._file)


def reboot(root: str) -> None:
    """Do to a simulated host what a reboot does: only the cards stay.

    :param root: its folder; what it keeps beside its tree stays too.
    """
    kernel = SimulatedKernel(root)
    with kernel.locked() as profile:
        empty = _booted(profile)
        for name in os.listdir(kernel.root):
            if name != FOLDER:
                shutil.rmtree(os.path.join(kernel.root, name))
        builder.write_tree(empty, kernel.root)
        kernel.save(empty)


def _booted(profile: description.Profile) -> description.Profile:
    gpus = tuple(_booted_gpu(gpu) for gpu in profile.gpus)
    return dataclasses.replace(profile, gpus=gpus)


def _booted_gpu(gpu: description.GpuSpec) -> description.GpuSpec:
    vfs = tuple(
        dataclasses.replace(vf, mdevs=(), current_type=None, parameters=None)
        for vf in (*gpu.vfs, *gpu.hidden_vfs)
    )
    return dataclasses.replace(gpu, mdevs=(), vfs=(), hidden_vfs=vfs)


def _gpu_of(
    profile: description.Profile, address: str
) -> description.GpuSpec | None:
    return next((g for g in profile.gpus if g.address == address), None)


def _device_of(
    profile: description.Profile, address: str
) -> tuple[description.GpuSpec | None, description.DeviceSpec | None]:
    for gpu in profile.gpus:
        for device in gpu.devices:
            if device.address == address:
                return gpu, device
    return None, None


def _mdevs(
    profile: description.Profile,
) -> Iterator[description.MdevSpec]:
    for gpu in profile.gpus:
        for device in gpu.devices:
            yield from device.mdevs


def _add(
    device: description.DeviceSpec, mdev: description.MdevSpec
) -> description.DeviceSpec:
    return dataclasses.replace(device, mdevs=(*device.mdevs, mdev))


def _parameter_change(
    device: description.DeviceSpec, name: str, new: str | None
) -> _Change | None:
    if isinstance(device, description.VfSpec) and device.address == name:
        return lambda d: dataclasses.replace(d, parameters=new)
    if all(m.uuid != name for m in device.mdevs):
        return None
    mdevs = tuple(
        dataclasses.replace(m, parameters=new) if m.uuid == name else m
        for m in device.mdevs
    )
    return lambda d: dataclasses.replace(d, mdevs=mdevs)


def _with_device(
    gpu: description.GpuSpec, address: str, change: _Change
) -> description.GpuSpec:
    if gpu.address == address:
        changed = change(gpu)
        if not isinstance(changed, description.GpuSpec):
            raise TypeError(changed)
        return changed
    return dataclasses.replace(
        gpu,
        vfs=tuple(
            change(vf) if vf.address == address else vf for vf in gpu.vfs
        ),
    )


def _replaced(
    profile: description.Profile, changed: description.GpuSpec
) -> description.Profile:
    return dataclasses.replace(
        profile,
        gpus=tuple(
            changed if g.address == changed.address else g
            for g in profile.gpus
        ),
    )
