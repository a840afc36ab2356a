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
"""Extra specs about vGPUs that Nova or Placement does not take as meant.

Nova passes over what it does not know with a line in the scheduler's log, so
a flavor can look right and start guests without a GPU. No cloud is needed to
see that.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

from nova_vgpu_ext import exception
from nova_vgpu_ext.models import Finding, Severity
from nova_vgpu_ext.plan import gpus, parameters, pci
from nova_vgpu_ext.plan.flavors import request
from nova_vgpu_ext.plan.policy import Policy

#: The extra spec of the scheduler plugins.
_POLICY = 'gpu_policy'
_POLICIES = tuple(policy.value for policy in Policy)

_PREFIX = re.compile(r'\W*(resource|trait)s?[\W_]*([0-9]*)\W*', re.ASCII)

_PASSED_OVER = 'which Nova passes over'


def check(
    extra_specs: Mapping[str, str], vgpus: Collection[str] = ()
) -> Iterator[Finding]:
    """Find what is not taken as it was meant.

    :param vgpus: the classes that are vGPUs, beside those named so.
    """
    for key, value in extra_specs.items():
        parts = request.split(key)
        if key == request.ALIAS:
            yield from _alias(value, vgpus)
        elif key.startswith(request.PARAMETER):
            yield from _parameter(key, value)
        elif parts is None:
            yield from _prefix(key, vgpus)
        elif parts[0] == 'resources':
            yield from _resources(key, parts, value, vgpus)
        else:
            yield from _trait(key, parts, value)


def misspelt(
    extra_specs: Mapping[str, str], vgpus: Collection[str] = ()
) -> set[str]:
    """Name the keys that mean vGPUs, and that Nova does not take so."""
    return {
        finding.option
        for finding in check(extra_specs, vgpus)
        if finding.option != request.ALIAS
        and not finding.option.startswith(request.PARAMETER)
    }


def _resources(
    key: str,
    parts: tuple[str, str, str],
    value: str,
    vgpus: Collection[str],
) -> Iterator[Finding]:
    _, suffix, name = parts
    meant = _class(name, vgpus)
    if meant is None:
        return
    if meant != name:
        yield _error(
            key,
            f'the class {name}, {_PASSED_OVER}: the guest starts without a '
            'GPU',
            f'resources{suffix}:{meant}',
        )
    elif not request.amount(value):
        yield _error(
            key,
            f'{value!r}: the guest starts without a GPU',
            'a number from 1',
            'set it to 1, or unset the key',
        )


def _trait(
    key: str, parts: tuple[str, str, str], value: str
) -> Iterator[Finding]:
    _, suffix, name = parts
    meant = _type_trait(name)
    if meant is None:
        return
    if meant != name:
        yield _error(
            key,
            f'the trait {name}, which Placement does not know',
            f'trait{suffix}:{meant}',
        )
    elif value not in (request.REQUIRED, request.FORBIDDEN):
        yield _error(
            key,
            f'{value!r}, {_PASSED_OVER}: the guest gets a vGPU of any type',
            'required or forbidden',
            'set it to required',
        )


def _prefix(key: str, vgpus: Collection[str]) -> Iterator[Finding]:
    """See what stands before the colon of an unknown key."""
    prefix, colon, name = key.partition(':')
    match = _PREFIX.fullmatch(prefix.lower())
    if not match or not colon:
        return
    kind, suffix = match.groups()
    if kind == 'resource':
        meant = _class(name, vgpus)
        kind, without = 'resources', 'the guest starts without a GPU'
    else:
        meant = _type_trait(name)
        without = 'the guest gets a vGPU of any type'
    if meant is not None:
        yield _error(
            key,
            f'{prefix}, {_PASSED_OVER}: {without}',
            f'{kind}{suffix}:{meant}',
        )


def _alias(text: str, vgpus: Collection[str]) -> Iterator[Finding]:
    if request.alias_counts(text):
        return
    names = (item.partition(':')[0].strip() for item in text.split(','))
    if any(request.is_vgpu_class(pci.class_of(n), vgpus) for n in names):
        yield _error(
            request.ALIAS,
            f'{text!r}, with which Nova refuses to create a server',
            'ALIAS:COUNT, with commas between several',
            'set it to the alias and a number, such as l40s-12q:1',
        )


def _parameter(key: str, value: str) -> Iterator[Finding]:
    name = key[len(request.PARAMETER) :]
    if name == _POLICY:
        if value not in _POLICIES:
            yield _error(
                key, repr(value), ' or '.join(_POLICIES), 'set one of them'
            )
        return
    try:
        parameters.parse([f'{name}={value}'])
    except exception.ParameterRefused as error:
        yield _error(
            key,
            f'{value!r}: the guest starts without this parameter',
            error.expected,
            'set a value that is expected, or unset the key',
        )


def _class(name: str, vgpus: Collection[str]) -> str | None:
    """Tell which class of vGPUs a name means."""
    plain = re.sub(r'[^A-Z0-9]+', '_', name.strip().upper())
    if plain == 'VGPUS':
        plain = gpus.VGPU
    for meant in (name, plain, f'CUSTOM_{plain}'):
        if request.is_vgpu_class(meant, vgpus):
            return meant
    return None


def _type_trait(name: str) -> str | None:
    """Tell which trait of a type a name means."""
    plain = re.sub(r'[^A-Z0-9]+', '_', name.strip().upper())
    for meant in (name, plain, f'CUSTOM_{plain}'):
        if gpus.is_type_trait(meant):
            return meant
    return None


def _error(
    key: str, found: str, expected: str, remedy: str | None = None
) -> Finding:
    remedy = remedy or 'unset it, and set the expected key'
    return Finding(Severity.ERROR, key, found, expected, remedy)
