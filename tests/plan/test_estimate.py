"""Sizes of benchmarks before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.config import load_config
from benchmarks.plan.estimate import Estimate, estimate, presets_table

ROOT = Path(__file__).parents[2]


def test_runs_and_steps_are_those_of_the_grid() -> None:
    config = load_config(ROOT / "benchmarks/presets/acdc_cpu/params.yaml")
    methods = ("supervised", "full_supervised", "mean_teacher")
    grid = config.grid.model_copy(update={"methods": methods})
    seen: list[int] = []
    found = estimate(
        config.model_copy(update={"grid": grid}), lambda done, _total: seen.append(done)
    )
    seeds, labels = len(config.grid.seeds), len(config.data["acdc"].labels)
    runs = (labels * seeds, seeds, labels * seeds)
    assert [(e.method, e.runs) for e in found] == list(zip(methods, runs, strict=True))
    assert {e.steps for e in found} == {config.train.iterations} and seen == [1, 2, 3]
    # A supervised pass over L images is 3 L F, Mean Teacher's over L + U 3 (L + U) F + U F.
    assert found[2].hours / found[0].hours == pytest.approx(7 / 3, rel=5e-3)


def test_table_adds_up() -> None:
    config = load_config(ROOT / "params.yaml")
    rows = [Estimate("a", "x", 3, 10, 0.25, 1.0), Estimate("a", "y", 4, 10, 20.0, 1.0)]
    line = presets_table([("params.yaml", config, rows)]).splitlines()[-1]
    assert line.startswith("| [`quick`](params.yaml) |") and line.endswith("| 7 | 20 |")
