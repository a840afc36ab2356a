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
"""The way from a GPU host to Placement, as a story with proof.

Started by tools/demo, which makes the virtual environment. Each step shows a
command as it is typed and what it printed; each claim is checked.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator, Sequence

NODE = 'gpu01.example.org'
ADDRESSES = ('1a', '1b', '3d', '3e', '88', '89', 'b2', 'b3')
SWITCHED = ('0000:b2:00.0', '0000:b3:00.0')

NOVA_CONF = """\
[devices]
enabled_vgpu_types = nvidia-194

[placement]
auth_type = admin_token
token = admin
endpoint = {url}
endpoint_override = {url}
"""

TWO_TYPES = """\
enabled_vgpu_types = nvidia-194, nvidia-196

[mdev_nvidia-196]
device_addresses = 0000:b2:00.0, 0000:b3:00.0
"""

VGPU = f'nova-vgpu --config-file nova.conf --sysfs-root sys --node {NODE}'

Row = dict[str, str]


class ClaimFailed(Exception):
    """Something that the demo says is not so."""


class Screen:
    """What the reader sees."""

    def __init__(self) -> None:
        colour = sys.stdout.isatty() and 'NO_COLOR' not in os.environ
        self.bold, self.green, self.dim, self.plain = (
            ('\033[1m', '\033[32m', '\033[2m', '\033[0m')
            if colour
            else ('', '', '', '')
        )
        self.steps = 0

    def step(self, title: str, text: str) -> None:
        """Begin a chapter."""
        self.steps += 1
        print(f'\n{self.bold}{self.steps}. {title}{self.plain}')
        print(
            textwrap.fill(
                text, 76, initial_indent='   ', subsequent_indent='   '
            )
        )
        sys.stdout.flush()

    def command(self, command: str) -> None:
        """Show what is typed."""
        print(f'\n{self.bold}$ {command}{self.plain}', flush=True)

    def output(self, text: str) -> None:
        """Show what came."""
        print(text.rstrip(), flush=True)

    def file(self, name: str, text: str) -> None:
        """Show a file."""
        self.command(f'cat {name}')
        self.output(text)

    def claim(self, text: str, is_so: bool) -> None:
        """Say what was shown, or stop.

        :raises ClaimFailed: it was not.
        """
        if not is_so:
            raise ClaimFailed(text)
        print(f'{self.green}   ok: {text}{self.plain}', flush=True)


class Demo:
    """One run in one temporary folder."""

    def __init__(self, folder: pathlib.Path, screen: Screen) -> None:
        self.folder = folder
        self.screen = screen
        self.environ = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith('OS_') and key != 'COLUMNS'
        }
        # Nobody's own clouds.yaml has a say here.
        self.environ['OS_CLIENT_CONFIG_FILE'] = str(folder / 'clouds.yaml')
        self.url = ''

    def call(self, command: str) -> tuple[int, str]:
        """Run a command; returns its status and what it printed."""
        done = subprocess.run(  # noqa: S603
            shlex.split(command),
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    def run(self, command: str) -> str:
        """Show a command and its output.

        :raises ClaimFailed: it did not exit with 0.
        """
        self.screen.command(command)
        status, output = self.call(command)
        self.screen.output(output)
        if status:
            raise ClaimFailed(f'{command}: exit status {status}, expected 0')
        return output

    def run_all(self, commands: Sequence[str]) -> list[str]:
        """Show several commands that are run side by side."""
        outputs = []
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for command, (status, output) in zip(
                commands, pool.map(self.call, commands), strict=True
            ):
                self.screen.command(command)
                self.screen.output(output)
                if status:
                    raise ClaimFailed(f'{command}: exit status {status}')
                outputs.append(output)
        return outputs

    @contextlib.contextmanager
    def placement(self) -> Iterator[None]:
        """Run Placement for as long as the demo goes on."""
        server = pathlib.Path(__file__).parent / 'lib/placement_server.py'
        data = self.folder / 'placement'
        data.mkdir()
        with (data / 'server.log').open('w') as log:
            child = subprocess.Popen(  # noqa: S603
                [sys.executable, str(server), str(data)],
                env=self.environ,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        try:
            self.url = child.stdout.readline().strip()
            if not self.url:
                print((data / 'server.log').read_text(), file=sys.stderr)
                raise ClaimFailed('Placement starts')
            yield
        finally:
            # It ends when its standard input does.
            child.stdin.close()
            try:
                child.wait(5)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            child.stdout.close()

    def requests(self) -> list[str]:
        """List what Placement was asked so far, by its own log."""
        log = self.folder / 'placement' / 'requests.log'
        return log.read_text().splitlines()

    def story(self) -> None:
        """Tell it from the beginning to the end."""
        self.start_services()
        self.look_at_the_host()
        self.report()
        self.ask_placement()
        self.report_again()
        self.switch_two()

    def start_services(self) -> None:
        """Placement, a host, nova.conf, and what nova-compute registers."""
        self.screen.step(
            'A cloud and a GPU host',
            'Placement runs from its own package on SQLite. The host is '
            'simulated: a folder that looks like the /sys of a machine with '
            'eight Tesla V100. nova.conf is what nova-compute reads, here '
            "with the option's old spelling.",
        )
        self.run('nova-vgpu sim create v100x8 sys')
        nova_conf = NOVA_CONF.format(url=self.url)
        (self.folder / 'nova.conf').write_text(nova_conf)
        self.screen.file('nova.conf', nova_conf)
        settings = {
            'OS_AUTH_TYPE': 'admin_token',
            'OS_TOKEN': 'admin',
            'OS_ENDPOINT': self.url,
            'OS_PLACEMENT_API_VERSION': '1.39',
        }
        self.environ.update(settings)
        self.screen.command(
            'export '
            + ' \\\n         '.join(f'{k}={v}' for k, v in settings.items())
        )
        self.screen.output(
            '\n   nova-compute registers its node in Placement when it '
            'starts; here the\n   openstack client does it.'
        )
        self.run(f'openstack resource provider create {NODE}')

    def look_at_the_host(self) -> None:
        """Hardware, check and dry run: nothing is changed."""
        self.screen.step(
            'What the host has, and what nova.conf makes of it',
            'These commands only read. config check prints a row for each '
            'mistake, and exits with 1 if there is one.',
        )
        gpus = table(self.run(f'{VGPU} gpu list'))
        self.screen.claim('eight GPUs', len(gpus) == len(ADDRESSES))
        self.run(f'{VGPU} config check')
        self.screen.claim('no finding: exit status 0', True)
        asked = len(self.requests())
        self.run(f'{VGPU} report --dry-run')
        self.screen.claim(
            'the dry run wrote nothing', not writes(self.requests()[asked:])
        )

    def report(self) -> None:
        """Report for the first time."""
        self.screen.step(
            'Report',
            'One command makes Placement say what the host has: a provider '
            'for each GPU, its inventory, and traits for flavors to ask for.',
        )
        self.run(f'{VGPU} report')

    def ask_placement(self) -> None:
        """Prove it through a client that knows nothing of nova-vgpu."""
        self.screen.step(
            'What Placement says now',
            'The openstack client is independent of nova-vgpu.',
        )
        rows = table(
            self.run(
                'openstack resource provider list '
                '-c uuid -c name -c generation'
            )
        )
        gpus = [r for r in rows if r['name'] != NODE]
        names = {f'{NODE}_pci_0000_{a}_00_0' for a in ADDRESSES}
        self.screen.claim(
            'eight providers, named as Nova names them',
            {r['name'] for r in gpus} == names and len(gpus) == len(names),
        )
        inventories = self.run_all(
            [
                f'openstack resource provider inventory list {r["uuid"]} '
                '-f value -c resource_class -c total'
                for r in gpus
            ]
        )
        self.screen.claim(
            'VGPU 32 on each of them',
            [text.split() for text in inventories] == [['VGPU', '32']] * 8,
        )
        traits = self.run(
            f'openstack resource provider trait list {gpus[0]["uuid"]} '
            '-f value'
        ).split()
        self.screen.claim(
            'the type, product, series and frame buffer are traits',
            {
                'CUSTOM_NVIDIA_194',
                'CUSTOM_VGPU_V100DX_1Q',
                'CUSTOM_VGPU_SERIES_Q',
                'CUSTOM_VGPU_FB_1024M',
            }
            <= set(traits),
        )
        self.candidates('CUSTOM_NVIDIA_194', len(ADDRESSES), '0/32')

    def candidates(self, trait: str, count: int, used: str) -> None:
        """Ask what the scheduler asks for a flavor with one vGPU."""
        rows = table(
            self.run(
                'openstack allocation candidate list --resource VGPU=1 '
                f"--required {trait} -c 'resource provider' "
                "-c 'inventory used/capacity'"
            )
        )
        offered = [
            row
            for row in rows
            if f'VGPU={used}' in row['inventory used/capacity']
        ]
        self.screen.claim(
            f'{count} GPUs can take a guest that asks for {trait}, '
            f'{used} of each in use',
            len(offered) == count == len(rows),
        )

    def report_again(self) -> None:
        """Show that a second report changes nothing."""
        self.screen.step(
            'Report again',
            'Nothing has changed on the host, so nothing is written.',
        )
        asked = len(self.requests())
        output = self.run(f'{VGPU} report')
        self.screen.claim(
            'no change', re.search(r'\b0 changes\b', output) is not None
        )
        new = self.requests()[asked:]
        self.screen.claim(
            f"Placement's own log has {len(new)} requests for it, all GET",
            not writes(new),
        )

    def switch_two(self) -> None:
        """Give two GPUs a type of their own."""
        self.screen.step(
            'Two GPUs for bigger guests',
            'nvidia-196 has 4 GB of frame buffer, so 8 of them share a GPU. '
            'A section for the type names the GPUs that get it; the others '
            'keep nvidia-194.',
        )
        path = self.folder / 'nova.conf'
        text = path.read_text().replace(
            'enabled_vgpu_types = nvidia-194\n', TWO_TYPES
        )
        path.write_text(text)
        self.screen.file('nova.conf', text)
        self.run(f'{VGPU} config check')
        rows = table(
            self.run(
                f'{VGPU} inventory list -c provider -c resource_class '
                '-c total -c used'
            )
        )
        self.screen.claim('eight inventories', len(rows) == len(ADDRESSES))
        self.run(f'{VGPU} report')
        self.candidates('CUSTOM_NVIDIA_196', len(SWITCHED), '0/8')
        self.candidates('CUSTOM_NVIDIA_194', 6, '0/32')


def table(text: str) -> list[Row]:
    """Read a table as the clients draw it."""
    lines = [
        [cell.strip() for cell in line.strip('|').split('|')]
        for line in text.splitlines()
        if line.startswith('|')
    ]
    if not lines:
        return []
    return [dict(zip(lines[0], cells, strict=True)) for cells in lines[1:]]


def writes(requests: Sequence[str]) -> list[str]:
    """Pick the requests that can have changed something."""
    return [r for r in requests if not r.startswith(('GET ', 'HEAD '))]


def _stop(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Run the demo; 0 if every claim held."""
    started = time.monotonic()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    screen = Screen()
    try:
        with tempfile.TemporaryDirectory(prefix='nova-vgpu-demo-') as name:
            demo = Demo(pathlib.Path(name).resolve(), screen)
            print(
                f'Everything happens in {name}, which is removed at the end.'
            )
            with demo.placement():
                demo.story()
    except ClaimFailed as exc:
        print(f'\nNOT SO: {exc}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('\nInterrupted; everything is cleaned up.', file=sys.stderr)
        return 130
    seconds = time.monotonic() - started
    print(
        f'\nDone in {seconds:.0f} s: every claim held, and everything is '
        'removed again.\nNext: doc/source/user/first-host.rst does this on a '
        'real host.'
    )
    return 0


if __name__ == '__main__':
    sys.exit(main())
