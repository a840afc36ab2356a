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
"""Nova's API, through python-novaclient: servers, flavors, migrations."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from keystoneauth1 import exceptions as ksa_exc
from novaclient import client as nova_client
from novaclient import exceptions as nova_exc

from nova_vgpu_ext import exception
from nova_vgpu_ext.models import ComputeNode, Flavor, Migration, Server

#: Ussuri: extra specs are checked by their validators (2.86), a server in a
#: cell that is down is shown as UNKNOWN instead of missing (2.69), a server's
#: flavor has its extra specs (2.47), hypervisors (2.53) and migrations (2.59)
#: have UUIDs.
MICROVERSION = '2.86'

#: How many servers, flavors or migrations one answer holds; Nova's own limit
#: is ``[api] max_limit``, 1000 by default.
_PAGE = 1000

#: The status of a server in a cell that is down: little of it is known.
DOWN = 'UNKNOWN'

_Read = TypeVar('_Read')

#: How messages name what a client of the cloud was configured with.
_SOURCE = 'clouds.yaml or the OS_ variables'

_REMEDIES = {
    401: f'check username and password in {_SOURCE}',
    403: f'give the user of {_SOURCE} the role admin',
    404: 'something else deletes it; run it again',
    406: f'a Nova is needed that knows the microversion {MICROVERSION} '
    '(Ussuri)',
    409: 'something else changes it, or it is in use; look, and run it again',
}


class ComputeClient:
    """Calls of Nova's API.

    :param session: keystoneauth's session.
    :param options: keyword arguments of novaclient that say where Nova is,
        such as ``region_name`` and ``interface``.
    """

    def __init__(self, session: Any, options: Mapping[str, Any]) -> None:
        self._nova = nova_client.Client(
            MICROVERSION, session=session, **options
        )
        #: The length of the longest page so far.
        self._longest = 1

    def servers(
        self, host: str | None = None, name: str | None = None
    ) -> Iterator[Server]:
        """Read every server of the cloud, page by page.

        :param host: the compute service's host; only servers on it.
        :param name: only servers of this name.
        """
        search: dict[str, object] = {'all_tenants': True}
        if host is not None:
            search['host'] = host
        if name is not None:
            # Nova takes a regular expression, in the database's dialect.
            search['name'] = f'^{re.escape(name)}$'

        def page(marker: str | None) -> list[Any]:
            found: list[Any] = self._nova.servers.list(
                search_opts=search, marker=marker, limit=_PAGE
            )
            return found

        found = self._pages(
            page, '/servers/detail', _server, is_exact=host is not None
        )
        return (s for s in found if name is None or s.name == name)

    def server(self, uuid: str) -> Server | None:
        """Read one server, also a soft-deleted one; None if it is gone."""
        try:
            with _errors(f'/servers/{uuid}'):
                return _server(self._nova.servers.get(uuid))
        except _Missing:
            return None

    def running(self, flavor_id: str) -> Iterator[str]:
        """Give the UUIDs of the running servers of a flavor, page by page."""
        search = {
            'all_tenants': True,
            'flavor': flavor_id,
            'status': 'ACTIVE',
        }

        def page(marker: str | None) -> list[Any]:
            found: list[Any] = self._nova.servers.list(
                detailed=False, search_opts=search, marker=marker, limit=_PAGE
            )
            return found

        return self._pages(page, '/servers', _uuid)

    def migrations(
        self, server: str | None = None, status: str | None = None
    ) -> Iterator[Migration]:
        """Read what Nova remembers of moves, page by page.

        :param server: only those of the server of this UUID.
        :param status: only those in this status.
        """

        def page(marker: str | None) -> list[Any]:
            found: list[Any] = self._nova.migrations.list(
                instance_uuid=server, status=status, marker=marker, limit=_PAGE
            )
            return found

        return self._pages(page, '/os-migrations', _migration, 'uuid')

    def compute_nodes(self) -> list[ComputeNode]:
        """Read the compute nodes.

        Nova does not list one whose service was deleted, or whose host is
        not mapped to a cell yet. It fails where a cell does not answer.
        """

        def page(marker: str | None) -> list[Any]:
            found: list[Any] = self._nova.hypervisors.list(
                detailed=True, marker=marker, limit=_PAGE
            )
            return found

        return list(self._pages(page, '/os-hypervisors/detail', _node))

    def flavors(self) -> Iterator[Flavor]:
        """Read every flavor, public or not, with its extra specs."""

        def page(marker: str | None) -> list[Any]:
            found: list[Any] = self._nova.flavors.list(
                is_public=None, marker=marker, limit=_PAGE
            )
            return found

        return self._pages(page, '/flavors/detail', _flavor)

    def create_flavor(self, flavor: Flavor) -> None:
        """Create a flavor without its extra specs.

        :param flavor: as it shall be, its id included.
        :raises ComputeConflict: there is one of that name.
        """
        with _errors('/flavors'):
            self._nova.flavors.create(
                flavor.name,
                flavor.ram,
                flavor.vcpus,
                flavor.disk,
                flavorid=flavor.id,
                is_public=flavor.is_public,
            )

    def set_extra_specs(
        self, flavor_id: str, specs: Mapping[str, str]
    ) -> None:
        """Add extra specs to a flavor, or replace their values.

        :raises ComputeError: Nova refuses a key or a value.
        """
        with _errors(f'/flavors/{flavor_id}/os-extra_specs'):
            self._flavor(flavor_id).set_keys(dict(specs))

    def remove_extra_specs(self, flavor_id: str, keys: Iterable[str]) -> None:
        """Remove extra specs of a flavor."""
        with _errors(f'/flavors/{flavor_id}/os-extra_specs'):
            self._flavor(flavor_id).unset_keys(sorted(keys))

    def _flavor(self, flavor_id: str) -> Any:
        """Give novaclient's flavor without asking for what it has."""
        manager = self._nova.flavors
        return manager.resource_class(manager, {'id': flavor_id}, loaded=True)

    def delete_flavor(self, flavor_id: str) -> None:
        """Delete a flavor, if it is there; servers keep their copy of it."""
        with (
            contextlib.suppress(_Missing),
            _errors(f'/flavors/{flavor_id}'),
        ):
            self._nova.flavors.delete(flavor_id)

    def _pages(
        self,
        page: Callable[[str | None], list[Any]],
        url: str,
        read: Callable[[Any], _Read],
        key: str = 'id',
        is_exact: bool = False,
    ) -> Iterator[_Read]:
        """Follow a list to its end, one page in memory.

        :param read: makes a model of an item.
        :param key: what stands for an item where a page begins.
        :param is_exact: Nova leaves nothing out of a page, so that one which
            is shorter than another one was, of whatever list, is the last:
            all are limited alike, here or by ``[api] max_limit``.
        """
        marker = None
        while True:
            with _errors(url):
                found = page(marker)
                items = [read(item) for item in found]
                marker = str(vars(found[-1])[key]) if found else None
            yield from items
            if not found or (is_exact and len(found) < self._longest):
                return
            self._longest = max(self._longest, len(found))


class _Missing(exception.ComputeError):
    """The answer was 404."""


@contextlib.contextmanager
def _errors(url: str) -> Iterator[None]:
    """Turn the client library's errors into one line with a remedy."""
    try:
        yield
    except nova_exc.ClientException as exc:
        kind: type[exception.ComputeError] = {
            404: _Missing,
            409: exception.ComputeConflict,
        }.get(exc.code, exception.ComputeError)
        text = ' '.join(str(exc.message or exc).split())[:300]
        raise kind(
            f"Nova's {url}",
            f'answered {exc.code} {text}',
            _REMEDIES.get(
                exc.code,
                "see nova-api's log"
                if exc.code >= 500
                else 'correct what it names',
            ),
        ) from exc
    except ksa_exc.ClientException as exc:
        text = ' '.join(str(exc).split())
        raise exception.ComputeError(
            f"Nova's {url}",
            f'no good answer: {text}',
            f'check that nova-api runs, and region and interface in {_SOURCE}',
        ) from exc
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        raise exception.ComputeError(
            f"Nova's {url}",
            "found another answer than Nova's, expected its JSON",
            f'check region and interface in {_SOURCE}: another service, or a '
            'proxy, answers there',
        ) from exc


def _uuid(found: Any) -> str:
    return str(found.id)


def _server(found: Any) -> Server:
    item = vars(found)
    if item['status'] == DOWN:
        item = {'name': '', 'flavor': {'original_name': ''}, **item}
    flavor = item['flavor']
    return Server(
        uuid=str(item['id']),
        name=str(item['name']),
        project_id=str(item['tenant_id']),
        status=str(item['status']),
        task_state=item.get('OS-EXT-STS:task_state'),
        node=item.get('OS-EXT-SRV-ATTR:hypervisor_hostname'),
        flavor=str(flavor['original_name']),
        extra_specs=_specs(flavor),
    )


def _migration(found: Any) -> Migration:
    item = vars(found)
    return Migration(
        uuid=str(item['uuid']),
        server_uuid=str(item['instance_uuid']),
        kind=str(item['migration_type']),
        status=str(item['status']),
        source_node=item['source_node'],
        target_node=item['dest_node'],
    )


def _node(found: Any) -> ComputeNode:
    item = vars(found)
    return ComputeNode(
        uuid=str(item['id']),
        name=str(item['hypervisor_hostname']),
        host=str(item['service']['host']),
    )


def _flavor(found: Any) -> Flavor:
    item = vars(found)
    return Flavor(
        id=str(item['id']),
        name=str(item['name']),
        vcpus=int(item['vcpus']),
        ram=int(item['ram']),
        disk=int(item['disk']),
        is_public=bool(item['os-flavor-access:is_public']),
        ephemeral=int(item['OS-FLV-EXT-DATA:ephemeral']),
        swap=int(item['swap'] or 0),
        extra_specs=_specs(item),
    )


def _specs(flavor: Mapping[str, Any]) -> dict[str, str]:
    """Read extra specs, which a policy can hide."""
    found = flavor.get('extra_specs') or {}
    return {str(key): str(value) for key, value in found.items()}
