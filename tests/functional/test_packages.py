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
"""The sdist and the wheel that tools/dist builds of the last commit."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping

import nova_vgpu_ext
from tests import base

ROOT = pathlib.Path(nova_vgpu_ext.__file__).parents[1]
SECONDS = 300
SHARE = 'share/nova-vgpu-ext/'
SERVICES = ('nova-vgpu-agent', 'nova-vgpu-vendordata')
#: What tools/dist makes: its folder in the sdist, and that in the wheel.
MADE = {
    'doc/build/man/man1/nova-vgpu.1': 'share/man/man1/nova-vgpu.1',
    **{
        f'doc/build/man/man8/{name}.8': f'share/man/man8/{name}.8'
        for name in SERVICES
    },
    'doc/build/sample/nova-vgpu.conf.sample': f'{SHARE}nova-vgpu.conf.sample',
}
#: What pbr and reno add to the sdist.
ADDED = {
    'AUTHORS',
    'ChangeLog',
    'PKG-INFO',
    'RELEASENOTES.rst',
    'releasenotes/notes/reno.cache',
}
LOAD_ALL = """
import importlib.metadata
for point in importlib.metadata.distribution('nova-vgpu-ext').entry_points:
    point.load()
import nova_vgpu_ext
print(nova_vgpu_ext.__file__)
"""


def run(
    *command: object, cwd: pathlib.Path = ROOT, **environment: str
) -> subprocess.Popen[str]:
    """Start a program with the programs of this Python on its PATH."""
    path = f'{pathlib.Path(sys.executable).parent}:{os.environ["PATH"]}'
    return subprocess.Popen(  # noqa: S603
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, 'PATH': path, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def output(process: subprocess.Popen[str]) -> str:
    """Wait for a program, which must not fail, and give what it said."""
    said, _ = process.communicate(timeout=SECONDS)
    if process.returncode:
        raise AssertionError(f'{process.args}: {said}')
    return said


class PackagesTest(base.TestCase):
    """Built twice, in two clones of which nothing else is the same."""

    scratch: tempfile.TemporaryDirectory[str]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.scratch = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.scratch.cleanup)
        folder = pathlib.Path(cls.scratch.name)
        cls.clone, other = folder / 'clone', folder / 'other'
        output(run('git', 'clone', '-q', ROOT, cls.clone))
        output(run('git', 'clone', '-q', cls.clone, other))
        here = run(cls.clone / 'tools' / 'dist', folder / 'here')
        there = run(
            'bash', '-c', 'umask 077; sleep 2; exec "$@"', '-',
            other / 'tools' / 'dist', folder / 'there',
            cwd=folder, TMPDIR=cls.scratch.name, TZ='Asia/Tokyo',
            LC_ALL='C',
        )  # fmt: skip
        output(here)
        output(there)
        cls.here, cls.there = (
            sorted((folder / name).iterdir()) for name in ('here', 'there')
        )
        cls.wheel, cls.sdist = cls.here
        cls.files = set(
            output(run('git', 'ls-files', cwd=cls.clone)).splitlines()
        )

    def test_reproducible(self) -> None:
        """The same commit gives the same bytes."""
        self.assertEqual(
            [path.name for path in self.here],
            [path.name for path in self.there],
        )
        for here, there in zip(self.here, self.there, strict=True):
            self.assertTrue(here.read_bytes() == there.read_bytes(), here.name)

    def test_sdist(self) -> None:
        """It has what git has, and the little that is made for it."""
        with tarfile.open(self.sdist) as archive:
            names = {
                member.name.partition('/')[2]
                for member in archive
                if member.isfile()
            }
        names = {x for x in names if not x.startswith('nova_vgpu_ext.egg-')}
        self.assertEqual(
            sorted((self.files - {'.gitignore'}) | set(MADE) | ADDED),
            sorted(names),
        )

    def test_wheel(self) -> None:
        """It has the package, and the data that are used without git."""
        prefix = self.wheel.name.removesuffix('-py3-none-any.whl')
        with zipfile.ZipFile(self.wheel) as archive:
            names = {
                name.removeprefix(f'{prefix}.data/data/')
                for name in archive.namelist()
                if not name.startswith(f'{prefix}.dist-info/')
            }
        expected = {x for x in self.files if x.startswith('nova_vgpu_ext/')}
        expected |= set(MADE.values())
        for name in self.files:
            if name.startswith('etc/systemd/'):
                unit = name.removeprefix('etc/systemd/')
                expected.add(f'lib/systemd/system/{unit}')
            elif name.startswith('kolla_configs/'):
                expected.add(SHARE + name)
        self.assertEqual(sorted(expected), sorted(names))

    def test_installed(self) -> None:
        """The wheel works where nothing of the checkout can be found."""
        folder = self.temp_dir()
        venv = self._install(folder)
        where = output(
            run(venv / 'bin' / 'python', '-W', 'ignore', '-c', LOAD_ALL,
                cwd=folder, OS_NOVA_DISABLE_EVENTLET_PATCHING='true')
        )  # fmt: skip
        self.assertTrue(where.startswith(str(venv)), where)

        def call(program: str, *arguments: object) -> str:
            path = venv / 'bin' / program
            return output(run(path, *arguments, cwd=folder))

        version = self.wheel.name.split('-')[1]
        for program in ('nova-vgpu', *SERVICES):
            self.assertIn(version, call(program, '--version'))
        self.assertIn('mtty', call('nova-vgpu', 'sim', 'list'))
        call('nova-vgpu', 'hook', 'install', '--directory', folder)
        self.assertTrue((folder / 'qemu.d' / 'nova-vgpu').exists())
        usages = {name: call(name, '--help') for name in SERVICES}
        self._check_man_pages(venv, usages)

    def _install(self, folder: pathlib.Path) -> pathlib.Path:
        """Install the wheel; what it needs is found beside this Python."""
        venv = folder / 'venv'
        output(run(sys.executable, '-m', 'venv', '--without-pip', venv))
        output(
            run(
                sys.executable, '-m', 'pip', '--quiet',
                '--disable-pip-version-check', '--python',
                venv / 'bin' / 'python', 'install', '--no-index', '--no-deps',
                self.wheel,
            )
        )  # fmt: skip
        (packages,) = (venv / 'lib').glob('python3*/site-packages')
        others = [path for path in sys.path if path.endswith('-packages')]
        (packages / 'others.pth').write_text('\n'.join(others))
        return venv

    def _check_man_pages(
        self, venv: pathlib.Path, usages: Mapping[str, str]
    ) -> None:
        """Every command and every option of the services is described."""
        pages = venv / 'share' / 'man'
        text = (pages / 'man1' / 'nova-vgpu.1').read_text()
        with zipfile.ZipFile(self.wheel) as archive:
            (name,) = (x for x in archive.namelist() if 'entry_points' in x)
            lines = archive.read(name).decode().split('[nova_vgpu.cli]\n')[1]
        for line in lines.split('\n\n')[0].splitlines():
            command = line.partition(' = ')[0].replace('_', ' ')
            self.assertIn(f'.SS {command}\n', text)
        for name, usage in usages.items():
            text = (pages / 'man8' / f'{name}.8').read_text()
            text = text.replace('\\', '')
            for word in usage.split():
                if word.startswith('--'):
                    self.assertIn(word, text)

    def test_debian(self) -> None:
        """What debian/*.install takes from the sources is there."""
        install = self.clone / 'debian' / 'nova-vgpu-sim-dkms.install'
        for line in install.read_text().splitlines():
            source = line.split()[0]
            self.assertTrue(list(self.clone.glob(source)), source)
        dkms = (self.clone / 'devstack' / 'vgpu_sim' / 'dkms.conf').read_text()
        values = dict(x.split('=', 1) for x in dkms.splitlines() if '=' in x)
        self.assertIn(
            '/{PACKAGE_NAME}-{PACKAGE_VERSION}\n'.format(**values).replace(
                '"', ''
            ),
            install.read_text(),
        )

    def test_version(self) -> None:
        """It comes from a tag; where there is no git, from PBR_VERSION."""
        version = (sys.executable, '-W', 'ignore', 'setup.py', '--version')
        git = ('git', '-c', 'user.name=a', '-c', 'user.email=a@example.org')
        output(run(*git, 'tag', '-a', '-m', '-', '7.8.9', cwd=self.clone))
        said = output(run(*version, cwd=self.clone)).splitlines()
        self.assertEqual('7.8.9', said[-1])
        folder = self.temp_dir()
        output(
            run(
                'bash',
                '-c',
                f'git archive HEAD | tar -x -C {folder}',
                cwd=self.clone,
            )
        )
        output(
            run(sys.executable, '-m', 'build', '--no-isolation', '--wheel',
                cwd=folder, PBR_VERSION='1.2.3')
        )  # fmt: skip
        (wheel,) = (folder / 'dist').iterdir()
        self.assertIn('-1.2.3-', wheel.name)
        with zipfile.ZipFile(wheel) as archive:
            self.assertLessEqual(
                {x for x in self.files if x.startswith('nova_vgpu_ext/')},
                set(archive.namelist()),
            )
