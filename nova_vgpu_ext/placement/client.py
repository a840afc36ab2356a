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
"""Placement's API: the one module that knows its URLs and microversion."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from nova_vgpu_ext import exception
from nova_vgpu_ext.models import (
    Capacity,
    Consumer,
    InventoryRecord,
    ReportedProvider,
)
from nova_vgpu_ext.placement.access import Access
from nova_vgpu_ext.placement.transport import READ_ATTEMPTS, Transport

#: Train: ``in_tree`` for allocation candidates (1.31). Newer ones change
#: nothing that is used here.
MICROVERSION = '1.31'

_RECORD_NUMBERS = ('total', 'min_unit', 'max_unit', 'step_size', 'reserved')
_RECORD_FIELDS = (*_RECORD_NUMBERS, 'allocation_ratio')


class PlacementClient:
    """Calls of Placement's API, each one request.

    :param access: how to reach it.
    :param attempts: how often a read is tried before it is an error.
    :raises ConfigError: the access lacks what is needed to authenticate.
    :raises PlacementError: Keystone refuses, or has no such endpoint.
    """

    def __init__(self, access: Access, attempts: int = READ_ATTEMPTS) -> None:
        self._transport = Transport(access, MICROVERSION, attempts)
        self._may_reshape = True

    @property
    def requests(self) -> int:
        """How many requests were answered so far."""
        return self._transport.requests

    def find_root(self, node: str) -> str:
        """Find the UUID of a compute node's provider.

        :raises NodeNotFound: Placement does not know the node.
        """
        for found in self._providers({'name': node}):
            # An empty name would be no condition to Placement.
            if found.parent_uuid is None and found.name == node:
                return found.uuid
        raise exception.NodeNotFound(
            self._transport.url('/resource_providers'),
            f'no provider for the node {node!r}',
            'nova-compute makes it at its first start; if Nova knows this '
            'host by another name (openstack hypervisor list), give it with '
            '--node or [vgpu] node_name',
        )

    def tree(self, root_uuid: str) -> list[ReportedProvider]:
        """List the providers of a tree, without their contents."""
        return self._providers({'in_tree': root_uuid})

    def providers(self, required: str | None = None) -> list[ReportedProvider]:
        """List every provider of the cloud, without their contents.

        :param required: a trait; only providers that have it.
        """
        return self._providers({'required': required} if required else {})

    def providers_with_free(self, resource_class: str) -> list[str]:
        """List the UUIDs of providers on which one unit of a class is free."""
        found = self._providers({'resources': f'{resource_class}:1'})
        return [provider.uuid for provider in found]

    def _providers(self, query: Mapping[str, str]) -> list[ReportedProvider]:
        path = '/resource_providers'
        body = self._transport.read(path, query)
        with self._expecting(path, 'a list of providers'):
            return [
                ReportedProvider(
                    uuid=str(item['uuid']),
                    name=str(item['name']),
                    generation=int(item['generation']),
                    parent_uuid=_or_none(item['parent_provider_uuid']),
                )
                for item in self._field(body, 'resource_providers', list, path)
            ]

    def inventories(self, uuid: str) -> dict[str, InventoryRecord]:
        """Read a provider's inventories by resource class."""
        path = f'/resource_providers/{uuid}/inventories'
        body = self._transport.read(path)
        found = self._field(body, 'inventories', dict, path)
        with self._expecting(path, 'inventory records'):
            return {
                name: InventoryRecord(
                    **{f: int(item[f]) for f in _RECORD_NUMBERS},
                    allocation_ratio=float(item['allocation_ratio']),
                )
                for name, item in found.items()
            }

    def traits(self, uuid: str) -> frozenset[str]:
        """Read a provider's traits."""
        path = f'/resource_providers/{uuid}/traits'
        return self._traits(self._transport.read(path), path)

    def usages(self, uuid: str) -> dict[str, int]:
        """Read how much of a provider is allocated, by resource class."""
        path = f'/resource_providers/{uuid}/usages'
        body = self._transport.read(path)
        with self._expecting(path, 'amounts by resource class'):
            return _amounts(self._field(body, 'usages', dict, path))

    def summaries(
        self,
        root_uuid: str | None,
        resource_class: str,
        required: Collection[str] = (),
    ) -> dict[str, tuple[frozenset[str], dict[str, Capacity]]]:
        """Read traits and capacities of whole trees in one request.

        An allocation candidate's answer describes every provider of its
        tree. A tree where no unit of the class is free is not described.

        :param root_uuid: the only tree to look at; None for all.
        :param required: traits of the provider that has the free unit.
        :returns: traits and capacities by class, by provider UUID.
        """
        query = {'resources': f'{resource_class}:1'}
        if root_uuid is not None:
            query |= {'in_tree': root_uuid, 'limit': '1'}
        if required:
            query['required'] = ','.join(sorted(required))
        path = '/allocation_candidates'
        body = self._transport.read(path, query)
        found = self._field(body, 'provider_summaries', dict, path)
        with self._expecting(path, 'provider summaries'):
            return {
                uuid: (
                    _names(item['traits']),
                    {
                        name: Capacity(int(has['capacity']), int(has['used']))
                        for name, has in item['resources'].items()
                    },
                )
                for uuid, item in found.items()
            }

    def allocations(self, uuid: str) -> dict[str, dict[str, int]]:
        """Read what is allocated on a provider.

        :returns: by the consumer's UUID the amount of each class.
        """
        path = f'/resource_providers/{uuid}/allocations'
        body = self._transport.read(path)
        found = self._field(body, 'allocations', dict, path)
        with self._expecting(path, 'allocations'):
            return {
                consumer: _amounts(item['resources'])
                for consumer, item in found.items()
            }

    def consumer(self, uuid: str) -> Consumer | None:
        """Read all that a consumer holds; None if it holds nothing."""
        path = f'/allocations/{uuid}'
        body = self._transport.read(path)
        found = self._field(body, 'allocations', dict, path)
        if not found:
            return None
        with self._expecting(path, 'the allocations of a consumer'):
            return Consumer(
                uuid=uuid,
                generation=int(body['consumer_generation']),
                project_id=str(body['project_id']),
                user_id=str(body['user_id']),
                resources={
                    provider: _amounts(item['resources'])
                    for provider, item in found.items()
                },
            )

    def set_allocations(self, consumer: Consumer) -> None:
        """Replace what a consumer holds; nothing removes it.

        :param consumer: what it shall hold, and the generation that this was
            planned on.
        :raises WriteFailed: the consumer was changed meanwhile.
        """
        self._transport.write(
            'PUT',
            f'/allocations/{consumer.uuid}',
            {
                'allocations': {
                    provider: {'resources': dict(amounts)}
                    for provider, amounts in consumer.resources.items()
                },
                'consumer_generation': consumer.generation,
                'project_id': consumer.project_id,
                'user_id': consumer.user_id,
            },
        )

    def known_traits(self, prefix: str) -> frozenset[str]:
        """List the traits that Placement knows by the start of their names."""
        path = '/traits'
        body = self._transport.read(path, {'name': f'startswith:{prefix}'})
        return self._traits(body, path)

    def known_classes(self) -> frozenset[str]:
        """List the resource classes that Placement knows."""
        path = '/resource_classes'
        body = self._transport.read(path)
        found = self._field(body, 'resource_classes', list, path)
        with self._expecting(path, 'resource classes'):
            return _names([item['name'] for item in found])

    def candidates(self, query: Mapping[str, str]) -> list[dict[str, Any]]:
        """Ask which providers can serve a request.

        :param query: as of ``GET /allocation_candidates``.
        :returns: for each candidate, by the provider's UUID the amount of
            each class.
        """
        path = '/allocation_candidates'
        body = self._transport.read(path, query)
        found = self._field(body, 'allocation_requests', list, path)
        with self._expecting(path, 'allocation requests'):
            return [
                {
                    provider: _amounts(item['resources'])
                    for provider, item in request['allocations'].items()
                }
                for request in found
            ]

    def ensure_traits(self, names: Collection[str]) -> None:
        """Make custom traits known to Placement."""
        if not names:
            return
        path = '/traits'
        body = self._transport.read(
            path, {'name': 'in:' + ','.join(sorted(names))}
        )
        known = self._field(body, 'traits', list, path)
        for name in sorted(set(names) - set(known)):
            self._transport.write('PUT', f'/traits/{name}')

    def ensure_class(self, name: str) -> None:
        """Make a custom resource class known to Placement."""
        if name.startswith('CUSTOM_'):
            self._transport.write('PUT', f'/resource_classes/{name}')

    def create_provider(self, name: str, parent_uuid: str) -> ReportedProvider:
        """Create a child provider, empty and of generation 0.

        :raises WriteFailed: there is one of that name.
        """
        path = '/resource_providers'
        answer = self._transport.write(
            'POST', path, {'name': name, 'parent_provider_uuid': parent_uuid}
        )
        return ReportedProvider(
            uuid=str(self._field(answer, 'uuid', str, path)),
            name=name,
            generation=self._field(answer, 'generation', int, path),
            parent_uuid=parent_uuid,
            used={},
        )

    def set_traits(
        self, uuid: str, generation: int, names: Collection[str]
    ) -> int:
        """Replace a provider's traits.

        :returns: the new generation.
        :raises WriteFailed: the generation has moved on.
        """
        path = f'/resource_providers/{uuid}/traits'
        answer = self._transport.write(
            'PUT',
            path,
            {
                'resource_provider_generation': generation,
                'traits': sorted(names),
            },
        )
        return self._generation(answer, path)

    def set_inventories(self, provider: ReportedProvider) -> ReportedProvider:
        """Replace a provider's inventories by those that it shall have.

        :param provider: its inventories as they shall be, and the generation
            that they were planned on.
        :returns: the same with the new generation.
        :raises WriteFailed: the generation has moved on, or a class that
            would go is in use.
        """
        path = f'/resource_providers/{provider.uuid}/inventories'
        answer = self._transport.write('PUT', path, _inventories(provider))
        generation = self._generation(answer, path)
        return dataclasses.replace(provider, generation=generation)

    def reshape(self, providers: Collection[ReportedProvider]) -> bool:
        """Replace the inventories of many providers at once.

        :param providers: as of :meth:`set_inventories`.
        :returns: False where this user may not; nothing is written then.
        :raises WriteFailed: a generation has moved on, or a class that
            would go is in use; nothing is written then.
        """
        if not self._may_reshape:
            return False
        body = {
            'inventories': {p.uuid: _inventories(p) for p in providers},
            'allocations': {},
        }
        self._may_reshape = (
            self._transport.write('POST', '/reshaper', body, forbidden_ok=True)
            is not None
        )
        return self._may_reshape

    def delete_provider(self, uuid: str) -> None:
        """Delete a provider; it is no error if it is gone.

        :raises WriteFailed: something is allocated on it.
        """
        self._transport.write(
            'DELETE', f'/resource_providers/{uuid}', missing_ok=True
        )

    def _traits(self, body: Any, path: str) -> frozenset[str]:
        with self._expecting(path, 'names of traits'):
            return _names(self._field(body, 'traits', list, path))

    @contextlib.contextmanager
    def _expecting(self, path: str, expected: str) -> Iterator[None]:
        """Turn what taking JSON apart raises into an error of Placement."""
        try:
            yield
        except (AttributeError, KeyError, TypeError, ValueError) as exc:
            raise self._transport.malformed(path, expected) from exc

    def _field(self, body: Any, name: str, kind: type, path: str) -> Any:
        if not isinstance(body, dict) or not isinstance(body.get(name), kind):
            raise self._transport.malformed(path, f'an object with {name!r}')
        return body[name]

    def _generation(self, answer: Any, path: str) -> int:
        field = 'resource_provider_generation'
        return int(self._field(answer, field, int, path))


def _inventories(provider: ReportedProvider) -> dict[str, Any]:
    return {
        'resource_provider_generation': provider.generation,
        'inventories': {
            name: {field: getattr(record, field) for field in _RECORD_FIELDS}
            for name, record in provider.inventories.items()
        },
    }


def _or_none(value: object) -> str | None:
    return None if value is None else str(value)


def _amounts(found: Mapping[str, Any]) -> dict[str, int]:
    """Read amounts by resource class."""
    return {name: int(amount) for name, amount in found.items()}


def _names(found: list[Any]) -> frozenset[str]:
    """Read a list of names.

    :raises TypeError: it is not one.
    """
    if not isinstance(found, list) or not all(
        isinstance(name, str) for name in found
    ):
        raise TypeError
    return frozenset(found)
