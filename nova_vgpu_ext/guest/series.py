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
"""Which vGPUs a guest operating system can use, and under which licence.

Source: NVIDIA's vGPU documentation, "Virtual GPU types": series A is for
application streaming from Windows servers, Linux takes Q, B and C; and its
licensing guide of release 16, which has series C under no licence of vGPU
software any more. That of release 12 has it under vWS as well.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from nova_vgpu_ext import exception
from nova_vgpu_ext.guest.settings import Edition, Settings, System

#: The products that license each series; one of them is enough.
LICENCES = {
    'Q': (Edition.VWS,),
    'B': (Edition.VPC, Edition.VWS),
    'A': (Edition.VAPPS,),
    'C': (Edition.COMPUTE,),
}
_LINUX = frozenset('QBC')

#: ``FeatureType`` of gridd.conf: 1 is a vGPU, whose series says which licence;
#: the others are for GPUs that are passed through whole.
FEATURE_TYPE = 1


def check(
    vgpus: Collection[tuple[str, str | None]],
    system: System,
    settings: Settings,
) -> str:
    """Find the series of a guest's vGPUs.

    :param vgpus: the name and the series letter of each; the letter is None
        where the name has none.
    :param system: the guest's.
    :param settings: what guests are to get.
    :returns: the one letter.
    :raises Refused: they cannot work together; one line for each reason.
    """
    reasons = list(_reasons(vgpus, system, settings))
    if reasons:
        raise exception.Refused(reasons)
    return next(series for _, series in vgpus if series)


def _reasons(
    vgpus: Collection[tuple[str, str | None]],
    system: System,
    settings: Settings,
) -> Iterator[str]:
    if not vgpus:
        yield 'no vGPU: nothing is to be set up in the guest'
    for name, series in vgpus:
        if series not in LICENCES:
            yield (
                f'{name}: no series in the name, so the licence is not known; '
                'expected a product such as V100DX-1Q'
            )
    known = sorted({s for _, s in vgpus if s in LICENCES and s is not None})
    if len(known) > 1:
        names = ', '.join(name for name, _ in vgpus)
        yield (
            f'{names}: vGPUs of the series {" and ".join(known)} in one '
            'guest, expected one series; a guest has one licence'
        )
    for series in known:
        if series not in _LINUX and system is not System.WINDOWS:
            yield (
                f'series {series} on {system.value}: applications are '
                'streamed from Windows servers only; use a type of series '
                'Q, B or C'
            )
        licences = LICENCES[series]
        if settings.is_licensed and not settings.editions & {*licences}:
            names = ' or '.join(edition.value for edition in licences)
            yield (
                f'series {series} needs a licence of {names}, and the licence '
                'server has none as far as is known; say so if it has'
            )
