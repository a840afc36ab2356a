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
"""A filter for nova-scheduler that orders the GPUs of a host."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nova.scheduler import filters

from nova_vgpu_ext.nova_plugins import adviser


class VgpuPolicyFilter(filters.BaseHostFilter):  # type: ignore[misc]
    """Puts the allocation candidates of each host in the policy's order.

    The scheduler claims the first one. Every host passes, and no candidate is
    removed: what is removed would be missing for the other guests of the same
    request, too.
    """

    def __init__(self) -> None:
        super().__init__()
        self._adviser = adviser.shared()

    def filter_all(
        self, filter_obj_list: Iterable[Any], spec_obj: Any
    ) -> list[Any]:
        """Order the candidates of all hosts.

        :param filter_obj_list: the HostStates that have passed so far.
        :param spec_obj: the RequestSpec.
        :returns: all of them.
        """
        hosts = list(filter_obj_list)
        self._adviser.order(spec_obj, hosts)
        return hosts
