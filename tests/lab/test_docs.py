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
"""The commands that the documentation shows for a host, run as they stand."""

from __future__ import annotations

import shlex
import subprocess

from tests import doc_blocks
from tests.lab import test_host

#: In this order they are what an operator does from the first installation.
_PAGES = ('user/gpu-lab', 'install/packages', 'user/hook', 'user/agent')
#: What its pages say of its exit status: 1 and 2 are warnings and errors.
_DOCTOR = 'nova-vgpu doctor'


class DocsTest(test_host.HostTestCase):
    """Every block of the kind ``run-in-lab``."""

    def test_commands(self) -> None:
        """They succeed, and print what the page shows."""
        self.with_placement()
        # A wheel has the units there.
        self.guest.run(
            'mkdir -p /opt/nova-vgpu/lib/systemd && '
            f'ln -sfn {test_host.UNITS} /opt/nova-vgpu/lib/systemd/system'
        )
        self.addCleanup(
            self.guest.run,
            'systemctl disable --now nova-vgpu-agent.service; '
            'systemctl disable nova-vgpu-prepare.service; '
            'rm -f /etc/systemd/system/nova-vgpu-*.service guest.xml; '
            'systemctl daemon-reload; nova-vgpu hook remove; '
            'systemctl restart libvirtd',
        )
        blocks = [
            *doc_blocks.blocks(*_PAGES),
            *(b for b in doc_blocks.blocks() if b.page not in _PAGES),
        ]
        run = 0
        for block in blocks:
            for command in block.commands:
                if block.place == 'run-in-lab':
                    self.check(block, command)
                    run += 1
        self.assertGreater(run, 15)

    def check(
        self, block: doc_blocks.Block, command: doc_blocks.Command
    ) -> None:
        """Run one command, where the page does."""
        if command.text.startswith('tools/lab '):
            code, out, err = self.on_this_machine(command.text)
        else:
            code, out, err = self.guest.try_run(
                f'cd /opt/nova-vgpu-ext && {command.text}'
            )
        where = f'{block}: {command.text}\n{out}\n{err}'
        allowed = (0, 1, 2) if command.text.startswith(_DOCTOR) else (0,)
        self.assertIn(code, allowed, where)
        difference = command.check(out + err)
        self.assertIsNone(difference, f'{block}: {difference}')

    def on_this_machine(self, text: str) -> tuple[int, str, str]:
        """Run tools/lab for the guest of the tests."""
        words = shlex.split(text)
        words[1:1] = ['--name', self.guest.machine.folder.name]
        done = subprocess.run(  # noqa: S603
            [doc_blocks.ROOT / 'tools' / 'lab', *words[1:]],
            cwd=doc_blocks.ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        return done.returncode, done.stdout, done.stderr
