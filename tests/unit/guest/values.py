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
"""What the tests of instructions for guests share."""

from __future__ import annotations

from nova_vgpu_ext.guest.settings import Driver, System

SUM = 'a' * 64
TOKEN = 'eyJhbGciOiJSUzI1NiJ9.payload_-.signature'  # noqa: S105
RUN = Driver('https://mirror.example.org/grid/driver-grid.run', SUM)
LINUX = (System.DEBIAN, System.UBUNTU, System.ROCKY)
