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
"""Reading nova.conf into a private ConfigOpts, and that into plain data."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from oslo_config import cfg, types

from nova_vgpu_ext import exception, models
from nova_vgpu_ext.conf import agent, devices, nova, scheduler, vgpu

#: A value that is not of its type, or whose ``$name`` is no option.
BAD_VALUE = (
    cfg.ConfigFileValueError,
    cfg.NoSuchOptError,
    cfg.TemplateSubstitutionError,
)

#: ``[vgpu_<type>]`` is read for ``device_addresses`` alone.
_NOT_IN_OLD_SECTIONS = ('mdev_class', 'max_instances')


def load(
    config_files: Sequence[str] = (),
    config_dirs: Sequence[str] = (),
    register: Callable[[cfg.ConfigOpts], None] | None = None,
) -> cfg.ConfigOpts:
    """Read configuration files, later ones over earlier ones.

    :param config_files: files to read. Without files and folders,
        nova-compute's own rule finds them: nova.conf and nova-compute.conf
        in ~/.nova, ~, /etc/nova and /etc, and their ``.conf.d`` folders.
    :param config_dirs: folders whose ``*.conf`` files are read after them.
    :param register: registers more options, such as a library's own.
    :raises ConfigError: a file is missing, unreadable or malformed.
    """
    conf = cfg.ConfigOpts()
    vgpu.register_opts(conf)
    agent.register_opts(conf)
    devices.register_opts(conf)
    nova.register_opts(conf)
    if register is not None:
        register(conf)
    for name in config_dirs:
        if os.path.exists(name) and not os.path.isdir(name):
            # oslo.config would take it for a folder without files.
            raise _file_error([name], 'a file, no folder', [name])
    args = [f'--config-file={name}' for name in config_files]
    args += [f'--config-dir={name}' for name in config_dirs]
    try:
        conf(
            args,
            project='nova',
            prog='nova-compute',
            default_config_files=[] if args and not config_files else None,
            default_config_dirs=[] if args and not config_dirs else None,
        )
    except cfg.ConfigFilesNotFoundError as exc:
        raise _file_error(
            list(exc.config_files), 'no such file', args
        ) from exc
    except cfg.ConfigFilesPermissionDeniedError as exc:
        raise _file_error(
            list(exc.config_files), 'permission denied', args
        ) from exc
    except cfg.ConfigDirNotFoundError as exc:
        raise _file_error([exc.config_dir], 'no such folder', args) from exc
    except cfg.ConfigFileParseError as exc:
        raise _syntax_error(exc.config_file, exc.msg or '') from exc
    except UnicodeDecodeError as exc:
        names = [*(config_files or conf.default_config_files or ())]
        for name in config_dirs or conf.default_config_dirs or ():
            names += sorted(glob.glob(os.path.join(name, '*.conf')))
        raise exception.ConfigError(
            _not_decodable(names),
            'bytes that are no UTF-8 text',
            'an INI file',
            'give the right path, or mend the file',
        ) from exc
    except OSError as exc:
        found = (exc.strerror or str(exc)).lower()
        raise _file_error([str(exc.filename)], found, args) from exc
    return conf


def _syntax_error(name: str, message: str) -> exception.ConfigError:
    """Take the parser's ``at nova.conf:3, reason: 'line'`` apart.

    The line is left out: it may hold a password.
    """
    reason = ' '.join(message.split()).partition(": '")[0]
    number, comma, rest = reason.removeprefix(f'at {name}:').partition(', ')
    where = f'{name}:{number}' if comma and number.isdigit() else name
    return exception.ConfigError(
        where,
        rest if where != name else reason,
        'an INI file',
        'mend or remove the line',
    )


def _not_decodable(names: Iterable[str]) -> str:
    """Find the file that stopped oslo.config, which does not say which."""
    for name in names:
        try:
            with open(name, encoding='utf-8') as stream:
                stream.read()
        except UnicodeDecodeError:
            return name
        except OSError:
            continue
    return ', '.join(names)


def _file_error(
    names: Sequence[str], found: str, given: Sequence[str]
) -> exception.ConfigError:
    expected = 'a file that this user may read'
    if 'folder' in found:
        expected = 'a folder with *.conf files'
    remedy = 'give the right path' if given else 'or give --config-file'
    return exception.ConfigError(', '.join(names), found, expected, remedy)


def require_files(conf: cfg.ConfigOpts) -> None:
    """Refuse to go on without any configuration file.

    :raises ConfigError: none was given, and none is in the usual places.
    """
    if not conf.config_file and not conf.config_dir:
        raise exception.ConfigError(
            'nova.conf',
            'no such file in /etc/nova, /etc, ~/.nova or ~',
            "nova-compute's configuration",
            'give it with --config-file',
        )


def value(conf: cfg.ConfigOpts, group: str, name: str) -> Any:
    """Read one option; a bad value becomes an error that names it.

    :raises ConfigError: the value is not of the option's type.
    """
    try:
        return conf[group][name]
    except BAD_VALUE as exc:
        raise exception.ConfigError(
            f'[{group}] {name}',
            _written_value(conf, group, name),
            _expected(group, name),
            'mend or remove the line',
        ) from exc


def _expected(group: str, name: str) -> str:
    """Say in words which values an option takes."""
    known = {
        'vgpu': [*vgpu.opts, *scheduler.opts],
        agent.GROUP: agent.opts,
        'devices': devices.opts,
        **nova.opts,
    }
    kind = next((o.type for o in known[group] if o.dest == name), None)
    if isinstance(kind, types.Integer):
        upper = '' if kind.max is None else f' to {kind.max}'
        return f'a whole number from {kind.min}{upper}'
    if isinstance(kind, types.Float):
        lower = '' if kind.min is None else f' from {kind.min}'
        return f'a number{lower}'
    if isinstance(kind, types.Boolean):
        return 'true or false'
    if isinstance(kind, types.String) and kind.choices:
        return ' or '.join(kind.choices)
    if isinstance(kind, types.List):
        pattern = getattr(kind.item_type, 'regex', None)
        if pattern:
            return f'words of the form {pattern.pattern}'
        choices = getattr(kind.item_type, 'choices', None) or ()
        return 'some of ' + ', '.join(choices)
    return 'another value'


def devices_config(conf: cfg.ConfigOpts) -> models.DevicesConfig:
    """Take what nova.conf says of vGPUs out of the options.

    Values that Nova's own options refuse are returned as fatal findings, so
    that one look shows all of them.

    :param conf: the result of :func:`load`.
    """
    invalid: list[models.Finding] = []
    enabled = value(conf, 'devices', 'enabled_mdev_types')
    configured = tuple(_type_config(conf, t, invalid) for t in enabled)
    return models.DevicesConfig(
        types=configured,
        unused_sections=_unused_sections(conf, enabled),
        ignored_options=tuple(_ignored_options(conf, enabled)),
        invalid=tuple(dict.fromkeys(invalid)),
        association_refresh=value(
            conf, 'compute', 'resource_provider_association_refresh'
        ),
        pci_in_placement=value(conf, 'pci', 'report_in_placement'),
    )


_EXPECTED = {
    'device_addresses': 'a list of addresses',
    'mdev_class': 'VGPU, or CUSTOM_ with capital letters, digits and _',
    'max_instances': 'a whole number from 1',
}


def _type_config(
    conf: cfg.ConfigOpts, type_id: str, invalid: list[models.Finding]
) -> models.TypeConfig:
    devices.register_mdev_opts(conf, type_id)
    group = devices.mdev_group(type_id)
    values: dict[str, Any] = {}
    for name in _EXPECTED:
        try:
            values[name] = conf[group][name]
        except BAD_VALUE:
            invalid.append(
                models.Finding(
                    models.Severity.FATAL,
                    f'[{group}] {name}',
                    _written_value(conf, group, name),
                    _EXPECTED[name],
                    'nova-compute refuses to start; mend or remove the line',
                )
            )
    return models.TypeConfig(
        type_id, tuple(values.pop('device_addresses', ())), **values
    )


def _written_value(conf: cfg.ConfigOpts, group: str, name: str) -> str:
    """Read an option as the text that the files hold, whatever its type."""
    text = cfg.ConfigOpts()
    text.register_opt(cfg.StrOpt(name), group=group)
    text(
        [],
        project='nova',
        prog='nova-compute',
        default_config_files=conf.config_file,
        default_config_dirs=conf.config_dir,
    )
    try:
        return repr(text[group][name])
    except BAD_VALUE:
        return 'a $ that names no option (write $$ for the sign itself)'


def _unused_sections(
    conf: cfg.ConfigOpts, enabled: Sequence[str]
) -> tuple[str, ...]:
    used = {devices.mdev_group(t) for t in enabled}
    used |= {devices.old_mdev_group(t) for t in enabled}
    used.add(agent.GROUP)
    return tuple(
        section
        for section in conf.list_all_sections()
        if section.startswith(('mdev_', 'vgpu_')) and section not in used
    )


def _ignored_options(
    conf: cfg.ConfigOpts, enabled: Sequence[str]
) -> list[str]:
    found = []
    for type_id in dict.fromkeys(enabled):
        group = devices.old_mdev_group(type_id)
        for name in _NOT_IN_OLD_SECTIONS:
            conf.register_opt(cfg.StrOpt(name), group=group)
            if conf[group][name] is not None:
                found.append(f'[{group}] {name}')
    return found
