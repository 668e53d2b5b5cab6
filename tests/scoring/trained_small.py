"""Runs of a few steps that tests predict with."""

from __future__ import annotations

from pathlib import Path

from benchmarks.config import BenchmarkConfig
from benchmarks.plan.resolve import Run, resolve
from benchmarks.training.many import train_runs
from benchmarks.training.one import Place
from tests.engine.small import build, make_config


def train_small(
    root: Path, dataset: str, method: str, *, seeds: tuple[int, ...] = (0,), **train: object
) -> tuple[BenchmarkConfig, list[Run], Place]:
    """Train runs of two steps, one for each seed."""
    config = make_config(dataset, seeds=seeds, iterations=2, **train)
    build(root, config)
    runs, place = resolve(config, dataset, method, root), Place(root, "cpu")
    train_runs(runs, place, jobs=1)
    return config, runs, place
