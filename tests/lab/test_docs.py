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

import re
import shlex
import subprocess

from tests import doc_blocks
from tests.lab import test_host
from tests.lab.test_guests import MDEV

#: In this order they are what an operator does from the first installation.
_PAGES = ('user/gpu-lab', 'install/packages', 'user/hook', 'user/agent')
#: What its pages say of its exit status: 1 and 2 are warnings and errors.
_DOCTOR = 'nova-vgpu doctor'
_MARK = '--- exit status'


class DocsTest(test_host.HostTestCase):
    """Every block of the kind ``run-in-lab``."""

    def test_commands(self) -> None:
        """They succeed, and print what the page shows."""
        self.with_placement()
        # The first page makes it.
        self.guest.try_run(f'echo 1 >/sys/bus/mdev/devices/{MDEV}/remove')
        # A wheel has the units there.
        self.guest.run(
            'mkdir -p /opt/nova-vgpu/lib/systemd && '
            f'ln -sfn {test_host.UNITS} /opt/nova-vgpu/lib/systemd/system'
        )
        self.addCleanup(
            self.guest.run,
            'systemctl disable --now nova-vgpu-agent.service; '
            'systemctl disable nova-vgpu-prepare.service; '
            'rm -rf /etc/systemd/system/nova-vgpu-*.service /opt/nova-vgpu; '
            'rm -f /root/guest.xml; systemctl daemon-reload; '
            'nova-vgpu hook remove; systemctl restart libvirtd',
        )
        blocks = [
            *doc_blocks.blocks(*_PAGES),
            *(b for b in doc_blocks.blocks() if b.page not in _PAGES),
        ]
        seen = 0
        for block in blocks:
            if block.place == 'run-in-lab':
                self.check(block)
                seen += len(block.commands)
        self.assertGreater(seen, 15)

    def check(self, block: doc_blocks.Block) -> None:
        """Run the commands of a block, one after the other."""
        if block.commands[0].text.startswith('tools/lab '):
            found = [self.on_this_machine(c.text) for c in block.commands]
        else:
            found = self.in_one_shell([c.text for c in block.commands])
        for command, (code, printed) in zip(
            block.commands, found, strict=True
        ):
            where = f'{block}: {command.text}\n{printed}'
            allowed = (0, 1, 2) if command.text.startswith(_DOCTOR) else (0,)
            self.assertIn(code, allowed, where)
            difference = command.check(printed)
            self.assertIsNone(difference, f'{block}: {difference}')

    def in_one_shell(self, commands: list[str]) -> list[tuple[int, str]]:
        """Run commands as a person types them, who stays in a folder."""
        lines = ['exec 2>&1', 'cd /root']
        for command in commands:
            lines += [command, f'echo "{_MARK} $?"']
        printed = self.guest.run('bash', 300, '\n'.join(lines) + '\n')
        parts = re.split(rf'^{_MARK} (\d+)$\n?', printed, flags=re.MULTILINE)
        return [
            (int(code), text)
            for text, code in zip(parts[::2], parts[1::2], strict=False)
        ]

    def on_this_machine(self, text: str) -> tuple[int, str]:
        """Run tools/lab for the guest of the tests."""
        words = shlex.split(text)
        words[1:1] = ['--name', self.guest.machine.folder.name]
        done = subprocess.run(  # noqa: S603
            [doc_blocks.ROOT / 'tools' / 'lab', *words[1:]],
            cwd=doc_blocks.ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=120,
        )
        return done.returncode, done.stdout
