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
"""The images of kolla, from what kolla-build makes of ``kolla_configs/build``.

No container engine is needed: ``kolla-build --template-only`` writes the
Dockerfiles, and the step before its engine's, run here by itself, fetches the
sources.
"""

from __future__ import annotations

import os
import pathlib
import queue
import re
import shutil
import subprocess
import sys
import tarfile
from typing import Any, NamedTuple

import fixtures
from kolla.common import config as kolla_config
from kolla.image import kolla_worker, tasks
from oslo_config import cfg

from nova_vgpu_ext.host import hook_file
from tests import base

ROOT = pathlib.Path(__file__).parents[2]
BUILD = ROOT / 'kolla_configs' / 'build'
OVERRIDES = BUILD / 'template-overrides.j2'
CONF = BUILD / 'kolla-build.conf'
AGENT = 'nova-vgpu-agent'
LIBVIRT = ('nova-libvirt', 'nova-libvirt-spice')
REQUIREMENT = 'nova-vgpu-ext==1.0.0'
HOOK = '/etc/libvirt/hooks/qemu.d/nova-vgpu'
PIP = (
    'python3 -m pip --no-cache-dir install --upgrade '
    '-c /requirements/upper-constraints.txt '
)


class Dockerfile(NamedTuple):
    """A Dockerfile, taken apart."""

    text: str
    #: Instruction and arguments, continued lines joined.
    lines: list[tuple[str, str]]

    def of(self, instruction: str) -> list[str]:
        """Give the arguments of all lines with an instruction."""
        return [rest for name, rest in self.lines if name == instruction]

    def line(self, part: str) -> int:
        """Find the only line with a text."""
        (found,) = [
            number
            for number, (_, rest) in enumerate(self.lines)
            if part in rest
        ]
        return found


def parse(path: pathlib.Path) -> Dockerfile:
    """Take a Dockerfile apart, as an engine does.

    Source: https://docs.docker.com/reference/dockerfile/.
    """
    text = path.read_text('utf-8')
    kept = [
        line
        for line in text.splitlines()
        if line.strip() and not line.lstrip().startswith('#')
    ]
    joined = re.sub(r'\\\n\s*', '', '\n'.join(kept))
    lines = [line.partition(' ') for line in joined.splitlines()]
    return Dockerfile(text, [(name, rest.strip()) for name, _, rest in lines])


class Rendered(fixtures.Fixture):
    """The Dockerfiles of three distributions, made side by side."""

    def _setUp(self) -> None:
        folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        named = folder / OVERRIDES.name
        named.write_text(
            OVERRIDES.read_text('utf-8').replace(
                "nova_vgpu_requirement = ''",
                f"nova_vgpu_requirement = '{REQUIREMENT}'",
            ),
            'utf-8',
        )
        overrides = {'debian': OVERRIDES, 'ubuntu': named, 'rocky': OVERRIDES}
        self.folders = {name: folder / name for name in overrides}
        started = {
            name: self._start(name, path) for name, path in overrides.items()
        }
        for name, process in started.items():
            output, _ = process.communicate(timeout=300)
            if process.returncode:
                raise AssertionError(f'kolla-build for {name}: {output}')

    def _start(
        self, name: str, overrides: pathlib.Path
    ) -> subprocess.Popen[str]:
        process = subprocess.Popen(  # noqa: S603
            [
                os.path.join(os.path.dirname(sys.executable), 'kolla-build'),
                *('--template-only', '--base', name),
                *('--config-file', str(CONF)),
                *('--template-override', str(overrides)),
                *('--docker-dir', str(BUILD / 'docker')),
                *('--work-dir', str(self.folders[name])),
                *('^nova-', AGENT),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def path(self, distribution: str, image: str) -> pathlib.Path:
        """Find the folder of an image."""
        (found,) = [
            path.parent
            for path in self.folders[distribution].rglob('Dockerfile')
            if path.parent.name == image
        ]
        return found


class KollaImagesTest(base.TestCase):
    """What the images get, and from where."""

    rendered: Rendered

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.rendered = Rendered()
        cls.rendered.setUp()
        cls.addClassCleanup(cls.rendered.cleanUp)

    def test_templates_are_resolved(self) -> None:
        """Nothing of Jinja is left, and every line is an instruction."""
        known = {'FROM', 'LABEL', 'RUN', 'COPY', 'ADD', 'ENV', 'USER'}
        for distribution in self.rendered.folders:
            for image in (*LIBVIRT, AGENT, 'nova-base', 'nova-compute'):
                found = self.dockerfile(distribution, image)
                self.assertNotRegex(found.text, r'\{[{%#]')
                self.assertEqual('FROM', found.lines[0][0])
                self.assertLessEqual({name for name, _ in found.lines}, known)

    def test_nova(self) -> None:
        """The images of Nova are made from one that has the package."""
        for image in ('nova-api', 'nova-compute', 'nova-scheduler'):
            (parent,) = self.dockerfile('debian', image).of('FROM')
            self.assertRegex(parent, '^kolla/nova-base:')
        found = self.dockerfile('debian', 'nova-base')
        self.assertLess(
            found.line('plugins-archive /'), found.line(f'{PIP}/plugins/*')
        )
        self.dockerfile('ubuntu', 'nova-base').line(
            f'{PIP}/nova {REQUIREMENT} &&'
        )

    def test_libvirt(self) -> None:
        """libvirt has mdevctl and the hook, which root may start."""
        for distribution in self.rendered.folders:
            for image in LIBVIRT:
                found = self.dockerfile(distribution, image)
                packages = found.line(
                    'dnf -y install '
                    if distribution == 'rocky'
                    else ' install --no-install-recommends '
                )
                hook = found.line(f'/nova_vgpu_ext/hook/qemu.py {HOOK}')
                self.assertIn(' mdevctl ', found.lines[packages][1])
                self.assertIn('install -D -m 0755 ', found.lines[hook][1])
                self.assertLess(packages, hook)
                self.assertEqual([], found.of('USER'))

    def test_libvirt_source(self) -> None:
        """The hook is of the archive, or of the package that is named."""
        for image in LIBVIRT:
            found = self.dockerfile('debian', image)
            self.assertLess(
                found.line('additions-archive /'), found.line(HOOK)
            )
            found = self.dockerfile('ubuntu', image)
            self.assertNotIn('additions-archive', found.text)
            self.assertRegex(
                found.lines[found.line(HOOK)][1],
                rf"pip .*--no-deps --target (\S+) '{REQUIREMENT}' "
                r'.*0755 \1/nova_vgpu_ext/.* && rm -rf \1$',
            )

    def test_agent(self) -> None:
        """The agent's image is root's, and fails without its programs."""
        for distribution in self.rendered.folders:
            found = self.dockerfile(distribution, AGENT)
            (parent,) = found.of('FROM')
            self.assertRegex(parent, '^kolla/openstack-base:')
            self.assertEqual([], found.of('USER'))
            packages = found.line('mdevctl pciutils python3-libvirt')
            last = found.line('nova-vgpu --version && nova-vgpu-agent ')
            self.assertLess(packages, last)
            self.assertLess(found.line('plugins-archive /'), last)
            for part in (
                "python3 -c 'import libvirt'",
                'nova-vgpu-vendordata --version',
                "python3 -c 'import keystonemiddleware.auth_token, memcache'",
            ):
                self.assertIn(f'&& {part} ', found.lines[last][1])
            self.assertIn(f'{PIP}/plugins/*', found.lines[last][1])
            named = f'{PIP}{REQUIREMENT} &&' in found.lines[last][1]
            self.assertEqual(distribution == 'ubuntu', named)
            folder = self.rendered.path(distribution, AGENT)
            self.assertTrue((folder / 'extend_start.sh').is_file())

    def test_sources(self) -> None:
        """A checkout, an archive and a repository give the same images."""
        for kind in ('checkout', 'archive', 'repository'):
            folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
            conf = self._conf(folder, kind)
            hooks = folder / 'hooks'
            for image in LIBVIRT:
                archive = self._fetch(conf, image, 'additions')
                self._install_hook(archive, folder / image, hooks)
                self.assertEqual(
                    hook_file.State.INSTALLED,
                    hook_file.look(str(hooks), {}).state,
                )
            for image in ('nova-base', AGENT):
                archive = self._fetch(conf, image, 'plugins')
                with tarfile.open(archive) as tar:
                    names = [n.split('/', 2)[2:] for n in tar.getnames()]
                self.assertIn(['setup.cfg'], names)

    def _conf(self, folder: pathlib.Path, kind: str) -> cfg.ConfigOpts:
        """Configure kolla-build for one kind of source."""
        source = folder / 'nova-vgpu-ext'
        shutil.copytree(ROOT / 'nova_vgpu_ext', source / 'nova_vgpu_ext')
        shutil.copy(ROOT / 'setup.cfg', source)
        text = CONF.read_text('utf-8')
        if kind == 'archive':
            os.rename(source, folder / 'nova_vgpu_ext-1.0.0')
            with tarfile.open(source, 'w:gz') as tar:
                name = 'nova_vgpu_ext-1.0.0'
                tar.add(folder / name, name)
        elif kind == 'repository':
            identity = ('-c', 'user.name=x', '-c', 'user.email=x@example.org')
            for arguments in (
                ('init', '-q', '-b', 'stable/1.0'),
                ('add', '.'),
                (*identity, 'commit', '-q', '-m', 'x'),
            ):
                subprocess.run(  # noqa: S603
                    ['git', '-C', str(source), *arguments],  # noqa: S607
                    check=True,
                    timeout=60,
                )
            text = re.sub(
                r'type = local\nlocation = .*',
                f'type = git\nlocation = {source.as_uri()}\n'
                'reference = stable/1.0',
                text,
            )
        path = folder / 'kolla-build.conf'
        path.write_text(text, 'utf-8')
        conf = cfg.ConfigOpts()
        kolla_config.parse(
            conf,
            [
                *('--config-file', str(path), '--nobuildkit'),
                # No engine is asked for when it begins.
                '--template-only',
                *('--base', 'debian', '--locals-base', str(folder)),
                *('--work-dir', str(self.rendered.folders['debian'])),
            ],
            default_config_files=[],
        )
        return conf

    def _fetch(
        self, conf: cfg.ConfigOpts, name: str, what: str
    ) -> pathlib.Path:
        """Let kolla collect what an image takes in, and go no further."""
        worker = kolla_worker.KollaWorker(conf)
        worker.working_dir = os.path.join(conf.work_dir, 'docker')
        worker.find_dockerfiles()
        worker.build_image_list()
        (image,) = [x for x in worker.images if x.name == name]
        # The others are of kolla, and far away.
        image.source = None
        image.plugins = [
            source
            for source in image.plugins
            if source['name'].endswith('-nova-vgpu-ext')
        ]
        task = tasks.BuildTask(conf, image, queue.Queue())
        task._ec = _Engine()
        task.builder(image)
        self.assertEqual('built', image.status.value)
        self.addCleanup(shutil.rmtree, f'{image.path}/{what}', True)
        fetched = pathlib.Path(image.path, f'{what}-archive')
        shutil.rmtree(f'{image.path}/{what}')
        return fetched

    def _install_hook(
        self, archive: pathlib.Path, root: pathlib.Path, hooks: pathlib.Path
    ) -> None:
        """Do what the image's last steps do, below a folder."""
        with tarfile.open(archive) as tar:
            tar.extractall(root, filter='data')
        found = self.dockerfile('debian', archive.parent.name)
        command = found.lines[found.line(HOOK)][1]
        command = command.replace('/additions/', f'{root}/additions/')
        command = command.replace('/etc/libvirt/hooks', str(hooks))
        subprocess.run(['sh', '-ec', command], check=True, timeout=60)  # noqa: S603, S607

    def dockerfile(self, distribution: str, image: str) -> Dockerfile:
        """Take the Dockerfile of an image apart."""
        return parse(self.rendered.path(distribution, image) / 'Dockerfile')


class _Engine:
    """A container engine that is given an image to build, and has built it."""

    @property
    def images(self) -> _Engine:
        """Serve as its own collection."""
        return self

    def build(self, **arguments: Any) -> tuple[None, list[Any]]:
        """Find that the folder has what the Dockerfile adds."""
        folder = pathlib.Path(arguments['path'])
        for added in parse(folder / 'Dockerfile').of('ADD'):
            name = added.split()[0]
            if not (folder / name).is_file() and 'source' not in added:
                raise AssertionError(f'{folder} has no {name}')
        return None, []


class StartTest(base.TestCase):
    """What the agent's container does before the agent starts."""

    def start(self, command: str) -> list[str]:
        """Run the script, and give the calls of programs that do nothing."""
        folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        calls = folder / 'calls'
        for name in ('nova-vgpu', 'mkdir', 'install'):
            path = folder / name
            end = f'[ {name} != nova-vgpu ]'
            path.write_text(f'#!/bin/sh\necho "{name} $*" >>{calls}\n{end}\n')
            path.chmod(0o755)
        script = BUILD / 'docker' / AGENT / 'extend_start.sh'
        subprocess.run(  # noqa: S603
            # As kolla_start does.
            [
                *('bash', '-euo', 'pipefail', '-c'),
                f'CMD="{command}"; . "$0"',
                str(script),
            ],
            check=True,
            timeout=60,
            env={'PATH': f'{folder}:{os.environ["PATH"]}'},
        )
        return calls.read_text().splitlines()

    def test_failures_do_not_count(self) -> None:
        """Hook and mdevs are brought up to date, and the agent starts."""
        self.assertEqual(
            [
                'mkdir -p /var/log/kolla/nova',
                'nova-vgpu hook install',
                'nova-vgpu prepare',
            ],
            self.start('nova-vgpu-agent'),
        )

    def test_vendordata(self) -> None:
        """The vendordata service leaves the host alone."""
        self.assertEqual(
            ['install -d -o nova -g nova /var/log/kolla/nova'],
            self.start('setpriv --reuid nova nova-vgpu-vendordata'),
        )
