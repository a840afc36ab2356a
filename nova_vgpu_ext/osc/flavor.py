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
"""``openstack vgpu flavor ...``: flavors that ask for vGPUs."""

from __future__ import annotations

import argparse
import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

from nova_vgpu_ext import exception
from nova_vgpu_ext.cells import cells
from nova_vgpu_ext.models import Flavor, Severity
from nova_vgpu_ext.osc import base, flavor_lookup, flavor_options
from nova_vgpu_ext.osc.flavor_writer import Change, FlavorWriter
from nova_vgpu_ext.osc.places import Places
from nova_vgpu_ext.plan import gpus
from nova_vgpu_ext.plan.flavors import check, offers, request, specs, words
from nova_vgpu_ext.plan.flavors.specs import Wish


class _WritingCommand(base.Command):
    """A command that writes flavors."""

    _shown = False

    @functools.cached_property
    def places(self) -> Places:
        """The hosts of the cloud."""
        return Places(self.cloud)

    def writer(self, parsed_args: argparse.Namespace) -> FlavorWriter:
        """Give what writes, or only says so."""
        compute = None if parsed_args.dry_run else self.cloud.compute
        return FlavorWriter(compute, self._show)

    def note(self, line: str) -> None:
        """Tell something beside what is written."""
        self.app.stderr.write(f'{line}\n')

    def conclude(self, flavor: Flavor) -> None:
        """Say if there was nothing to do, and where the flavor has room."""
        if not self._shown:
            self.note(f'{flavor.name} is as it shall be: nothing to do')
        for line in self.places.verdict(flavor):
            self.note(line)

    def _show(self, line: str) -> None:
        self._shown = True
        self.app.stdout.write(f'{line}\n')
        self.app.stdout.flush()


class FlavorCreate(_WritingCommand):
    """Create a flavor whose servers get vGPUs.

    One vGPU is asked for in the plain form, resources:VGPU=1, with the trait
    of the type. Several get a group each. PCI devices (vendor-specific VFIO)
    are asked for by alias; "nova-vgpu config pci" prints the alias that
    nova-api and nova-compute need.

    The flavor is made as a whole or not at all. Where one of that name is
    there with these values, nothing is done. At the end stands where the
    flavor has room now, or why no host can ever serve it; that is no error.

    Examples:

      openstack vgpu flavor create vgpu_1 --type nvidia-194 --ram 4096
          --vcpus 2 --disk 20
      openstack vgpu flavor create big --type V100DX-32Q --count 2
          --ram 65536 --vcpus 16 --disk 100 --param frame_rate_limiter=0
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the options."""
        parser = super().get_parser(prog_name)
        parser.add_argument('name', metavar='<name>', help='of the flavor')
        flavor_options.add_vgpus(parser, is_new=True)
        flavor_options.add_size(parser)
        flavor_options.add_dry_run(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Create it, unless it is there."""
        given = flavor_options.parameters(parsed_args.param)
        offer = self.places.find(parsed_args.type)
        wish = offer.wish(parsed_args.count or 1, parsed_args.isolate)
        wanted = _sized(
            parsed_args, parsed_args.name, specs.write(wish) | given
        )
        known = flavor_lookup.by_name(
            self.cloud.compute.flavors(), wanted.name
        )
        if known is None:
            try:
                self.writer(parsed_args).create(wanted)
            except exception.ComputeConflict:
                known = flavor_lookup.by_name(
                    self.cloud.compute.flavors(), wanted.name
                )
                if known is None:
                    raise
        if known is not None:
            flavor_lookup.require_same(known, wanted, wish, given)
        self.conclude(known or wanted)
        if wish.alias is not None:
            self.note(
                f'nova-api and nova-compute need the PCI alias {wish.alias}: '
                'nova-vgpu config pci prints it'
            )


class FlavorSet(_WritingCommand):
    """Change what vGPUs a flavor asks for.

    What is not given stays as it is: its size, its other extra specs, and of
    its vGPUs type, number and policy. Whatever else in it asks for vGPUs, or
    was meant to, is removed. Servers keep the extra specs that their flavor
    had when they were created or last resized.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the options."""
        parser = super().get_parser(prog_name)
        _add_flavor(parser)
        flavor_options.add_vgpus(parser, is_new=False)
        flavor_options.add_dry_run(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Replace its wish by another."""
        given = flavor_options.parameters(parsed_args.param)
        asked = (parsed_args.type, parsed_args.count, parsed_args.isolate)
        if asked == (None, None, None) and not given:
            raise exception.Refused(
                ['nothing to set: give --type, --count, --isolate or --param']
            )
        flavor = flavor_lookup.find(
            self.cloud.compute.flavors(), parsed_args.flavor
        )
        classes = self.places.classes_in(flavor.extra_specs)
        wish = self._wish(flavor, parsed_args, classes)
        change = Change(
            flavor, specs.replace(flavor.extra_specs, wish, classes) | given
        )
        self.writer(parsed_args).change(change)
        if change:
            self.note(
                f'servers of {flavor.name} keep what they have until they '
                'are resized'
            )
        self.conclude(
            dataclasses.replace(flavor, extra_specs=change.extra_specs)
        )

    def _wish(
        self,
        flavor: Flavor,
        parsed_args: argparse.Namespace,
        classes: frozenset[str],
    ) -> Wish:
        """Put together what is given and what there is."""
        before = specs.read(flavor.extra_specs, classes)
        count, isolate = parsed_args.count, parsed_args.isolate
        if before is not None:
            count = count or before.count
            if isolate is None and before.count > 1:
                isolate = before.isolate
        if parsed_args.type is not None:
            offer = self.places.find(parsed_args.type)
            if before is not None and offer.is_pci != bool(before.alias):
                isolate = parsed_args.isolate
            return offer.wish(count or 1, isolate)
        if before is None:
            raise exception.Refused(
                [
                    f'{flavor.name} asks for no vGPUs, or for some that '
                    'differ; give --type'
                ]
            )
        if isolate is None:
            isolate = before.alias is None
        return dataclasses.replace(
            before, count=count, isolate=isolate and count > 1
        )


class FlavorShow(base.ShowOne):
    """Show what vGPUs a flavor asks for, and where it has room now.

    hosts tells how many servers of the flavor each host has room for, if
    none of another flavor comes; fits is the sum. problems are what "openstack
    vgpu flavor check" finds.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the flavor."""
        parser = super().get_parser(prog_name)
        _add_flavor(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Any:
        """Read it, and ask Placement."""
        places = Places(self.cloud)
        flavor = flavor_lookup.find(
            self.cloud.compute.flavors(), parsed_args.flavor
        )
        classes = places.classes_in(flavor.extra_specs)
        groups = request.vgpu_groups(flavor.extra_specs, classes)
        hosts: dict[str, int] = {}
        problems = []
        if check.is_about_vgpus(flavor, classes):
            found = places.now(flavor)
            hosts = places.guests(flavor, found)
            problems = places.problems(flavor, found)
        fields = {
            'name': flavor.name,
            'id': flavor.id,
            'vcpus': flavor.vcpus,
            'ram_mib': flavor.ram,
            'disk_gib': flavor.disk,
            'public': flavor.is_public,
            'asks_for': words.describe(flavor.extra_specs, classes),
            'vgpus': sum(sum(g.resources.values()) for g in groups),
            'classes': sorted({n for g in groups for n in g.resources}),
            'traits': sorted({t for g in groups for t in g.required}),
            'parameters': flavor_options.parameters_in(flavor.extra_specs),
            'hosts': hosts,
            'fits': sum(hosts.values()),
            'problems': [str(problem) for problem in problems],
        }
        return tuple(fields), cells(fields.values())


class FlavorCheck(base.Lister):
    """Find flavors that never fit, or that start servers without a GPU.

    Looks at every flavor that asks for vGPUs, or was meant to, in any
    spelling. One row for each fault, in the order of the flavors' names. What
    has no room now but would on empty hosts is no fault.

    The exit code is 1 if there is an error, and 0 with warnings or nothing.
    """

    _code = 0

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the flavor."""
        parser = super().get_parser(prog_name)
        _add_flavor(parser, is_optional=True)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Any:
        """Check one flavor, or all."""
        flavors = sorted(self.cloud.compute.flavors(), key=lambda f: f.name)
        if parsed_args.flavor is not None:
            flavors = [flavor_lookup.find(flavors, parsed_args.flavor)]
        shapes = Places(self.cloud).shapes
        found = [(f, p) for f in flavors for p in check.check(f, shapes)]
        if any(p.severity is not Severity.WARNING for _, p in found):
            self._code = 1
        columns = ('flavor', 'severity', 'key', 'found', 'expected', 'remedy')
        return columns, (
            (f.name, p.severity.value, p.option, p.found, p.expected, p.remedy)
            for f, p in found
        )

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Exit with what the check says."""
        code: int = super().run(parsed_args)
        return code or self._code


class FlavorSync(_WritingCommand):
    """Have one flavor for each vGPU type that the cloud offers.

    A flavor is named by the prefix and the product (vgpu-v100dx-1q), and asks
    for one vGPU. Those that are missing are created with the size that is
    given; those that are there keep their size, and get the right extra
    specs. A flavor of that name that asks for no vGPU at all is left alone.

    The exit code is 1 if a type could not be served.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the options."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--prefix',
            metavar='<prefix>',
            default='vgpu-',
            help='of the names (default: vgpu-)',
        )
        flavor_options.add_size(parser)
        flavor_options.add_vgpus(parser, is_new=True, of_one=True)
        flavor_options.add_dry_run(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Create and change what differs."""
        given = flavor_options.parameters(parsed_args.param)
        known = {f.name: f for f in self.cloud.compute.flavors()}
        writer = self.writer(parsed_args)
        code = 0
        names = set()
        for text in sorted({offer.name for offer in self.places.offers}):
            name = parsed_args.prefix + text.lower()
            names.add(name)
            try:
                wish = self._wish(text)
                if name in known:
                    change = self._change(known[name], wish, given)
                    writer.change(change)
                else:
                    found = specs.write(wish) | given
                    writer.create(_sized(parsed_args, name, found))
            except (exception.Refused, exception.ComputeConflict) as error:
                self.note(f'{name}: {error}')
                code = 1
        self._tell_stale(known, names, parsed_args.prefix)
        if not self._shown and not code:
            self.note('nothing to do')
        return code

    def _wish(self, text: str) -> Wish:
        if text == gpus.VGPU:
            raise exception.Refused(
                [
                    'there are GPUs that have no trait of their type; run '
                    'nova-vgpu report on their hosts'
                ]
            )
        return offers.find(text, self.places.offers).wish(1, None)

    def _change(
        self, flavor: Flavor, wish: Wish, given: Mapping[str, str]
    ) -> Change:
        classes = self.places.classes
        if not check.is_about_vgpus(flavor, classes):
            raise exception.Refused(
                [
                    'there is such a flavor, which asks for no vGPU; delete '
                    'it, or take another --prefix'
                ]
            )
        return Change(
            flavor,
            specs.replace(flavor.extra_specs, wish, classes) | dict(given),
        )

    def _tell_stale(
        self, known: Mapping[str, Flavor], names: set[str], prefix: str
    ) -> None:
        for name, flavor in sorted(known.items()):
            if (
                name not in names
                and name.startswith(prefix)
                and request.vgpu_groups(
                    flavor.extra_specs, self.places.classes
                )
            ):
                self.note(
                    f'{name} is none of these: no host offers such a type now'
                )


def _add_flavor(
    parser: argparse.ArgumentParser, is_optional: bool = False
) -> None:
    parser.add_argument(
        'flavor',
        metavar='<flavor>',
        nargs='?' if is_optional else None,
        help='its name or ID' + (' (default: all)' * is_optional),
    )


def _sized(
    parsed_args: argparse.Namespace, name: str, extra_specs: Mapping[str, str]
) -> Flavor:
    return Flavor(
        id='',
        name=name,
        vcpus=parsed_args.vcpus,
        ram=parsed_args.ram,
        disk=parsed_args.disk,
        is_public=parsed_args.public,
        extra_specs=extra_specs,
    )
