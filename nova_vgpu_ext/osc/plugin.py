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
"""What makes ``openstack`` know ``vgpu``: the plugin's interface of OSC."""

from __future__ import annotations

import argparse
from typing import Any

from nova_vgpu_ext.osc import cloud

API_NAME = 'vgpu'
API_VERSION_OPTION = 'os_vgpu_api_version'
API_VERSIONS = {'1': 'nova_vgpu_ext.osc.cloud.Cloud'}
DEFAULT_API_VERSION = '1'


def make_client(instance: Any) -> cloud.Cloud:
    """Give the commands their cloud.

    :param instance: the client manager.
    """
    return cloud.Cloud(instance.sdk_connection)


def build_option_parser(
    parser: argparse.ArgumentParser,
) -> argparse.ArgumentParser:
    """Add no global option; OSC wants to be told so."""
    return parser
