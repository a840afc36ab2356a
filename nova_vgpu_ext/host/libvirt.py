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
"""What libvirt knows: its domains, and the host devices that they name."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from typing import Any

import defusedxml.ElementTree

from nova_vgpu_ext import exception
from nova_vgpu_ext.host import mdevctl
from nova_vgpu_ext.models import Domain

_HEX = re.compile(r'(?:0x)?([0-9a-fA-F]{1,8})', re.ASCII)
#: A domain, or what was asked of it, is gone. Source: libvirt's
#: ``virErrorNumber``.
_GONE = 'VIR_ERR_NO_DOMAIN'


def module(uri: str = 'any') -> Any:
    """Import libvirt's own Python module.

    :param uri: what it is for.
    :raises LibvirtError: it is not installed.
    """
    try:
        libvirt = importlib.import_module('libvirt')
    except ImportError as error:
        raise exception.LibvirtError(
            uri,
            f'no Python module libvirt ({error})',
            "install python3-libvirt, or nova-vgpu-ext's extra libvirt; an "
            'empty libvirt_uri does without',
        ) from error
    # It would print each error to standard error, beside raising it.
    libvirt.registerErrorHandler(lambda *_: None, None)
    return libvirt


def domains(uri: str) -> tuple[Domain, ...]:
    """Read every domain, running or defined.

    :param uri: as of ``virsh --connect``.
    :raises LibvirtError: libvirt cannot be asked.
    """
    libvirt = module(uri)
    connection = None
    try:
        connection = libvirt.openAuth(
            uri, [[], lambda *_: 0, None], libvirt.VIR_CONNECT_RO
        )
        return tuple(_read(libvirt, connection, uri))
    except libvirt.libvirtError as error:
        raise exception.LibvirtError(
            uri,
            ' '.join(str(error).split()),
            'start libvirt, or run this as root or in the group libvirt',
        ) from error
    finally:
        if connection is not None:
            connection.close()


def _read(libvirt: Any, connection: Any, uri: str) -> Iterator[Domain]:
    for domain in connection.listAllDomains(0):
        try:
            active = bool(domain.isActive())
            texts = [domain.XMLDesc(0)]
            if active:
                # What the next start will need.
                texts.append(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
        except libvirt.libvirtError as error:
            if error.get_error_code() == getattr(libvirt, _GONE):
                continue
            raise
        name = domain.name()
        try:
            yield _domain(name, domain.UUIDString(), active, texts)
        except (defusedxml.ElementTree.ParseError, ValueError) as error:
            # Left out, it would look like a domain without vGPUs.
            raise exception.LibvirtError(
                uri,
                f'domain {name}: XML that libvirt does not write ({error})',
                f'look at it: virsh dumpxml {name}',
            ) from error


def _domain(name: str, uuid: str, active: bool, texts: list[str]) -> Domain:
    mdevs: dict[str, None] = {}
    functions: dict[str, None] = {}
    for text in texts:
        root = defusedxml.ElementTree.fromstring(text)
        for hostdev in root.iterfind('./devices/hostdev'):
            source = hostdev.find('./source/address')
            if source is None:
                continue
            if hostdev.get('type') == 'mdev':
                mdev = source.get('uuid', '').lower()
                if mdevctl.UUID.fullmatch(mdev):
                    mdevs[mdev] = None
            elif hostdev.get('type') == 'pci':
                functions[_address(source)] = None
    return Domain(name, uuid, active, tuple(mdevs), tuple(functions))


def _address(source: Any) -> str:
    def number(name: str) -> int:
        match = _HEX.fullmatch(source.get(name, '0'))
        return int(match[1], 16) if match else 0

    return (
        f'{number("domain"):04x}:{number("bus"):02x}:'
        f'{number("slot"):02x}.{number("function"):x}'
    )
