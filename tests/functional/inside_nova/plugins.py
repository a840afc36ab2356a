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
"""Nova's scheduler with this project's plugins, in Nova's own test cases."""

from __future__ import annotations

import collections
from typing import Any

import fixtures
import nova.conf

from nova_vgpu_ext.nova_plugins import adviser, filters, weights
from nova_vgpu_ext.placement import transport

CONF = nova.conf.CONF
_PLUGINS = 'nova_vgpu_ext.nova_plugins'


class Plugins(fixtures.Fixture):
    """Enables filter and weighers, as an operator does.

    To be used after Nova's options and Placement are there, and before the
    scheduler is started.

    :param folder: where nova.conf is written.
    :param endpoint: Placement's URL.
    :param options: lines for ``[vgpu]``.
    """

    def __init__(self, folder: str, endpoint: str, options: str) -> None:
        super().__init__()
        self._path = f'{folder}/nova.conf'
        self._text = (
            # On a machine at its limit Placement takes its time.
            f'[vgpu]\ngpu_policy_timeout = 60\n{options}\n[placement]\n'
            'auth_type = admin_token\ntoken = admin\n'
            f'endpoint = {endpoint}\nendpoint_override = {endpoint}\n'
        )
        #: How often each of the plugins was at work.
        self.calls: collections.Counter[str] = collections.Counter()
        #: What they asked Placement for: path and query.
        self.questions: list[tuple[str, Any]] = []

    def _setUp(self) -> None:
        with open(self._path, 'w') as stream:
            stream.write(self._text)
        self._set('config_file', [self._path])
        old = CONF.filter_scheduler
        self._set(
            'available_filters',
            [*old.available_filters, f'{_PLUGINS}.filters.VgpuPolicyFilter'],
            'filter_scheduler',
        )
        self._set(
            'enabled_filters',
            [*old.enabled_filters, 'VgpuPolicyFilter'],
            'filter_scheduler',
        )
        self._set(
            'weight_classes',
            [
                *old.weight_classes,
                f'{_PLUGINS}.weights.VgpuPolicyWeigher',
                f'{_PLUGINS}.weights.GpuHostWeigher',
            ],
            'filter_scheduler',
        )
        adviser.shared.cache_clear()
        self.addCleanup(adviser.shared.cache_clear)
        self._count(filters.VgpuPolicyFilter, 'filter_all')
        self._count(weights.VgpuPolicyWeigher, '_weigh')
        self._count(weights.GpuHostWeigher, '_weigh')
        self._listen()

    def _set(self, name: str, value: Any, group: str | None = None) -> None:
        CONF.set_override(name, value, group)
        self.addCleanup(CONF.clear_override, name, group)

    def _count(self, plugin: type, method: str) -> None:
        real = getattr(plugin, method)

        def counting(*arguments: Any) -> Any:
            self.calls[plugin.__name__] += 1
            return real(*arguments)

        self.useFixture(fixtures.MockPatchObject(plugin, method, counting))

    def _listen(self) -> None:
        real = transport.Transport.read

        def listening(way: Any, path: str, query: Any = None) -> Any:
            self.questions.append((path, query))
            return real(way, path, query)

        self.useFixture(
            fixtures.MockPatchObject(transport.Transport, 'read', listening)
        )


class WithPlugins:
    """Mixed into a test case of Nova's: its scheduler has the plugins."""

    #: Lines for ``[vgpu]``.
    OPTIONS = 'gpu_policy = pack'

    def start_service(self: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        """Start a service; enable the plugins before the scheduler."""
        if name == 'scheduler':
            folder = self.useFixture(fixtures.TempDir()).path
            self.plugins = self.useFixture(
                Plugins(folder, self.endpoint(), self.OPTIONS)
            )
        return super().start_service(name, *args, **kwargs)

    def _wait_for_server_parameter(
        self: Any,
        server: Any,
        expected_params: Any,
        max_retries: int = 10,
        **kwargs: Any,
    ) -> Any:
        """Wait a minute; Nova's own five seconds are short on a busy machine.

        :param max_retries: what Nova's test case wants: tries of 0.5 s.
        """
        return super()._wait_for_server_parameter(
            server, expected_params, max(120, max_retries), **kwargs
        )

    def endpoint(self: Any) -> str:
        """Give Placement's URL, as the plugins shall see it."""
        url: str = self.placement.fixture.endpoint
        return url
