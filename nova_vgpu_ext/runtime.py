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
"""One compute host, as every program of this project reaches it.

Puts configuration, host, plan and Placement together; the programs decide
when, and what they print.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from nova_vgpu_ext import exception, models

if TYPE_CHECKING:
    from oslo_config import cfg

    from nova_vgpu_ext.host.apply import Applier
    from nova_vgpu_ext.host.ledger import Ledger
    from nova_vgpu_ext.host.mdevctl import Mdevctl
    from nova_vgpu_ext.placement.client import PlacementClient
    from nova_vgpu_ext.placement.reporter import Reporter
    from nova_vgpu_ext.placement.tree import TreeReader
    from nova_vgpu_ext.plan.actions import HostPlan
    from nova_vgpu_ext.plan.inventory import InventoryPlan
    from nova_vgpu_ext.plan.types import TypeMap


class Runtime:
    """Configuration and host; each is read when it is first asked for.

    :param config_files: as of :func:`nova_vgpu_ext.conf.load.load`.
    :param config_dirs: likewise.
    :param sysfs_root: instead of ``[vgpu] sysfs_root``.
    :param node: instead of ``[vgpu] node_name``.
    """

    def __init__(
        self,
        config_files: Sequence[str] = (),
        config_dirs: Sequence[str] = (),
        sysfs_root: str | None = None,
        node: str | None = None,
    ) -> None:
        self._config_files = config_files
        self._config_dirs = config_dirs
        self._sysfs_root = sysfs_root
        self._node = node

    @functools.cached_property
    def conf(self) -> cfg.ConfigOpts:
        """The options, read once.

        :raises ConfigError: a file cannot be used.
        """
        from nova_vgpu_ext.conf import load

        return load.load(self._config_files, self._config_dirs)

    def value(self, group: str, name: str) -> Any:
        """Read one option.

        :raises ConfigError: its value is not valid.
        """
        from nova_vgpu_ext.conf import load

        return load.value(self.conf, group, name)

    @functools.cached_property
    def devices_config(self) -> models.DevicesConfig:
        """What nova.conf says of vGPUs.

        :raises ConfigError: there is no configuration file.
        """
        from nova_vgpu_ext.conf import load

        load.require_files(self.conf)
        return load.devices_config(self.conf)

    @functools.cached_property
    def node(self) -> str:
        """The compute node's name."""
        from nova_vgpu_ext.host import node

        return str(
            self._node
            or self.value('vgpu', 'node_name')
            or node.default_node_name()
        )

    @functools.cached_property
    def sysfs_root(self) -> str:
        """Where sysfs, or a simulated host, is."""
        return str(self._sysfs_root or self.value('vgpu', 'sysfs_root'))

    @functools.cached_property
    def is_simulated(self) -> bool:
        """Whether the host is a simulated one that takes writes."""
        from nova_vgpu_ext.sim import kernel

        return kernel.is_simulated(self.sysfs_root)

    @functools.cached_property
    def state_path(self) -> str:
        """Where ledger and lock are."""
        return self._own_path('state_path', 'state')

    @functools.cached_property
    def mdevctl_path(self) -> str:
        """Where the persistent mdevs are."""
        return self._own_path('mdevctl_path', 'mdevctl.d')

    @functools.cached_property
    def driver_catalog(self) -> str:
        """Where the driver's own list of types is."""
        from nova_vgpu_ext.sim import kernel

        return self._own_path('driver_catalog', kernel.CATALOG)

    @functools.cached_property
    def libvirt_uri(self) -> str:
        """Where libvirt is asked; empty if it is not."""
        if self.is_simulated and self._is_default('libvirt_uri'):
            return ''
        return str(self.value('vgpu', 'libvirt_uri'))

    def _own_path(self, name: str, simulated: str) -> str:
        if self.is_simulated and self._is_default(name):
            from nova_vgpu_ext.sim import kernel

            return os.path.join(self.sysfs_root, kernel.FOLDER, simulated)
        return str(self.value('vgpu', name))

    def _is_default(self, name: str) -> bool:
        found = self.conf.get_location(name, 'vgpu')
        return found is None or found.location.name == 'opt_default'

    def observe(self) -> models.Snapshot:
        """Read the host, each time anew.

        :raises HostError: there is no sysfs to read.
        """
        from nova_vgpu_ext.host import snapshot

        return snapshot.observe(self.sysfs_root, self.driver_catalog)

    def plan(self, reported: Collection[str] = ()) -> InventoryPlan:
        """Plan the inventories of this host as it is now.

        :param reported: as of :func:`~nova_vgpu_ext.plan.inventory.plan`.
        :raises ConfigError: nova.conf cannot be used.
        :raises HostError: there is no sysfs to read.
        """
        from nova_vgpu_ext.plan import inventory

        return inventory.plan(
            self.devices_config,
            self.observe(),
            self.node,
            self.value('vgpu', 'traits'),
            reported,
        )

    def type_map(self, snapshot: models.Snapshot) -> TypeMap:
        """Find the type that nova.conf gives each GPU.

        :raises FatalFindings: nova-compute would refuse the configuration.
        """
        from nova_vgpu_ext.plan import types

        type_map, findings = types.resolve(self.devices_config, snapshot)
        if any(f.severity is models.Severity.FATAL for f in findings):
            raise exception.FatalFindings(findings)
        return type_map

    @functools.cached_property
    def ledger(self) -> Ledger:
        """What is remembered of mdevs."""
        from nova_vgpu_ext.host import ledger

        return ledger.Ledger(self.state_path)

    @functools.cached_property
    def definitions(self) -> Mdevctl:
        """The persistent mdevs."""
        from nova_vgpu_ext.host import mdevctl

        aside = os.path.join(self.state_path, 'put-aside')
        return mdevctl.Mdevctl(self.mdevctl_path, aside, self.sysfs_root)

    def usage(
        self, snapshot: models.Snapshot, placement: bool = False
    ) -> models.Usage:
        """Ask who uses the host's mdevs and VFs.

        :param placement: whether Placement is asked too, if it is
            configured; it is asked last, because there Nova writes first.
        :raises LibvirtError: libvirt cannot be asked.
        :raises HostError: the ledger cannot be used.
        :raises PlacementError: Placement cannot be asked.
        """
        import dataclasses

        from nova_vgpu_ext.host import usage

        found = usage.observe(
            snapshot,
            self.sysfs_root,
            self.libvirt_uri,
            self.definitions,
            self.ledger,
            has_domains=bool(self.libvirt_uri) or self.is_simulated,
        )
        if placement and self.has_placement:
            found = dataclasses.replace(
                found, allocated=self._allocated(snapshot)
            )
        return found

    def plan_clean(self, grace: float | None = None) -> HostPlan:
        """Plan the removal of orphans.

        :param grace: instead of ``[vgpu] orphan_grace``, in seconds.
        :raises VgpuError: something that knows of users cannot be asked.
        """
        from nova_vgpu_ext.plan import removal

        if grace is None:
            grace = float(self.value('vgpu', 'orphan_grace'))
        snapshot = self.observe()
        type_map = self.type_map(snapshot)
        configured = {
            device.address: found.id
            for device in snapshot.mdev_parents
            for found in [type_map.type_of(device.address)]
            if found is not None
        }
        usage = self.usage(snapshot)
        plan = removal.clean(snapshot, usage, configured, grace)
        if not plan.actions:
            # Placement could only keep some of them.
            return plan
        usage = self.usage(snapshot, placement=True)
        return removal.clean(snapshot, usage, configured, grace)

    def _users(self, name: str) -> list[str]:
        """Say who uses an mdev or VF at this moment."""
        from nova_vgpu_ext.host import libvirt, processes, usage

        below = usage.pci_path if ':' in name else usage.mdev_path
        held = processes.holders(self.sysfs_root, {name: below(name)})
        users = [f'process {holder}' for holder in held.get(name, ())]
        if self.libvirt_uri:
            users += [
                str(domain)
                for domain in libvirt.domains(self.libvirt_uri)
                if name in (*domain.mdevs, *domain.functions)
            ]
        return users

    @contextlib.contextmanager
    def changing(self) -> Iterator[Applier]:
        """Hold the host's lock, and give what applies a plan.

        :raises HostError: another program changes the host.
        """
        from nova_vgpu_ext.host import apply, kernel, lock
        from nova_vgpu_ext.sim import kernel as sim_kernel

        seconds = float(self.value('vgpu', 'write_timeout'))
        with contextlib.ExitStack() as stack:
            stack.enter_context(lock.host_lock(self.state_path, seconds))
            takes_writes: kernel.Kernel
            if self.is_simulated:
                takes_writes = sim_kernel.SimulatedKernel(self.sysfs_root)
            else:
                program = str(self.value('vgpu', 'sriov_manage'))
                takes_writes = stack.enter_context(
                    kernel.RealKernel(program, seconds)
                )
            yield stack.enter_context(
                apply.Applier(
                    takes_writes,
                    self.sysfs_root,
                    self.definitions,
                    self.ledger,
                    self._users,
                )
            )

    def remember(self, forget: bool = False) -> None:
        """Bring the ledger up to date with the host.

        :param forget: whether entries go that nothing needs any more.
        :raises VgpuError: libvirt cannot be asked, or the ledger cannot be
            used.
        """
        import dataclasses

        from nova_vgpu_ext.plan import ledger

        snapshot = self.observe()
        usage = self.usage(snapshot)
        # A guest that starts has its hook wait for the lock, and libvirt
        # answers nobody about that guest meanwhile.
        with self.changing():
            now = dataclasses.replace(usage, ledger=self.ledger.read())
            stale = ledger.forgotten(snapshot, usage) if forget else ()
            self.ledger.change(
                ledger.entries(snapshot, now),
                [n for n in stale if now.ledger.get(n) == usage.ledger.get(n)],
            )

    @property
    def has_placement(self) -> bool:
        """Whether there is a [placement] section."""
        from nova_vgpu_ext.conf import placement

        return placement.GROUP in self.conf.list_all_sections()

    def placement(self) -> PlacementClient:
        """Make a client from [placement].

        :raises ConfigError: the section cannot be used.
        :raises PlacementError: Keystone refuses, or knows no Placement.
        """
        from nova_vgpu_ext.placement import access, client

        return client.PlacementClient(access.from_conf(self.conf))

    def tree_reader(self, client: PlacementClient) -> TreeReader:
        """Make a reader of this node's providers."""
        from nova_vgpu_ext.placement import tree

        readers = int(self.value('vgpu', 'placement_readers'))
        return tree.TreeReader(client, self.node, readers)

    def reporter(self, client: PlacementClient) -> Reporter:
        """Make a reporter for this node."""
        from nova_vgpu_ext.placement import reporter

        return reporter.Reporter(client, self.tree_reader(client))

    def _allocated(self, snapshot: models.Snapshot) -> dict[str, int]:
        """Ask Placement how many vGPUs are allocated on each device."""
        from nova_vgpu_ext.plan import inventory

        reader = self.tree_reader(self.placement())
        gpus = reader.read_usage(reader.observe().gpus.values()).gpus
        return {
            device.address: sum((gpus[name].used or {}).values())
            for device in snapshot.devices
            for name in [inventory.provider_name(self.node, device.address)]
            if name in gpus
        }
