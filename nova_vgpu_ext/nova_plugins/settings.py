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
"""What ``[vgpu]`` says to nova-scheduler."""

from __future__ import annotations

import dataclasses
from typing import Any

from oslo_config import cfg

from nova_vgpu_ext.conf import load, scheduler
from nova_vgpu_ext.plan.policy import Policy


@dataclasses.dataclass(frozen=True)
class Settings:
    """The options of :mod:`nova_vgpu_ext.conf.scheduler`."""

    #: None leaves the choice to Nova where a flavor does not say.
    policy: Policy | None
    #: More classes of vGPUs than are named so.
    classes: frozenset[str]
    #: How long to wait for Placement, in seconds.
    timeout: float
    #: How old the list of the GPUs may be, in seconds.
    refresh: int
    policy_multiplier: float
    host_multiplier: float

    @classmethod
    def read(cls, conf: cfg.ConfigOpts) -> Settings:
        """Take them out of options.

        :raises ConfigError: a value is not of its option's type.
        """

        def value(name: str) -> Any:
            return load.value(conf, scheduler.GROUP, name)

        policy = value('gpu_policy')
        return cls(
            policy=None if policy is None else Policy(policy),
            classes=frozenset(value('gpu_classes')),
            timeout=value('gpu_policy_timeout'),
            refresh=value('gpu_hosts_refresh'),
            policy_multiplier=value('gpu_policy_weight_multiplier'),
            host_multiplier=value('gpu_host_weight_multiplier'),
        )
