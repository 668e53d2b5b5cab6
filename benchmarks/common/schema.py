"""Checked blocks of a parameter file: unknown keys are refused with path and nearest key."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from benchmarks.common.errors import ConfigError, nearest


class Strict(BaseModel):
    """Base of every block: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


M = TypeVar("M", bound=BaseModel)


def refuse_twice(values: Iterable[Any], where: str) -> None:
    """Raise a ValueError, for a model's validator, if a list holds a value twice.

    Args:
        values: of any kind, compared as they are printed.
        where: what lists them.
    """
    given = list(values)
    if len(set(map(str, given))) != len(given):
        raise ValueError(f"{where} names a value twice: {given}")


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Nested update; a block that names another `kind` replaces the whole block."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            same_kind = value.get("kind", old.get("kind")) == old.get("kind")
            merged[key] = merge(old, value) if same_kind else value
        else:
            merged[key] = value
    return merged


def check(
    model: type[M],
    value: object,
    *,
    where: str = "",
    lines: Mapping[tuple[str | int, ...], int] | None = None,
) -> M:
    """Validate a block and turn every problem into one readable error.

    Args:
        model: pydantic model of the block.
        value: what the file holds.
        where: path of the block, for the message.
        lines: where each key stands in the file, for the message.

    Raises:
        ConfigError: one line per problem with the key's path, what was given and what is allowed.
    """
    problems: list[Any] = list(_no_numbers(model, value, ()))
    if not problems:
        try:
            return model.model_validate(value)
        except ValidationError as error:
            problems = error.errors()
    texts = [_describe(model, p, where) + _line(p["loc"], lines or {}) for p in problems]
    raise ConfigError("\n".join(texts))


def _line(path: Sequence[str | int], lines: Mapping[tuple[str | int, ...], int]) -> str:
    """Where the key or its nearest block stands, or ""."""
    ways = (tuple(path[:length]) for length in range(len(path), 0, -1))
    return next((f" (line {lines[way]})" for way in ways if way in lines), "")


def _no_numbers(
    annotation: Any, value: object, way: tuple[str | int, ...]
) -> Iterator[dict[str, object]]:
    """Where a number is wanted and `true`, NaN or infinity stands, which pydantic would take."""
    if annotation is Any:
        return
    if isinstance(value, Mapping):
        models = _models_in(annotation)
        for key, item in value.items():
            fields = [m.model_fields[key] for m in models if key in m.model_fields]
            inner = fields[0].annotation if fields else annotation if not models else Any
            yield from _no_numbers(inner, item, (*way, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _no_numbers(annotation, item, (*way, index))
    else:
        kinds = set(_kinds(annotation))
        truth = isinstance(value, bool) and kinds & {int, float} and not kinds & {bool, Any}
        endless = isinstance(value, float) and not math.isfinite(value)
        if truth or endless:
            words = "a number is needed" if truth else "a finite number is needed"
            yield {"loc": way, "type": "number", "msg": words, "input": value}


def _kinds(annotation: Any) -> Iterator[Any]:
    """The types that an annotation is made of."""
    inner = getattr(annotation, "__args__", ())
    if not inner:
        yield annotation
    for part in inner:
        if isinstance(part, type) or hasattr(part, "__args__") or part is Any:
            yield from _kinds(part)


def _describe(model: type[BaseModel], problem: Any, where: str) -> str:
    path = ".".join(str(part) for part in ((where, *problem["loc"]) if where else problem["loc"]))
    if problem["type"] == "extra_forbidden":
        allowed = _fields_at(model, problem["loc"][:-1])
        return f"unknown key '{path}': {nearest(str(problem['loc'][-1]), allowed)}"
    if problem["type"] == "missing":
        return f"missing key '{path}'"
    given = "" if isinstance(problem["input"], Mapping) else f", given {problem['input']!r}"
    words = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "tuple_type":  # pydantic's name for what YAML calls a list
        words = f"a list is needed, such as [{problem['input']}]"
    return f"'{path or 'parameters'}': {words}{given}"


def _fields_at(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """Field names of the model that stands at a path inside `model`."""
    candidates: list[Any] = [model]
    for part in path:
        found = []
        for candidate in candidates:
            field = getattr(candidate, "model_fields", {}).get(part)
            found += _models_in(field.annotation if field else candidate)
        candidates = found
    return sorted({name for c in candidates for name in getattr(c, "model_fields", {})})


def _models_in(annotation: Any) -> list[Any]:
    """All pydantic models named in a type annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for part in getattr(annotation, "__args__", ()) for m in _models_in(part)]
