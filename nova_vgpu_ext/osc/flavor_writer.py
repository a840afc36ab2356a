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
"""Writing flavors to Nova, all of one or nothing of it."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable, Mapping

from nova_vgpu_ext import exception
from nova_vgpu_ext.compute.client import ComputeClient
from nova_vgpu_ext.models import Flavor


@dataclasses.dataclass(frozen=True)
class Change:
    """What becomes of a flavor's extra specs."""

    flavor: Flavor
    #: All of them, as they shall be.
    extra_specs: Mapping[str, str]

    @property
    def added(self) -> dict[str, str]:
        """Those that are set, or get another value."""
        before = self.flavor.extra_specs
        return {
            key: value
            for key, value in self.extra_specs.items()
            if before.get(key) != value
        }

    @property
    def removed(self) -> list[str]:
        """The keys of those that go."""
        return sorted(set(self.flavor.extra_specs) - set(self.extra_specs))

    def __bool__(self) -> bool:
        return bool(self.added or self.removed)


class FlavorWriter:
    """Writes flavors, and says what it does, a line for each.

    :param compute: Nova's API; None to say only what would be done.
    :param say: takes a line.
    """

    def __init__(
        self, compute: ComputeClient | None, say: Callable[[str], None]
    ) -> None:
        self._compute = compute
        self._say = say

    def create(self, flavor: Flavor) -> None:
        """Create a flavor with its extra specs.

        :raises ComputeConflict: there is one of that name.
        :raises ComputeError: Nova refuses it; there is no such flavor then.
        """
        if self._compute is not None:
            self._create(self._compute, flavor)
        access = 'public' if flavor.is_public else 'private'
        self._say(
            f'create flavor {flavor.name}: {flavor.vcpus} VCPUs, '
            f'{flavor.ram} MiB of memory, {flavor.disk} GiB of disk, {access}'
        )
        self._say_set(flavor.name, flavor.extra_specs)

    def change(self, change: Change) -> None:
        """Change a flavor's extra specs.

        What is new is set first, so that no moment's flavor asks for less;
        a run after one that was interrupted does the rest.
        """
        flavor = change.flavor
        if change.added:
            if self._compute is not None:
                self._compute.set_extra_specs(flavor.id, change.added)
            self._say_set(flavor.name, change.added)
        for key in change.removed:
            if self._compute is not None:
                self._compute.remove_extra_specs(flavor.id, [key])
            self._say(f'unset {key} of flavor {flavor.name}')

    def _say_set(self, name: str, specs: Mapping[str, str]) -> None:
        for key, value in sorted(specs.items()):
            self._say(f'set {key}={value} of flavor {name}')

    def _create(self, compute: ComputeClient, flavor: Flavor) -> None:
        """Create both parts, or undo the first.

        With an ID of our own that is safe also where Nova's answer was lost.
        """
        flavor = dataclasses.replace(flavor, id=str(uuid.uuid4()))
        is_there = False
        try:
            compute.create_flavor(flavor)
            is_there = True
            compute.set_extra_specs(flavor.id, flavor.extra_specs)
        except BaseException as error:
            if is_there or not isinstance(error, exception.ComputeConflict):
                self._undo(compute, flavor, error)
            raise

    def _undo(
        self, compute: ComputeClient, flavor: Flavor, error: BaseException
    ) -> None:
        try:
            compute.delete_flavor(flavor.id)
        except exception.ComputeError as second:
            raise exception.ComputeError(
                second.url,
                f'{second.found}, after {error}',
                f'see whether {flavor.name} is there without extra specs, and '
                f'delete it: openstack flavor delete {flavor.id}',
            ) from error
