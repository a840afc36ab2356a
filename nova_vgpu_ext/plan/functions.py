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
        if not equals:
            address, type_text = '', item
        if (address and not PCI_ADDRESS.fullmatch(address)) or not type_text:
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
    return HostPlan(tuple(actions), tuple(findings))


def users(vf: VirtualFunction, usage: Usage) -> list[str]:
    """Say who uses a function with vendor-specific VFIO."""
    found = [str(domain) for domain in usage.domains_of(vf.address)]
    found += [f'process {h}' for h in usage.holders.get(vf.address, ())]
    return found


def leave_type(usage: Usage, gpu: Gpu, type_id: str) -> HostPlan:
    """Plan what must go before a card can have another type.

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
        type_id = mdevs.resolve_type(gpu, text).id
    except exception.VgpuError as error:
        if not any(
            f.option == OPTION and gpu.address in f.found for f in findings
        ):
            findings.append(_not_offered(gpu, text, error))
        return
    if vf.current_type == type_id:
        return
    if vf.current_type is not None:
        reasons = users(vf, usage)
        if reasons:
            findings.append(_in_use(vf, type_id, reasons))
            return
        actions.append(ClearVendorType(vf.address, vf.current_type))
    elif vf.type(type_id) is None:
        return
    actions.append(SetVendorType(vf.address, type_id))


def _no_device(address: str) -> Finding:
    return Finding(
        Severity.ERROR,
        OPTION,
        f'{address}, where there is no GPU or virtual function',
        'the address of one of this host',
        'nova-vgpu gpu list shows them',
    )


def _not_offered(gpu: Gpu, text: str, error: exception.VgpuError) -> Finding:
    return Finding(
        Severity.ERROR,
        OPTION,
        f'{text!r} for {gpu.address}: {error}',
        'a type that the card offers now',
        'nova-vgpu type list shows them',
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
