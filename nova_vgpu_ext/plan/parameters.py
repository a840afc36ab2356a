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
"""Plugin parameters of a vGPU: ``key=value``, checked key by key.

Source of the keys and values: NVIDIA's vGPU user guide, "Setting vGPU plugin
parameters". Whatever a tenant can influence ends here, so nothing else passes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from nova_vgpu_ext import exception

#: The known keys, and the values that each takes.
KNOWN: Mapping[str, tuple[str, ...]] = {
    'frame_rate_limiter': ('0', '1'),
    'disable_vnc': ('0', '1'),
    'enable_uvm': ('0', '1'),
    'enable_debugging': ('0', '1'),
    'enable_profiling': ('0', '1'),
}

_SHOWN = 60


def parse(pairs: Iterable[str]) -> dict[str, str]:
    """Take ``KEY=VALUE`` texts apart.

    :param pairs: with each key once.
    :raises ParameterRefused: a key or value is not known, or a key is there
        twice.
    """
    parameters: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition('=')
        if key not in KNOWN or not equals:
            raise exception.ParameterRefused(
                _short(pair), f'KEY=VALUE with a key of {", ".join(KNOWN)}'
            )
        if value not in KNOWN[key]:
            expected = f'{key}={" or ".join(KNOWN[key])}'
            raise exception.ParameterRefused(_short(pair), expected)
        if key in parameters:
            raise exception.ParameterRefused(f'{key} twice', 'each key once')
        parameters[key] = value
    return parameters


def known_in(text: str | None) -> dict[str, str]:
    """Read the known parameters of what the driver shows.

    :param text: with commas or spaces between them; what is not known is
        left out.
    """
    pairs = (text or '').replace(',', ' ').split()
    found = (pair.partition('=')[::2] for pair in pairs)
    return {k: v for k, v in found if v in KNOWN.get(k, ())}


def join(parameters: Mapping[str, str]) -> str:
    """Write parameters as the driver takes them, in the order of the keys."""
    return ','.join(f'{k}={v}' for k, v in sorted(parameters.items()))


def _short(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f'{text[:_SHOWN]}...')
