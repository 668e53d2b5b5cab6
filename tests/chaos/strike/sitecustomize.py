"""Sends a signal to the own process group, as a terminal does, at a moment of a command.

Python imports this module when it starts with this folder on PYTHONPATH; STRIKE in the environment
is `<module>,<signal>,<file>`, and the moment that at which the import of the module begins. The
file is made then; where it is, nothing is sent again.
"""

from __future__ import annotations

import functools
import importlib.abc
import os
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def struck(module: ModuleType, function: str, call: int, number: int, mark: str) -> None:
    """Put in place of a function one that sends the signal at the n-th call of all processes."""
    *way, last = function.split(".")
    owner: Any = functools.reduce(getattr, way, module)
    original: Callable[..., object] = getattr(owner, last)

    @functools.wraps(original)
    def striking(*args: object, **kwargs: object) -> object:
        counter = os.open(f"{mark}.calls", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(counter, b".")
        if os.fstat(counter).st_size == call:
            strike(number, mark)
        os.close(counter)
        return original(*args, **kwargs)

    setattr(owner, last, striking)


def strike(number: int, mark: str) -> None:
    """Send the signal, once among all processes."""
    try:
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    os.killpg(0, number)


class _AtImport(importlib.abc.MetaPathFinder):
    def __init__(self, module: str, number: int, mark: str) -> None:
        self.strike = (module, number, mark)

    def find_spec(
        self, fullname: str, path: object, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        module, number, mark = self.strike
        if fullname == module:
            strike(number, mark)
        return None


if "STRIKE" in os.environ:
    _module, _number, _mark = os.environ["STRIKE"].split(",")
    sys.meta_path.insert(0, _AtImport(_module, int(_number), _mark))
