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
"""The options of ``openstack vgpu flavor ...``."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping

from nova_vgpu_ext.plan import parameters as plugin_parameters
from nova_vgpu_ext.plan.flavors import request

#: vGPUs of one guest: more than libvirt, QEMU or NVIDIA's driver take.
_MOST = 64


def number(low: int, high: int = 2**31 - 1) -> Callable[[str], int]:
    """Make a type of numbers; 2**31 - 1 is Nova's own limit."""

    def read(text: str) -> int:
        value = int(text) if text.isascii() and text.isdigit() else -1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(
                f'found {text[:60]!r}, expected a number from {low} to {high}'
            )
        return value

    return read


def add_vgpus(
    parser: argparse.ArgumentParser, is_new: bool, of_one: bool = False
) -> None:
    """Add what a flavor asks for.

    :param is_new: whether it must say all of it.
    :param of_one: whether it asks for one vGPU of a type that is given in
        another way.
    """
    if not of_one:
        parser.add_argument(
            '--type',
            metavar='<type>',
            required=is_new,
            help='what to ask for: a type (nvidia-194), a product '
            '(V100DX-1Q, L40S-12Q) or a resource class '
            '(VGPU, CUSTOM_NVIDIA_L40S_12Q)',
        )
        parser.add_argument(
            '--count',
            metavar='<number>',
            type=number(1, _MOST),
            help='vGPUs for each server' + (' (default: 1)' * is_new),
        )
        policy = parser.add_mutually_exclusive_group()
        policy.add_argument(
            '--isolate',
            action='store_true',
            default=None,
            help='several vGPUs of a server come from different GPUs, or '
            'different VFs of one; the default, and needed without SR-IOV. '
            'For PCI devices (vendor-specific VFIO): from different cards, '
            'and not the default',
        )
        policy.add_argument(
            '--no-isolate',
            dest='isolate',
            action='store_false',
            default=None,
            help='they may come from one GPU',
        )
    parser.add_argument(
        '--param',
        metavar='<key>=<value>',
        action='append',
        default=[],
        help='a plugin parameter, which the libvirt hook sets: '
        f'{", ".join(plugin_parameters.KNOWN)}; may be repeated',
    )


def add_size(parser: argparse.ArgumentParser) -> None:
    """Add what a flavor has beside vGPUs."""
    for name, metavar, low, text in (
        ('ram', '<mib>', 1, 'memory in MiB'),
        ('vcpus', '<number>', 1, 'virtual processors'),
        ('disk', '<gib>', 0, "root disk in GiB; 0 for the image's own size"),
    ):
        parser.add_argument(
            f'--{name}',
            metavar=metavar,
            type=number(low),
            required=True,
            help=text,
        )
    access = parser.add_mutually_exclusive_group()
    access.add_argument(
        '--public',
        action='store_true',
        default=True,
        help='every project may use it (default)',
    )
    access.add_argument(
        '--private',
        dest='public',
        action='store_false',
        help='only projects that are given access may use it',
    )


def add_dry_run(parser: argparse.ArgumentParser) -> None:
    """Add what every command that writes has."""
    parser.add_argument(
        '--dry-run',
        action='store_true',
        help='print what would be written, and write nothing',
    )


def parameters(pairs: Iterable[str]) -> dict[str, str]:
    """Read what ``--param`` gives, as extra specs.

    :raises ParameterRefused: a key or value is not known.
    """
    found = plugin_parameters.parse(pairs)
    return {f'{request.PARAMETER}{k}': v for k, v in found.items()}


def parameters_in(extra_specs: Mapping[str, str]) -> dict[str, str]:
    """Read what extra specs say to this project alone, by key."""
    return {
        key.removeprefix(request.PARAMETER): value
        for key, value in sorted(extra_specs.items())
        if key.startswith(request.PARAMETER)
    }
