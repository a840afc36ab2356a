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
"""The command line of tools/cloud."""

from __future__ import annotations

import argparse
import pathlib
import re
import signal
import sys
import time
from collections.abc import Sequence

from nova_vgpu_ext import exception
from tools.minicloud import CloudError, cloud
from tools.minicloud.settings import Compute

_FOLDER = pathlib.Path(__file__).parents[2] / '.cloud'
#: As systemctl's status has it for a service that does not run.
_NOT_RUNNING = 3

_DESCRIPTION = """\
A whole small OpenStack on this machine: Keystone, Placement, Glance and Nova
from their wheels, with MariaDB and RabbitMQ, on the loopback only. Its compute
nodes run Nova's real libvirt driver on simulated GPU hosts.

  tools/cloud up
  tools/cloud run openstack vgpu gpu list
  tools/cloud run openstack server create --flavor vgpu_1 --image tiny \\
      --nic none --wait first
  tools/cloud down
"""
_EPILOG = """\
Everything lives in .cloud in the checkout, passwords and ports included; down
leaves nothing of it. The hosts gpu01 and gpu02 have eight V100 each, cpu01 has
none. Debian packages that are missing are named.
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='tools/cloud',
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--name',
        default='cloud',
        type=_name,
        help='which cloud, where there are several (default: %(default)s)',
    )
    commands = parser.add_subparsers(
        dest='command', required=True, metavar='COMMAND'
    )
    up = commands.add_parser('up', help='bring the cloud up')
    up.add_argument(
        '--nova-conf',
        action='append',
        default=[],
        metavar='FILE',
        type=_file,
        help='one more configuration file of nova-api, scheduler and '
        'conductor; may be repeated',
    )
    up.add_argument(
        '--lab',
        action='store_true',
        help='with a compute node lab01 in the virtual machine of tools/lab: '
        'real libvirt, QEMU and mediated devices of the kernel',
    )
    run = commands.add_parser(
        'run',
        help="run a command with the administrator's credentials",
        description='Runs a command with the credentials of the '
        'administrator in its environment, and openstack on its PATH. Output '
        'and exit status are its own.',
    )
    run.add_argument(
        'line', nargs=argparse.REMAINDER, metavar='COMMAND', help='what to run'
    )
    commands.add_parser('down', help='end the cloud and forget it')
    commands.add_parser(
        'status',
        help=f'say what runs; exit status {_NOT_RUNNING} if not all does',
    )
    return parser


def _name(text: str) -> str:
    if not re.fullmatch('[a-z0-9]{1,16}', text):
        raise argparse.ArgumentTypeError(
            f'found {text!r}, expected up to 16 small letters and digits'
        )
    return text


def _file(text: str) -> str:
    path = pathlib.Path(text).resolve()
    if not path.is_file():
        raise argparse.ArgumentTypeError(f'there is no file {text!r}')
    return str(path)


def _up(found: cloud.Cloud, nova_conf: Sequence[str], in_lab: bool) -> int:
    began = time.monotonic()

    def progress(text: str) -> None:
        print(f'{time.monotonic() - began:5.0f} s  {text}', file=sys.stderr)

    if not found.up(
        nova_conf=tuple(nova_conf), progress=progress, in_lab=in_lab
    ):
        print('The cloud is up already.', file=sys.stderr)
        return 0
    names = ', '.join(_describe(c) for c in found.settings.computes)
    print(
        f'The cloud is up after {time.monotonic() - began:.0f} s: {names}',
        file=sys.stderr,
    )
    return 0


def _describe(compute: Compute) -> str:
    return f'{compute.name} ({compute.profile or "no GPU"})'


def _status(found: cloud.Cloud) -> int:
    state = found.state()
    for name, runs in state.items():
        print(f'{name}: {"runs" if runs else "has ended"}')
    if found.is_up:
        print(f'Keystone: {found.settings.url("keystone")}')
        print(f'Logs: {found.settings.log}')
        return 0
    print('The cloud is not up.')
    return _NOT_RUNNING


def _run(arguments: argparse.Namespace) -> int:
    found = cloud.Cloud(_FOLDER / arguments.name)
    if arguments.command == 'run':
        line = arguments.line[arguments.line[:1] == ['--'] :]
        if not line:
            raise CloudError('Say what to run: tools/cloud run openstack ...')
        return found.run(line)
    if arguments.command == 'status':
        return _status(found)
    with found.locked():
        if arguments.command == 'up':
            return _up(found, arguments.nova_conf, arguments.lab)
        if not found.down():
            print('There is no cloud.', file=sys.stderr)
        return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    :param arguments: instead of those of the process.
    :returns: the exit status.
    """
    # Asked to end, it ends what it has begun.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        return _run(_parser().parse_args(arguments))
    except (CloudError, exception.VgpuError, OSError) as error:
        print(f'tools/cloud: {error}', file=sys.stderr)
    except KeyboardInterrupt:
        return 130
    return 1


if __name__ == '__main__':
    sys.exit(main())
