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
"""The documentation shows what the commands print today."""

from __future__ import annotations

from tests import base
from tests.functional.fixtures import placement as placement_fixture
from tools import doc_outputs


class TestDocOutputs(base.TestCase):
    """Runs every command whose output a page includes."""

    maxDiff = None

    def test_outputs(self) -> None:
        """Each file is what its commands print, times and UUIDs aside."""
        server = self.useFixture(placement_fixture.PlacementServer())
        made = doc_outputs.Outputs(server).make()
        written = {
            path.stem: path.read_text()
            for path in doc_outputs.FOLDER.glob('*.txt')
            if not path.stem.startswith('cloud-')
        }
        written.pop('benchmarks', None)
        self.assertEqual(
            {n: doc_outputs.normalise(t) for n, t in made.items()},
            {n: doc_outputs.normalise(t) for n, t in written.items()},
            'run python -m tools.doc_outputs with .venv/bin on the PATH',
        )
