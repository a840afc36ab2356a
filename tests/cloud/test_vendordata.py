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
"""What Nova's metadata service tells a guest of driver and licence."""

from __future__ import annotations

import email
import hashlib
import hmac
import json
import subprocess
import urllib.request
from typing import Any

from tests.cloud import base
from tools.minicloud import files


class VendordataTest(base.CloudTestCase):
    """With the vendordata service that Nova asks."""

    def vendor_data(self, server: Any) -> Any:
        """Ask as Neutron's proxy does for a guest."""
        settings = self.cloud.settings
        signature = hmac.new(
            settings.password.encode(), server.id.encode(), hashlib.sha256
        )
        request = urllib.request.Request(  # noqa: S310
            f'{settings.url("metadata")}/openstack/latest/vendor_data2.json',
            headers={
                'X-Instance-ID': server.id,
                'X-Instance-ID-Signature': signature.hexdigest(),
                'X-Tenant-ID': server.project_id,
                'X-Forwarded-For': '192.0.2.7',
            },
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return json.loads(answer.read())

    def test_with_and_without_a_vgpu(self) -> None:
        """The script for the one, nothing for the other, no token logged."""
        hostile = "$(touch x)'; {{ x }} <<'END-OF-NOVA-VGPU-GUEST-FILE'"
        (server,) = self.create_servers('licensed')
        self.connection.compute.set_server_metadata(server, name=hostile)
        answer = self.vendor_data(server)['cloud-init']
        (part,) = email.message_from_string(answer).get_payload()
        self.assertEqual('nova-vgpu-guest.sh', part.get_filename())
        script = part.get_payload(decode=True).decode('ascii')
        self.assertTrue(script.startswith('#!/bin/bash\n'))
        self.assertIn(files.TOKEN, script)
        self.assertIn(files.DRIVER, script)
        self.assertNotIn('touch x', script)
        subprocess.run(
            ['/bin/bash', '-n'], input=script, text=True, check=True
        )
        self.flavor('plain', {})
        (other,) = self.create_servers('other', 'plain')
        self.assertEqual({}, self.vendor_data(other)['cloud-init'])
        for path in self.cloud.settings.log.rglob('*'):
            if path.is_file():
                text = path.read_bytes()
                self.assertNotIn(files.TOKEN.encode(), text, path)
