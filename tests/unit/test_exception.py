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
"""What errors show."""

from nova_vgpu_ext import exception
from tests import base


class SecretsTest(base.TestCase):
    """A password in a URL is not shown, whatever error carries it."""

    def test_urls(self) -> None:
        """Options, URLs and what was found are masked alike."""
        url = 'http://adm:s3cret@controller:5000/v3'
        for error in (
            exception.ConfigError('[placement] auth_url', repr(url), 'x'),
            exception.PlacementUnavailable(url, f'no answer: {url}', 'x'),
            exception.WriteFailed(f'PUT {url}/traits', 'x', 'x'),
        ):
            self.assertNotIn('s3cret', str(error))
            self.assertIn('//***@controller:5000/v3', str(error))
