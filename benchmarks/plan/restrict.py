"""A part of a benchmark's grid, named on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from benchmarks.common.errors import ConfigError, nearest
from benchmarks.config import BenchmarkConfig, DataConfig

Value = TypeVar("Value", str, int)


@dataclass(frozen=True)
class Part:
    """What is wanted of a grid; nothing given is all of it.

    Attributes:
        datasets: ids.
        methods: keys in the grid.
        labels: labelled patients; a data set without any of them is left out. A method with all
            labels has no such number and stays.
        seeds: of the runs.
    """

    datasets: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    labels: tuple[int, ...] = ()
    seeds: tuple[int, ...] = ()


def restricted(config: BenchmarkConfig, part: Part) -> BenchmarkConfig:
    """The benchmark with a part of its grid; its runs have the same names and identities.

    Without the baseline there is none; contrasts and claims stay unless a method of theirs is left
    out here.

    Raises:
        ConfigError: something that the grid does not hold, or nothing is left of it.
    """
    grid = config.grid
    datasets = _kept("datasets", part.datasets, grid.datasets)
    methods = _kept("methods", part.methods, grid.methods)
    known = sorted({n for d in datasets for n in config.data[d].labels})
    wanted = _kept("labels", part.labels, known)
    labels = {d: tuple(n for n in config.data[d].labels if n in wanted) for d in datasets}
    seeds = _kept("seeds", part.seeds, grid.seeds)
    if part.labels:
        datasets = tuple(d for d in datasets if labels[d])
        data = {d: _with_labels(config.data[d], labels[d]) for d in datasets}
        config = config.model_copy(update={"data": {**config.data, **data}})
    kept = {
        "datasets": datasets,
        "methods": methods,
        **grid.of_seeds(seeds),
        "baseline": grid.baseline if grid.baseline in methods else None,
    }
    left_out = set(grid.methods) - set(methods)
    contrasts = tuple(c for c in config.contrasts if not {c.better, c.than} & left_out)
    claim, names = config.claim, {c.name for c in contrasts}
    return config.model_copy(
        update={
            "grid": grid.model_copy(update=kept),
            "contrasts": contrasts,
            "claim": claim if claim and names >= set(claim.contrasts) else None,
        }
    )


def _with_labels(block: DataConfig, labels: tuple[int, ...]) -> DataConfig:
    shares = tuple(share for share in block.shares if share.patients in labels)
    return block.model_copy(update={"labels": labels, "shares": shares})


def _kept(option: str, given: Sequence[Value], allowed: Sequence[Value]) -> tuple[Value, ...]:
    """The given values in the order of the grid, or all.

    Raises:
        ConfigError: one that is not in the grid.
    """
    for value in given:
        if value not in allowed:
            hint = nearest(str(value), map(str, allowed))
            raise ConfigError(f"--{option}: '{value}' is not in this part of the grid: {hint}")
    return tuple(value for value in allowed if value in given) if given else tuple(allowed)
