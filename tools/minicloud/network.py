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
"""The least of Neutron that nova-api and nova-compute need for guests without
a network: every list is empty.

usage: network.py PORT
"""

from __future__ import annotations

import http.server
import json
import re
import sys
from typing import Any

_LIST = re.compile(r'/v2\.0/([a-z-]+)')
#: What nova-api asks before it promises a network.
_ALLOCATED = 'auto-allocated-topology'


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers each GET."""

    protocol_version = 'HTTP/1.1'

    def do_GET(self) -> None:
        """Give an empty list, or the versions; refuse to make a network."""
        found = _LIST.match(self.path)
        if found is None:
            self._answer(200, {'versions': [self._version()]})
        elif found[1] == _ALLOCATED:
            error = {'type': 'Conflict', 'message': 'no network', 'detail': ''}
            self._answer(409, {'NeutronError': error})
        else:
            self._answer(200, {found[1].replace('-', '_'): []})

    def _version(self) -> dict[str, Any]:
        href = f'http://{self.headers["Host"]}/v2.0/'
        return {
            'id': 'v2.0',
            'status': 'CURRENT',
            'links': [{'rel': 'self', 'href': href}],
        }

    def _answer(self, code: int, body: dict[str, Any]) -> None:
        text = json.dumps(body).encode()
        self.send_response(code)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(text)))
        self.end_headers()
        self.wfile.write(text)


http.server.ThreadingHTTPServer(
    ('127.0.0.1', int(sys.argv[1])), Handler
).serve_forever()
