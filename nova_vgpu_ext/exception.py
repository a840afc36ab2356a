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
"""Errors that end a command with one line instead of a traceback.

Each leaf carries the data of its message, so that callers can act on it. The
message names the option, file or URL, what was found, what was expected and
what to do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_PASSWORD = re.compile(r'//[^/@\s]+@')


class VgpuError(Exception):
    """Base of every error that this project raises on purpose.

    :param message: what is shown; user and password of a URL are masked.
    """

    def __init__(self, message: str) -> None:
        super().__init__(_PASSWORD.sub('//***@', message))


class ConfigError(VgpuError):
    """An option, or a configuration file as a whole, cannot be used."""

    def __init__(
        self, option: str, found: str, expected: str, remedy: str = ''
    ) -> None:
        self.option = option
        self.found = found
        self.expected = expected
        self.remedy = remedy
        tail = f'; {remedy}' if remedy else ''
        super().__init__(f'{option}: found {found}, expected {expected}{tail}')


class HostError(VgpuError):
    """The host cannot be read at all."""

    def __init__(
        self, path: str, found: str, expected: str, remedy: str
    ) -> None:
        self.path = path
        self.found = found
        self.expected = expected
        self.remedy = remedy
        super().__init__(
            f'{path}: found {found}, expected {expected}; {remedy}'
        )


class NotFound(VgpuError):
    """Something that the user named does not exist."""

    def __init__(self, what: str, name: str, known: list[str]) -> None:
        self.what = what
        self.name = name
        self.known = known
        choice = ', '.join(known) if known else 'none'
        super().__init__(f'no {what} {name[:60]!r} here; there are: {choice}')


class Refused(VgpuError):
    """A change would harm somebody, or cannot work; nothing was changed.

    :param reasons: one line each.
    """

    def __init__(self, reasons: Iterable[str]) -> None:
        self.reasons = tuple(reasons)
        super().__init__('\n'.join(self.reasons))


class ParameterRefused(VgpuError):
    """A plugin parameter that is not known."""

    def __init__(self, found: str, expected: str) -> None:
        self.found = found
        self.expected = expected
        super().__init__(f'parameter: found {found}, expected {expected}')


class ActionFailed(HostError):
    """A step failed; what was done before it stays, and can go on."""


class LibvirtError(VgpuError):
    """libvirt cannot be asked.

    :param uri: the connection URI.
    """

    def __init__(self, uri: str, found: str, remedy: str) -> None:
        self.uri = uri
        self.found = found
        self.remedy = remedy
        super().__init__(f'[vgpu] libvirt_uri = {uri}: {found}; {remedy}')


class ServiceError(VgpuError):
    """A service of the cloud, or the way to it, failed.

    :param url: the URL, or what stands for it before one is known.
    """

    def __init__(self, url: str, found: str, remedy: str) -> None:
        self.url = url
        self.found = found
        self.remedy = remedy
        super().__init__(f'{url}: {found}; {remedy}')


class PlacementError(ServiceError):
    """Placement, or the way to it, failed."""


class QueryRefused(PlacementError):
    """Placement does not take a question as it is (400)."""


class ComputeError(ServiceError):
    """Nova's API, or the way to it, failed."""


class ComputeConflict(ComputeError):
    """Nova's API has such a thing already, or it is in use (409)."""


class PlacementUnavailable(PlacementError):
    """Placement did not answer, or answered 5xx: a read may be repeated."""


class PlanOutdated(PlacementError):
    """What was planned on may be no longer true: observe and plan again."""


class WriteFailed(PlanOutdated):
    """A write conflicted (409), or its outcome is not known.

    It must not be repeated as it is.
    """


class ProviderGone(PlanOutdated):
    """A provider was deleted after it was listed."""


class NodeNotFound(PlacementError):
    """Placement has no provider for this compute node."""


class FatalFindings(VgpuError):
    """nova-compute would not report this host; see the findings.

    :param findings: every finding of the plan, as lines of text.
    """

    def __init__(self, findings: Iterable[object]) -> None:
        self.findings = tuple(findings)
        super().__init__('\n'.join(str(f) for f in self.findings))
