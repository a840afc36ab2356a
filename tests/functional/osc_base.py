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
"""What tests of ``openstack vgpu ...`` share.

The real shell runs against a real Keystone, Placement and nova-api. Each test
begins with an empty cloud; what is in it is made with the helpers here.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import uuid
import warnings
from collections.abc import Mapping
from typing import Any
from unittest import mock

import fixtures
from openstackclient import shell
from osc_lib import clientmanager

from nova_vgpu_ext import models
from nova_vgpu_ext.plan import traits
from tests import base
from tests.functional import base as functional_base
from tests.functional.fixtures import keystone, nova_api, placement

PROJECT = 'a0b1c2d3e4f5a0b1c2d3e4f5a0b1c2d3'
HOST_TOTALS = {'VCPU': 64, 'MEMORY_MB': 262144, 'DISK_GB': 2048}
#: What a server of the helpers' holds beside its vGPUs.
SERVER_AMOUNTS = {'VCPU': 1, 'MEMORY_MB': 1024, 'DISK_GB': 1}

#: Types as hosts know them, by the number of their trait.
TYPES = {
    number: models.VgpuType(
        f'nvidia-{number}', f'GRID V100DX-{size}Q', frame_buffer_mib=frame
    )
    for number, size, frame in (
        (194, 1, 1024),
        (196, 4, 4096),
        (199, 32, 32768),
    )
}
_TRAIT_KINDS = ('type', 'product', 'series', 'frame_buffer')


def gpu_traits(number: int) -> frozenset[str]:
    """Give the traits that ``nova-vgpu report`` sets for a type."""
    return traits.traits_of(TYPES[number], _TRAIT_KINDS)


class _Process(fixtures.Fixture):
    """Undoes what the shell does to its process."""

    def _setUp(self) -> None:
        root = logging.getLogger()
        self.addCleanup(setattr, root, 'handlers', root.handlers)
        self.addCleanup(root.setLevel, root.level)
        root.handlers = []
        for name, heard in (
            (base.PACKAGE, True),
            # They serve in this process.
            ('placement', False),
            ('keystonemiddleware', False),
        ):
            logger = logging.getLogger(name)
            self.addCleanup(setattr, logger, 'propagate', logger.propagate)
            logger.propagate = heard
        for name in ('requests', 'cliff', 'stevedore', 'iso8601'):
            library = logging.getLogger(name)
            self.addCleanup(library.setLevel, library.level)
        # Clients are kept for as long as the process lives.
        for member in vars(clientmanager.ClientManager).values():
            if isinstance(member, clientmanager.ClientCache):
                member._handle = None
        caught = warnings.catch_warnings()
        caught.__enter__()
        self.addCleanup(caught.__exit__, None, None, None)


class OscTestCase(base.TestCase):
    """A test with a cloud and the ``openstack`` command."""

    def setUp(self) -> None:
        super().setUp()
        self._silence_warning_of_every_start()
        self.waits = self.useFixture(functional_base.Waits())
        self.keystone = self.useFixture(keystone.KeystoneServer())
        self.placement = self.useFixture(
            placement.PlacementServer(keystone=self.keystone)
        )
        self.nova = self.useFixture(nova_api.NovaApi(self.keystone))
        self.home = self.temp_dir()

    def _silence_warning_of_every_start(self) -> None:
        """Placement, in this process, has no memcached for tokens."""
        logger = logging.getLogger('keystonemiddleware')
        handler = logging.NullHandler()
        logger.addHandler(handler)
        self.addCleanup(logger.removeHandler, handler)
        self.addCleanup(setattr, logger, 'propagate', logger.propagate)
        logger.propagate = False

    # -- the command ---------------------------------------------------------

    def environment(self, user: str = 'operator') -> dict[str, str]:
        """Give what a user has in the environment, and nothing else of OS_.

        :param user: one of keystone.USERS: ``operator`` is an administrator,
            ``weak`` has no rights.
        """
        values = self.keystone.credentials(user)
        kept = {k: v for k, v in os.environ.items() if not _is_cloud(k)}
        given = {f'OS_{k.upper()}': v for k, v in values.items() if v}
        return {**kept, 'HOME': str(self.home), **given}

    def run_osc(
        self,
        *arguments: str,
        user: str = 'operator',
        environment: Mapping[str, str] | None = None,
    ) -> functional_base.Outcome:
        """Run ``openstack`` in this process.

        :param environment: instead of :meth:`environment`.
        """
        env = dict(environment or self.environment(user))
        out, err = io.StringIO(), io.StringIO()
        with (
            _Process(),
            mock.patch.dict(os.environ, env, clear=True),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            try:
                code = int(shell.main(list(arguments)))
            except SystemExit as ended:
                code = int(ended.code or 0)
        return functional_base.Outcome(code, out.getvalue(), err.getvalue())

    def osc_json(self, *arguments: str, **kwargs: Any) -> Any:
        """Run ``openstack ... -f json``, which must succeed; give the JSON."""
        outcome = self.run_osc(*arguments, '-f', 'json', **kwargs)
        self.assertEqual(0, outcome.code, outcome.err)
        return json.loads(outcome.out)

    # -- the cloud -----------------------------------------------------------

    def host(self, name: str, host: str | None = None) -> str:
        """Make a compute node, in Nova and in Placement; give its UUID.

        :param host: the compute service's host; the name without it.
        """
        found = self.placement.create_provider(name)
        self.placement.set_inventories(name, HOST_TOTALS)
        self.nova.call('create_compute_node', uuid=found, node=name, host=host)
        return found

    def gpu(
        self,
        host: str,
        number: int = 0,
        type_: int | None = 194,
        total: int = 32,
        resource_class: str = 'VGPU',
    ) -> str:
        """Report a GPU of a host, as ``nova-vgpu report`` does.

        :param number: the how manieth GPU of the host it is.
        :param type_: one of TYPES; None for a GPU that only Nova reports.
        :returns: the provider's name.
        """
        name = functional_base.gpu_name(number, host)
        root = self.placement.provider(host).uuid
        self.placement.create_provider(name, root)
        self.placement.set_inventories(name, {resource_class: total})
        own = gpu_traits(type_) if type_ is not None else frozenset()
        self.placement.set_traits(name, own | {'OWNER_NOVA'})
        return name

    def gpu_host(self, name: str, gpus: int = 2, **kwargs: Any) -> list[str]:
        """Make a compute node with GPUs; give their providers' names.

        :param kwargs: as of :meth:`gpu`.
        """
        self.host(name)
        return [self.gpu(name, number, **kwargs) for number in range(gpus)]

    def card(
        self,
        host: str,
        address: str = '0000:3B:00.0',
        resource_class: str = 'CUSTOM_NVIDIA_L40S_12Q',
        total: int = 4,
    ) -> str:
        """Report a card with vendor-specific VFIO, as Nova tracks PCI.

        :returns: the provider's name.
        """
        name = f'{host}_{address}'
        root = self.placement.provider(host).uuid
        self.placement.create_provider(name, root)
        self.placement.set_inventories(name, {resource_class: total})
        self.placement.set_traits(name, {'COMPUTE_MANAGED_PCI_DEVICE'})
        return name

    def server(
        self,
        name: str,
        flavor: str,
        node: str | None = None,
        gpus: Mapping[str, Mapping[str, int]] | None = None,
        project: str = PROJECT,
        **kwargs: Any,
    ) -> str:
        """Make a server in Nova, and allocate for it.

        :param flavor: the name of a flavor that was created.
        :param node: the compute node that it is on.
        :param gpus: by the provider's name what it holds of GPUs.
        :param kwargs: more of ``nova_records.create_server``.
        :returns: its UUID.
        """
        found: str = self.nova.call(
            'create_server',
            name=name,
            flavor=flavor,
            node=node,
            project_id=project,
            **kwargs,
        )
        held: dict[str, Mapping[str, int]] = dict(gpus or {})
        if node is not None:
            held[node] = SERVER_AMOUNTS
        if held:
            self.placement.allocate(held, found, project)
        return found


def new_uuid() -> str:
    """Make the UUID of something that no service knows."""
    return str(uuid.uuid4())


def _is_cloud(name: str) -> bool:
    """Tell whether a variable could be read by openstacksdk."""
    return name.startswith(('OS_', 'XDG_')) and not name.startswith('OS_NOVA')
