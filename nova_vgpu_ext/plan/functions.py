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
"""Virtual functions: enabling them, and the types of vendor-specific VFIO.

The functions of one card share its memory, and what may still be set on one
shrinks while types are set on others. So a plan takes what each function
offers now; the apply layer asks a function again before it writes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from nova_vgpu_ext import exception
from nova_vgpu_ext.models import (
    PCI_ADDRESS,
    Finding,
    Framework,
    Gpu,
    Severity,
    Snapshot,
    Usage,
    VirtualFunction,
)
from nova_vgpu_ext.plan import mdevs
from nova_vgpu_ext.plan.actions import (
    Action,
    ClearVendorType,
    EnableVfs,
    HostPlan,
    SetVendorType,
)

OPTION = '[vgpu] vf_types'

_NUMBER = re.compile('[0-9]{1,9}', re.ASCII)


def enable(snapshot: Snapshot) -> HostPlan:
    """Plan the virtual functions of every card that has none enabled.

    A card without its driver is left alone: it may be passed through.
    """
    return HostPlan(
        tuple(
            EnableVfs(gpu.address)
            for gpu in snapshot.gpus
            if gpu.total_vfs and not gpu.vfs and gpu.driver == 'nvidia'
        )
    )


def parse_types(items: Sequence[str]) -> dict[str, str]:
    """Take ``[vgpu] vf_types`` apart.

    :param items: ``TYPE`` for every card, or ``ADDRESS=TYPE`` for one card or
        function.
    :returns: the type by address, ``''`` standing for every other card.
    :raises ConfigError: an address is none, or there twice.
    """
    found: dict[str, str] = {}
    for item in items:
        address, equals, type_text = item.partition('=')
        is_address = PCI_ADDRESS.fullmatch(address)
        if not equals:
            address, type_text = '', item
        if (equals and not is_address) or not type_text:
            raise exception.ConfigError(
                OPTION,
                repr(item[:60]),
                'TYPE, or ADDRESS=TYPE with an address like 0000:c1:00.0',
            )
        if address in found:
            raise exception.ConfigError(
                OPTION,
                f'{address or "a type for every card"} twice',
                'each address once',
            )
        found[address] = type_text
    return found


def set_types(
    snapshot: Snapshot, usage: Usage, wanted: Mapping[str, str]
) -> HostPlan:
    """Plan the types of the functions with vendor-specific VFIO.

    :param wanted: of :func:`parse_types`.
    :returns: the steps, and a finding for each function whose type cannot be
        set. A function of a card that is full is no finding.
    """
    actions: list[Action] = []
    known = {d.address for d in snapshot.devices}
    unknown = sorted(set(wanted) - known - {''})
    findings = [_no_device(address) for address in unknown]
    for gpu in snapshot.gpus:
        if gpu.framework is Framework.VENDOR_VFIO:
            for vf in gpu.vfs:
                _set_type(gpu, vf, usage, wanted, actions, findings)
    # A card may take types of one size at a time, so what goes goes first.
    actions.sort(key=lambda action: isinstance(action, SetVendorType))
    return HostPlan(tuple(actions), tuple(findings))


def type_id(gpu: Gpu, text: str) -> str | None:
    """Find the number of a type that a user named for a card.

    :returns: its number, which is not checked where the card has room for no
        other type: its driver then lists none. None for a product on such a
        card; its number is known once the functions are cleared.
    :raises VgpuError: as of :func:`nova_vgpu_ext.plan.mdevs.resolve_type`.
    """
    try:
        return mdevs.resolve_type(gpu, text).id
    except exception.NotFound:
        if not any(vf.current_type for vf in gpu.vfs):
            raise
        return text if _NUMBER.fullmatch(text) else None


def users(vf: VirtualFunction, usage: Usage) -> list[str]:
    """Say who uses a function with vendor-specific VFIO."""
    found = [str(domain) for domain in usage.domains_of(vf.address)]
    found += [f'process {h}' for h in usage.holders.get(vf.address, ())]
    return found


def leave_type(usage: Usage, gpu: Gpu, type_id: str | None) -> HostPlan:
    """Plan what must go before a card can have another type.

    :param type_id: the type to come; None if it is not known yet.
    :raises Refused: a function with another type is in use.
    """
    others = [vf for vf in gpu.vfs if vf.current_type not in (None, type_id)]
    reasons = [
        f'{vf.address}: in use by {user}'
        for vf in others
        for user in users(vf, usage)
    ]
    if reasons:
        raise exception.Refused(reasons)
    return HostPlan(
        tuple(
            ClearVendorType(vf.address, str(vf.current_type)) for vf in others
        )
    )


def fill(gpu: Gpu, type_id: str) -> HostPlan:
    """Plan a type for every function of a card."""
    return HostPlan(
        tuple(
            SetVendorType(vf.address, type_id)
            for vf in gpu.vfs
            if vf.current_type != type_id
        )
    )


def _set_type(
    gpu: Gpu,
    vf: VirtualFunction,
    usage: Usage,
    wanted: Mapping[str, str],
    actions: list[Action],
    findings: list[Finding],
) -> None:
    text = wanted.get(vf.address) or wanted.get(gpu.address) or wanted.get('')
    if text is None:
        return
    try:
        wanted_id = type_id(gpu, text)
    except exception.VgpuError as error:
        finding = _not_offered(gpu, text, str(error))
        if finding not in findings:
            findings.append(finding)
        return
    if wanted_id in (None, vf.current_type):
        return  # A card without room for another type names none.
    if wanted_id not in gpu.offered_types:
        finding = _not_offered(gpu, text, 'not offered beside what is set')
        if finding not in findings:
            findings.append(finding)
        return
    if vf.current_type is not None:
        reasons = users(vf, usage)
        if reasons:
            findings.append(_in_use(vf, wanted_id, reasons))
            return
        actions.append(ClearVendorType(vf.address, vf.current_type))
    elif vf.type(wanted_id) is None:
        return
    actions.append(SetVendorType(vf.address, wanted_id))


def _no_device(address: str) -> Finding:
    return Finding(
        Severity.ERROR,
        OPTION,
        f'{address}, where there is no GPU or virtual function',
        'the address of one of this host',
        'nova-vgpu gpu list shows them',
    )


def _not_offered(gpu: Gpu, text: str, why: str) -> Finding:
    return Finding(
        Severity.ERROR,
        OPTION,
        f'{text!r} for {gpu.address}: {why}',
        'a type that the card offers now',
        'nova-vgpu type list shows them; gpu retype changes what is set',
    )


def _in_use(
    vf: VirtualFunction, type_id: str, reasons: Sequence[str]
) -> Finding:
    return Finding(
        Severity.ERROR,
        vf.address,
        f'type {vf.current_type}, in use by {", ".join(reasons)}',
        f'type {type_id}, as {OPTION} says',
        'it is left as it is; change it once nothing uses it',
    )
