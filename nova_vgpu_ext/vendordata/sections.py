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
"""The sections of the configuration that say what guests get."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from oslo_config import cfg

from nova_vgpu_ext import exception
from nova_vgpu_ext.conf import load as conf_load
from nova_vgpu_ext.conf import vendordata
from nova_vgpu_ext.guest.settings import Driver, Edition, Server, System
from nova_vgpu_ext.vendordata import rules, tokens
from nova_vgpu_ext.vendordata.request import KEYSTONE_ID
from nova_vgpu_ext.vendordata.rules import Conditions, Rule

#: A product, with the frame buffer and the series that every one has.
_PRODUCT = re.compile(
    r'[A-Za-z0-9-]+-[0-9]+[ABCQabcq][A-Za-z0-9]*|[a-z0-9]+-[0-9]+', re.ASCII
)

_Choice = TypeVar('_Choice', System, Edition)


@dataclasses.dataclass(frozen=True)
class Licence:
    """Where guests get their licence; the token itself is not here."""

    token_file: str | None
    server: Server | None
    backup: Server | None
    editions: frozenset[Edition]


@dataclasses.dataclass(frozen=True)
class Rules:
    """All that the configuration says."""

    drivers: Sequence[Rule[Driver]]
    licences: Sequence[Rule[Licence]]

    @property
    def ask_domain(self) -> bool:
        """Whether any of them depends on the domain of the project."""
        found = [rule.conditions for rule in self.drivers]
        found += [rule.conditions for rule in self.licences]
        return any(conditions.domains for conditions in found)


def load(conf: cfg.ConfigOpts) -> Rules:
    """Read the sections.

    :param conf: options whose files have been read.
    :raises ConfigError: a value cannot be used, or two sections are for the
        same guests.
    """
    _check_names(conf)
    drivers = []
    licences = []
    for name in vendordata.register_guests(conf):
        section = _Section(conf, name)
        conditions = section.conditions()
        if section.says(vendordata.DRIVER):
            drivers.append(Rule(name, conditions, section.driver()))
        if section.says(vendordata.LICENCE):
            licences.append(Rule(name, conditions, section.licence()))
    rules.check(drivers, 'a driver')
    rules.check(licences, 'a licence')
    return Rules(drivers, licences)


def _check_names(conf: cfg.ConfigOpts) -> None:
    """Refuse misspelt names: a section would hold for others than was meant.

    :raises ConfigError: there is one.
    """
    for file in conf.config_file or ():
        parsed: dict[str, dict[str, list[str]]] = {}
        _Parser(file, parsed).parse()
        for section, options in parsed.items():
            if section == vendordata.GROUP:
                _check_options(section, options, vendordata.opts)
            if not section.casefold().startswith(vendordata.GUEST):
                continue
            if section != vendordata.GUEST and not section.startswith(
                vendordata.PREFIX
            ):
                raise exception.ConfigError(
                    file,
                    f'[{section}]',
                    f'[{vendordata.GUEST}] or [{vendordata.PREFIX}NAME]',
                )
            _check_options(section, options, vendordata.guest_opts(section))
            for name, values in options.items():
                if len(values) > 1:
                    raise exception.ConfigError(
                        f'{file}: [{section}] {name}',
                        f'{len(values)} values',
                        'one; the last would win without a word',
                    )


class _Parser(cfg.ConfigParser):
    """Refuses a section that stands twice in a file.

    oslo.config would make one of the two, with the licence of the one for the
    projects of the other.
    """

    def new_section(self, section: str) -> None:
        """Begin a section."""
        # oslo.config does not tell upper case from lower case.
        name = section.casefold()
        if name.startswith(vendordata.GUEST) and name in {
            known.casefold() for known in self.sections
        }:
            raise exception.ConfigError(
                f'{self.filename}: [{section}]',
                'a section of that name twice',
                'one section, or another name for the second',
            )
        super().new_section(section)


def _check_options(
    section: str, names: Iterable[str], opts: Iterable[cfg.Opt]
) -> None:
    known = [opt.dest for opt in opts]
    for name in names:
        if name not in known:
            raise exception.ConfigError(
                f'[{section}] {name}',
                'an option that is not known',
                f'one of {", ".join(known)}',
            )


def value(conf: cfg.ConfigOpts, group: str, name: str) -> Any:
    """Read an option.

    :raises ConfigError: the value is not of its type.
    """
    try:
        return conf[group][name]
    except conf_load.BAD_VALUE as error:
        raise exception.ConfigError(
            f'[{group}] {name}',
            ' '.join(str(error).split())[:200],
            'a value of its type',
            'mend or remove the line',
        ) from error


class _Section:
    """One section.

    :param name: its name.
    """

    def __init__(self, conf: cfg.ConfigOpts, name: str) -> None:
        self._conf = conf
        self._name = name

    def says(self, names: Iterable[str]) -> bool:
        """Tell whether the files have any of these options here."""
        for name in names:
            self._get(name)  # The location of a bad value is an error.
            found = self._conf.get_location(name, self._name)
            if found is not None and found.location.is_user_controlled:
                return True
        return False

    def conditions(self) -> Conditions:
        """Read for which guests it is."""
        if self._name == vendordata.GUEST:
            return Conditions()
        found = Conditions(
            projects=self._words('projects', KEYSTONE_ID, 'ids of projects'),
            domains=self._words('domains', KEYSTONE_ID, 'ids of domains'),
            types=frozenset(
                name.casefold()
                for name in self._words('types', _PRODUCT, 'V100DX-1Q')
            ),
            systems=self._choices('systems', System),
        )
        if System.WINDOWS in found.systems:
            raise self._error(
                'systems',
                'windows',
                'debian, ubuntu, rocky: cloudbase-init reads no vendordata',
            )
        if found == Conditions():
            raise exception.ConfigError(
                f'[{self._name}]',
                'no projects, domains, types or systems',
                'for which guests it is',
                f'[{vendordata.GUEST}] is for all',
            )
        return found

    def _words(
        self, name: str, pattern: re.Pattern[str], expected: str
    ) -> frozenset[str]:
        """Read a list; what can hold for no guest would go unseen."""
        found = frozenset(self._get(name))
        for word in sorted(found):
            if not pattern.fullmatch(word):
                raise self._error(name, repr(word[:80]), expected)
        return found

    def driver(self) -> Driver | None:
        """Read the driver; None where the images have it."""
        url, checksum = self._get('driver_url'), self._get('driver_sha256')
        if bool(url) != bool(checksum):
            raise exception.ConfigError(
                f'[{self._name}] driver_url, driver_sha256',
                'one of the two',
                'both: a guest runs the driver as root',
                'sha256sum FILE prints the checksum',
            )
        if not url:
            self._refuse(('kernel_source_path', 'dkms'), 'driver_url')
            return None
        with _named(self._name):
            return Driver(
                url,
                checksum,
                self._get('kernel_source_path') or None,
                self._get('dkms'),
            )

    def licence(self) -> Licence | None:
        """Read the licence; None where such guests get none."""
        token, server = self._get('token_file'), self._get('license_server')
        backup = self._get('backup_server')
        if token and server:
            raise self._error('token_file, license_server', 'both', 'one')
        if backup and not server:
            raise self._error(
                'backup_server', repr(backup[:80]), 'license_server beside it'
            )
        editions = self._choices('editions', Edition)
        if token:
            tokens.check_name(token, f'[{self._name}] token_file')
        elif not server:
            self._refuse(('editions',), 'token_file or license_server')
            return None
        with _named(self._name):
            return Licence(
                token or None,
                Server.parse(server) if server else None,
                Server.parse(backup) if backup else None,
                editions,
            )

    def _refuse(self, names: Iterable[str], missing: str) -> None:
        """Refuse options that say nothing without another one."""
        for name in names:
            if self.says([name]):
                raise self._error(name, 'it alone', f'{missing} beside it')

    def _get(self, name: str) -> Any:
        return value(self._conf, self._name, name)

    def _choices(self, name: str, kind: type[_Choice]) -> frozenset[_Choice]:
        try:
            return frozenset(kind(word) for word in self._get(name))
        except ValueError as error:
            names = ', '.join(member.value for member in kind)
            raise self._error(
                name, str(error)[:80], f'some of {names}'
            ) from error

    def _error(
        self, name: str, found: str, expected: str
    ) -> exception.ConfigError:
        return exception.ConfigError(f'[{self._name}] {name}', found, expected)


@contextlib.contextmanager
def _named(section: str) -> Iterator[None]:
    """Name the section in errors of the values."""
    try:
        yield
    except exception.ConfigError as error:
        raise exception.ConfigError(
            f'[{section}] {error.option}',
            error.found,
            error.expected,
            error.remedy,
        ) from error
