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
"""The driver's own list of vGPU types, for a simulated host.

Its elements are those of NVIDIA's ``vgpuConfig.xml`` that
:mod:`nova_vgpu_ext.host.catalog` reads.
"""

from __future__ import annotations

from xml.etree import ElementTree

from nova_vgpu_ext.sim import description

_MIB = 1 << 20


def text(profile: description.Profile) -> str:
    """Write the XML that a host's driver would have.

    :param profile: the host, with the functions that are not enabled.
    """
    root = ElementTree.Element('vgpuconfig')
    known: set[str] = set()
    for gpu in profile.gpus:
        card = ElementTree.SubElement(root, 'pgpu')
        _ids(card, gpu)
        for found in _types(gpu).values():
            number = found.id.rpartition('-')[2]
            supported = ElementTree.SubElement(
                card, 'supportedVgpu', vgpuId=number
            )
            _child(supported, 'maxVgpus', str(found.maximum))
            if number not in known:
                known.add(number)
                _type(root, number, found)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding='unicode') + '\n'


def _types(gpu: description.GpuSpec) -> dict[str, description.TypeSpec]:
    devices = (*gpu.devices, *gpu.hidden_vfs)
    return {t.id: t for device in devices for t in device.types}


def _type(
    root: ElementTree.Element, number: str, spec: description.TypeSpec
) -> None:
    element = ElementTree.SubElement(
        root, 'vgpuType', id=number, name=spec.name
    )
    _child(element, 'profileSize', hex(spec.frame_buffer_mib * _MIB))
    if spec.heads:
        _child(element, 'numHeads', str(spec.heads))
    width, _, height = (spec.resolution or '').partition('x')
    if height:
        ElementTree.SubElement(element, 'display', width=width, height=height)


def _ids(card: ElementTree.Element, gpu: description.GpuSpec) -> None:
    ElementTree.SubElement(
        card,
        'devId',
        vendorId=f'0x{gpu.vendor_id}',
        deviceId=f'0x{gpu.device_id}',
    )


def _child(parent: ElementTree.Element, name: str, value: str) -> None:
    ElementTree.SubElement(parent, name).text = value
