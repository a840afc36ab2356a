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
"""Which operating system an image has. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from nova_vgpu_ext.guest.settings import System

#: By ``os_distro``, as libosinfo names distributions. Those that are built
#: from the same sources as Rocky take the same packages.
_DISTRIBUTIONS = {
    'debian': System.DEBIAN,
    'ubuntu': System.UBUNTU,
    'rocky': System.ROCKY,
    'almalinux': System.ROCKY,
    'rhel': System.ROCKY,
    'centos': System.ROCKY,
    'windows': System.WINDOWS,
}


class Unsupported(Exception):
    """The image says an operating system that nothing is known of."""


def find(properties: Mapping[str, object]) -> System | None:
    """Find the operating system in an image's properties.

    ``os_distro`` says it; ``os_type`` only where it is ``windows``.

    :returns: None where they do not say.
    :raises Unsupported: they say one that is not supported.
    """
    distribution = str(properties.get('os_distro') or '').casefold()
    if distribution:
        found = _DISTRIBUTIONS.get(distribution)
        if found is None:
            names = ', '.join(_DISTRIBUTIONS)
            raise Unsupported(
                f'os_distro of its image: found {distribution[:40]!r}, '
                f'expected one of {names}'
            )
        return found
    if str(properties.get('os_type', '')).casefold() == 'windows':
        return System.WINDOWS
    return None
