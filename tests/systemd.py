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
"""What systemd says of units."""

from __future__ import annotations

import os
import subprocess

_SECONDS = 60


def analyze(
    *arguments: str, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze.

    :param environ: more of the environment.
    """
    return subprocess.run(  # noqa: S603
        ['systemd-analyze', '--no-pager', *arguments],  # noqa: S607
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
        env={**os.environ, **environ},
    )
