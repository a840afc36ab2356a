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
"""This project's own files and services, and Placement."""

from __future__ import annotations

from nova_vgpu_ext import models
from nova_vgpu_ext.plan import doctor, inventory
from tests.unit.plan import hosts
from tests.unit.plan.doctor_cases.hosts import (
    ABSENT,
    BROKEN,
    DISABLED,
    ENDED,
    ERROR,
    FAILED,
    HIDDEN,
    MASKED,
    OK,
    UNKNOWN,
    WARNING,
    Case,
    facts,
    finding,
    on,
    unit,
)

CASES = (
    Case('state', facts(), OK, '/var/lib/nova-vgpu-ext'),
    *(
        Case(
            'state', facts(state=models.Folder('/s', **folder)), status, found
        )
        for folder, status, found in (
            ({'exists': False}, OK, 'is made with the first change'),
            ({'exists': True, 'mode': 0o750}, OK, '/s'),
            ({'exists': True, 'mode': 0o1777}, WARNING, 'mode 1777'),
            ({'exists': True, 'mode': 0o770}, WARNING, 'mode 0770'),
            ({'exists': True, 'is_folder': False}, ERROR, 'no folder'),
            ({'exists': True, 'is_writable': False}, ERROR, 'be written'),
            ({'exists': False, 'is_writable': False}, ERROR, 'be written'),
        )
    ),
    Case('state', facts(state=HIDDEN), UNKNOWN, 'denied', 'root'),
    Case('ledger', facts(), OK, '3 entries'),
    Case('ledger', facts(ledger=1), OK, '1 entry'),
    Case('ledger', facts(ledger=BROKEN), ERROR, 'something broken', 'mend'),
    Case('ledger', facts(ledger=HIDDEN), UNKNOWN, 'denied', 'root'),
    Case('prepare', facts(), OK, 'enabled'),
    Case('prepare', unit('nova-vgpu-prepare', ABSENT), WARNING, 'no nova-'),
    Case(
        'prepare',
        unit('nova-vgpu-prepare', DISABLED),
        WARNING,
        'disabled',
        'systemctl enable nova-vgpu-prepare.service',
    ),
    Case(
        'prepare',
        unit('nova-vgpu-prepare', MASKED),
        WARNING,
        'masked',
        'systemctl enable',
    ),
    Case(
        'prepare',
        unit('nova-vgpu-prepare', FAILED),
        ERROR,
        'failed (exit-code)',
        'journalctl',
    ),
    Case('prepare', on(services=HIDDEN), UNKNOWN, 'denied'),
    Case('agent', facts(), OK, 'runs'),
    Case('agent', unit('nova-vgpu-agent', ABSENT), OK, 'does not run'),
    Case('agent', unit('nova-vgpu-agent', ENDED), OK, 'does not run'),
    Case(
        'agent', unit('nova-vgpu-agent', FAILED), ERROR, 'failed', 'journalctl'
    ),
    Case('agent', on(services=HIDDEN), UNKNOWN, 'denied'),
    Case('placement', facts(), OK, '9 providers, nothing to change'),
    Case(
        'placement',
        facts(placement=doctor.PlacementView(9, ('create provider x', 'y'))),
        WARNING,
        '2 changes to make, first: create provider x',
        'nova-vgpu report',
    ),
    *(
        Case(
            'placement',
            facts(
                placement=doctor.PlacementView(
                    9,
                    ('create provider x',),
                    tuple(finding(s, o) for s, o in found),
                )
            ),
            status,
            text,
            'do something',
        )
        for found, status, text in (
            (((models.Severity.WARNING, 'p'),), WARNING, 'p: this'),
            (
                (
                    (models.Severity.WARNING, 'p'),
                    (models.Severity.ERROR, 'q'),
                ),
                ERROR,
                '2 findings, first q: this',
            ),
        )
    ),
    Case(
        'placement',
        # What is wrong with the configuration is told by another check.
        facts(
            config=hosts.config([]),
            placement=doctor.PlacementView(
                9,
                findings=inventory.plan(
                    hosts.config([]), hosts.host(hosts.gpu()), '', ()
                ).findings,
            ),
        ),
        OK,
        '9 providers',
    ),
    Case('placement', facts(placement=BROKEN), ERROR, 'something', 'mend'),
    Case('placement', facts(placement=HIDDEN), UNKNOWN, 'denied'),
    Case('placement', facts(config=BROKEN), UNKNOWN, 'something broken'),
)
