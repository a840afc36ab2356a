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
"""How libvirt, and with it nova-compute, names the host."""

from __future__ import annotations

import socket

_LOCAL = 'localhost'


def default_node_name() -> str:
    """Find the host's name by libvirt's rule.

    The kernel's name is taken if it has a dot, or is ``localhost``, which no
    resolver improves. Else the resolver is asked for the canonical name, and
    its answer is taken unless it is ``localhost`` again.
    """
    name = socket.gethostname()
    if name.startswith(_LOCAL) or '.' in name:
        return name
    try:
        found = socket.getaddrinfo(name, None, flags=socket.AI_CANONNAME)
    except (OSError, UnicodeError):
        return name
    canonical = found[0][3] if found else ''
    if canonical and not canonical.startswith(_LOCAL):
        return canonical
    return name
