"""The whole chain by `dvc repro`, in a temporary copy of the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

ROOT = Path(__file__).parents[2]
METHODS = ["supervised", "full_supervised", "mean_teacher", "egcl_net"]
PARAMS = {
    "name": "quick",
    "grid": {
        "datasets": ["phantom_acdc"],
        "methods": METHODS,
        "baseline": "supervised",
        "seeds": [0, 1],
        "folds": [0],
    },
    "data": {
        "phantom_acdc": {
            "labels": [2],
            "fetch": {"patients": 8, "matrix": 32},
            "prepare": {"size": [32, 32]},
            "split": {"scheme": "seeded", "val": 2, "test": 2},
            "train": {},
        }
    },
    "train": {
        "iterations": 3,
        "labeled_batch": 2,
        "unlabeled_batch": 2,
        "network": {"kind": "unet", "channels": [4, 4, 8, 8]},
        "validations": 2,
    },
    "methods": {name: {} for name in METHODS},
}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the files that git knows or would add, as a repository of its own."""
    target = tmp_path_factory.mktemp("clone")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=True, text=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file() and not name.startswith("reports/"):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)
    subprocess.run(["git", "init", "-q"], cwd=target, check=True)
    (target / "dvc.lock").unlink(missing_ok=True)
    _write(target, PARAMS)
    _shrink_ablation(target)
    return target


def _write(clone: Path, params: object) -> None:
    (clone / "params.yaml").write_text(yaml.safe_dump(params))


def _shrink_ablation(clone: Path) -> None:
    """Keep the rows of the quick benchmark's ablation and give them the size of PARAMS."""
    path = clone / "benchmarks/presets/quick_ablation/params.yaml"
    rows = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**rows, "data": PARAMS["data"], "train": PARAMS["train"]}))


def _repro(clone: Path) -> list[str]:
    """Names of the stages that were executed."""
    command = [sys.executable, "-m", "dvc", "repro"]
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


def test_chain_runs_once_and_retrains_only_what_changed(clone: Path) -> None:
    first = _repro(clone)
    assert len(first) == 3 + 2 * len(METHODS) + 2  # the report and the ablation

    table = pd.read_csv(clone / "reports/quick/table.csv")
    assert list(table.columns) == [
        "dataset", "method", "variant", "labels", "checkpoint", "seeds", "patients",
        "dice", "dice_low", "dice_high", "jaccard", "hd95_mm", "asd_mm",
    ]  # fmt: skip
    assert set(table["method"]) == set(METHODS)
    assert set(table["checkpoint"]) == {"last", "best"}
    assert (table["seeds"] == 2).all() and (table["patients"] == 2).all()
    assert table["dice"].between(0, 1).all()
    cases = pd.read_csv(clone / "reports/quick/cases.csv")
    # 2 patients x 2 frames x 3 classes, per method, seed and checkpoint
    assert len(cases) == len(METHODS) * 2 * 2 * 12
    assert "synthetic phantom" in (clone / "reports/quick/table.md").read_text()
    assert (clone / "reports/quick/overlay-phantom_acdc.png").stat().st_size > 10_000

    rows = pd.read_csv(clone / "reports/quick_ablation/table.csv")
    assert set(rows["variant"]) == {"a0", "a3b", "a5", "a6", "a7"}

    assert _repro(clone) == []

    before = {p: p.stat().st_mtime_ns for p in clone.glob("runs/**/*.safetensors")}
    changed = {**PARAMS, "methods": {**PARAMS["methods"], "mean_teacher": {"weight": 0.5}}}  # type: ignore[dict-item]
    _write(clone, changed)
    again = _repro(clone)
    assert again == [
        "run@phantom_acdc-mean_teacher", "evaluate@phantom_acdc-mean_teacher", "report",
    ]  # fmt: skip
    touched = {p.parent.parent.name for p, t in before.items() if p.stat().st_mtime_ns != t}
    assert touched == {"mean_teacher"}


def test_every_preset_has_the_stages_of_the_root() -> None:
    """Stages of a preset differ from the root's in parameter file and folder alone."""
    root = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    presets = sorted(p.parent for p in (ROOT / "benchmarks/presets").glob("*/dvc.yaml"))
    assert presets
    for preset in presets:
        stages = yaml.safe_load((preset / "dvc.yaml").read_text())["stages"]
        params = f"benchmarks/presets/{preset.name}/params.yaml"
        frozen = {name for name, stage in stages.items() if stage.get("frozen")}
        stages = {name: stage for name, stage in stages.items() if name not in frozen}
        # Raw data are fetched by one stage for all presets, since DVC lets a folder have one owner.
        shared = yaml.safe_load((ROOT / "datasets/dvc.yaml").read_text())["stages"]["fetch"]
        used = yaml.safe_load((ROOT / params).read_text())["grid"]["datasets"]
        assert set(used) <= set(shared["matrix"]["dataset"])
        assert (
            list(shared["outs"][0]) == [root["prepare"]["deps"][0]] == ["data/raw/${item.dataset}"]
        )
        assert frozen <= {"tune"} and set(stages) == set(root) - {"fetch", "ablation"}
        for name, stage in stages.items():
            expected = dict(root[name])
            expected["cmd"] += f" --params {params}"
            expected["wdir"] = "../../.."
            if "params" in expected:
                expected["params"] = [{params: expected["params"]}]
            assert stage == expected, f"{preset.name}: {name}"
