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
"""What was built, kept under the hash of what it was built from."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import pathlib
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator

from tools.labvm import LabError


@contextlib.contextmanager
def stage(title: str, log: pathlib.Path) -> Iterator[None]:
    """Say that something is done, and how long it took.

    :param title: what is done.
    :param log: where its output goes, for the message.
    :raises LabError: with the end of the log, if it failed.
    """
    start = time.monotonic()
    print(f'  {title} ...', file=sys.stderr, flush=True)
    try:
        yield
    except OSError as error:
        raise LabError(f'{title}: {error}') from error
    except Failed as error:
        text = log.read_text(encoding='utf-8', errors='replace')
        end = '\n'.join(text.splitlines()[-15:])
        raise LabError(
            f'{title} failed: {error}\n{end}\nAll of it is in {log}'
        ) from error
    seconds = time.monotonic() - start
    print(f'  {title}: done, {seconds:.0f} s', file=sys.stderr, flush=True)


class Failed(Exception):
    """A program that was started for a stage failed."""


class Store:
    """A folder of artifacts, each a folder of files.

    :param folder: it is made when needed.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder

    def get(
        self,
        kind: str,
        parts: Iterable[bytes],
        make: Callable[[pathlib.Path], None],
    ) -> pathlib.Path:
        """Give an artifact, and make it where there is none.

        What is made appears under its name only when it is whole, so that
        one that was interrupted is made again.

        :param kind: its name.
        :param parts: everything that it is made from.
        :param make: fills the empty folder that it is given.
        :returns: the artifact's folder.
        """
        target = self.folder / f'{kind}.{_digest(parts)}'
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._locked(kind):
            if not target.exists():
                partial = self.folder / f'{kind}.partial'
                shutil.rmtree(partial, ignore_errors=True)
                partial.mkdir()
                make(partial)
                partial.rename(target)
            self._forget_others(target)
        return target

    def log(self, kind: str) -> pathlib.Path:
        """Name the log of an artifact's making."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / f'{kind}.log'

    @contextlib.contextmanager
    def _locked(self, kind: str) -> Iterator[None]:
        with open(self.folder / f'{kind}.lock', 'w') as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    def _forget_others(self, target: pathlib.Path) -> None:
        """Remove what the artifact was before; who uses it has links."""
        kind = target.name.rpartition('.')[0]
        for path in self.folder.glob(f'{kind}.*'):
            if path.is_dir() and path != target:
                shutil.rmtree(path)


def _digest(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(b'%d:' % len(part))
        digest.update(part)
    return digest.hexdigest()[:16]
