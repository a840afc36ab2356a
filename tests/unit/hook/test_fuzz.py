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
"""Random XML, ledgers and definitions."""

from __future__ import annotations

import json
import re
import shutil
from typing import Any
from xml.sax import saxutils

import hypothesis
from hypothesis import strategies as st

from nova_vgpu_ext.hook import qemu
from tests.unit.hook import base
from tests.unit.hook.base import (
    DOMAIN,
    GPU,
    HELD,
    NEW,
    NOVA,
    PLAIN,
    SET,
    domain,
)

SETTINGS: dict[str, Any] = {
    'deadline': None,
    'database': None,
    'suppress_health_check': list(hypothesis.HealthCheck),
}

#: All that may be written, below the root, and what.
CREATE = re.compile(
    r'devices/pci0000:[0-9a-f]{2}/0000:[0-9a-f]{2}:00\.0/'
    r'mdev_supported_types/nvidia-[0-9]{3}/create'
)
PARAMETERS = re.compile(
    r'devices/pci0000:[0-9a-f]{2}/0000:[0-9a-f]{2}:00\.0/'
    r'[0-9a-f-]{36}/nvidia/vgpu_params'
)
TEXT = re.compile(
    r' |[a-z_]+=[01](,[a-z_]+=[01])*',
)

uuids = st.sampled_from((PLAIN, SET, HELD, NEW, NEW.replace('1', '2')))
odd_texts = st.text(max_size=80) | st.sampled_from(
    ('../..', '/etc/passwd', '0', '1', 'nvidia-194', GPU, DOMAIN, '%n', '\0')
)
names = st.sampled_from(
    (
        *(f'vgpu:{key}' for key in sorted(qemu.PARAMETERS)),
        'vgpu:',
        'vgpu:x',
        'resources:VGPU',
    )
)
flavors = st.dictionaries(
    names | odd_texts, st.sampled_from(('0', '1')) | odd_texts, max_size=6
)


def safe(text: str) -> str:
    """Leave out what no XML can hold."""
    return ''.join(
        c
        for c in text
        if c in '\t\n\r'
        or ' ' <= c < '\ud800'
        or '\ue000' <= c < '\ufffe'
        or c > '\uffff'
    )


@st.composite
def guests(draw: st.DrawFn) -> bytes:
    """Give a guest as libvirt writes it, but with anything in it."""
    specs = draw(st.none() | flavors)
    if specs is not None:
        specs = {safe(k): safe(v) for k, v in specs.items()}
    named = draw(st.lists(uuids | odd_texts.map(safe), max_size=4))
    functions = draw(st.lists(st.sampled_from((GPU, '0000:5e:00.0'))))
    return domain(named, functions, specs, name=safe(draw(odd_texts)))


elements = st.sampled_from(
    (
        'domain',
        'metadata',
        'devices',
        'hostdev',
        'source',
        'address',
        'name',
        'nova:instance',
        'nova:flavor',
        'nova:extraSpecs',
        'nova:extraSpec',
        'x',
    )
)
attributes = st.dictionaries(
    st.sampled_from(('type', 'uuid', 'managed', 'name', 'domain', 'bus')),
    st.sampled_from(('mdev', 'pci', 'no', '0x0', PLAIN, 'vgpu:enable_uvm'))
    | odd_texts.map(safe),
    max_size=3,
)


def _element(parts: tuple[str, dict[str, str], list[str]]) -> str:
    name, values, inside = parts
    written = ''.join(
        f' {key}={saxutils.quoteattr(value)}' for key, value in values.items()
    )
    return f'<{name}{written}>{"".join(inside)}</{name}>'


trees = st.recursive(
    odd_texts.map(lambda text: saxutils.escape(safe(text))),
    lambda inner: st.tuples(
        elements, attributes, st.lists(inner, max_size=4)
    ).map(_element),
    max_leaves=12,
)
documents = trees.map(
    lambda tree: f'<domain xmlns:nova="{NOVA}">{tree}</domain>'.encode()
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Give a guest with some bytes changed."""
    data = bytearray(draw(guests()))
    for _ in range(draw(st.integers(1, 6))):
        where = draw(st.integers(0, len(data)))
        data[where : where + draw(st.integers(0, 40))] = draw(
            st.binary(max_size=12)
        )
    return bytes(data)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | odd_texts,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            uuids
            | st.sampled_from(
                ('version', 'entries', 'parent', 'type', 'mdev_type')
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)
ledgers = st.builds(
    lambda version, entries: {'version': version, 'entries': entries},
    st.sampled_from((1, 1, 1, 2, 0, '1', None)),
    st.dictionaries(
        uuids | odd_texts,
        json_values
        | st.fixed_dictionaries(
            {
                'parent': st.just(GPU) | odd_texts,
                'type': st.just('nvidia-194') | odd_texts,
            },
            optional={'domain': st.none() | odd_texts},
        ),
        max_size=4,
    ),
)
files = (
    ledgers.map(lambda data: json.dumps(data).encode())
    | json_values.map(lambda data: json.dumps(data).encode())
    | st.binary(max_size=200)
)


class FuzzTest(base.HookTestCase):
    """Whatever comes, nothing is raised and nothing odd is written."""

    def setUp(self) -> None:
        super().setUp()
        self.refused = self.started = 0

    def call(self, xml: bytes) -> None:
        """Let a guest start and end; look at every write."""
        self.kernel.writes.clear()
        self.lines.clear()
        reasons = self.prepare(xml)
        self.release(xml)
        if reasons:
            self.refused += 1
        else:
            self.started += 1
        for text in (*reasons, *(line for _, line in self.lines)):
            self.assertNotIn('error of the hook', text)
        for path, text in self.kernel.writes:
            if CREATE.fullmatch(path):
                self.assertTrue(qemu.is_uuid(text), text)
            else:
                self.assertTrue(PARAMETERS.fullmatch(path), path)
                self.assertTrue(TEXT.fullmatch(text), text)
        self.check_state()

    def check_state(self) -> None:
        """Assert that the ledger is one, and lies alone."""
        for name, entry in self.entries().items():
            self.assertTrue(qemu.is_uuid(name) or qemu.is_address(name))
            self.assertTrue(qemu.is_parent(entry['parent']))
        if self.state.exists():
            self.assertLessEqual(
                {path.name for path in self.state.iterdir()},
                {qemu.LEDGER, qemu.LOCK, f'{qemu.LEDGER}.broken'},
            )

    def test_guests(self) -> None:
        """As libvirt writes them, with anything in them."""

        @hypothesis.settings(max_examples=150, **SETTINGS)
        @hypothesis.given(guests())
        def run(xml: bytes) -> None:
            self.call(xml)

        run()
        self.assertGreater(self.started, 10)
        self.assertGreater(self.refused, 10)

    def test_documents(self) -> None:
        """Any tree of the elements that count."""

        @hypothesis.settings(max_examples=200, **SETTINGS)
        @hypothesis.given(documents)
        def run(xml: bytes) -> None:
            self.call(xml)

        run()

    def test_damaged(self) -> None:
        """Some bytes changed, and bytes alone."""

        @hypothesis.settings(max_examples=200, **SETTINGS)
        @hypothesis.given(damaged() | st.binary(max_size=300))
        def run(xml: bytes) -> None:
            self.call(xml)

        run()

    def test_parameters(self) -> None:
        """Of any flavor only known keys reach the driver, with 0 or 1."""

        @hypothesis.settings(max_examples=150, **SETTINGS)
        @hypothesis.given(flavors)
        def run(flavor: dict[str, str]) -> None:
            flavor = {safe(k): safe(v) for k, v in flavor.items()}
            self.kernel.writes.clear()
            self.assertEqual([], self.prepare(domain([PLAIN], specs=flavor)))
            expected = sorted(
                f'{key}={flavor[f"vgpu:{key}"]}'
                for key in qemu.PARAMETERS
                if flavor.get(f'vgpu:{key}') in ('0', '1')
            )
            self.assertEqual(','.join(expected), self.parameters(PLAIN))

        run()

    def test_ledgers_and_definitions(self) -> None:
        """Any file where one of them is expected."""

        @hypothesis.settings(max_examples=150, **SETTINGS)
        @hypothesis.given(files, files, uuids)
        def run(ledger: bytes, definition: bytes, uuid: str) -> None:
            shutil.rmtree(self.state, ignore_errors=True)
            self.state.mkdir()
            self.ledger_path.write_bytes(ledger)
            folder = self.mdevctl / GPU
            folder.mkdir(parents=True, exist_ok=True)
            (folder / NEW).write_bytes(definition)
            try:
                qemu.read_ledger(str(self.ledger_path))
            except qemu.LedgerError as error:
                self.assertTrue(str(error).isprintable(), str(error))
                kept = not isinstance(error, qemu.LedgerBroken)
                self.prepare(domain([uuid]))
                if kept:
                    self.assertEqual(ledger, self.ledger_path.read_bytes())
            else:
                self.call(domain([uuid]))

        run()
