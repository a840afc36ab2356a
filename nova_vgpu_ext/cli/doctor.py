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
"""``nova-vgpu doctor``: what is wrong on this host."""

from __future__ import annotations

import argparse
import functools
import logging
import os
import time
from typing import TYPE_CHECKING, Any

from nova_vgpu_ext import exception, models
from nova_vgpu_ext.cli.base import Lister

if TYPE_CHECKING:
    from nova_vgpu_ext.plan import doctor
    from nova_vgpu_ext.runtime import Runtime

LOG = logging.getLogger(__name__)

#: How long libvirt, Placement and the devices may take, all together.
_SECONDS = 20.0
#: How long one request to Placement may take.
_REQUEST_SECONDS = 5

_SYSFS = '/sys'

_NO_PLACEMENT = models.Unknown(
    'no [placement] section', "use nova-compute's nova.conf"
)
_NO_LIBVIRT = models.Unknown(
    'libvirt is not asked', 'set [vgpu] libvirt_uri to its URI'
)


class Doctor(Lister):
    """Check everything that can be wrong on this host.

    One row for each check, always in the same order: the device files, the
    kernel and the driver, vGPUs and who uses them, libvirt, this program's
    own files, and Placement. Nothing is changed. Without root some checks are
    unknown. For a simulated host those are left out that look at the machine.

    The exit code is 0 if all is ok, 1 with a warning or a check that could
    not be made, and 2 with an error.
    """

    _code = 0

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Add the options."""
        from nova_vgpu_ext.plan import doctor

        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            '--problems',
            action='store_true',
            help='show only what is not ok',
        )
        parser.add_argument(
            '--skip',
            metavar='CHECK',
            action='append',
            default=[],
            choices=[check.name for check in doctor.CHECKS],
            help='leave a check out, of the exit code as well; may be '
            'repeated',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Any:
        """Look, and check."""
        from nova_vgpu_ext.plan import doctor

        facts = _Gatherer(self.app.host).facts()
        results = doctor.run(facts, parsed_args.skip)
        self._code = doctor.exit_code(results)
        shown = [
            r
            for r in results
            if not parsed_args.problems or r.status is not doctor.Status.OK
        ]
        if not shown:
            self.app.stderr.write('no problems\n')
        columns = ('check', 'status', 'found', 'expected', 'remedy')
        return columns, (
            (r.check, r.status.value, r.found, r.expected, r.remedy)
            for r in shown
        )

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Exit with what the checks say."""
        code: int = super().run(parsed_args)
        return code or self._code


class _Gatherer:
    """Asks a host for everything that the checks look at.

    :param host: the host.
    """

    def __init__(self, host: Runtime) -> None:
        self._host = host
        #: By when everything must have answered.
        self._end = time.monotonic() + _SECONDS

    def facts(self) -> doctor.Facts:
        """Ask; what may take long is asked at the same time."""
        from nova_vgpu_ext.host import system
        from nova_vgpu_ext.host.question import Question, ask
        from nova_vgpu_ext.plan import doctor

        host = self._host
        # What the questions share is read before they begin.
        config = ask(self._config)
        settings = ask(self._settings)
        uri = ask(lambda: host.libvirt_uri)
        is_simulated = ask(lambda: host.is_simulated) is True
        snapshot = Question('the devices', host.observe).answer(self._end)
        usage = Question('who uses vGPUs', lambda: self._usage(snapshot))
        hypervisor = Question('libvirt', lambda: self._hypervisor(uri))
        placement = Question('Placement', self._placement)
        return doctor.Facts(
            snapshot=snapshot,
            config=config,
            settings=settings,
            live_migration=ask(lambda: self._live_migration(config)),
            state=ask(lambda: system.folder(host.state_path)),
            ledger=ask(lambda: len(host.ledger.read())),
            system=None if is_simulated else self._machine(),
            sees_processes=os.geteuid() == 0,
            usage=usage.answer(self._end),
            hypervisor=hypervisor.answer(self._end),
            placement=placement.answer(self._end),
        )

    def _config(self) -> models.DevicesConfig | models.Unknown:
        from nova_vgpu_ext.conf import load

        conf = self._host.conf
        try:
            load.require_files(conf)
        except exception.ConfigError as error:
            # It may be elsewhere, as with kolla: that is no fault of it.
            return models.Unknown(
                f'{error.option}: {error.found}', error.remedy
            )
        return self._host.devices_config

    def _settings(self) -> doctor.Settings:
        """Read ``[vgpu]``, also the options that no check needs.

        :raises ConfigError: one of them cannot be used.
        """
        from nova_vgpu_ext.conf import vgpu
        from nova_vgpu_ext.plan import doctor

        host = self._host
        values = {o.dest: host.value('vgpu', o.dest) for o in vgpu.opts}
        return doctor.Settings(
            vf_types=tuple(values['vf_types']),
            orphan_grace=float(values['orphan_grace']),
            mdevctl_path=host.mdevctl_path,
            state_path=host.state_path,
        )

    def _live_migration(
        self, config: models.DevicesConfig | models.Unknown
    ) -> doctor.LiveMigration | models.Unknown:
        from nova_vgpu_ext.plan import doctor

        if isinstance(config, models.Unknown):
            return config
        value = functools.partial(self._host.value, 'libvirt')
        return doctor.LiveMigration(
            value('live_migration_downtime'),
            value('live_migration_downtime_steps'),
            value('live_migration_downtime_delay'),
            value('live_migration_permit_post_copy'),
        )

    def _usage(
        self, snapshot: models.Snapshot | models.Unknown
    ) -> models.Usage | models.Unknown:
        if isinstance(snapshot, models.Unknown):
            return snapshot
        return self._host.usage(snapshot)

    def _hypervisor(
        self, uri: str | models.Unknown
    ) -> models.Hypervisor | models.Unknown:
        from nova_vgpu_ext.host import system

        if isinstance(uri, models.Unknown):
            return uri
        return system.hypervisor(uri) if uri else _NO_LIBVIRT

    def _placement(self) -> doctor.PlacementView | models.Unknown:
        from nova_vgpu_ext import reporting
        from nova_vgpu_ext.conf import placement
        from nova_vgpu_ext.plan import doctor

        host = self._host
        if not host.has_placement:
            return _NO_PLACEMENT
        placement.register_opts(host.conf)
        host.conf.set_override('timeout', _REQUEST_SECONDS, placement.GROUP)
        outcome = reporting.Reporting(host).run(lambda _: None, dry_run=True)
        return doctor.PlacementView(
            outcome.providers,
            tuple(str(action) for action in outcome.actions),
            outcome.findings,
        )

    def _machine(self) -> models.System:
        """Look at the machine, also where nova.conf cannot be used."""
        from nova_vgpu_ext.host import system

        host = self._host
        settings: dict[str, str | bool] = {}
        sysfs, catalog = _SYSFS, ''
        try:
            sysfs = host.sysfs_root
            catalog = host.driver_catalog
            settings = {
                'sysfs_root': os.path.abspath(sysfs),
                'state_path': os.path.abspath(host.state_path),
                'mdevctl_path': os.path.abspath(host.mdevctl_path),
            }
        except exception.ConfigError as error:
            LOG.info('The rest of the machine is looked at: %s', error)
        return system.observe(system.Places(sysfs, catalog, settings))
