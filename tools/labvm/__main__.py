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
"""The command line of tools/lab."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence

from tools.labvm import LabError, images, machine

_FOLDER = images.ROOT / '.lab'
_PROFILES = images.ROOT / 'nova_vgpu_ext/sim/profiles'
_DEFAULTS = machine.Settings()
#: As systemctl's status has it for a service that does not run.
_NOT_RUNNING = 3

_DESCRIPTION = """\
A GPU host without a GPU: a Debian guest with a real kernel, libvirt and QEMU,
and a kernel module that makes PCI devices which look like NVIDIA's GPUs.

  tools/lab start                          the reference host: eight V100
  tools/lab run 'nova-vgpu gpu list'       a shell line, as root in the guest
  tools/lab start --profile a40-sriov      another host
  tools/lab copy nova.conf guest:/etc/nova/
  tools/lab stop
"""
_EPILOG = """\
Everything lives in .lab in the checkout. The first start builds the guest's
disks, which takes some minutes and needs Debian packages that are named when
they are missing; later ones begin at once. No root is needed where user
namespaces are allowed.
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='tools/lab',
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--name',
        default='lab',
        type=_name,
        help='which guest, where there are several (default: %(default)s)',
    )
    commands = parser.add_subparsers(
        dest='command', required=True, metavar='COMMAND'
    )
    build = commands.add_parser(
        'build', help='build the disks, which start does as well'
    )
    build.add_argument(
        '--release',
        action='append',
        choices=sorted(images.RELEASES),
        help=f'which Debian, may be repeated (default: {_DEFAULTS.release})',
    )
    _add_start(commands.add_parser('start', help='start the guest'))
    run = commands.add_parser(
        'run',
        help='run a shell line as root in the guest',
        description='Runs a shell line as root in the guest. Output, errors '
        'and exit status are those of the line.',
    )
    run.add_argument(
        'line', nargs=argparse.REMAINDER, metavar='LINE', help='as in sh -c'
    )
    commands.add_parser('shell', help='open a shell in the guest')
    copy = commands.add_parser(
        'copy',
        help='copy files into the guest and out of it',
        description='Copies files and folders as scp does. A path in the '
        'guest begins with guest:, as in tools/lab copy guest:/etc/fstab .',
    )
    copy.add_argument('source', nargs='+', metavar='SOURCE')
    copy.add_argument('target', metavar='TARGET')
    reboot = commands.add_parser(
        'reboot', help='boot the guest again, from the same disk'
    )
    reboot.add_argument(
        '--crash',
        action='store_true',
        help='as after a power failure, without a shutdown',
    )
    commands.add_parser('stop', help='end the guest and forget its disk')
    commands.add_parser(
        'status',
        help=f'say what runs; exit status {_NOT_RUNNING} if nothing does',
    )
    commands.add_parser('clean', help='stop every guest and remove .lab')
    return parser


def _add_start(start: argparse.ArgumentParser) -> None:
    start.description = (
        'Starts the guest with a new disk and waits until it is ready.'
    )
    start.add_argument(
        '--profile',
        default=_DEFAULTS.profile,
        choices=_profiles(),
        help='the host to be, one of %(choices)s (default: %(default)s)',
        metavar='PROFILE',
    )
    start.add_argument(
        '--release',
        default=_DEFAULTS.release,
        choices=sorted(images.RELEASES),
        help='which Debian; debian-12 has Linux 6.1, libvirt 9.0 and QEMU '
        '7.2, its backports 6.12, 11.3 and 10.0 (default: %(default)s)',
    )
    start.add_argument(
        '--memory',
        default=_DEFAULTS.memory,
        type=_memory,
        metavar='MIB',
        help='default: %(default)s',
    )
    start.add_argument(
        '--forward',
        action='append',
        default=[],
        type=_port,
        metavar='PORT',
        help="in the guest, 127.0.0.1:PORT is this machine's; may be repeated",
    )
    start.add_argument(
        '--no-vfs',
        dest='vfs',
        action='store_false',
        help='leave the virtual functions to sriov-manage in the guest',
    )
    start.add_argument(
        '--module',
        action='append',
        default=[],
        type=_setting,
        metavar='NAME=VALUE',
        help='a parameter of the kernel module vgpu_sim; may be repeated',
    )


def _profiles() -> list[str]:
    names = (path.stem for path in _PROFILES.glob('*.yaml'))
    # The kernel's own sample driver is no PCI device.
    return sorted(name for name in names if name != 'mtty')


def _name(text: str) -> str:
    if not re.fullmatch(r'[a-z0-9][a-z0-9-]{0,30}', text):
        raise argparse.ArgumentTypeError(
            f'{text!r}; expected lower case letters, digits and -'
        )
    return text


def _number(text: str, least: int, most: int) -> int:
    if not re.fullmatch(r'[0-9]{1,7}', text) or not least <= int(text) <= most:
        raise argparse.ArgumentTypeError(
            f'{text!r}; expected a number from {least} to {most}'
        )
    return int(text)


def _port(text: str) -> int:
    return _number(text, 1, 65535)


def _memory(text: str) -> int:
    return _number(text, 768, 1 << 20)


def _setting(text: str) -> str:
    if not re.fullmatch(r'[a-z_]+=[A-Za-z0-9@:/.,-]+', text):
        raise argparse.ArgumentTypeError(
            f'{text!r}; expected one as create_delay_ms=500'
        )
    return text


def _start(lab: machine.Machine, arguments: argparse.Namespace) -> int:
    settings = machine.Settings(
        release=arguments.release,
        profile=arguments.profile,
        memory=arguments.memory,
        forward=tuple(arguments.forward),
        vfs=arguments.vfs,
        module=tuple(arguments.module),
    )
    began = time.monotonic()
    if not lab.start(settings):
        print('The guest runs already.', file=sys.stderr)
        return 0
    print(
        f'The guest is ready after {time.monotonic() - began:.0f} s: '
        f'{machine.describe(settings)}',
        file=sys.stderr,
    )
    return 0


def _status(lab: machine.Machine) -> int:
    found = lab.running()
    if found is None:
        print('The guest does not run.')
        return _NOT_RUNNING
    print(
        f'The guest runs: {machine.describe(found.settings)}\n'
        f'QEMU: process {found.pid}, {found.accelerator}\n'
        f'SSH: ssh -F {lab.ssh.config} guest\n'
        f'Console: {lab.console}'
    )
    return 0


def _clean(builder: images.Builder) -> int:
    for folder in sorted((builder.folder / 'machines').glob('*')):
        machine.Machine(folder, builder).stop()
    shutil.rmtree(builder.folder, ignore_errors=True)
    return 0


def _run(arguments: argparse.Namespace) -> int:
    builder = images.Builder(_FOLDER)
    lab = machine.Machine(_FOLDER / 'machines' / arguments.name, builder)
    command = arguments.command
    if command == 'build':
        builder.build_all(arguments.release or [_DEFAULTS.release])
        return 0
    if command == 'start':
        return _start(lab, arguments)
    if command == 'run':
        return lab.attach(' '.join(arguments.line))
    if command == 'shell':
        return lab.attach()
    if command == 'copy':
        return lab.copy(arguments.source, arguments.target)
    if command == 'reboot':
        lab.reboot(crash=arguments.crash)
        return 0
    if command == 'stop':
        if not lab.stop():
            print('The guest does not run.', file=sys.stderr)
        return 0
    if command == 'status':
        return _status(lab)
    return _clean(builder)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    :param arguments: instead of those of the process.
    :returns: the exit status.
    """
    try:
        return _run(_parser().parse_args(arguments))
    except LabError as error:
        print(f'tools/lab: {error}', file=sys.stderr)
    except (OSError, subprocess.SubprocessError) as error:
        print(f'tools/lab: {error}', file=sys.stderr)
    except KeyboardInterrupt:
        return 130
    return 1


if __name__ == '__main__':
    sys.exit(main())
