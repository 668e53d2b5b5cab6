"""What makes two runs the same run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from benchmarks.grid import RunKey
from benchmarks.identity import BLOCKS, TRAINING_CODE, code_digest, run_digest

ROOT = Path(__file__).parents[2]
KEY = RunKey("quick", "acdc", "ua_mt", 3, 0, 1)
PARTS = {"train": {"lr": 1}, "params": {"w": 2}, "split": "s", "data": "d", "code": "c"}


def test_pipeline_depends_on_exactly_the_code_of_the_identity() -> None:
    stage = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["run"]
    code = {dep for dep in stage["deps"] if not dep.startswith(("data/", "datasets/splits/"))}
    assert code == {*TRAINING_CODE, BLOCKS.replace(".", "/"), "methods/${item.method}.py"}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("benchmarks", "methods", "datasets"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("splits"))
    return tmp_path


@pytest.mark.parametrize(
    ("file", "old", "new", "same"),
    [
        ("methods/blocks/losses.py", "return 0.5 * (", "return 0.4 * (", False),
        ("methods/blocks/losses.py", '"""Supervised and', '"""About supervised and', True),
        ("methods/ua_mt.py", "import math\n", "import math\n\n# a comment\n", True),
        ("methods/ua_mt.py", "0.75 + 0.25", "0.5 + 0.5", False),
        ("methods/blocks/contrast.py", "_NEVER = -1e4", "_NEVER = -1e3", True),
        ("methods/mean_teacher.py", "consistency_mse(", "-consistency_mse(", True),
        ("benchmarks/report/stats.py", "def ", "def x_", True),
        ("benchmarks/engine/optim.py", "config.momentum", "0.0", False),
    ],
)
def test_code_digest_follows_equations_not_prose(
    checkout: Path, file: str, old: str, new: str, same: bool
) -> None:
    before = code_digest(checkout, "ua_mt")
    text = (checkout / file).read_text()
    assert old in text
    (checkout / file).write_text(text.replace(old, new))
    assert (code_digest(checkout, "ua_mt") == before) is same


def test_every_part_counts_but_not_the_benchmarks_name() -> None:
    first = run_digest(KEY, **PARTS)  # type: ignore[arg-type]
    assert len(first) == 16
    for name in PARTS:
        other = {**PARTS, name: "other"}
        assert run_digest(KEY, **other) != first  # type: ignore[arg-type]
    for change in ({"seed": 2}, {"fold": 1}, {"labels": 7}, {"dataset": "covid19"}):
        assert run_digest(RunKey(**{**vars(KEY), **change}), **PARTS) != first  # type: ignore[arg-type]
    renamed = RunKey(**{**vars(KEY), "benchmark": "paper"})
    assert run_digest(renamed, **PARTS) == first  # type: ignore[arg-type]


def test_key_names_its_folder() -> None:
    key = RunKey("ablation", "acdc", "egcl_net-a5", 7, 1, 2)
    assert (key.base, key.variant) == ("egcl_net", "a5")
    assert key.folder(Path("/x")) == Path("/x/runs/ablation/acdc/egcl_net-a5/l7-f1-s2")
