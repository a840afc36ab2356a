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
"""Which type a device gets: Nova's rules, without Nova.

Source of the rules: ``_get_supported_vgpu_types`` and
``_get_vgpu_type_per_pgpu`` in ``nova/virt/libvirt/driver.py`` (Nova 34). A
functional test runs both on the same random input.
"""

from __future__ import annotations

import dataclasses
import re

from nova_vgpu_ext.models import (
    PCI_ADDRESS,
    DevicesConfig,
    Finding,
    Severity,
    Snapshot,
    TypeConfig,
    VgpuDevice,
    VgpuType,
)

#: What Nova takes for a PCI address (``nova/pci/utils.py``). The separator
#: before the function may be any character, as it is there.
_NOVA_PCI_ADDRESS = re.compile(
    r'^([\da-fA-F]{4}):([\da-fA-F]{2}):([\da-fA-F]{2}).([0-7])$'
)

DEVICES_OPTION = '[devices] enabled_mdev_types'


def addresses_option(type_id: str) -> str:
    """Spell the option that lists a type's devices."""
    return f'[mdev_{type_id}] device_addresses'


@dataclasses.dataclass(frozen=True)
class TypeMap:
    """Which type, class and cap each device has."""

    #: The type of every device that no section names, None without one.
    default: TypeConfig | None
    #: The type of each device that a section names.
    by_address: dict[str, TypeConfig]
    #: Virtual parents that a section names; Nova knows no others.
    virtual: frozenset[str]

    @property
    def enabled(self) -> frozenset[str]:
        """The ids of the types that can be in use."""
        named = {t.id for t in self.by_address.values()}
        return frozenset(
            named | ({self.default.id} if self.default else set())
        )

    def type_of(self, address: str) -> TypeConfig | None:
        """Find the type of a device.

        :param address: the address as the kernel writes it.
        """
        if not is_nova_pci_address(address) and address not in self.virtual:
            return None
        named = self.by_address.get(address)
        # Nova asks whether the name of the type is true: a type written as
        # the empty string leaves its devices to the default.
        return named if named and named.id else self.default

    def offered(self, device: VgpuDevice) -> VgpuType | None:
        """Find what a device offers of the type that it has."""
        config = self.type_of(device.address)
        return device.type(config.id) if config else None

    def class_of(self, address: str) -> str:
        """Find the resource class of a device's inventory.

        The class of a type without addresses has no effect in Nova.
        """
        named = self.by_address.get(address)
        return named.mdev_class if named else 'VGPU'


def is_nova_pci_address(text: str) -> bool:
    """Tell whether Nova takes a text for a PCI address."""
    return _NOVA_PCI_ADDRESS.match(text) is not None


def resolve(
    config: DevicesConfig, snapshot: Snapshot
) -> tuple[TypeMap, list[Finding]]:
    """Find the type of every device, and what Nova would refuse.

    :returns: the map, which means something only without fatal findings,
        and the findings.
    """
    default: TypeConfig | None = None
    by_address: dict[str, TypeConfig] = {}
    virtual: set[str] = set()
    findings = list(config.invalid)
    for type_config in config.types:
        if not type_config.device_addresses:
            # A type written as the empty string never becomes the default
            # for good, because Nova asks whether the name is true.
            if default is None or not default.id:
                default = type_config
            elif default.id != type_config.id:
                findings.append(_second_default(default, type_config))
            continue
        for address in type_config.device_addresses:
            if address in by_address:
                findings.append(
                    _duplicate(address, by_address[address], type_config)
                )
                continue
            if not is_nova_pci_address(address):
                if address and address not in snapshot.virtual_devices:
                    findings.append(_malformed(address, type_config))
                    continue
                virtual.add(address)
            by_address[address] = type_config
    return TypeMap(default, by_address, frozenset(virtual)), findings


def _second_default(default: TypeConfig, dropped: TypeConfig) -> Finding:
    return Finding(
        Severity.ERROR,
        addresses_option(dropped.id),
        f'no address for {dropped.id}, while {default.id} has none either',
        'at most one type without addresses',
        f'Nova drops {dropped.id}: give it device_addresses, or take it out '
        f'of {DEVICES_OPTION}',
    )


def _duplicate(address: str, first: TypeConfig, second: TypeConfig) -> Finding:
    where = (
        f'for {first.id} and {second.id}'
        if first.id != second.id
        else f'twice for {first.id}'
    )
    return Finding(
        Severity.FATAL,
        addresses_option(second.id),
        f'{address!r} {where}',
        'each address once, for one type',
        'nova-compute refuses to start; remove one of the two',
    )


def _malformed(address: str, type_config: TypeConfig) -> Finding:
    return Finding(
        Severity.FATAL,
        addresses_option(type_config.id),
        repr(address),
        'a PCI address like 0000:1a:00.0, or a device below '
        '/sys/devices/virtual like mtty_mtty',
        'nova-compute refuses to start; nova-vgpu gpu list shows them',
    )


def never_matches(address: str) -> bool:
    """Tell whether Nova accepts an address that no device can have."""
    return is_nova_pci_address(address) and not PCI_ADDRESS.fullmatch(address)
