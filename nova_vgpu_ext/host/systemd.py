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
"""Units of systemd, asked with one call that cannot hang."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence

from nova_vgpu_ext.models import Service, Unknown

_PROPERTIES = ('LoadState', 'ActiveState', 'Result', 'UnitFileState')
_SECONDS = 5.0


def services(
    names: Sequence[str], program: str = 'systemctl'
) -> Mapping[str, Service] | Unknown:
    """Ask systemd for units, all with one call.

    :param names: with their suffix.
    :param program: systemctl.
    """
    remedy = 'run this on the host itself'
    try:
        done = subprocess.run(  # noqa: S603
            [
                program,
                'show',
                '--no-pager',
                *(f'--property={name}' for name in _PROPERTIES),
                '--',
                *names,
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Unknown(f'systemctl: no answer within {_SECONDS:g} s', remedy)
    except OSError as error:
        return Unknown(f'{program}: {error.strerror}'.lower(), remedy)
    blocks = done.stdout.decode(errors='replace').strip('\n').split('\n\n')
    if done.returncode or len(blocks) != len(names):
        said = done.stderr.decode(errors='replace').split('\n')[0][:200]
        return Unknown(
            f'systemctl: {said or "an answer that was not expected"}', remedy
        )
    return {
        name: _service(block)
        for name, block in zip(names, blocks, strict=True)
    }


def _service(block: str) -> Service:
    pairs = dict(line.partition('=')[::2] for line in block.splitlines())
    return Service(*(pairs.get(name, '') for name in _PROPERTIES))
