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
"""Values of ``[pci]`` that a description has, given to Nova's own code."""

from __future__ import annotations

import json
from typing import Any

import hypothesis
import jsonschema
from hypothesis import strategies as st
from nova import exception
from nova.pci import devspec, request

from nova_vgpu_ext.plan.kolla import pci_options
from tests import base

_WORDS = st.sampled_from(
    [
        '*',
        '',
        '0',
        '7',
        '8',
        '1f',
        '20',
        'ff',
        '100',
        'ffff',
        '10000',
        'x',
        '[',
    ]
)
_ADDRESSES = st.one_of(
    _WORDS,
    st.builds('{}:{}:{}.{}'.format, _WORDS, _WORDS, _WORDS, _WORDS),
    st.builds(':{}.{}'.format, _WORDS, _WORDS),
    st.builds('{}:{}:{}:{}.0'.format, _WORDS, _WORDS, _WORDS, _WORDS),
    st.dictionaries(st.sampled_from(['domain', 'bus', 'function']), _WORDS),
    st.just(5),
)
_IDS = st.sampled_from(['10de', '*', 'FFFF', '10000', 'nvidia', '', ' 15b3'])
_SPECS = st.fixed_dictionaries(
    {},
    optional={
        'address': _ADDRESSES,
        'vendor_id': _IDS,
        'product_id': _IDS,
        'managed': st.sampled_from(['no', 'TRUE', '2', '']),
        'live_migratable': st.sampled_from(['yes', 'never']),
    },
)
_ALIASES = st.fixed_dictionaries(
    {},
    optional={
        'name': st.sampled_from(['a', '', 'x' * 257]),
        'vendor_id': _IDS,
        'product_id': _IDS,
        'device_type': st.sampled_from(['type-VF', 'type-VDPA', 'VF']),
        'numa_policy': st.sampled_from(['socket', 'legacy', 'best']),
        'resource_class': st.sampled_from(['CUSTOM_A', '']),
        'live_migratable': st.sampled_from(['yes', 'never']),
        'class': st.just('x'),
    },
)


class NovaTest(base.TestCase):
    """Whatever Nova refuses is refused before it gets it."""

    @hypothesis.settings(max_examples=400, deadline=None)
    @hypothesis.given(_SPECS)
    def test_device_specs(self, spec: dict[str, Any]) -> None:
        """And whatever else is refused names no device."""
        faults = list(pci_options.spec_faults(spec))
        try:
            devspec.PciDeviceSpec(json.loads(json.dumps(spec)))
        except (exception.NovaException, AttributeError, TypeError):
            self.assertNotEqual([], faults)
        else:
            self.assertIn(faults, ([], [pci_options.NO_DEVICE]))

    @hypothesis.settings(max_examples=400, deadline=None)
    @hypothesis.given(_ALIASES, st.booleans())
    def test_aliases(self, alias: dict[str, Any], in_placement: bool) -> None:
        """The same are refused."""
        request.CONF.set_override(
            'pci_in_placement', in_placement, 'filter_scheduler'
        )
        request.CONF.set_override('alias', [json.dumps(alias)], 'pci')
        request.get_alias_from_config.cache_clear()
        try:
            request.get_alias_from_config()
        except (exception.PciInvalidAlias, jsonschema.ValidationError):
            is_taken = False
        else:
            is_taken = True
        finally:
            request.CONF.clear_override('alias', 'pci')
            request.CONF.clear_override('pci_in_placement', 'filter_scheduler')
        self.assertEqual(
            is_taken, not list(pci_options.alias_faults(alias, in_placement))
        )
