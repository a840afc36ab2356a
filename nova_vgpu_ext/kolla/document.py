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
"""The description as a YAML file, read to plain text, lists and dicts."""

from __future__ import annotations

import dataclasses
from typing import Any

import yaml

from nova_vgpu_ext import exception, models

_SIZE_LIMIT = 1 << 20
#: Deeper than any description; YAML's aliases can make a small file endless.
_MAX_DEPTH = 8
_WHAT = 'a description in YAML'


@dataclasses.dataclass(frozen=True)
class Document:
    """What a file holds."""

    data: Any
    #: A finding for each key that is there twice; the last one counts.
    findings: tuple[models.Finding, ...] = ()


def load(path: str) -> Document:
    """Read a file.

    Every scalar stays text: YAML 1.1 would read the address 0000:17:00.0 as
    a number.

    :raises ConfigError: it cannot be read, or is no YAML.
    """
    return parse(path, _read(path))


def parse(path: str, text: str) -> Document:
    """Take the text of a file apart.

    :param path: names the file in errors.
    :raises ConfigError: it is no YAML.
    """
    twice: list[tuple[str, str, int]] = []
    try:
        node = yaml.compose(text, Loader=yaml.BaseLoader)
        data = None if node is None else _plain(node, (), twice)
    except yaml.YAMLError as exc:
        found = ' '.join(str(exc).split())
        raise exception.ConfigError(path, found, _WHAT) from None
    except RecursionError:
        raise exception.ConfigError(path, 'endless nesting', _WHAT) from None
    return Document(data, tuple(_duplicate(path, *found) for found in twice))


def create(path: str, text: str) -> None:
    """Write a description, and never over one that is there.

    :raises ConfigError: it is there, or cannot be written.
    """
    try:
        with open(path, 'x', encoding='utf-8') as stream:
            stream.write(text)
    except FileExistsError:
        raise exception.ConfigError(
            path, 'a file', 'none', 'give another name, or remove it'
        ) from None
    except OSError as exc:
        raise exception.ConfigError(
            path,
            (exc.strerror or str(exc)).lower(),
            'a file that this user may write',
        ) from exc


def _duplicate(path: str, mapping: str, key: str, line: int) -> models.Finding:
    return models.Finding(
        models.Severity.ERROR,
        f'{path}: {mapping}' if mapping else path,
        f'{key} twice, again in line {line}',
        'each key once',
        'remove one of the two',
    )


def _plain(
    node: yaml.Node, path: tuple[str, ...], twice: list[tuple[str, str, int]]
) -> Any:
    if len(path) > _MAX_DEPTH:
        raise yaml.YAMLError(
            f'more than {_MAX_DEPTH} levels at {".".join(path)}'
        )
    if isinstance(node, yaml.SequenceNode):
        return [
            _plain(item, (*path, str(n)), twice)
            for n, item in enumerate(node.value)
        ]
    if not isinstance(node, yaml.MappingNode):
        return str(node.value)
    found: dict[str, Any] = {}
    for key_node, value in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            line = key_node.start_mark.line + 1
            raise yaml.YAMLError(f'a key that is no text in line {line}')
        key = str(key_node.value)
        if key in found:
            line = key_node.start_mark.line + 1
            twice.append(('.'.join(path), key, line))
        found[key] = _plain(value, (*path, key), twice)
    return found


def _read(path: str) -> str:
    try:
        with open(path, encoding='utf-8') as stream:
            text = stream.read(_SIZE_LIMIT + 1)
    except OSError as exc:
        found = (exc.strerror or str(exc)).lower()
        raise exception.ConfigError(
            path, found, _WHAT, '--from-host writes one on a GPU host'
        ) from exc
    except UnicodeDecodeError as exc:
        raise exception.ConfigError(
            path, 'bytes that are no UTF-8 text', _WHAT
        ) from exc
    if len(text) > _SIZE_LIMIT:
        raise exception.ConfigError(path, 'a larger file', '1 MiB at most')
    return text
