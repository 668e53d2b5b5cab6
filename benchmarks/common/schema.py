"""Checked blocks of a parameter file: unknown keys are refused with path and nearest key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from benchmarks.common.errors import ConfigError, nearest


class Strict(BaseModel):
    """Base of every block: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


M = TypeVar("M", bound=BaseModel)


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


def check(model: type[M], value: object, *, where: str = "") -> M:
    """Validate a block and turn every problem into one readable error.

    Args:
        model: pydantic model of the block.
        value: what the file holds.
        where: path of the block, for the message.

    Raises:
        ConfigError: one line per problem with the key's path, what was given and what is allowed.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        lines = [_describe(model, problem, where) for problem in error.errors()]
        raise ConfigError("\n".join(lines)) from None


def _describe(model: type[BaseModel], problem: Any, where: str) -> str:
    path = ".".join(str(part) for part in ((where, *problem["loc"]) if where else problem["loc"]))
    if problem["type"] == "extra_forbidden":
        allowed = _fields_at(model, problem["loc"][:-1])
        return f"unknown key '{path}': {nearest(str(problem['loc'][-1]), allowed)}"
    if problem["type"] == "missing":
        return f"missing key '{path}'"
    given = "" if isinstance(problem["input"], Mapping) else f", given {problem['input']!r}"
    return f"'{path or 'parameters'}': {problem['msg'].removeprefix('Value error, ')}{given}"


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
