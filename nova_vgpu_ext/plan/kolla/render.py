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
"""The options of each of Nova's services, as text for kolla-ansible.

kolla-ansible takes its files for templates of Jinja, so one file serves every
host: the first entry that a host matches counts. Which service reads which
option: ``nova/conf/pci.py``, ``nova/conf/scheduler.py`` and
``nova/pci/request.py`` (Nova 34).
"""

from __future__ import annotations

from collections.abc import Iterator

from nova_vgpu_ext.models import TypeConfig
from nova_vgpu_ext.plan import pci
from nova_vgpu_ext.plan.kolla.description import Description, Entry

COMPUTE = 'nova-compute'
API = 'nova-api'
SCHEDULER = 'nova-scheduler'
#: The super conductor is there with several cells only.
CONDUCTORS = ('nova-conductor', 'nova-super-conductor')
SERVICES = (COMPUTE, API, SCHEDULER, *CONDUCTORS)

#: Nova's own defaults, which a line of one's own replaces.
AVAILABLE_FILTERS = ('nova.scheduler.filters.all_filters',)
ENABLED_FILTERS = (
    'ComputeFilter',
    'ComputeCapabilitiesFilter',
    'ImagePropertiesFilter',
    'ServerGroupAntiAffinityFilter',
    'ServerGroupAffinityFilter',
)
WEIGHT_CLASSES = ('nova.scheduler.weights.all_weighers',)

_PLUGINS = 'nova_vgpu_ext.nova_plugins'
_FILTER = 'VgpuPolicyFilter'
_WEIGHERS = ('VgpuPolicyWeigher', 'GpuHostWeigher')
_PCI_FILTER = 'PciPassthroughFilter'


def blocks(description: Description) -> dict[str, str]:
    """Write the options of each service.

    :returns: by the name of the service, lines that end with a newline;
        empty where it needs none.
    """
    lines = {
        COMPUTE: [*common(description), *_branches(description)],
        API: common(description),
        SCHEDULER: _scheduler(description),
    }
    for name in CONDUCTORS:
        lines[name] = _in_placement(description)
    return {name: ''.join(f'{i}\n' for i in lines[name]) for name in SERVICES}


def common(description: Description) -> list[str]:
    """Write what each host with nova-compute or nova-api needs.

    Each nova-compute reads the aliases when a server moves. It wants
    ``pci_in_placement`` with them: without, Nova takes no alias that names a
    class and no ids.
    """
    aliases = [
        pci.alias(product, product in description.live_migratable)
        for product in description.products
    ]
    aliases += description.aliases
    if not aliases:
        return []
    return [
        *_in_placement(description),
        '[pci]',
        *(f'alias = {alias}' for alias in aliases),
    ]


def options(description: Description, entry: Entry) -> list[str]:
    """Write what the hosts of one entry need in nova-compute.

    With ``pci_in_placement`` Nova asks Placement for every PCI device, so
    that each host with some reports them there.
    """
    lines = []
    if entry.types:
        ids = ', '.join(t.id for t in entry.types)
        lines += ['[devices]', f'enabled_mdev_types = {ids}']
    for type_config in entry.types:
        lines += _type_section(type_config)
    specs = [
        pci.device_spec(vf, pci.class_of(card.product), card.live_migratable)
        for card in entry.cards
        for vf in card.vfs
    ]
    if entry.cards or entry.device_specs:
        lines.append('[pci]')
        if description.products:
            lines.append('report_in_placement = true')
    lines += [
        f'device_spec = {spec}' for spec in (*specs, *entry.device_specs)
    ]
    if entry.cards:
        types = [f'{vf}={c.type}' for c in entry.cards for vf in c.vfs]
        lines += ['[vgpu]', f'vf_types = {", ".join(types)}']
    return lines


def _type_section(type_config: TypeConfig) -> list[str]:
    lines = []
    if type_config.device_addresses:
        addresses = ', '.join(type_config.device_addresses)
        lines.append(f'device_addresses = {addresses}')
    if type_config.mdev_class != 'VGPU':
        lines.append(f'mdev_class = {type_config.mdev_class}')
    if type_config.max_instances:
        lines.append(f'max_instances = {type_config.max_instances}')
    return [f'[mdev_{type_config.id}]', *lines] if lines else []


def _branches(description: Description) -> Iterator[str]:
    conditions = [
        f"inventory_hostname == '{entry.name}'" for entry in description.hosts
    ] + [
        f"inventory_hostname in groups['{entry.name}']"
        for entry in description.groups
    ]
    word = 'if'
    for condition, entry in zip(conditions, description.entries, strict=True):
        yield f'{{% {word} {condition} %}}'
        yield from options(description, entry)
        word = 'elif'
    if conditions:
        yield '{% endif %}'


def _in_placement(description: Description) -> list[str]:
    if not description.products:
        return []
    return ['[filter_scheduler]', 'pci_in_placement = true']


def _scheduler(description: Description) -> list[str]:
    own = description.scheduler
    available = list(own.available_filters or AVAILABLE_FILTERS)
    enabled = list(own.enabled_filters or ENABLED_FILTERS)
    weighers = list(own.weight_classes or WEIGHT_CLASSES)
    if description.products:
        enabled.append(_PCI_FILTER)
    if own.policy:
        available.append(f'{_PLUGINS}.filters.{_FILTER}')
        enabled.append(_FILTER)
        weighers += [f'{_PLUGINS}.weights.{name}' for name in _WEIGHERS]
    lines = []
    if own.available_filters or own.policy:
        lines += [f'available_filters = {n}' for n in _once(available)]
    if own.enabled_filters or own.policy or description.products:
        lines.append(f'enabled_filters = {",".join(_once(enabled))}')
    if own.weight_classes or own.policy:
        lines.append(f'weight_classes = {",".join(_once(weighers))}')
    section = _in_placement(description) or (
        ['[filter_scheduler]'] if lines else []
    )
    return [*section, *lines, *_policy(description)]


def _policy(description: Description) -> list[str]:
    if not description.scheduler.policy:
        return []
    lines = ['[vgpu]', f'gpu_policy = {description.scheduler.policy}']
    classes = {t.mdev_class for e in description.entries for t in e.types}
    if classes - {'VGPU'}:
        lines.append(f'gpu_classes = {",".join(sorted(classes - {"VGPU"}))}')
    return lines


def _once(names: list[str]) -> list[str]:
    return list(dict.fromkeys(names))
