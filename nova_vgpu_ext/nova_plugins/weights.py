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
"""Weighers for nova-scheduler: a policy among hosts, and GPU hosts spared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nova.scheduler import weights

from nova_vgpu_ext.nova_plugins import adviser


class _Weigher(weights.BaseHostWeigher):  # type: ignore[misc]
    """Weighs all hosts at once; without a positive multiplier none."""

    def __init__(self) -> None:
        super().__init__()
        self._adviser = adviser.shared()

    @property
    def _multiplier(self) -> float:
        raise NotImplementedError

    def weight_multiplier(self, host_state: Any) -> float:
        """Tell how much this weigher counts."""
        return self._multiplier

    def weigh_objects(
        self, weighed_obj_list: Sequence[Any], weight_properties: Any
    ) -> list[float]:
        """Weigh the hosts that have passed the filters.

        :param weighed_obj_list: WeighedHosts with HostStates.
        :param weight_properties: the RequestSpec.
        """
        hosts = [weighed.obj for weighed in weighed_obj_list]
        if self._multiplier <= 0:
            return [0.0] * len(hosts)
        return self._weigh(weight_properties, hosts)

    def _weigh(self, spec: Any, hosts: list[Any]) -> list[float]:
        raise NotImplementedError

    def _weigh_object(self, obj: Any, weight_properties: Any) -> float:
        return 0.0  # Nova asks of every weigher to have it.


class VgpuPolicyWeigher(_Weigher):
    """Prefers the host whose GPU the policy prefers."""

    @property
    def _multiplier(self) -> float:
        return self._adviser.settings.policy_multiplier

    def _weigh(self, spec: Any, hosts: list[Any]) -> list[float]:
        return self._adviser.rank(spec, hosts)


class GpuHostWeigher(_Weigher):
    """Keeps guests without a vGPU off hosts with GPUs."""

    @property
    def _multiplier(self) -> float:
        return self._adviser.settings.host_multiplier

    def _weigh(self, spec: Any, hosts: list[Any]) -> list[float]:
        return self._adviser.spare(hosts)
