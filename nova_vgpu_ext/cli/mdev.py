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
"""``nova-vgpu mdev``: mediated devices."""

from __future__ import annotations

import argparse
import re
import uuid
from typing import Any

from nova_vgpu_ext import exception, models
from nova_vgpu_ext.cells import cells
from nova_vgpu_ext.cli.base import Command, Lister, ShowOne
from nova_vgpu_ext.cli.host_command import HostCommand
from nova_vgpu_ext.host import usage as host_usage
from nova_vgpu_ext.plan import mdevs, parameters, removal
from nova_vgpu_ext.plan.actions import HostPlan, SetParameters

_UUID = re.compile(
    r'[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}', re.ASCII
)
_MOST = 1024


class MdevList(Lister):
    """List the mediated devices of this host."""

    def take_action(self, parsed_args: argparse.Namespace) -> Any:
        """Read the host."""
        columns = ('uuid', 'type', 'product', 'gpu', 'guest', 'parameters')
        return columns, (
            cells(
                (
                    mdev.uuid,
                    mdev.type_id,
                    _product(device, mdev),
                    mdev.parent,
                    mdev.guest,
                    mdev.parameters,
                )
            )
            for device in self.app.host.observe().devices
            for mdev in device.mdevs
        )


class MdevShow(ShowOne):
    """Show one mediated device: where it is, and who uses it."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the UUID."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument('uuid', metavar='UUID', type=_uuid)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Any:
        """Read the host, and ask who uses the mdev."""
        snapshot = self.app.host.observe()
        device, mdev = mdevs.find_mdev(snapshot, parsed_args.uuid)
        usage = self.app.host.usage(snapshot)
        definition = usage.definition(mdev.uuid)
        name = f'{mdev.uuid}_{mdev.parent}'
        shown = {
            'uuid': mdev.uuid,
            'type': mdev.type_id,
            'product': _product(device, mdev),
            'gpu': mdev.parent,
            'libvirt_name': re.sub('[-:.]', '_', f'mdev_{name}'),
            'iommu_group': host_usage.iommu_group(
                self.app.host.sysfs_root, mdev.uuid
            ),
            'guest': mdev.guest,
            'domains': [d.name for d in usage.domains_of(mdev.uuid)],
            'processes': list(usage.holders.get(mdev.uuid, ())),
            'parameters': mdev.parameters,
            'persistent': definition is not None,
            'autostart': definition is not None and definition.autostart,
            'age_seconds': int(usage.ages.get(mdev.uuid, 0)),
        }
        return tuple(shown), cells(shown.values())


class MdevCreate(HostCommand):
    """Make mediated devices on one GPU.

    Prints one line for each. With --uuid the command can be given again: an
    mdev that is there as wanted is left as it is.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the options."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            '--gpu',
            metavar='ADDRESS',
            required=True,
            help='a GPU as gpu list shows it, whose virtual functions are '
            'used where it has them, or one virtual function',
        )
        parser.add_argument(
            '--type',
            metavar='TYPE',
            required=True,
            help='a type that type list shows, such as nvidia-194, or a '
            'product, such as V100DX-1Q',
        )
        parser.add_argument(
            '--uuid',
            metavar='UUID',
            type=_uuid,
            help='the UUID of the mdev (default: a new one)',
        )
        parser.add_argument(
            '--count',
            metavar='N',
            type=_count,
            default=1,
            help='how many (default: 1)',
        )
        parser.add_argument(
            '--persist',
            action='store_true',
            help='make them again at each boot, through mdevctl',
        )
        return parser

    def plan(self, parsed_args: argparse.Namespace) -> HostPlan:
        """Choose the places."""
        if parsed_args.uuid and parsed_args.count != 1:
            raise exception.Refused(
                [f'--uuid: found --count {parsed_args.count}, expected 1']
            )
        uuids = (
            [parsed_args.uuid] if parsed_args.uuid else self._new(parsed_args)
        )
        return mdevs.create(
            self.app.host.observe(),
            parsed_args.gpu,
            parsed_args.type,
            uuids,
            parsed_args.persist,
            self.app.host.definitions.read(),
        )

    def _new(self, parsed_args: argparse.Namespace) -> list[str]:
        return [str(uuid.uuid4()) for _ in range(parsed_args.count)]


class MdevRemove(HostCommand):
    """Remove mediated devices that nobody uses.

    An mdev that a domain names, a process holds open or Placement may count
    on is refused, with who uses it; then none is removed. A persistent
    definition goes as well; a copy is kept in [vgpu] state_path.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the UUIDs."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument('uuids', metavar='UUID', type=_uuid, nargs='+')
        return parser

    def plan(self, parsed_args: argparse.Namespace) -> HostPlan:
        """Ask who uses them."""
        snapshot = self.app.host.observe()
        usage = self.app.host.usage(snapshot, placement=True)
        return removal.remove(snapshot, usage, parsed_args.uuids)


class MdevClean(HostCommand):
    """Remove orphans: mediated devices that nobody uses any more.

    Nova makes mdevs and never removes one. An orphan is named by no domain,
    running or defined, and held by no process; it is older than the grace
    time, or of another type than its GPU is configured for. Where Placement
    has more allocated on a GPU than its domains account for, nothing of that
    GPU is removed.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the option."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            '--grace',
            metavar='SECONDS',
            type=_seconds,
            help='how old an orphan must be (default: [vgpu] orphan_grace, '
            'an hour)',
        )
        return parser

    def plan(self, parsed_args: argparse.Namespace) -> HostPlan:
        """Look for orphans."""
        return self.app.host.plan_clean(parsed_args.grace)


class MdevXml(Command):
    """Print what gives a guest mediated devices: libvirt's XML.

    Nothing else is on standard output, so that it can be piped to virsh
    attach-device.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the arguments."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument('uuids', metavar='UUID', type=_uuid, nargs='+')
        parser.add_argument(
            '--qemu',
            action='store_true',
            help="print QEMU's arguments instead",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Print an element, or two arguments, for each."""
        snapshot = self.app.host.observe()
        found = [mdevs.find_mdev(snapshot, name) for name in parsed_args.uuids]
        for device, mdev in found:
            vgpu_type = device.type(mdev.type_id or '')
            model = (vgpu_type and vgpu_type.device_api) or 'vfio-pci'
            text = _QEMU if parsed_args.qemu else _HOSTDEV
            self.app.stdout.write(text.format(uuid=mdev.uuid, model=model))
        return 0


_QEMU = '-device {model},sysfsdev=/sys/bus/mdev/devices/{uuid}\n'
_HOSTDEV = """\
<hostdev mode='subsystem' type='mdev' managed='no' model='{model}'>
  <source>
    <address uuid='{uuid}'/>
  </source>
</hostdev>
"""


class MdevParamsShow(ShowOne):
    """Show the plugin parameters of a mediated device."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the UUID."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument('uuid', metavar='UUID', type=_uuid)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Any:
        """Read the host."""
        _, mdev = mdevs.find_mdev(self.app.host.observe(), parsed_args.uuid)
        known = parameters.known_in(mdev.parameters)
        shown = {key: known.get(key) for key in parameters.KNOWN}
        return tuple(shown), cells(shown.values())


class MdevParamsSet(HostCommand):
    """Set plugin parameters of a mediated device.

    Others that are set stay. They take effect when a guest starts, and go
    when it ends, because the next guest may be somebody else's. With the
    libvirt hook, a guest of Nova gets those of its flavor (vgpu:...).
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the arguments."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument('uuid', metavar='UUID', type=_uuid)
        parser.add_argument(
            'pairs',
            metavar='KEY=VALUE',
            nargs='+',
            help='one of '
            + ', '.join(
                f'{k}={"|".join(v)}' for k, v in parameters.KNOWN.items()
            ),
        )
        return parser

    def plan(self, parsed_args: argparse.Namespace) -> HostPlan:
        """Add them to what is set."""
        new = parameters.parse(parsed_args.pairs)
        _, mdev = mdevs.find_mdev(self.app.host.observe(), parsed_args.uuid)
        _refuse_running(mdev)
        text = parameters.join({**parameters.known_in(mdev.parameters), **new})
        return _parameters(mdev, text)


class MdevParamsClear(HostCommand):
    """Clear the plugin parameters of a mediated device."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the arguments."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument('uuid', metavar='UUID', type=_uuid)
        parser.add_argument(
            'keys',
            metavar='KEY',
            nargs='*',
            type=_key,
            help='only these (default: all)',
        )
        return parser

    def plan(self, parsed_args: argparse.Namespace) -> HostPlan:
        """Take them out of what is set."""
        _, mdev = mdevs.find_mdev(self.app.host.observe(), parsed_args.uuid)
        _refuse_running(mdev)
        kept = {
            key: value
            for key, value in parameters.known_in(mdev.parameters).items()
            if parsed_args.keys and key not in parsed_args.keys
        }
        return _parameters(mdev, parameters.join(kept))


def _parameters(mdev: models.Mdev, text: str) -> HostPlan:
    if text == (mdev.parameters or ''):
        return HostPlan()
    return HostPlan((SetParameters(mdev.uuid, text),))


def _refuse_running(mdev: models.Mdev) -> None:
    if mdev.guest:
        raise exception.Refused(
            [
                f'mdev {mdev.uuid}: in use by guest {mdev.guest}; parameters '
                'are read when a guest starts, so stop it first'
            ]
        )


def _product(device: models.VgpuDevice, mdev: models.Mdev) -> str | None:
    vgpu_type = device.type(mdev.type_id) if mdev.type_id else None
    return vgpu_type.product if vgpu_type else None


def _uuid(text: str) -> str:
    """Parse a UUID as the kernel prints it."""
    if not _UUID.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f'found {text[:60]!r}, expected a UUID in lower case, such as '
            'd878445d-df99-4510-b467-c67a4c1a7c34'
        )
    return text


def _key(text: str) -> str:
    if text not in parameters.KNOWN:
        raise argparse.ArgumentTypeError(
            f'found {text[:60]!r}, expected one of '
            f'{", ".join(parameters.KNOWN)}'
        )
    return text


def _count(text: str) -> int:
    is_number = text.isascii() and text.isdigit() and len(text) < 10
    if not (is_number and 1 <= int(text) <= _MOST):
        raise argparse.ArgumentTypeError(
            f'found {text[:20]!r}, expected a number from 1 to {_MOST}'
        )
    return int(text)


def _seconds(text: str) -> float:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise argparse.ArgumentTypeError(
            f'found {text[:20]!r}, expected a whole number of seconds'
        )
    return float(text)
