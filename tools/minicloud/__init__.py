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
"""The small OpenStack behind tools/cloud, on one machine and its loopback.

``settings`` says what a cloud is, ``files`` writes the services'
configuration, ``processes`` starts and ends what runs, ``services`` knows what
that is, ``compute`` is nova-compute on a simulated host, ``cloud`` puts them
together and ``__main__`` is the command line.
"""

from __future__ import annotations


class CloudError(Exception):
    """Something that the user can mend; the text says how."""
