"""One run trained anew against the committed tables."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.common.errors import ConfigError, RunError
from benchmarks.common.workspace import (
    RUNS,
    TRACES,
    prepared_folder,
    report_folder,
    split_file,
)
from benchmarks.pipeline import all_runs
from benchmarks.report import build_report
from benchmarks.report.cost import COLUMNS, COST
from benchmarks.reproduce import _sandbox, reproduce
from benchmarks.scoring.evaluate import evaluate_dataset
from benchmarks.training.many import train_runs
from benchmarks.training.one import Place
from benchmarks.twins import parting
from tests.engine.small import make_config

_ALL = make_config(iterations=4)
_GRID = _ALL.grid.model_copy(update={"methods": ("supervised",), "seeds": (0, 1)})
CONFIG = _ALL.model_copy(update={"grid": _GRID})


@pytest.fixture(scope="module")
def committed(flat: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with a finished report."""
    root = tmp_path_factory.mktemp("committed")
    for part in ("data", "datasets"):
        shutil.copytree(flat / part, root / part, symlinks=True)
    for part in ("benchmarks", "methods"):
        (root / part).symlink_to(flat / part)
    place = Place(root, "cpu")
    train_runs(all_runs(CONFIG, root), place, jobs=1)
    evaluate_dataset(CONFIG, "phantom_acdc", place)
    build_report(CONFIG, root=root)
    return root


def _loss(factor: float) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        trace, runs = pd.read_csv(folder / TRACES), pd.read_csv(folder / RUNS, dtype=str)
        trace.assign(loss=trace["loss"] * factor).to_csv(folder / TRACES, index=False)
        runs.assign(weights="of another machine").to_csv(folder / RUNS, index=False)

    return edit


def _made_with(column: str, factor: float = 1.0) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        _loss(factor)(folder)
        runs = pd.read_csv(folder / RUNS, dtype=str)
        runs.assign(**{column: "another"}).to_csv(folder / RUNS, index=False)

    return edit


@pytest.mark.parametrize(
    ("edit", "verdict"),
    [
        (lambda _folder: None, "same bits"),
        (_loss(1.0005), "same within rounding"),
        (_loss(1.1), "different: losses part from step 1 on"),
        (_made_with("code"), "different: the run was committed with other code"),
        (_made_with("split"), "different: the run was committed with other split"),
        (_made_with("settings"), "different: the run was committed with other settings"),
        (_made_with("data"), "same within rounding"),
        (_made_with("data", 1.1), "different: the run was committed with other data"),
    ],
)
def test_a_run_is_compared_with_the_committed_tables(
    committed: Path, tmp_path: Path, edit: Callable[[Path], None], verdict: str
) -> None:
    folder = report_folder(committed, CONFIG.name)
    shutil.copytree(folder, tmp_path / "kept")
    before = {p: p.stat().st_mtime_ns for p in (committed / "runs").rglob("*")}
    try:
        edit(folder)
        found = reproduce(CONFIG, Place(committed, "cpu"))
    finally:
        shutil.rmtree(folder)
        shutil.copytree(tmp_path / "kept", folder)
    assert (found.run, found.verdict) == ("phantom_acdc/supervised/l2-f0-s0", verdict)
    assert found.facts[2] == "largest difference of a case and class: 0.000000"
    made = committed / "data/reproduce" / CONFIG.name / "runs"
    (record,) = made.rglob("run.json")
    record.write_text("of a call before, with other packages")
    assert {p: p.stat().st_mtime_ns for p in (committed / "runs").rglob("*")} == before


def test_a_late_loss_may_part_by_what_rounding_has_grown_to(
    committed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The committed loss lies within three times the twins' difference, then outside."""
    folder = report_folder(committed, CONFIG.name)
    shutil.copytree(folder, tmp_path / "kept")
    (run,) = (r for r in all_runs(CONFIG, committed) if r.key.seed == 0)
    grown = parting(run, Place(committed, "cpu"), 1)
    assert 1e-9 < grown < 1e-5  # one step from weights that differ by 1e-7
    monkeypatch.setattr("benchmarks.reproduce.ROUNDING", 0.0)
    monkeypatch.setattr("benchmarks.reproduce.parting", lambda *_: 0.01)
    verdicts = []
    for factor in (1.02, 1.05):
        try:
            _loss(factor)(folder)
            found = reproduce(CONFIG, Place(committed, "cpu"))
        finally:
            shutil.rmtree(folder)
            shutil.copytree(tmp_path / "kept", folder)
        assert "part by up to 1.0e-02 at step 1" in found.facts[3]
        verdicts.append(found.verdict)
    assert verdicts == ["same within rounding", "different: losses part from step 1 on"]


def test_twins_part_by_their_change_alone(committed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a change they are the same bits; a large one shows."""
    (run,) = (r for r in all_runs(CONFIG, committed) if r.key.seed == 1)
    parted = []
    for change in (0.0, 1e-7, 1e-2):
        monkeypatch.setattr("benchmarks.twins.CHANGE", change)
        parted.append(parting(run, Place(committed, "cpu"), 4))
    assert parted[0] == 0 < 1000 * parted[1] < parted[2]


def test_a_run_of_another_device_is_told_and_one_of_the_same_kind_is_preferred(
    committed: Path, tmp_path: Path
) -> None:
    """A card draws other random numbers than a CPU, so its runs never come out alike here."""
    folder = report_folder(committed, CONFIG.name)
    shutil.copytree(folder, tmp_path / "kept")
    runs = pd.read_csv(folder / RUNS, dtype=str)
    cost = runs.reindex(columns=COLUMNS).assign(device=["a card of 2026", *["cpu"] * len(runs[1:])])
    try:
        cost.to_csv(folder / COST, index=False)
        assert reproduce(CONFIG, Place(committed, "cpu")).run == "phantom_acdc/supervised/l2-f0-s1"
        _loss(1.1)(folder)
        found = reproduce(CONFIG, Place(committed, "cpu"), "phantom_acdc/supervised/l2-f0-s0")
    finally:
        shutil.rmtree(folder)
        shutil.copytree(tmp_path / "kept", folder)
    assert found.verdict.startswith("different")
    assert "committed from a card of 2026, here trained on cpu" in found.facts[-1]


def test_a_copied_checkout_reads_its_own_data(committed: Path, tmp_path: Path) -> None:
    _sandbox(CONFIG, "phantom_acdc", committed)
    copy = shutil.copytree(committed, tmp_path / "copy", symlinks=True)
    sandbox = _sandbox(CONFIG, "phantom_acdc", copy)
    for place in (split_file, prepared_folder):
        path = place(copy, CONFIG.name, "phantom_acdc")
        assert (sandbox / path.relative_to(copy)).samefile(path)


def test_a_run_that_is_not_there_is_named(committed: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'phantom_acdc/supervised/l2-f0-s7' is not in the grid"):
        reproduce(CONFIG, Place(committed, "cpu"), "phantom_acdc/supervised/l2-f0-s7")
    traces = report_folder(committed, CONFIG.name) / TRACES
    kept = traces.rename(tmp_path / TRACES)
    with pytest.raises(RunError, match=f"holds no {RUNS} and {TRACES}"):
        reproduce(CONFIG, Place(committed, "cpu"))
    shutil.move(kept, traces)
