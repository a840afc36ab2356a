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
"""The dependency direction of the package, read from its imports."""

from __future__ import annotations

import ast
import pathlib
from collections.abc import Iterator

import nova_vgpu_ext
from tests import base

ROOT = pathlib.Path(nova_vgpu_ext.__file__).parent

_SHARED = {'models', 'exception'}
_SHARED_BY_PROGRAMS = {'runtime', 'arguments', 'reporting', 'cells'}

#: For each part of the package the parts that it may import. ``cli`` and
#: ``agent`` wire the rest, and only their own modules import them.
ALLOWED = {
    'models': {'models'},
    'exception': set(),
    'conf': _SHARED | {'conf'},
    'host': _SHARED | {'conf', 'hook', 'host', 'plan'},
    'hook': set(),
    'sim': _SHARED | {'sim'},
    'plan': _SHARED | {'plan'},
    'placement': _SHARED | {'conf', 'plan', 'placement'},
    'compute': _SHARED | {'compute'},
    'cells': set(),
    'osc': _SHARED
    | {'cells', 'compute', 'guest_options', 'osc', 'placement', 'plan'}
    | {'__init__'},
    'nova_plugins': _SHARED | {'conf', 'nova_plugins', 'placement', 'plan'},
    'guest': _SHARED | {'guest'},
    'guest_options': _SHARED | {'guest', 'secret_file'},
    'secret_file': _SHARED,
    'kolla': _SHARED | {'host', 'kolla', 'plan'},
    'vendordata': _SHARED
    | {'conf', 'guest', 'plan', 'secret_file', 'sim', 'vendordata'}
    | {'__init__'},
    'runtime': _SHARED | {'conf', 'host', 'sim', 'plan', 'placement'},
    'arguments': {'runtime'},
    'reporting': _SHARED | {'placement', 'plan', 'runtime'},
    'agent': _SHARED
    | {'conf', 'host', 'plan', *_SHARED_BY_PROGRAMS, 'agent', '__init__'},
    'cli': _SHARED
    | {'conf', 'guest_options', 'host', 'kolla', 'sim', 'plan', 'cli'}
    | {'__init__'}
    | _SHARED_BY_PROGRAMS,
    '__init__': set(),
}

#: What pure functions may use beside the package.
PURE = {
    '__future__',
    'collections',
    'dataclasses',
    'enum',
    'json',
    'os_resource_classes',
    'os_traits',
    're',
    'typing',
}

#: What speaks to the outside; each has one place, or some.
CLIENTS = {
    'keystoneauth1': {
        'compute/client.py',
        'conf/keystone.py',
        'placement/access.py',
        'placement/errors.py',
        'placement/transport.py',
        'vendordata/load.py',
        'vendordata/lookup.py',
    },
    'openstack': {
        'placement/access.py',
        'placement/errors.py',
        'placement/transport.py',
    },
    'requests': {'placement/errors.py', 'placement/transport.py'},
    'nova': {
        'nova_plugins/adviser.py',
        'nova_plugins/filters.py',
        'nova_plugins/validators.py',
        'nova_plugins/weights.py',
    },
    'novaclient': {'compute/client.py'},
    'placement': set(),
}

#: How the paths of Placement's API begin.
PLACEMENT_PATHS = (
    '/allocation',
    '/reshaper',
    '/resource_classes',
    '/resource_providers',
    '/traits',
    '/usages',
)


def modules() -> dict[str, ast.Module]:
    """Parse the package; by path."""
    return {
        str(path.relative_to(ROOT)): ast.parse(path.read_text())
        for path in sorted(ROOT.rglob('*.py'))
    }


def imports(tree: ast.AST, package: str) -> Iterator[str]:
    """Give the dotted name of everything that a module imports.

    Imports in functions and for type checking count as well.

    :param package: the package of the module, for relative imports.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split('.')
            above = parts[: len(parts) + 1 - node.level]
            module = node.module.split('.') if node.module else []
            origin = '.'.join((above if node.level else []) + module)
            yield from (f'{origin}.{alias.name}' for alias in node.names)


def part_of(path: str) -> str:
    """Name the part of the package that a file belongs to."""
    return pathlib.Path(path).parts[0].removesuffix('.py')


def package_of(path: str) -> str:
    """Name the package of a file."""
    return '.'.join((ROOT.name, *pathlib.Path(path).parts[:-1]))


def parts_imported(tree: ast.AST, package: str) -> set[str]:
    """Name the parts of the package that a module imports."""
    found = set()
    for name in imports(tree, package):
        top, _, below = name.partition('.')
        if top == ROOT.name:
            part = below.partition('.')[0]
            known = (ROOT / part).is_dir() or (ROOT / f'{part}.py').exists()
            found.add(part if part and known else '__init__')
    return found


class LayersTest(base.TestCase):
    """design.md, section 2."""

    def test_parts_import_only_what_they_may(self) -> None:
        """No module reaches a part that its own must not know."""
        wrong = [
            f'{path} imports {part}'
            for path, tree in modules().items()
            for part in parts_imported(tree, package_of(path))
            if part not in ALLOWED[part_of(path)]
        ]
        self.assertEqual([], wrong)

    def test_every_part_is_there(self) -> None:
        """The rules name the parts that exist; none passes for lack of it."""
        self.assertEqual(set(ALLOWED), {part_of(path) for path in modules()})

    def test_plan_is_pure(self) -> None:
        """Planning has no clock, file or socket to reach for."""
        outside = [
            f'{path} imports {name}'
            for path, tree in modules().items()
            if part_of(path) in ('plan', 'models', 'exception')
            for name in imports(tree, package_of(path))
            if name.partition('.')[0] not in {*PURE, ROOT.name}
        ]
        self.assertEqual([], outside)
        calls = [
            path
            for path, tree in modules().items()
            if part_of(path) == 'plan'
            for node in ast.walk(tree)
            if isinstance(node, ast.Name) and node.id in ('open', 'print')
        ]
        self.assertEqual([], calls)

    def test_clients_have_their_place(self) -> None:
        """HTTP stays in the transport; the package runs without Nova."""
        wrong = [
            f'{path} imports {name}'
            for path, tree in modules().items()
            for name in imports(tree, package_of(path))
            if path not in CLIENTS.get(name.partition('.')[0], {path})
        ]
        self.assertEqual([], wrong)

    def test_only_the_client_knows_the_urls(self) -> None:
        """Paths of Placement's API stand in one module."""
        knowing = {
            path
            for path, tree in modules().items()
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and node.value.startswith(PLACEMENT_PATHS)
        }
        self.assertEqual({'placement/client.py'}, knowing)


class ImportsTest(base.TestCase):
    """The reader of imports sees every kind of them."""

    def test_kinds_of_imports(self) -> None:
        """Lazy, relative and type-checking imports are all found."""
        tree = ast.parse(
            'import os.path\n'
            'from nova_vgpu_ext.plan import report\n'
            'from . import tree\n'
            'from ..host import sysfs\n'
            'if TYPE_CHECKING:\n'
            '    from nova_vgpu_ext import cli\n'
            'def lazy():\n'
            '    import nova_vgpu_ext.sim.builder\n'
        )
        package = 'nova_vgpu_ext.placement'
        self.assertEqual(
            {
                'os.path',
                'nova_vgpu_ext.plan.report',
                'nova_vgpu_ext.placement.tree',
                'nova_vgpu_ext.host.sysfs',
                'nova_vgpu_ext.cli',
                'nova_vgpu_ext.sim.builder',
            },
            set(imports(tree, package)),
        )
        self.assertEqual(
            {'plan', 'placement', 'host', 'cli', 'sim'},
            parts_imported(tree, package),
        )
