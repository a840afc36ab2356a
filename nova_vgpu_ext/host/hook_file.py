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
"""The libvirt hook as a file on this host: is it there, and is it ours."""

from __future__ import annotations

import ast
import dataclasses
import enum
import importlib.resources
import os
import re
from collections.abc import Mapping

from nova_vgpu_ext import exception
from nova_vgpu_ext.host import files

#: Where libvirt looks; ``qemu.d`` since 6.5.
DIRECTORY = '/etc/libvirt/hooks'
NAME = os.path.join('qemu.d', 'nova-vgpu')

Settings = Mapping[str, str | bool]

_MODE = 0o755
_SIZE_LIMIT = 1 << 20
_MARKER = re.compile(r'# nova-vgpu-ext: libvirt hook, version ([0-9]{1,9})\n')
_SETTINGS = re.compile(r'^(SETTINGS\b.* = )(\{\n.*?^\})$', re.M | re.S)


class State(enum.Enum):
    """What is at the place of the hook; the value answers "installed?"."""

    INSTALLED = 'yes'
    ABSENT = 'no'
    #: Ours, but not what would be written now, or not executable.
    OUTDATED = 'outdated'
    #: Ours, of a later version of this program.
    NEWER = 'newer'
    #: Something else has the name.
    FOREIGN = 'foreign'


@dataclasses.dataclass(frozen=True)
class HookFile:
    """The hook as it was found."""

    path: str
    state: State
    #: Those in the file; None where it is not ours.
    settings: Settings | None = None


def render(settings: Settings) -> str:
    """Give the text of the hook.

    :param settings: for its ``SETTINGS``.
    """
    lines = ''.join(f'    {k!r}: {v!r},\n' for k, v in settings.items())
    return _SETTINGS.sub(
        lambda match: f'{match[1]}{{\n{lines}}}', _source(), count=1
    )


def look(directory: str, settings: Settings) -> HookFile:
    """See what is at the place of the hook.

    :param directory: libvirt's folder of hooks.
    :param settings: those that it should have. ``refuse`` may be missing:
        then it is what the file says, or true.
    :raises HostError: the file cannot be read.
    """
    path = os.path.join(os.path.abspath(directory), NAME)
    try:
        mode = os.lstat(path).st_mode & 0o777
        text = files.read(path, _SIZE_LIMIT)
    except FileNotFoundError:
        return HookFile(path, State.ABSENT)
    except ValueError:
        return HookFile(path, State.FOREIGN)
    except OSError as error:
        if os.path.islink(path) or os.path.isdir(path):
            return HookFile(path, State.FOREIGN)
        raise _failed(path, error) from error
    version, found = _version(text), _settings(text)
    if version is None or found is None:
        return HookFile(path, State.FOREIGN)
    expected = {'refuse': found.get('refuse', True), **settings}
    if version > (_version(_source()) or 0):
        state = State.NEWER
    elif text != render(_ordered(expected)) or mode != _MODE:
        state = State.OUTDATED
    else:
        state = State.INSTALLED
    return HookFile(path, state, found)


def install(
    directory: str, settings: Settings, dry_run: bool = False
) -> list[str]:
    """Put the hook into its place.

    :param directory: as of :func:`look`.
    :param settings: likewise.
    :param dry_run: only say what would be done.
    :returns: what was done, a line each; nothing if it was there.
    :raises Refused: another file, or a later hook, is there.
    :raises HostError: it cannot be written.
    """
    found = look(directory, settings)
    if found.state is State.INSTALLED:
        return []
    if found.state in (State.FOREIGN, State.NEWER):
        raise _refused(found)
    refuse = (found.settings or {}).get('refuse', True)
    text = render(_ordered({'refuse': refuse, **settings}))
    folder = os.path.dirname(found.path)
    steps = []
    try:
        if not os.path.isdir(folder):
            steps.append(f'make {folder}')
            if not dry_run:
                os.makedirs(folder, exist_ok=True)
        verb = 'write' if found.state is State.ABSENT else 'replace'
        steps.append(f'{verb} {found.path}')
        if not dry_run:
            files.replace(found.path, text, _MODE)
            # The umask may have taken something away.
            os.chmod(found.path, _MODE)
    except OSError as error:
        raise _failed(found.path, error) from error
    return steps


def remove(directory: str, dry_run: bool = False) -> list[str]:
    """Remove the hook.

    :param directory: as of :func:`look`.
    :param dry_run: only say what would be done.
    :returns: what was done, a line each; nothing if there was none.
    :raises Refused: it is not ours.
    :raises HostError: it cannot be removed.
    """
    found = look(directory, {})
    if found.state is State.ABSENT:
        return []
    if found.state is State.FOREIGN:
        raise _refused(found)
    if not dry_run:
        try:
            os.unlink(found.path)
            files.sync(os.path.dirname(found.path))
        except OSError as error:
            raise _failed(found.path, error) from error
    return [f'remove {found.path}']


def _source() -> str:
    file = importlib.resources.files('nova_vgpu_ext.hook') / 'qemu.py'
    return file.read_text('utf-8')


def _version(text: str) -> int | None:
    """Read the version of a hook; None if it is not ours."""
    match = _MARKER.match(text.partition('\n')[2])
    return int(match[1]) if match else None


def _settings(text: str) -> dict[str, str | bool] | None:
    """Read the settings of a hook; None if it has none."""
    match = _SETTINGS.search(text)
    try:
        found = ast.literal_eval(match[2]) if match else None
    except (ValueError, SyntaxError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _ordered(settings: Settings) -> Settings:
    """Put settings into the order of the source."""
    names = _settings(_source()) or {}
    return {name: settings.get(name, names[name]) for name in names}


def _refused(found: HookFile) -> exception.Refused:
    if found.state is State.NEWER:
        what, remedy = 'the hook of a later version', 'upgrade this program'
    else:
        what, remedy = 'something that is not this hook', 'move it away'
    return exception.Refused([f'{found.path}: found {what}; {remedy}'])


def _failed(path: str, error: OSError) -> exception.HostError:
    return exception.HostError(
        path,
        (error.strerror or str(error)).lower(),
        'a file that can be read and written',
        'run this as root, or give another --directory',
    )
