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
"""What a guest is answered."""

from __future__ import annotations

import concurrent.futures
import logging
import threading
from typing import Protocol

from oslo_config import cfg

from nova_vgpu_ext import exception
from nova_vgpu_ext.conf import vendordata
from nova_vgpu_ext.guest import render, series
from nova_vgpu_ext.guest.settings import Settings, System
from nova_vgpu_ext.vendordata import lookup, rules, sections, tokens
from nova_vgpu_ext.vendordata.cache import Cache
from nova_vgpu_ext.vendordata.request import Request

LOG = logging.getLogger(__name__)

#: How many guests are looked up at once; others wait.
_LOOKUPS = 8
#: How many seconds pass before the same line is logged again.
_SILENCE = 3600


_Future = concurrent.futures.Future[lookup.Facts]


class Denied(Exception):
    """The instance is not of the project that the request names."""


class Source(Protocol):
    """Knows what a guest is."""

    def facts(self, request: Request) -> lookup.Facts:
        """Tell; raises ServiceError."""


class Service:
    """Answers requests; threads may share it.

    What a guest is stays in memory for a while. Tokens do not: each answer
    reads the one that it needs.

    :param conf: options whose files have been read.
    :param found: what its sections for guests say.
    :param source: knows what guests are.
    """

    def __init__(
        self, conf: cfg.ConfigOpts, found: sections.Rules, source: Source
    ) -> None:
        section = conf[vendordata.GROUP]
        self._secrets: str = section.secrets_dir
        self._timeout: float = section.lookup_timeout
        self._default = section.default_system
        self._rules = found
        self._source = source
        self._facts: Cache[Request, lookup.Facts] = Cache(
            section.cache_guests, section.cache_seconds
        )
        self._said: Cache[tuple[str, str], bool] = Cache(
            section.cache_guests, _SILENCE
        )
        self._pending: dict[Request, _Future] = {}
        self._lock = threading.Lock()
        self._pool = concurrent.futures.ThreadPoolExecutor(
            _LOOKUPS, thread_name_prefix='lookup'
        )

    def answer(self, request: Request) -> str | None:
        """Write the instructions for a guest.

        :returns: None where it shall have none; the log says why if it has
            a vGPU.
        :raises Denied: the instance is another project's.
        :raises ServiceError: it cannot be told in time what the guest is.
        """
        facts = self._facts.get(request) or self._look(request)
        if facts.project != request.project:
            raise Denied
        if not facts.vgpus:
            return None
        try:
            return self._instructions(request, facts)
        except exception.VgpuError as error:
            self._say(request, str(error))
            return None

    def _look(self, request: Request) -> lookup.Facts:
        """Ask for the facts; what comes too late serves the next request."""
        future = self._lookup(request)
        try:
            return future.result(self._timeout)
        except (
            concurrent.futures.TimeoutError,
            concurrent.futures.CancelledError,
        ):
            future.cancel()
            raise exception.ServiceError(
                f'instance {request.instance}',
                f'not known after {self._timeout} s',
                'see that Nova, Glance and Keystone answer, or raise '
                '[vgpu_vendordata] lookup_timeout',
            ) from None

    def _lookup(self, request: Request) -> _Future:
        """Start a lookup, or give the one that is under way.

        A guest that asks again and again shall not take the place of others.
        """
        with self._lock:
            future = self._pending.get(request)
            if future is None:
                future = self._pool.submit(self._remember, request)
                self._pending[request] = future
                future.add_done_callback(
                    lambda _: self._pending.pop(request, None)
                )
        return future

    def _remember(self, request: Request) -> lookup.Facts:
        facts = self._source.facts(request)
        self._facts.put(request, facts)
        return facts

    def _instructions(self, request: Request, facts: lookup.Facts) -> str:
        """Write them.

        :raises VgpuError: there are none for such a guest.
        """
        system = self._system(facts)
        guest = rules.Guest(
            facts.project,
            facts.domain,
            frozenset(name.casefold() for name, _ in facts.vgpus),
            system,
        )
        driver = rules.choose(self._rules.drivers, guest)
        licence = rules.choose(self._rules.licences, guest)
        settings = Settings(driver=driver.value if driver else None)
        if licence is not None and licence.value is not None:
            settings = self._licensed(request, settings, licence.value)
        if settings.driver is None and not settings.is_licensed:
            raise exception.Refused(
                ['no section has a driver or a licence for such a guest']
            )
        series.check(facts.vgpus, guest.system, settings)
        # A part has a name. A bare script would be part-001 for cloud-init, as
        # one that the static vendordata hold is, and replace it.
        return render.render(guest.system, settings, render.Format.MIME)

    def _system(self, facts: lookup.Facts) -> System:
        """Find the operating system.

        :raises Refused: it is not known, or has no use for an answer.
        """
        if facts.no_default is not None:
            raise exception.Refused([facts.no_default])
        if facts.system is System.WINDOWS:
            raise exception.Refused(
                [
                    'cloudbase-init of windows reads no vendordata; give it '
                    'the user data of nova-vgpu guest config'
                ]
            )
        found = facts.system or self._default
        if found is None:
            raise exception.Refused(
                [
                    'the image does not say its operating system; set its '
                    f'os_distro, or [{vendordata.GROUP}] default_system'
                ]
            )
        return System(found)

    def _licensed(
        self,
        request: Request,
        settings: Settings,
        licence: sections.Licence,
    ) -> Settings:
        """Add the licence; a token that cannot be used is left out."""
        token = None
        try:
            if licence.token_file is not None:
                token = tokens.read(self._secrets, licence.token_file)
            return Settings(
                settings.driver,
                token,
                licence.server,
                licence.backup,
                licence.editions,
            )
        except exception.ConfigError as error:
            self._say(request, f'no licence: {error}')
            return settings

    def _say(self, request: Request, text: str) -> None:
        """Log a line about a guest, but not again and again."""
        key = (request.instance, text)
        if self._said.get(key) is None:
            self._said.put(key, True)
            LOG.warning('instance %s: %s', request.instance, text)
