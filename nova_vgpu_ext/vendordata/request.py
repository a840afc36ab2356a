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
"""What Nova asks.

Source: ``nova/api/metadata/vendordata_dynamic.py`` (Nova 34). Of its fields
only three are read. The others, such as host name and metadata, are the
tenant's own words and go nowhere.
"""

from __future__ import annotations

import dataclasses
import json
import re
import uuid

#: User data have up to 64 KiB, and metadata 128 entries of 255 characters
#: each; in JSON a character takes up to 12 bytes.
LIMIT = 1 << 20

#: Nova takes image ids in upper case, and without hyphens, as users give them.
_UUID = re.compile(r'[0-9A-Fa-f]{8}(-?[0-9A-Fa-f]{4}){3}-?[0-9A-Fa-f]{12}')
#: Keystone's ids; those of old releases and of LDAP are no UUIDs.
KEYSTONE_ID = re.compile(r'[0-9A-Za-z_-]{1,64}', re.ASCII)


class Malformed(Exception):
    """Nova does not ask so; the message says what is wrong."""


@dataclasses.dataclass(frozen=True)
class Request:
    """Who the answer is for."""

    #: The UUID of the instance.
    instance: str
    #: The id of its project.
    project: str
    #: The UUID of its image; None where it boots from a volume.
    image: str | None


def parse(body: bytes) -> Request:
    """Read the body of a request.

    :raises Malformed: it is not what Nova sends.
    """
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise Malformed('the body is no JSON') from None
    if not isinstance(found, dict):
        raise Malformed('the body is no JSON object')
    return Request(
        _uuid(found, 'instance-id'),
        _field(found, 'project-id', KEYSTONE_ID, 'the id of a project'),
        _uuid(found, 'image-id') if found.get('image-id') else None,
    )


def _uuid(found: dict[str, object], name: str) -> str:
    return str(uuid.UUID(_field(found, name, _UUID, 'a UUID')))


def _field(
    found: dict[str, object],
    name: str,
    pattern: re.Pattern[str],
    expected: str,
) -> str:
    value = found.get(name)
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise Malformed(f'{name}: expected {expected}')
    return value
