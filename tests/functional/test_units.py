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
"""The units of systemd, as systemd reads them. tests/lab runs them."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys
import textwrap

import nova_vgpu_ext
from tests import base, systemd

ROOT = pathlib.Path(nova_vgpu_ext.__file__).parents[1]
UNITS = ROOT / 'etc' / 'systemd'
MIG = ROOT / 'doc' / 'source' / 'user' / 'mig.rst'
#: Ten times the highest exposure that "systemd-analyze security" may find.
EXPOSURES = {
    'nova-vgpu-agent.service': 28,
    'nova-vgpu-prepare.service': 43,
    'nova-vgpu-vendordata.service': 18,
}
SECONDS = 60


class UnitsTest(base.TestCase):
    """What systemd-analyze says."""

    def analyze(self, *arguments: str) -> None:
        """Run systemd-analyze, which must find nothing."""
        done = systemd.analyze(*arguments)
        self.assertEqual((0, ''), (done.returncode, done.stderr), done.stdout)

    def installed(self) -> list[str]:
        """Put the units where their programs are those of this Python."""
        # A unit's program cannot have a space in its path.
        programs = self.temp_dir() / 'bin'
        programs.symlink_to(pathlib.Path(sys.executable).parent)
        folder = self.temp_dir()
        for path in UNITS.iterdir():
            text = path.read_text()
            self.assertIn('ExecStart=nova-vgpu', text)
            (folder / path.name).write_text(
                text.replace('ExecStart=', f'ExecStart={programs}/')
            )
        return [str(path) for path in sorted(folder.iterdir())]

    def test_verify(self) -> None:
        """Every line is understood, and the programs are there."""
        self.analyze('verify', *self.installed())

    def test_security(self) -> None:
        """They stay as hardened as they are; each unit has its limit."""
        self.assertEqual(
            sorted(EXPOSURES), sorted(path.name for path in UNITS.iterdir())
        )
        for name, limit in EXPOSURES.items():
            self.analyze(
                'security',
                '--offline=true',
                f'--threshold={limit}',
                str(UNITS / name),
            )

    def test_mig(self) -> None:
        """The unit and the script of the page on MIG fit in before ours."""
        unit, script = (
            textwrap.dedent(text)
            for text in re.findall(
                r'code-block:: (?:ini|sh)\n\n(.*?\n)(?=\S)',
                MIG.read_text(),
                re.DOTALL,
            )
        )
        prepare, other = 'nova-vgpu-prepare.service', 'gpu-instances.service'
        for line in (f'Before={prepare}', f'WantedBy={prepare}'):
            self.assertIn(line, unit.split('\n'))
        self.assertTrue((UNITS / prepare).exists())
        folder = self.temp_dir()
        program = folder / 'make-gpu-instances'
        program.write_text(script)
        program.chmod(0o755)
        path = folder / other
        path.write_text(
            unit.replace('/usr/local/sbin/make-gpu-instances', str(program))
        )
        ours = [name for name in self.installed() if name.endswith(prepare)]
        self.analyze('verify', str(path), *ours)
        subprocess.run(  # noqa: S603
            ['shellcheck', str(program)],  # noqa: S607
            check=True,
            timeout=SECONDS,
        )
