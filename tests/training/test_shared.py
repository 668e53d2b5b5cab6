"""A run that two benchmarks have in common is trained once."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from benchmarks.common.workspace import ROOT, prepared_folder, split_file, weights_file
from benchmarks.config import BenchmarkConfig
from benchmarks.plan.identity import link_code
from benchmarks.plan.record import finished
from benchmarks.plan.resolve import Run, resolve
from benchmarks.training.many import train_runs
from benchmarks.training.one import Place, lease_file, partial_run
from benchmarks.training.shared import take_over
from tests.engine.small import make_config

DATASET = "phantom_acdc"


def named(config: BenchmarkConfig, name: str, **methods: Mapping[str, object]) -> BenchmarkConfig:
    """The same under another name, with these rows."""
    grid = config.grid.model_copy(update={"methods": tuple(methods), "seeds": (0, 1)})
    update = {"name": name, "grid": grid, "methods": {**config.methods, **methods}}
    return config.model_copy(update=update)


def rows(config: BenchmarkConfig, root: Path) -> dict[str, Run]:
    return {
        f"{run.key.method} {run.key.seed}": run
        for method in config.grid.methods
        for run in resolve(config, DATASET, method, root)
    }


def test_equal_runs_are_taken_over_under_any_name(flat: Path, tmp_path: Path) -> None:
    first = make_config(iterations=5)
    other = named(first, "other", **{"supervised-again": {}, "supervised-strong": {"strong": True}})
    for place in (prepared_folder, split_file):
        target = place(tmp_path, "small", DATASET)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(place(flat, "small", DATASET))
        linked = place(tmp_path, "other", DATASET)
        linked.parent.mkdir(parents=True, exist_ok=True)
        linked.symlink_to(target)
    (tmp_path / "data/raw").symlink_to(flat / "data/raw")
    link_code(ROOT, tmp_path)
    (trained,) = resolve(first, DATASET, "supervised", tmp_path)
    train_runs([trained], Place(tmp_path, "cpu"), jobs=1)
    said: list[str] = []
    wanted = rows(other, tmp_path)
    stopped = partial_run(wanted["supervised-again 0"].key.folder(tmp_path))
    stopped.mkdir(parents=True)
    assert take_over(list(wanted.values()), tmp_path, said.append) == 1
    same = wanted["supervised-again 0"]
    assert [name for name, run in wanted.items() if finished(run, tmp_path)] == [
        "supervised-again 0"
    ]
    assert said == [
        f"{same.key.title}: the same as runs/small/{DATASET}/supervised/l2-f0-s0, taken over"
    ]
    assert take_over(list(wanted.values()), tmp_path, said.append) == 0, "it is finished"
    assert not stopped.exists()
    # A damaged copy, here the target itself, does not hide a whole one.
    (trained.key.folder(tmp_path) / weights_file("last")).unlink()
    assert take_over([trained], tmp_path, said.append) == 1 and finished(trained, tmp_path)
    # One of them trained anew, or damaged, leaves the other as it is.
    shutil.rmtree(trained.key.folder(tmp_path))
    assert finished(same, tmp_path)
    weights = same.key.folder(tmp_path) / weights_file("last")
    weights.unlink()
    weights.write_bytes(b"damaged")
    assert take_over([trained], tmp_path, said.append) == 0, "a damaged run is nobody's"
    assert not list(lease_file(same, tmp_path).parent.glob(".*"))
