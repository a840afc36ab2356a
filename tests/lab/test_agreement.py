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
"""The simulated trees, the kernel, libvirt, mdevctl and lspci agree.

For each host that the kernel module offers, the simulated tree of the same
profile has nothing that the kernel does not have, the project reads the same
of both, and its commands list what the system's own tools list.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import defusedxml.ElementTree
import testtools

from nova_vgpu_ext import models
from nova_vgpu_ext.sim import builder, description, profile
from tests.lab import base

#: The guest has no IOMMU, so only mdevs have groups, numbered from 0.
_GROUPS = ('iommu_group', 'kernel/iommu_groups')


def as_made(name: str) -> description.Profile:
    """Load a profile without what the module does not make.

    That is the functions that are no GPUs, and the guests.
    """
    loaded = profile.load(name)
    return dataclasses.replace(
        loaded,
        pci_devices=(),
        gpus=tuple(_without_guests(gpu) for gpu in loaded.gpus),
    )


def _without_guests(gpu: description.GpuSpec) -> description.GpuSpec:
    vfs = tuple(
        dataclasses.replace(vf, mdevs=_no_guests(vf.mdevs)) for vf in gpu.vfs
    )
    return dataclasses.replace(gpu, mdevs=_no_guests(gpu.mdevs), vfs=vfs)


def _no_guests(
    mdevs: tuple[description.MdevSpec, ...],
) -> tuple[description.MdevSpec, ...]:
    return tuple(dataclasses.replace(mdev, guest=None) for mdev in mdevs)


def making(host: description.Profile) -> Iterator[str]:
    """Give the shell lines that make the vGPUs of a profile."""
    for gpu in host.gpus:
        for device in gpu.devices:
            path = f'/sys/bus/pci/devices/{device.address}'
            for mdev in device.mdevs:
                types = f'{path}/mdev_supported_types/{mdev.type}'
                yield f'echo {mdev.uuid} >{types}/create'
                if mdev.parameters:
                    own = f'/sys/bus/mdev/devices/{mdev.uuid}/nvidia'
                    yield _write(mdev.parameters, f'{own}/vgpu_params')
            if isinstance(device, description.VfSpec) and device.current_type:
                own = f'{path}/nvidia'
                yield _write(device.current_type, f'{own}/current_vgpu_type')
                yield _write(device.parameters or ' ', f'{own}/vgpu_params')


def _write(text: str, path: str) -> str:
    return f'echo {shlex.quote(text)} >{path}'


def files(root: pathlib.Path) -> dict[str, object]:
    """Describe a tree as ``inside/files.py`` expects it."""
    found: dict[str, object] = {}
    for folder, folders, names in os.walk(root):
        for name in (*folders, *names):
            path = pathlib.Path(folder, name)
            key = str(path.relative_to(root))
            if any(group in key for group in _GROUPS):
                continue
            if path.is_symlink():
                found[key] = [os.path.basename(os.path.realpath(path))]
            else:
                found[key] = (
                    None if path.is_dir() else path.read_text().strip()
                )
    return found


class AgreementMixin:
    """The checks for one profile."""

    profile: str
    #: The files of the GPUs at these addresses are compared one by one.
    addresses = re.compile(r'.*')

    def test_all_agree(self) -> None:
        """Simulation, kernel and tools say the same of one host."""
        self.host = as_made(self.profile)
        lines = ['set -e', *making(self.host), 'udevadm settle']
        # libvirt loses track of so many devices that come and go at once.
        lines.append('systemctl restart libvirtd')
        self.guest.run('\n'.join(lines))
        self.tree = self.temp_dir() / 'sys'
        builder.build(self.host, str(self.tree))
        self.check_files()
        self.check_snapshot()
        self.check_gpus()
        self.check_types(self.node_devices('mdev_types'))
        self.check_mdevs(self.node_devices('mdev'))

    def check_files(self) -> None:
        """Every file, folder and link of the simulation is in the kernel."""
        expected = {
            path: value
            for path, value in files(self.tree).items()
            if not path.startswith('devices/pci')
            or self.addresses.match(path.split('/')[1])
        }
        self.assertEqual(
            [], self.guest.inside('files', stdin=json.dumps(expected))
        )

    def check_snapshot(self) -> None:
        """What is read of the kernel is what is read of the simulation."""
        program = base.INSIDE / 'observed.py'
        simulated = subprocess.run(  # noqa: S603
            [sys.executable, str(program), str(self.tree)],
            capture_output=True,
            check=True,
        )
        self.assertEqual(
            json.loads(simulated.stdout), self.guest.inside('observed', '/sys')
        )

    def check_gpus(self) -> None:
        """The GPUs are those of lspci."""
        listed = self.guest.json('nova-vgpu gpu list -f json')
        ours = sorted(
            (gpu['address'], f'{gpu["vendor_id"]}:{gpu["device_id"]}')
            for gpu in listed
        )
        cards = {gpu.address for gpu in self.host.gpus}
        shown = self.guest.run('lspci -Dn -d 10de:').splitlines()
        words = [line.split() for line in shown]
        self.assertEqual(
            ours, sorted((w[0], w[2]) for w in words if w[0] in cards)
        )
        functions = sum(1 + len(gpu.vfs) for gpu in self.host.gpus)
        self.assertEqual(functions, len(shown))

    def node_devices(self, capability: str) -> list[Any]:
        """Read libvirt's node devices with a capability."""
        return [
            defusedxml.ElementTree.fromstring(text)
            for text in self.guest.inside('node_devices', capability)
        ]

    def check_types(self, nodes: list[Any]) -> None:
        """The types are those of libvirt and of mdevctl."""
        ours = {
            row['type']: (row['name'], row['available'])
            for row in self.guest.json('nova-vgpu type list -f json')
        }
        sums: dict[str, tuple[str, int]] = {}
        for node in nodes:
            for found in node.iterfind('.//type'):
                count = sums.get(found.get('id'), ('', 0))[1]
                count += int(found.findtext('availableInstances'))
                sums[found.get('id')] = (found.findtext('name'), count)
        vendor = {
            t.id
            for gpu in self.host.gpus
            if gpu.framework is models.Framework.VENDOR_VFIO
            for vf in gpu.vfs
            for t in vf.types
        }
        mdev_types = {k: v for k, v in ours.items() if k not in vendor}
        self.assertEqual(sums, mdev_types)
        told: dict[str, tuple[str, int]] = {}
        for parents in self.guest.json('mdevctl types --dumpjson') or []:
            for types in parents.values():
                for one in types:
                    for type_id, values in one.items():
                        count = told.get(type_id, ('', 0))[1]
                        count += values['available_instances']
                        told[type_id] = (values['name'], count)
        self.assertEqual(told, mdev_types)

    def check_mdevs(self, nodes: list[Any]) -> None:
        """The mediated devices are those of libvirt and of mdevctl."""
        ours = {
            (row['uuid'], row['type'], row['gpu'])
            for row in self.guest.json('nova-vgpu mdev list -f json')
        }
        self.assertEqual(
            {
                (
                    node.findtext('.//uuid'),
                    node.find('.//type').get('id'),
                    node.findtext('path').split('/')[-2],
                )
                for node in nodes
            },
            ours,
        )
        self.assertEqual(
            {
                (mdev_uuid, values['mdev_type'], parent)
                for parents in self.guest.json('mdevctl list --dumpjson')
                for parent, mdevs in parents.items()
                for mdev in mdevs
                for mdev_uuid, values in mdev.items()
            },
            ours,
        )


class ReferenceHostTest(AgreementMixin, base.LabTestCase):
    """Eight V100."""

    profile = 'v100x8'


class BusyHostTest(AgreementMixin, base.LabTestCase):
    """Eight V100 with vGPUs."""

    profile = 'v100x8-busy'


class SriovHostTest(AgreementMixin, base.LabTestCase):
    """One A40 with its virtual functions."""

    profile = 'a40-sriov'


class VendorVfioHostTest(AgreementMixin, base.LabTestCase):
    """One L40S, which has no mediated devices."""

    profile = 'l40s-vendor-vfio'


class MixedHostTest(AgreementMixin, base.LabTestCase):
    """All of them, and a GPU without its driver."""

    profile = 'mixed'


class LargeHostTest(AgreementMixin, base.LabTestCase):
    """512 virtual functions."""

    profile = 'large'
    addresses = re.compile(r'pci0000:1a|0000:1a')


class OfferedHostsTest(testtools.TestCase):
    """That no host of the module is left out."""

    def test_each_host_is_tried(self) -> None:
        """Every profile with PCI devices has a class above."""
        tried = {c.profile for c in AgreementMixin.__subclasses__()}
        offered = set(profile.names()) - {'mtty'}
        self.assertEqual(offered, tried)
