"""YAML with line numbers; what two readers would read differently is refused.

DVC reads the same files by YAML 1.2, where `010` is ten and `no` a word; by 1.1 they are eight and
false. Of a key that stands twice, a reader keeps the last without a word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from benchmarks.common.errors import ConfigError

# Line of every key and list item, by the keys and indices that lead to it.
Lines = dict[tuple[str | int, ...], int]

# The same in C where libyaml is there: half of the time of a command that reads every preset.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DEEPEST = 20  # blocks inside each other; a parameter file needs six
_MOST = 100_000  # values, those of an alias counted wherever it stands
_WORDS = re.compile(r"yes|no|on|off", re.IGNORECASE)
_OCTAL = re.compile(r"[-+]?0[0-9_]+")
_CLOCK = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")
_MERGE = "tag:yaml.org,2002:merge"


def load_yaml(path: Path) -> tuple[Any, Lines]:
    """Read a YAML file.

    Args:
        path: UTF-8 file.

    Returns:
        Its value, and where what stands.

    Raises:
        ConfigError: it is no YAML, nested too deeply, grows by its aliases, has a key twice, or a
            value that YAML 1.1 and 1.2 read differently; names file and lines.
    """
    try:
        text = path.read_text(encoding="utf-8")
        _refuse_depth(text)
        loader = _Loader(text)
        try:
            root, lines = loader.get_single_node(), Lines()
            if root is None:
                return None, lines
            _measure(root, {})
            wrong = list(_problems(root, (), lines, set()))
            value = None if wrong else loader.construct_document(root)
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"'{path}' is no readable YAML: {error}") from None
    if wrong:
        raise ConfigError("\n".join(f"'{path}', {problem}" for problem in wrong))
    return value, lines


def _refuse_depth(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise ValueError(f"line {_line(event)}: more than {_DEEPEST} blocks inside each other")


def _measure(node: yaml.Node, known: dict[int, tuple[int, int] | None]) -> tuple[int, int]:
    """Values in a node and blocks inside each other, with its aliases written out."""
    if id(node) in known:
        found = known[id(node)]
        if found is None:
            raise ValueError(f"line {_line(node)}: a value contains itself")
        return found
    known[id(node)] = None
    inner: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        inner = [part for pair in node.value for part in pair]
    elif isinstance(node, yaml.SequenceNode):
        inner = node.value
    parts = [_measure(part, known) for part in inner]
    size, depth = 1 + sum(n for n, _ in parts), 1 + max((d for _, d in parts), default=0)
    if size > _MOST or depth > _DEEPEST + 1:
        raise ValueError(
            f"line {_line(node)}: more than {_MOST} values, or {_DEEPEST} blocks"
            " inside each other, with aliases written out"
        )
    known[id(node)] = size, depth
    return size, depth


def _problems(
    node: yaml.Node, way: tuple[str | int, ...], lines: Lines, seen: set[int]
) -> Iterator[str]:
    """What is refused in a node; fills `lines`. A node with several names is looked at once."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        yield from _mapping_problems(node, way, lines, seen)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines[*way, index] = _line(item)
            yield from _problems(item, (*way, index), lines, seen)
    else:
        yield from _scalar_problems(node)


def _mapping_problems(
    node: yaml.MappingNode, way: tuple[str | int, ...], lines: Lines, seen: set[int]
) -> Iterator[str]:
    first: dict[str, int] = {}
    for key, value in node.value:
        line, name = _line(key), str(key.value)
        yield from _problems(key, way, lines, seen)
        if key.tag != _MERGE:
            if name in first:
                yield f"line {line}: the key '{name}' stands in line {first[name]} too; keep one"
            first.setdefault(name, line)
            lines[*way, name] = line
        yield from _problems(value, (*way, name), lines, seen)


def _line(part: Any) -> int:
    """Line of an event or node, the first being 1."""
    return int(part.start_mark.line) + 1


def _scalar_problems(node: Any) -> Iterator[str]:
    text, line = str(node.value), _line(node)
    if node.style:  # in quotes
        return
    if _WORDS.fullmatch(text):
        yield f"line {line}: '{text}' may mean a truth or a word; write true or false, or quote it"
    elif _OCTAL.fullmatch(text):
        plain = text.replace("_", "").lstrip("+-").lstrip("0") or "0"
        yield f"line {line}: '{text}' may be octal; write {plain}, or quote it if it is a name"
    elif _CLOCK.fullmatch(text):
        yield f"line {line}: '{text}' may be a number to the base of 60; quote it, or write it out"
