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
"""Which files below kolla-ansible's ``node_custom_config`` change, and how.

Source of the order in which they are read: the tasks "Copying over nova.conf"
of the roles nova and nova-cell. A later file replaces an option of an earlier
one as a whole; lines of one file add up.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping

from nova_vgpu_ext.models import Finding, Severity
from nova_vgpu_ext.plan.kolla import ini, render
from nova_vgpu_ext.plan.kolla.description import Description, Entry
from nova_vgpu_ext.plan.kolla.inventory import Inventory, entry_of

#: Read for every service, before the one that is written.
SHARED = ('global.conf', 'nova.conf')
#: Read for one host, after it: the first by all services that are on it.
PER_HOST = ('nova.conf', 'nova-compute.conf', 'nova-conductor.conf')

#: What to do with a value of one's own.
_KEPT_IN = {
    ('pci', 'alias'): 'aliases',
    ('pci', 'device_spec'): "device_specs of the host's or group's entry",
    ('filter_scheduler', 'available_filters'): 'scheduler',
    ('filter_scheduler', 'enabled_filters'): 'scheduler',
    ('filter_scheduler', 'weight_classes'): 'scheduler',
    ('vgpu', 'gpu_policy'): 'policy',
}


@dataclasses.dataclass(frozen=True)
class Change:
    """A file as it is and as it shall be."""

    #: Below ``node_custom_config``.
    path: str
    #: None where there is no file.
    old: str | None
    #: None where there shall be none.
    new: str | None

    @property
    def is_needed(self) -> bool:
        """Whether there is something to write or remove."""
        return self.old != self.new


def path_of(service: str) -> str:
    """Name the file of a service."""
    return f'nova/{service}.conf'


def plan(
    root: str,
    texts: Mapping[str, str],
    description: Description,
    inventory: Inventory | None = None,
) -> tuple[tuple[Change, ...], list[Finding]]:
    """Put the options of each service into its file.

    :param root: the folder, for the findings.
    :param texts: by path below the folder, each file that is there: those of
        the services, :data:`SHARED`, and ``nova/<host>/`` :data:`PER_HOST`.
    :returns: the files that have or get a block, and what the operator's own
        lines set as well.
    """
    changes = []
    findings: list[Finding] = []
    blocks = render.blocks(description)
    for service, content in blocks.items():
        path = path_of(service)
        try:
            file = ini.split(texts.get(path, ''))
        except ini.BlockError as error:
            findings.append(_bad_marks(f'{root}/{path}', error))
            continue
        if not content and file.block is None:
            continue
        if content and not ini.begins_with_section(file.after):
            findings.append(_loose_lines(f'{root}/{path}'))
        ours = _identities(content)
        if service == render.COMPUTE:
            ours |= _of_types(description.entries)
        own = {path: file.without_block}
        own.update({name: texts.get(name, '') for name in SHARED})
        findings += _conflicts(root, own, ours)
        new = file.with_block(content)
        changes.append(
            Change(path, texts.get(path), new if new.strip() else None)
        )
    findings += _conflicts_of_hosts(
        root, texts, description, inventory, blocks
    )
    return tuple(changes), list(dict.fromkeys(findings))


def _identities(text: str) -> set[tuple[str, str]]:
    return {option.identity for option in ini.options(text)}


def _of_types(entries: Iterable[Entry]) -> set[tuple[str, str]]:
    """Name what a type may have, which says of its GPUs, also by absence."""
    return {
        (f'mdev_{type_config.id}', name)
        for entry in entries
        for type_config in entry.types
        for name in ('device_addresses', 'mdev_class', 'max_instances')
    }


def _conflicts_of_hosts(
    root: str,
    texts: Mapping[str, str],
    description: Description,
    inventory: Inventory | None,
    blocks: Mapping[str, str],
) -> Iterator[Finding]:
    """Find options of one host's files, which replace those of the block."""
    services = _identities(
        ''.join(
            blocks[name] for name in render.SERVICES if name != render.COMPUTE
        )
    )
    conductor = _identities(blocks[render.CONDUCTORS[0]])
    for path, text in texts.items():
        parts = path.split('/')
        if len(parts) != 3:
            continue
        entry = entry_of(description, inventory, parts[1])
        compute = render.common(description)
        if entry:
            compute += render.options(description, entry)
        ours = _identities('\n'.join(compute))
        if entry:
            ours |= _of_types([entry])
        if parts[2] == 'nova.conf':
            ours |= services
        elif parts[2] == 'nova-conductor.conf':
            ours = conductor
        yield from _conflicts(root, {path: text}, ours)


def _conflicts(
    root: str, own: Mapping[str, str], ours: set[tuple[str, str]]
) -> Iterator[Finding]:
    for path, text in own.items():
        for option in ini.options(text):
            if option.identity not in ours:
                continue
            kept = _KEPT_IN.get(option.identity)
            yield Finding(
                Severity.ERROR,
                f'{root}/{path}: {option}',
                f'an option that the description sets, in line {option.line}',
                'it in one of the two',
                f'move your own values to {kept} in the description'
                if kept
                else 'remove the line; the description says it',
            )


def _bad_marks(path: str, error: ini.BlockError) -> Finding:
    return Finding(
        Severity.ERROR,
        path,
        error.found,
        f'one pair, {ini.BEGIN!r} and {ini.END!r}',
        'remove the marks and what is between them',
    )


def _loose_lines(path: str) -> Finding:
    return Finding(
        Severity.ERROR,
        path,
        'options without a section after the block',
        'a section, such as [DEFAULT], before them',
        'they would become part of the last section of the block',
    )
