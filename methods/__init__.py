"""Methods, one file each, found by the file's name; nothing is registered."""

from __future__ import annotations

import inspect
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.common.errors import ConfigError, nearest

if TYPE_CHECKING:
    from methods.base import Method


_SHARED = {"__init__", "base", "networks"}


def method_ids() -> list[str]:
    """Ids of all methods: the names of the files beside this one, sorted."""
    files = Path(__file__).parent.glob("*.py")
    return sorted(f.stem for f in files if f.stem not in _SHARED)


@cache
def load_method(method: str) -> type[Method[Any]]:
    """The `Method` subclass defined in `methods/<method>.py`.

    Args:
        method: id, without a variant's suffix.

    Raises:
        ConfigError: no such file, or the file does not define exactly one method.
    """
    if method not in method_ids():
        raise ConfigError(f"unknown method '{method}': {nearest(method, method_ids())}")
    from methods.base import Method

    module = import_module(f"methods.{method}")
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Method)
        and value.__module__ == module.__name__
    ]
    if len(found) != 1:
        names = ", ".join(c.__name__ for c in found) or "none"
        raise ConfigError(
            f"methods/{method}.py must define exactly one Method, it defines: {names}"
        )
    _refuse_unfinished(found[0], method)
    return found[0]


def _refuse_unfinished(kind: type[Method[Any]], method: str) -> None:
    """Raise a ConfigError if a method lacks what a training or a report would miss much later."""
    from methods.base import MethodParams

    texts = [n for n in ("title", "paper") if not _is_text(getattr(kind, n, None))]
    bare = [*texts, *sorted(kind.__abstractmethods__)]
    params = getattr(kind, "Params", None)
    if not (isinstance(params, type) and issubclass(params, MethodParams)):
        bare.append("Params")
    if bare:
        line = inspect.getsourcelines(kind)[1]
        raise ConfigError(
            f"methods/{method}.py:{line}: class {kind.__name__} needs {', '.join(bare)}; what they"
            " are is said in methods/base.py, and methods/README.md shows a whole method"
        )


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())
