"""Sizes of benchmarks before anything is trained."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from benchmarks.common.errors import ConfigError
from benchmarks.common.schema import check
from benchmarks.config import BenchmarkConfig, load_config
from benchmarks.plan import estimate as module
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


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("prepare.size", [33, 32], r"acdc are \(33, 32\) voxels, but .* multiples of 8"),
        ("split.scheme", "seded", "split.scheme is 'seded': did you mean 'seeded'"),
    ],
)
def test_what_training_would_refuse_is_refused_here(path: str, value: object, words: str) -> None:
    fields = load_config(ROOT / "benchmarks/presets/acdc_cpu/params.yaml").model_dump(mode="json")
    block, last = path.split(".")
    fields["data"]["acdc"][block][last] = value
    with pytest.raises(ConfigError, match=words):
        estimate(check(BenchmarkConfig, fields))


def test_table_adds_up() -> None:
    config = load_config(ROOT / "params.yaml")
    rows = [Estimate("a", "x", 3, 10, 0.25, 1.0), Estimate("a", "y", 4, 10, 20.0, 1.0)]
    line = presets_table([("params.yaml", config, rows)], {"another": 3.0}).splitlines()[-1]
    assert line.startswith("| [`quick`](params.yaml) |") and line.endswith("| 7 | 20 |")
    known = presets_table([("params.yaml", config, rows)], {"quick": 0.01}).splitlines()[-1]
    assert known.endswith("| 7 | < 0.1 (measured) |")


@pytest.mark.parametrize("dataset", ["acdc", "brats2019"])
def test_a_part_of_a_step_that_does_not_grow_is_counted_once(
    dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine whose step takes 2 s and 1 us a voxel; then one whose large steps are slower."""
    timed: list[int] = []

    def fixed(_net: object, shape: tuple[int, ...], *_more: object) -> float:
        timed.append(math.prod(shape))
        return 2 + 1e-6 * timed[-1]

    monkeypatch.setattr(module, "_seconds", fixed)
    config = load_config(ROOT / "benchmarks/presets/paper/params.yaml")
    voxels = {"acdc": 24 * 256**2, "brats2019": 4 * 96**3}[dataset]
    assert module._plain_step(config, dataset) == pytest.approx(2 + 1e-6 * voxels)
    assert len(timed) == 2 and timed[0] <= 2**16 < 2**19 < timed[1] <= 2**20

    def steep(_net: object, shape: tuple[int, ...], *_more: object) -> float:
        return 1e-9 * math.prod(shape) ** 2

    monkeypatch.setattr(module, "_seconds", steep)
    in_proportion = 1e-9 * timed[1] * voxels
    assert module._plain_step(config, dataset) == pytest.approx(in_proportion)
