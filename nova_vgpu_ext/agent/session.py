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
"""What one reading of the configuration gives the agent."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from nova_vgpu_ext import exception
from nova_vgpu_ext.agent import cycle, libvirt_events, uevents
from nova_vgpu_ext.conf import agent, vgpu

if TYPE_CHECKING:
    from nova_vgpu_ext.runtime import Runtime

LOG = logging.getLogger(__name__)


class Source(Protocol):
    """Something that the agent hears of changes from."""

    def fileno(self) -> int:
        """Give what becomes readable when there is something to read."""

    def read(self) -> str | None:
        """Read it; give what has happened that matters, or None."""

    def close(self) -> None:
        """Hear no more."""


class Work(Protocol):
    """What is done when something has happened."""

    def run(self, everything: bool = True) -> cycle.Outcome:
        """Run once."""

    def stop(self, seconds: float) -> None:
        """Let no further write to the host begin."""


@dataclasses.dataclass(frozen=True)
class Session:
    """A configuration at work."""

    work: Work
    #: Seconds from one cycle to the next if nothing happens.
    interval: float
    #: How long a write to the host may take, in seconds.
    write_timeout: float
    open_sources: Callable[[], Sequence[Source]]


def check(host: Runtime) -> None:
    """Read the configuration as a whole, so that no part is a surprise.

    :param host: whose configuration has not been read yet.
    :raises ConfigError: a file or a value cannot be used.
    """
    for group, opts in (('vgpu', vgpu.opts), (agent.GROUP, agent.opts)):
        for opt in opts:
            host.value(group, opt.dest)
    _ = host.devices_config


def make(host: Runtime) -> Session:
    """Put a configuration to work.

    :param host: one whose configuration was checked.
    """
    return Session(
        cycle.Cycle(host, host.value(agent.GROUP, 'remove_orphans')),
        float(host.value(agent.GROUP, 'interval')),
        float(host.value('vgpu', 'write_timeout')),
        lambda: _open_sources(host),
    )


def _open_sources(host: Runtime) -> list[Source]:
    """Open what can be heard; say what cannot."""
    return [*_open_uevents(host), *_open_libvirt(host)]


def _open_uevents(host: Runtime) -> Iterator[Source]:
    if host.is_simulated:
        LOG.info(
            'simulated host: the kernel tells nothing of it; cycles follow '
            '[vgpu_agent] interval, and SIGUSR1'
        )
        return
    problem = ''
    try:
        yield uevents.Uevents()
    except OSError as error:
        problem = error.strerror or str(error)
    if problem:
        LOG.warning(
            "the kernel's uevents cannot be heard (%s); changes of mdevs and "
            'GPUs are seen when libvirt tells, or after [vgpu_agent] interval',
            problem,
        )


def _open_libvirt(host: Runtime) -> Iterator[Source]:
    if not host.libvirt_uri:
        LOG.info('libvirt is not asked ([vgpu] libvirt_uri)')
        return
    from nova_vgpu_ext.host import libvirt

    problem = None
    try:
        module = libvirt.module()
    except exception.LibvirtError as error:
        problem = error
    if problem:
        LOG.warning('no events of libvirt: %s', problem)
        return
    yield libvirt_events.LibvirtEvents(module, host.libvirt_uri)
