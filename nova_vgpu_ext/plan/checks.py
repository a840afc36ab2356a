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
"""Checks of a configuration against a host: the traps, with their remedy.

Each trap is described in Nova's source or guide; where Nova does not refuse
a configuration, it is found here before nova-compute is restarted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from nova_vgpu_ext.models import (
    DevicesConfig,
    Finding,
    Framework,
    Gpu,
    Severity,
    Snapshot,
    TypeConfig,
    VgpuDevice,
    VirtualFunction,
)
from nova_vgpu_ext.plan.types import (
    DEVICES_OPTION,
    TypeMap,
    addresses_option,
    never_matches,
)

#: With more providers than this, Nova's periodic reading of every provider
#: is worth a word: it costs three requests for each of them.
MANY_PROVIDERS = 64


def host(snapshot: Snapshot) -> Iterator[Finding]:
    """Check what could not be read, and GPUs that offer nothing."""
    for problem in snapshot.problems:
        yield Finding(
            Severity.WARNING,
            problem.path,
            problem.found,
            problem.expected,
            'the value is left out; check the driver and the permissions',
        )
    for gpu in snapshot.gpus:
        if gpu.framework is Framework.NONE:
            yield Finding(
                Severity.WARNING,
                gpu.address,
                f'GPU {gpu.vendor_id}:{gpu.device_id} without vGPU types '
                f'(driver {gpu.driver or "none"})',
                'types from the vGPU host driver',
                _no_types_remedy(gpu),
            )


def _no_types_remedy(gpu: Gpu) -> str:
    if gpu.driver is None:
        return 'load the vGPU host driver; its provider is left as it is'
    if gpu.total_vfs and not gpu.vfs:
        return (
            f'enable its virtual functions (sriov-manage -e {gpu.address}); '
            'its providers are left as they are'
        )
    return (
        'check that the vGPU host driver is installed, not the driver for '
        'guests; its provider is left as it is'
    )


def incomplete() -> Finding:
    """Say that a host that was read in part is left alone."""
    return Finding(
        Severity.ERROR,
        '[vgpu] sysfs_root',
        'a host that could be read only in part',
        'lists of devices that this user may read',
        'nothing is reported, and nothing removed; run it as root',
    )


def pci_tracking(config: DevicesConfig, cards: int) -> Iterator[Finding]:
    """Check that Nova reports cards with vendor-specific VFIO.

    :param cards: how many cards have a type set.
    """
    if cards and not config.pci_in_placement:
        yield Finding(
            Severity.WARNING,
            '[pci] report_in_placement',
            f'false, with {cards} card(s) of vendor-specific VFIO',
            'true',
            'nova-vgpu config pci prints the options that Nova needs',
        )


def unlisted_virtual_parents(
    type_map: TypeMap, snapshot: Snapshot
) -> Iterator[Finding]:
    """Check for virtual parents that no section names.

    Nova 34 takes each device with mdev types that ``device_addresses`` does
    not name for a PCI device, and fails on one that is none
    (``_get_mdev_capabilities_for_dev``).
    """
    for device in snapshot.mdev_parents:
        if device.vendor_id is None and device.address not in type_map.virtual:
            yield Finding(
                Severity.FATAL,
                '[mdev_<type>] device_addresses',
                f'no section that names the virtual device {device.address}',
                'every virtual mdev parent of the host in a section',
                'Nova fails to read the host; add the address to a section, '
                'or unload the module of the device',
            )


def configuration(
    config: DevicesConfig,
    type_map: TypeMap,
    snapshot: Snapshot,
) -> Iterator[Finding]:
    """Check a configuration for what Nova would not do, though it starts."""
    yield from _sections(config)
    if not config.types:
        yield from _nothing_enabled(snapshot)
        return
    offered = _offered_types(snapshot)
    yield from _unoffered_types(type_map, offered)
    for address, type_config in type_map.by_address.items():
        finding = _address(address, type_config, snapshot, offered)
        if finding:
            yield finding
    yield from _default(type_map, snapshot, offered)
    for device in snapshot.mdev_parents:
        yield from _other_mdevs(type_map, device)


def capacity(
    config: DevicesConfig,
    type_map: TypeMap,
    snapshot: Snapshot,
    totals: Mapping[str, int],
) -> Iterator[Finding]:
    """Check what the limits leave, and what that costs.

    :param totals: vGPUs by address, from :func:`inventory.count`.
    """
    yield from _caps(type_map, snapshot, totals)
    yield from _refresh(config, totals)


def _sections(config: DevicesConfig) -> Iterator[Finding]:
    for section in config.unused_sections:
        type_id = section.partition('_')[2]
        yield Finding(
            Severity.WARNING,
            f'[{section}]',
            'a section of a type that is not enabled',
            f'{type_id} in {DEVICES_OPTION}',
            'enable the type, or remove the section',
        )
    for option in config.ignored_options:
        yield Finding(
            Severity.ERROR,
            option,
            'an option that Nova does not read from this section',
            f'it in {option.replace("[vgpu_", "[mdev_").partition("]")[0]}]',
            'move it: of an old [vgpu_*] section only device_addresses counts',
        )
    for type_config in dict.fromkeys(config.types):
        if (
            type_config.mdev_class != 'VGPU'
            and not type_config.device_addresses
        ):
            yield Finding(
                Severity.ERROR,
                f'[mdev_{type_config.id}] mdev_class',
                f'{type_config.mdev_class} without device_addresses',
                'addresses beside the class',
                'Nova reports VGPU but allocates '
                f'{type_config.mdev_class}, so guests start without a GPU: '
                f'set {addresses_option(type_config.id)}',
            )


def _nothing_enabled(snapshot: Snapshot) -> Iterator[Finding]:
    offering = [d for d in snapshot.mdev_parents if d.types]
    if offering:
        yield Finding(
            Severity.WARNING,
            DEVICES_OPTION,
            'no type',
            f'a type that {offering[0].address} offers, such as '
            f'{offering[0].types[0].id}',
            'nova-vgpu type list shows them all; without one no vGPU is '
            'reported, and what was reported is removed',
        )


def _offered_types(snapshot: Snapshot) -> tuple[str, ...]:
    """Name the types that any GPU of the host offers."""
    offered = {
        type_id: None
        for gpu in snapshot.gpus
        if gpu.framework is Framework.MDEV
        for type_id in gpu.offered_types
    }
    return tuple(offered)


def _unoffered_types(
    type_map: TypeMap, offered: Collection[str]
) -> Iterator[Finding]:
    for type_id in sorted(type_map.enabled - set(offered)):
        yield Finding(
            Severity.ERROR,
            DEVICES_OPTION,
            f'{type_id!r}, which no GPU offers',
            f'one of {", ".join(offered)}' if offered else 'a GPU with types',
            'take a type that nova-vgpu type list shows',
        )


def _address(
    address: str,
    type_config: TypeConfig,
    snapshot: Snapshot,
    offered_types: Collection[str],
) -> Finding | None:
    found = expected = None
    remedy = 'nova-vgpu gpu list shows the addresses'
    device = snapshot.device(address)
    pci = snapshot.pci_devices.get(address)
    if never_matches(address):
        found = f'{address!r}, which no device ever matches'
        expected = 'the address as the kernel writes it'
        remedy = f'write {_canonical(address)}'
    elif device is not None and device.type(type_config.id) is None:
        if type_config.id not in offered_types:
            return None  # There is a finding for the type itself.
        if device.types:
            offered = ', '.join(t.id for t in device.types)
            found = f'{address}, which does not offer {type_config.id}'
            expected = f'a GPU that does; this one offers {offered}'
        elif isinstance(device, Gpu) and any(v.types for v in device.vfs):
            found = f'{address}, whose virtual functions offer the types'
            expected = 'the addresses of virtual functions'
            remedy = f'nova-vgpu gpu show {address} lists them'
    elif device is None and pci is not None and not pci.is_display:
        found = (
            f'{address}, which is {_kind(pci.class_id)} '
            f'({pci.vendor_id}:{pci.device_id}, class {pci.class_id})'
        )
        expected = 'the address of a GPU'
    elif device is None and pci is None:
        found = f'{address!r}, where there is no device'
        expected = 'the address of a GPU of this host'
    if found is None or expected is None:
        return None
    return Finding(
        Severity.ERROR,
        addresses_option(type_config.id),
        found,
        expected,
        remedy,
    )


def _canonical(address: str) -> str:
    lower = address.strip().lower()
    return f'{lower[:-2]}.{lower[-1]}'


_KINDS = {
    '01': 'a storage controller',
    '02': 'a network card',
    '04': 'a multimedia device',
    '06': 'a bridge',
    '0c': 'a bus controller',
}


def _kind(class_id: str) -> str:
    return _KINDS.get(class_id[:2], 'no GPU')


def _default(
    type_map: TypeMap, snapshot: Snapshot, offered_types: Collection[str]
) -> Iterator[Finding]:
    """Find GPUs that the default type is meant for but that lack it."""
    default = type_map.default
    if default is None or default.id not in offered_types:
        return
    for gpu in snapshot.gpus:
        if gpu.framework is not Framework.MDEV:
            continue
        left = [
            d
            for d in gpu.devices
            if d.types and type_map.type_of(d.address) is default
        ]
        if left and not any(d.type(default.id) for d in left):
            offered = ', '.join(t.id for t in left[0].types)
            yield Finding(
                Severity.WARNING,
                DEVICES_OPTION,
                f'the default type {default.id}, which {gpu.address} does '
                'not offer',
                f'one of {offered} for it',
                'it is not reported; enable one with device_addresses to '
                'use it',
            )


def _other_mdevs(type_map: TypeMap, device: VgpuDevice) -> Iterator[Finding]:
    offered = type_map.offered(device)
    if offered is None or offered.available:
        return
    others = [m for m in device.mdevs if m.type_id != offered.id]
    if others:
        kinds = ', '.join(sorted({str(m.type_id) for m in others}))
        yield Finding(
            Severity.ERROR,
            device.address,
            f'{len(others)} mdev(s) of {kinds}, first {others[0].uuid}',
            f'none, for {offered.id} to be available',
            'remove them once no guest uses them (nova-vgpu mdev list), or '
            'configure their type',
        )


def _caps(
    type_map: TypeMap, snapshot: Snapshot, totals: Mapping[str, int]
) -> Iterator[Finding]:
    """Find limits on GPUs without virtual functions, one for each type."""
    limited: dict[TypeConfig, list[VgpuDevice]] = {}
    for device in snapshot.mdev_parents:
        config = type_map.type_of(device.address)
        if (
            config is not None
            and config.max_instances
            and not isinstance(device, VirtualFunction)
            and device.type(config.id)
        ):
            limited.setdefault(config, []).append(device)
    for config, devices in limited.items():
        yield _cap(config, devices, totals)


def _cap(
    config: TypeConfig, devices: list[VgpuDevice], totals: Mapping[str, int]
) -> Finding:
    def more(device: VgpuDevice) -> int:
        offered = device.type(config.id)
        return offered.available if offered else 0

    without = [d for d in devices if not totals.get(d.address) and more(d)]
    first = (without or devices)[0]
    found = str(config.max_instances)
    if without:
        others = len(without) - 1
        found += f', so that {first.address} gets no vGPU'
        if others:
            found += f', nor do {others} more'
    return Finding(
        Severity.ERROR if without else Severity.WARNING,
        f'[mdev_{config.id}] max_instances',
        found,
        f'no limit on GPUs without virtual functions; {first.address} can '
        f'have {more(first)} more',
        'remove it: Nova leaves out each GPU that would pass the limit',
    )


def _refresh(
    config: DevicesConfig, totals: Mapping[str, int]
) -> Iterator[Finding]:
    providers = sum(1 for total in totals.values() if total)
    if providers > MANY_PROVIDERS and config.association_refresh:
        yield Finding(
            Severity.WARNING,
            '[compute] resource_provider_association_refresh',
            f'{config.association_refresh} with {providers} providers',
            '0',
            f'nova-compute reads {3 * providers} lists from Placement each '
            f'{config.association_refresh} s; set it to 0',
        )
