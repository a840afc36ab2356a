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
"""Builds the guest's disks, without root where user namespaces allow it.

Three artifacts per Debian release, each kept until what it is made from
changes:

* ``tree``: Debian's packages, Nova, and what this project needs;
* ``root``: the bootable disk of it;
* ``project``: this project and its kernel module, on a small disk of their
  own, so that a change of the source is there in half a minute.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import os
import pathlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping

from tools.labvm import LabError, host, store

ROOT = pathlib.Path(__file__).resolve().parents[2]
_IMAGE = pathlib.Path(__file__).parent / 'image'
_MIRROR = 'http://deb.debian.org/debian'
_SECURITY = 'http://deb.debian.org/debian-security'
_CERTIFICATES = '/etc/ssl/certs/ca-certificates.crt'
#: What the project is built from; everything below the folders.
_SOURCES = (
    'LICENSE',
    'MANIFEST.in',
    'README.rst',
    'devstack/vgpu_sim',
    'etc',
    'nova_vgpu_ext',
    'pyproject.toml',
    'requirements.txt',
    'setup.cfg',
    'setup.py',
)
#: Files of packages that the guest does without: a smaller disk is made
#: sooner, and fewer drivers boot sooner.
_UNWANTED = (
    *(f'/usr/share/{name}/*' for name in ('doc', 'info', 'locale', 'man')),
    *(
        f'/lib/modules/*/kernel/{name}/*'
        for name in (
            'drivers/gpu',
            'drivers/infiniband',
            'drivers/media',
            'drivers/net/ethernet',
            'drivers/net/wireless',
            'drivers/staging',
            'net/wireless',
            'sound',
        )
    ),
)
_TREE_SCRIPTS = ('kernel.sh', 'openstack.sh')
_REQUIREMENTS = ('requirements.txt', 'test-requirements.txt')

#: Where each release's packages come from, and what it stands for.
RELEASES: Mapping[str, tuple[str, ...]] = {
    'debian-12': (
        f'deb {_MIRROR} bookworm main',
        f'deb {_MIRROR} bookworm-updates main',
        f'deb {_SECURITY} bookworm-security main',
    ),
    'debian-12-backports': (
        f'deb {_MIRROR} bookworm main',
        f'deb {_MIRROR} bookworm-updates main',
        f'deb {_MIRROR} bookworm-backports main',
        f'deb {_SECURITY} bookworm-security main',
    ),
}


@dataclasses.dataclass(frozen=True)
class Images:
    """What a guest starts from."""

    #: Holds ``vmlinuz``, ``initrd``, ``root.ext4`` and ``host_key.pub``.
    root: pathlib.Path
    #: Holds ``project.ext4``.
    project: pathlib.Path


class Builder:
    """Builds what is not there yet.

    :param folder: where everything is kept.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.store = store.Store(folder / 'images')

    def build_all(self, releases: Iterable[str]) -> None:
        """Build the disks of several releases at the same time.

        :param releases: names of :data:`RELEASES`.
        :raises LabError: a program is missing, or a step failed.
        """
        with concurrent.futures.ThreadPoolExecutor() as pool:
            for done in [pool.submit(self.build, r) for r in releases]:
                done.result()

    def build(self, release: str) -> Images:
        """Build the disks of a release, or find them.

        :param release: one of :data:`RELEASES`.
        :raises LabError: a program is missing, or a step failed.
        """
        host.require(host.BUILDING)
        tree_parts = list(self._tree_parts(release))
        root_parts = [*tree_parts, *_contents(_IMAGE / 'overlay')]
        root_parts += [_read(_IMAGE / 'root.sh'), _read(self._public_key)]
        source = dict(_sources())
        project_parts = [*tree_parts, _read(_IMAGE / 'project.sh')]
        project_parts.append(_read(_IMAGE / 'disk.sh'))
        for name, path in source.items():
            project_parts += [name.encode(), _read(path)]

        def tree() -> pathlib.Path:
            return self.store.get(
                f'{release}.tree',
                tree_parts,
                lambda folder: self._make_tree(release, folder),
            )

        root = self.store.get(
            f'{release}.root',
            root_parts,
            lambda folder: self._make_root(release, tree(), folder),
        )
        project = self.store.get(
            f'{release}.project',
            project_parts,
            lambda folder: self._make_project(release, tree(), source, folder),
        )
        return Images(root, project)

    @property
    def _public_key(self) -> pathlib.Path:
        return self.private_key.with_suffix('.pub')

    @property
    def private_key(self) -> pathlib.Path:
        """The key that opens every guest of this folder."""
        return self.store.get('key', [], self._make_key) / 'key'

    def _make_key(self, folder: pathlib.Path) -> None:
        command = [host.program('ssh-keygen'), '-q', '-t', 'ed25519']
        command += ['-N', '', '-C', 'tools/lab', '-f', str(folder / 'key')]
        log = self.store.log('key')
        with store.stage('A key for SSH', log):
            _call(command, log)

    def _tree_parts(self, release: str) -> Iterator[bytes]:
        yield '\n'.join(RELEASES[release]).encode()
        # The commands themselves.
        yield _read(pathlib.Path(__file__))
        for name in ('packages.txt', 'tiny-initramfs.conf', *_TREE_SCRIPTS):
            yield _read(_IMAGE / name)
        for name in _REQUIREMENTS:
            yield _read(ROOT / name)
        certificates = host.certificates()
        yield _read(certificates) if certificates else b''

    def _make_tree(self, release: str, folder: pathlib.Path) -> None:
        hooks = [
            '--essential-hook=mkdir -p "$1/etc/tiny-initramfs" "$1/lab"',
            _hook('essential', 'copy-in', _IMAGE / 'tiny-initramfs.conf')
            + ' /etc/tiny-initramfs',
            *(
                _hook('customize', 'copy-in', path) + ' /lab'
                for path in (
                    *(_IMAGE / name for name in _TREE_SCRIPTS),
                    *(ROOT / name for name in _REQUIREMENTS),
                )
            ),
            *(
                f'--customize-hook=chroot "$1" /lab/{name}'
                for name in _TREE_SCRIPTS
            ),
            '--customize-hook=rm -r "$1/lab"',
        ]
        certificates = host.certificates()
        if certificates:
            hooks.insert(
                2,
                _hook('customize', 'upload', certificates)
                + f' {_CERTIFICATES}',
            )
        log = self.store.log(f'{release}.tree')
        with store.stage(f'{release}: Debian packages and Nova', log):
            _call(
                [
                    *(host.program('mmdebstrap'), '--variant=minbase'),
                    # No user may make device nodes; the kernel has them.
                    '--skip=output/dev',
                    '--aptopt=APT::Install-Recommends "false"',
                    # The newest of each package, from backports as well.
                    '--aptopt=APT::Default-Release "/^bookworm/"',
                    *(f'--dpkgopt=path-exclude={path}' for path in _UNWANTED),
                    f'--include={",".join(_packages())}',
                    *hooks,
                    'bookworm',
                    str(folder / 'tree.tar'),
                    *RELEASES[release],
                ],
                log,
            )

    def _make_root(
        self, release: str, tree: pathlib.Path, folder: pathlib.Path
    ) -> None:
        log = self.store.log(f'{release}.root')
        with store.stage(f'{release}: the disk', log):
            _call(
                [
                    *(host.program('fakeroot'), '--'),
                    str(_IMAGE / 'root.sh'),
                    str(tree / 'tree.tar'),
                    str(_IMAGE / 'overlay'),
                    str(self._public_key),
                    str(folder),
                ],
                log,
            )

    def _make_project(
        self,
        release: str,
        tree: pathlib.Path,
        source: Mapping[str, pathlib.Path],
        folder: pathlib.Path,
    ) -> None:
        log = self.store.log(f'{release}.project')
        with store.stage(f'{release}: this project and its module', log):
            copy = folder / 'source'
            for name, path in source.items():
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, copy / name)
            output = folder / 'project.tar'
            _call(
                [
                    *(host.program('mmdebstrap'), '--variant=custom'),
                    '--skip=update,cleanup',
                    _hook('setup', 'tar-in', tree / 'tree.tar') + ' /',
                    '--setup-hook=mkdir -p "$1/dev"',
                    '--customize-hook=mkdir "$1/lab"',
                    _hook('customize', 'copy-in', copy) + ' /lab',
                    _hook('customize', 'upload', _IMAGE / 'project.sh')
                    + ' /lab/project.sh',
                    '--customize-hook=chroot "$1" sh /lab/project.sh',
                    '--customize-hook=tar-out /opt/nova-vgpu-ext '
                    + _quote(output),
                    '',
                    '/dev/null',
                ],
                log,
            )
            shutil.rmtree(copy)
            _call(
                [
                    *(host.program('fakeroot'), '--'),
                    *(str(_IMAGE / 'disk.sh'), str(output), str(folder)),
                ],
                log,
            )


def _hook(kind: str, verb: str, path: pathlib.Path) -> str:
    return f'--{kind}-hook={verb} {_quote(path)}'


def _quote(path: pathlib.Path) -> str:
    """Write a path as mmdebstrap's own hooks read one: as a shell would."""
    return re.sub(r'([^A-Za-z0-9_./+@-])', r'\\\1', str(path))


def _packages() -> list[str]:
    text = (_IMAGE / 'packages.txt').read_text(encoding='ascii')
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith('#')]


def _sources() -> Iterator[tuple[str, pathlib.Path]]:
    """Give the files that git knows or would add, by name."""
    command = [host.program('git'), '-C', str(ROOT), 'ls-files', '-z']
    command += ['--cached', '--others', '--exclude-standard', '--', *_SOURCES]
    done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603
    if done.returncode:
        raise LabError(
            f'{ROOT} is no git repository that can be read: '
            f'{os.fsdecode(done.stderr).strip()}\n'
            'The lab takes the project from a clone of its repository.'
        )
    for name in sorted(filter(None, os.fsdecode(done.stdout).split('\0'))):
        if (ROOT / name).is_file():
            yield name, ROOT / name


def _contents(folder: pathlib.Path) -> Iterator[bytes]:
    for path in sorted(folder.rglob('*')):
        if path.is_file():
            yield str(path.relative_to(folder)).encode()
            yield path.read_bytes()


def _read(path: pathlib.Path) -> bytes:
    return path.read_bytes()


@functools.cache
def _environment() -> dict[str, str]:
    """Pass on where pip finds packages, and whom the guest trusts."""
    environ = {
        key: value
        for key, value in os.environ.items()
        if key not in ('PIP_FIND_LINKS', 'PYTHONPATH', 'VIRTUAL_ENV')
    }
    for option, value in _pip_options():
        environ.setdefault(f'PIP_{option.upper().replace("-", "_")}', value)
    for name in (
        'CURL_CA_BUNDLE',
        'PIP_CERT',
        'REQUESTS_CA_BUNDLE',
        'SSL_CERT_FILE',
    ):
        environ[name] = _CERTIFICATES
    environ['PATH'] = host.search_path()
    environ['PIP_CONFIG_FILE'] = os.devnull
    environ['PIP_DISABLE_PIP_VERSION_CHECK'] = '1'
    return environ


def _pip_options() -> Iterator[tuple[str, str]]:
    """Read what pip's configuration files say of the network."""
    done = subprocess.run(
        [sys.executable, '-m', 'pip', 'config', 'list'],
        capture_output=True,
        text=True,
        check=False,
    )
    pattern = r"^(?:global|install)\.(index-url|proxy|trusted-host)='(.*)'$"
    yield from re.findall(pattern, done.stdout, re.MULTILINE)


def _call(command: list[str], log: pathlib.Path) -> None:
    with log.open('ab') as stream:
        done = subprocess.run(  # noqa: S603
            command,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        raise store.Failed(
            f'{pathlib.Path(command[0]).name} ended with {done.returncode}'
        )
