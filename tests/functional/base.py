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
"""What the functional tests of reporting share."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import pathlib
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import fixtures

from nova_vgpu_ext import models
from nova_vgpu_ext.cli import main
from nova_vgpu_ext.conf import load
from nova_vgpu_ext.placement import access, client, reporter, tree
from nova_vgpu_ext.plan import report
from nova_vgpu_ext.sim import builder, profile
from tests import base
from tests.functional.fixtures import placement

NODE = 'gpu01.example.org'
TRAITS = frozenset({'CUSTOM_NVIDIA_194', 'CUSTOM_VGPU_SERIES_Q'})
OWNED = frozenset({'CUSTOM_NVIDIA_194', 'CUSTOM_NVIDIA_196'})


def gpu_name(number: int, node: str = NODE) -> str:
    """Name the provider of a GPU: all different, all on one domain."""
    return f'{node}_pci_0000_{1 + number // 8:02x}_00_{number % 8}'


def gpu(
    number: int,
    total: int = 32,
    resource_class: str = 'VGPU',
    traits: Iterable[str] = TRAITS,
    node: str = NODE,
) -> models.DesiredProvider:
    """Make what a GPU shall look like."""
    return models.DesiredProvider(
        name=gpu_name(number, node),
        resource_class=resource_class,
        inventory=models.InventoryRecord(total=total, max_unit=total),
        traits=frozenset(traits),
        owned_traits=OWNED,
    )


class Waits(fixtures.Fixture):
    """Lets retries follow each other at once; keeps what they would wait."""

    def _setUp(self) -> None:
        self.seconds: list[float] = []
        # tenacity sleeps through the module "time" of this module.
        self.useFixture(fixtures.MonkeyPatch('tenacity.nap.time', self))

    def sleep(self, seconds: float) -> None:
        """Stand in for time.sleep."""
        self.seconds.append(seconds)


class Process:
    """A process that reports: it knows only what it has read itself."""

    def __init__(
        self, config_file: str, node: str = NODE, readers: int = 1
    ) -> None:
        self.client = client.PlacementClient(
            access.from_conf(load.load([config_file]))
        )
        self.reporter = reporter.Reporter(
            self.client, tree.TreeReader(self.client, node, readers)
        )
        self.begun: list[report.Action] = []

    def run(
        self,
        desired: Sequence[models.DesiredProvider],
        held: tuple[str, ...] = (),
        on_action: Any = None,
    ) -> reporter.Result:
        """Report once."""

        def planner(seen: tree.Tree) -> Any:
            return desired, held

        def note(action: report.Action) -> None:
            self.begun.append(action)
            if on_action:
                on_action(action)

        return self.reporter.run(planner, note)


class PlacementTestCase(base.TestCase):
    """A test with a Placement that knows the compute node."""

    reshaper = True

    def setUp(self) -> None:
        super().setUp()
        self.waits = self.useFixture(Waits())
        self.server = self.useFixture(
            placement.PlacementServer(reshaper=self.reshaper)
        )
        self.addCleanup(self._check_server)
        self.server.create_provider(NODE)
        self.config_file = self.write_conf(self.server.config_text())

    def _check_server(self) -> None:
        self.assertEqual([], self.server.errors)

    def process(self, node: str = NODE, readers: int = 1) -> Process:
        """Start afresh, as a new process would."""
        return Process(self.config_file, node, readers)

    def state(self, node: str = NODE) -> dict[str, Any]:
        """Give all that Placement says of a tree, without generations."""
        return {
            name.replace(node, 'node', 1): (
                found.inventories,
                found.traits,
                found.usages,
            )
            for name, found in self.server.providers(node).items()
        }


class Outcome(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """The lines on standard error."""
        return self.err.splitlines()


class _Logging(fixtures.Fixture):
    """Undoes what a program does to the logging of its process."""

    def _setUp(self) -> None:
        root = logging.getLogger()
        self.addCleanup(setattr, root, 'handlers', root.handlers)
        root.handlers = []
        self.addCleanup(root.setLevel, root.level)
        # The services of a test log in the same process.
        for name, heard in (
            (base.PACKAGE, True),
            ('placement', False),
            ('keystonemiddleware', False),
        ):
            logger = logging.getLogger(name)
            self.addCleanup(setattr, logger, 'propagate', logger.propagate)
            logger.propagate = heard
        for name in main._QUIET_LIBRARIES:
            library = logging.getLogger(name)
            self.addCleanup(library.setLevel, library.level)


def run_cli(*arguments: str) -> Outcome:
    """Run the program in this process."""
    out, err = io.StringIO(), io.StringIO()
    with (
        _Logging(),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            code = main.main(arguments)
        except SystemExit as ended:
            code = int(ended.code or 0)
    return Outcome(code, out.getvalue(), err.getvalue())


class HostTestCase(base.TestCase):
    """A test with simulated hosts."""

    def host(self, name: str) -> str:
        """Make a simulated host; give its folder."""
        folder = str(self.temp_dir() / name)
        builder.build(profile.load(name), folder)
        return folder


def program() -> list[str]:
    """Give the command that starts the program in a process of its own."""
    return [
        sys.executable,
        '-c',
        'import sys; from nova_vgpu_ext.cli import main; '
        'sys.exit(main.main(sys.argv[1:]))',
    ]


def program_environment() -> dict[str, str]:
    """Let a child find the package and find no configuration."""
    return {
        **os.environ,
        'HOME': os.devnull,
        'PYTHONPATH': str(pathlib.Path(__file__).parents[2]),
    }
