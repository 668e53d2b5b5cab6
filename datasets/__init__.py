"""Data sets, one file each. A file that defines an `Adapter` is found by its name."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.common.errors import ConfigError, nearest

if TYPE_CHECKING:
    from datasets.base import Adapter

_SHARED = {"__init__", "base"}


def dataset_ids() -> list[str]:
    """Ids of all data sets: the names of the adapter files beside this one, sorted."""
    files = Path(__file__).parent.glob("*.py")
    return sorted(f.stem for f in files if f.stem not in _SHARED)


@cache
def load_dataset(dataset: str) -> Adapter[Any]:
    """The adapter defined in `datasets/<dataset>.py`.

    Args:
        dataset: id.

    Raises:
        ConfigError: no such file, or the file does not define exactly one adapter.
    """
    if dataset not in dataset_ids():
        raise ConfigError(f"unknown data set '{dataset}': {nearest(dataset, dataset_ids())}")
    from datasets.base import Adapter

    module = import_module(f"datasets.{dataset}")
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Adapter)
        and value.__module__ == module.__name__
    ]
    if len(found) != 1:
        names = ", ".join(c.__name__ for c in found) or "none"
        raise ConfigError(
            f"datasets/{dataset}.py must define exactly one Adapter, it defines: {names}"
        )
    adapter: Adapter[Any] = found[0]()
    return adapter
