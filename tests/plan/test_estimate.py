"""Sizes of benchmarks before anything is trained."""

from __future__ import annotations

from pathlib import Path

from benchmarks.config import load_config
from benchmarks.plan.estimate import Estimate, estimate, presets_table

ROOT = Path(__file__).parents[2]


def test_runs_and_steps_are_those_of_the_grid() -> None:
    config = load_config(ROOT / "benchmarks/presets/acdc_cpu/params.yaml")
    grid = config.grid.model_copy(update={"methods": ("supervised", "full_supervised", "ua_mt")})
    seen: list[int] = []
    found = estimate(
        config.model_copy(update={"grid": grid}), lambda done, _total: seen.append(done)
    )
    seeds, labels = len(config.grid.seeds), len(config.data["acdc"].labels)
    assert [(e.method, e.runs) for e in found] == [
        ("supervised", labels * seeds), ("full_supervised", seeds), ("ua_mt", labels * seeds),
    ]  # fmt: skip
    assert {e.steps for e in found} == {config.train.iterations} and seen == [1, 2, 3]
    # A step of UA-MT costs five times that of supervision on half as many images.
    assert 4.9 < found[2].hours / found[0].hours < 5.1


def test_table_adds_up() -> None:
    config = load_config(ROOT / "params.yaml")
    rows = [Estimate("a", "x", 3, 10, 0.25), Estimate("a", "y", 4, 10, 20.0)]
    line = presets_table([("params.yaml", config, rows)]).splitlines()[-1]
    assert line.startswith("| [`quick`](params.yaml) |") and line.endswith("| 7 | 20 |")
