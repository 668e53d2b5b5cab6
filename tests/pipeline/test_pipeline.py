"""The whole chain by `dvc repro`, in a temporary copy of the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import yaml

from benchmarks.common.files import claimed, write_text
from benchmarks.repair import find_repairs
from tests.engine.small import tiny_data

ROOT = Path(__file__).parents[2]
PRESETS = Path("benchmarks/presets")
CODE = "benchmarks/dvc.yaml:code"
METHODS = ["supervised", "mean_teacher"]
ABLATION = "quick_ablation"
ROWS = ["egcl_net-a3b", "egcl_net-a5"]
PARAMS = {
    "name": "quick",
    "grid": {
        "datasets": ["phantom_acdc"],
        "methods": METHODS,
        "baseline": "supervised",
        "seeds": [0, 1],
        "folds": [0],
    },
    "data": tiny_data(),
    "train": {
        "iterations": 3,
        "labeled_batch": 2,
        "unlabeled_batch": 2,
        "network": {"kind": "unet", "channels": [4, 4, 8, 8]},
        "validations": 2,
    },
    "methods": {name: {} for name in METHODS},
}


@dataclass(frozen=True)
class Made:
    """The whole chain, reproduced once.

    Attributes:
        clone: the repository.
        stages: that were executed.
    """

    clone: Path
    stages: list[str]


def clone_of_files(target: Path) -> None:
    """The files that git knows or would add, as a repository of its own, with one preset."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=True, text=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        result = name.startswith("reports/") or "dvc.lock" in name
        folder = Path(name).parent
        other = folder.parent == PRESETS and folder.name != ABLATION
        if (ROOT / name).is_file() and not result and not other:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name, follow_symlinks=False)
    subprocess.run(["git", "init", "-q"], cwd=target, check=True)
    _write(target, PARAMS)
    _shrink_ablation(target)


@pytest.fixture
def made(tmp_path_factory: pytest.TempPathFactory, worker_id: str, tmp_path: Path) -> Made:
    """A copy for every test, of what the first worker that needs it has reproduced."""
    own = tmp_path_factory.getbasetemp()
    first = (own if worker_id == "master" else own.parent) / "chain"
    told = first / "stages.txt"
    while not told.is_file():
        with suppress(BlockingIOError), claimed(first.with_suffix(".lock")):
            if not told.is_file():
                shutil.rmtree(first, ignore_errors=True)  # of a chain that failed
                clone_of_files(first / "clone")
                write_text(told, "\n".join(_repro(first / "clone")))
        time.sleep(0.2)
    shutil.copytree(first / "clone", tmp_path / "clone", symlinks=True)
    return Made(tmp_path / "clone", told.read_text().splitlines())


def _write(clone: Path, params: object) -> None:
    (clone / "params.yaml").write_text(yaml.safe_dump(params))


def _shrink_ablation(clone: Path) -> None:
    """Keep two rows of the quick benchmark's ablation and give them the size of PARAMS."""
    path = clone / PRESETS / ABLATION / "params.yaml"
    whole = yaml.safe_load(path.read_text())
    grid = {**whole["grid"], "methods": ROWS}
    keys = ("methods", "titles")
    rows = {
        key: {name: whole[key][name] for name in whole[key] if name in {"egcl_net", *ROWS}}
        for key in keys
    }
    small = {"grid": grid, "data": PARAMS["data"], "train": PARAMS["train"], **rows}
    declared = {"contrasts": whole["contrasts"][:1], "claim": None}
    path.write_text(yaml.safe_dump({**whole, **small, **declared}))


def _commit(clone: Path) -> None:
    subprocess.run(["git", "add", "-A"], cwd=clone, check=True)
    author = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    subprocess.run(["git", *author, "commit", "-qm", "all", "--allow-empty"], cwd=clone, check=True)


def _repro(clone: Path, *targets: str) -> list[str]:
    """Names of the stages that were executed."""
    command = [sys.executable, "-m", "dvc", "repro", *targets]
    # Stages say `python`, which must be this one.
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=clone, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    marker = "Running stage '"
    return [
        line.removeprefix(marker).rstrip("':")
        for line in done.stdout.splitlines()
        if line.startswith(marker)
    ]


def test_chain_runs_once_and_retrains_only_what_changed(made: Made) -> None:
    clone = made.clone
    both = len(METHODS) + len(ROWS) + 2 * 4  # runs; prepare, split, evaluate and report
    assert len(made.stages) == len([CODE, "generate", "index"]) + both

    table = pd.read_csv(clone / "reports/quick/table.csv")
    assert list(table.columns) == [
        "dataset", "method", "variant", "labels", "checkpoint", "runs", "patients",
        "dice", "dice_low", "dice_high", "jaccard", "hd95_mm", "assd_mm", "nsd", "difference",
        "difference_low", "difference_high", "p_holm", "p_false", "outcome", "failed",
    ]  # fmt: skip
    assert set(table["method"]) == set(METHODS)
    assert set(table["checkpoint"]) == {"last", "best"}
    assert (table["runs"] == 2).all() and (table["patients"] == 2).all()
    assert table["dice"].between(0, 1).all()
    cases = pd.read_csv(clone / "reports/quick/cases.csv")
    # 2 patients x 2 frames x 3 classes, per method, seed and checkpoint
    assert len(cases) == len(METHODS) * 2 * 2 * 12
    assert "synthetic phantom" in (clone / "reports/quick/README.md").read_text()
    assert (clone / "reports/quick/overlay-phantom_acdc.png").stat().st_size > 10_000

    assert set(pd.read_csv(clone / "reports/quick_ablation/table.csv")["variant"]) == {"a3b", "a5"}
    assert "quick_ablation" in (clone / "reports/README.md").read_text()

    assert _repro(clone) == [CODE]
    _commit(clone)

    kept = ("runs/**/*.safetensors", "data/scores/quick/**/cases.csv")
    before = {p: p.stat().st_mtime_ns for part in kept for p in clone.glob(part)}
    changed = {**PARAMS, "methods": {**PARAMS["methods"], "mean_teacher": {"weight": 0.5}}}  # type: ignore[dict-item]
    _write(clone, changed)
    again = _repro(clone)
    own = ["run@phantom_acdc-mean_teacher", "evaluate@phantom_acdc", "report"]
    assert [name for name in again if name not in {CODE, "index"}] == own
    touched = [p for p, t in before.items() if p.stat().st_mtime_ns != t]
    assert {p.suffix for p in touched} == {".safetensors", ".csv"}
    assert all("mean_teacher" in p.parts for p in touched)


def test_equal_results_leave_the_tree_clean_and_comments_retrain_nothing(made: Made) -> None:
    clone = made.clone
    _commit(clone)
    for folder in ("runs", "data", ".dvc/cache", ".dvc/tmp"):
        shutil.rmtree(clone / folder)
    assert "run@phantom_acdc-mean_teacher" in _repro(clone, "report")
    status = subprocess.run(
        ["git", "status", "--short"], cwd=clone, capture_output=True, text=True, check=True
    )
    assert status.stdout == ""

    method = clone / "methods/mean_teacher.py"
    text = method.read_text()
    method.write_text(text + "\n# A remark.\n")
    memory = clone / "benchmarks/training/memory.py"
    memory.write_text(memory.read_text() + "\n_MORE = 1\n")
    assert _repro(clone, "report") == [CODE]
    method.write_text(text + "\n_MORE = 1\n")
    assert _repro(clone, CODE) == [CODE]
    would = [name for name in _repro(clone, "--dry", "report") if "run@" in name]
    assert would == ["run@phantom_acdc-mean_teacher"]
    method.write_text(text)
    assert _repro(clone, CODE) == [CODE]


def test_a_lock_is_made_anew_of_finished_runs(made: Made) -> None:
    """Empty, damaged and missing locks."""
    clone = made.clone
    lock, stages = clone / "dvc.lock", [f"run@phantom_acdc-{name}" for name in METHODS]
    whole = yaml.safe_load(lock.read_text())["stages"]
    for damage in ("", "schema: '2.0'\nstages: {", None):
        if damage is None:
            lock.unlink()
        else:
            lock.write_text(damage)
        (repair,) = find_repairs(clone)
        assert repair.path == lock and f"of {len(METHODS)} stages" in repair.what
        repair.mend()
        assert yaml.safe_load(lock.read_text())["stages"] == {name: whole[name] for name in stages}
        assert find_repairs(clone) == []
    done = _repro(clone, "evaluate@phantom_acdc")
    first = [CODE, "prepare@phantom_acdc", "split@phantom_acdc", "evaluate@phantom_acdc"]
    assert done == first
