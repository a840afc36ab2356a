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
"""Validators for the extra specs of ``vgpu:``.

Nova's API loads them and refuses other keys of this prefix, and other values,
from microversion 2.86 on. Each describes itself; the documentation is made
from here.
"""

from __future__ import annotations

from nova.api.validation.extra_specs import base

from nova_vgpu_ext.plan import parameters
from nova_vgpu_ext.plan.flavors.request import PARAMETER
from nova_vgpu_ext.plan.policy import Policy

#: What each plugin parameter does.
_EFFECTS = {
    'frame_rate_limiter': (
        "Whether the guest's frame rate is limited to its type's."
    ),
    'disable_vnc': "Whether the vGPU's display is left out of the console.",
    'enable_uvm': (
        'Whether CUDA may use unified memory. 1 rules out live migration.'
    ),
    'enable_debugging': (
        'Whether CUDA may be debugged. 1 rules out live migration.'
    ),
    'enable_profiling': (
        'Whether CUDA may be profiled. 1 rules out live migration.'
    ),
}


def register() -> list[base.ExtraSpecValidator]:
    """List the validators; ``nova.api.extra_spec_validators`` calls it."""
    return [
        *(
            _validator(key, f'{_EFFECTS[key]} A plugin parameter.', values)
            for key, values in parameters.KNOWN.items()
        ),
        _validator(
            'gpu_policy',
            'Which GPU the guest gets: pack fills the fullest that still '
            'fits, spread takes the least loaded. It goes before [vgpu] '
            'gpu_policy of nova-scheduler.',
            tuple(policy.value for policy in Policy),
        ),
    ]


def _validator(
    key: str, description: str, values: tuple[str, ...]
) -> base.ExtraSpecValidator:
    return base.ExtraSpecValidator(
        name=f'{PARAMETER}{key}',
        description=description,
        value={
            'type': str,
            'description': ' or '.join(values),
            'enum': list(values),
        },
    )
