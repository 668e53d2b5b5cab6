"""`doctor` finds what is missing or too small, and says what mends it."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import pytest
import torch

from benchmarks import checkup
from benchmarks.checkup import Finding, of_benchmark, of_machine
from benchmarks.config import BenchmarkConfig
from benchmarks.plan.estimate import estimate
from benchmarks.training.memory import need
from tests.engine.conftest import flat
from tests.engine.small import make_config

__all__ = ["flat"]
Usage = namedtuple("Usage", "total used free")


def small() -> BenchmarkConfig:
    config = make_config(iterations=2)
    grid = config.grid.model_copy(update={"methods": ("supervised", "mean_teacher")})
    return config.model_copy(update={"grid": grid})


def found(root: Path, config: BenchmarkConfig | None = None) -> dict[str, Finding]:
    made = of_benchmark(config or small(), root, "cpu", lambda _done, _total: None)
    return {finding.what: finding for finding in made}


def test_prepared_data_and_sizes_are_told(flat: Path) -> None:
    seen = found(flat)
    assert {f.verdict for f in seen.values()} == {"ok"}
    assert "12 cases, split" in seen["prepared phantom_acdc"].found
    cells = estimate(small())
    assert f"{sum(e.runs for e in cells)} runs" in seen["time phantom_acdc"].found


def test_a_split_of_other_parameters_is_a_problem(flat: Path) -> None:
    config = small()
    block = config.data["phantom_acdc"]
    split = block.split.model_copy(update={"seed": 5})
    data = {"phantom_acdc": block.model_copy(update={"split": split})}
    seen = found(flat, config.model_copy(update={"data": data}))["prepared phantom_acdc"]
    assert seen.verdict == "problem" and "made with seed 0, not 5" in seen.found
    assert seen.remedy == "`python -m benchmarks split phantom_acdc`"


def test_too_little_memory_and_disk_are_problems(
    flat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = int(sum(e.disk_gb for e in estimate(small())) * 1e9)
    for share, verdict, remedy in ((0.5, "problem", "train.patch"), (1.5, "note", "--jobs 1")):
        wanted: list[int] = []

        def noted(*given: object, wanted: list[int] = wanted) -> object:
            made = need(*given)  # type: ignore[arg-type]
            wanted.append(made.total)
            return made

        def free(_device: torch.device, share: float = share, wanted: list[int] = wanted) -> int:
            return int(share * wanted[-1])

        with monkeypatch.context() as patch:
            patch.setattr(checkup, "need", noted)
            patch.setattr(checkup, "available", free)
            patch.setattr(checkup, "default_jobs", lambda _device: 2)
            usage = Usage(0, 0, int(share * weights))
            patch.setattr(shutil, "disk_usage", lambda _path, usage=usage: usage)
            seen = found(flat)
        for what in ("memory phantom_acdc", "disk of runs"):
            assert seen[what].verdict == verdict
        assert remedy in seen["memory phantom_acdc"].remedy
        assert "launch --datasets" in seen["disk of runs"].remedy


@pytest.mark.parametrize(
    ("linked", "here", "there", "verdict"),
    [
        ("", 1.5, 9, "note"),
        ("runs", 0.5, 9, "note"),  # too little for the cache
        ("runs", 1.5, 1.5, "ok"),  # each disk holds the weights once
        (".dvc/cache", 0.5, 9, "problem"),
        ("runs .dvc/cache", 0.5, 1.5, "note"),
        ("runs .dvc/cache", 0.5, 9, "ok"),
    ],
)
def test_the_disk_behind_a_link_is_looked_at(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    linked: str,
    here: float,
    there: float,
    verdict: str,
) -> None:
    """As the remedy advises; /sys stands for the other disk, where the folder is not made yet."""
    cells = estimate(small())
    weights = sum(e.disk_gb for e in cells) * 1e9
    for name in linked.split():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).symlink_to("/sys/not/yet")

    def usage(path: Path) -> Usage:
        return Usage(0, 0, int(weights * (there if path == Path("/sys") else here)))

    monkeypatch.setattr(shutil, "disk_usage", usage)
    assert checkup._disk(cells, tmp_path).verdict == verdict


def test_little_room_is_told_until_all_that_grows_is_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def usage(path: Path) -> Usage:
        return Usage(0, 0, 2**40 if path == Path("/sys") else 2**30)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    (tmp_path / ".dvc").mkdir()
    for name, verdict in (("data", "note"), ("runs", "note"), (".dvc/cache", "ok")):
        (tmp_path / name).symlink_to("/sys")
        seen = next(f for f in of_machine(tmp_path) if f.what == "disk")
        assert seen.verdict == verdict and "1024.00 GB free at /sys" in seen.found
        assert (f"1.00 GB free at {tmp_path}" in seen.found) is (verdict == "note")


def test_versions_other_than_those_of_the_lock_and_unusable_data_are_told(tmp_path: Path) -> None:
    (tmp_path / "requirements.lock").write_text("numpy==0.1 \\\n    --hash=sha256:0\n")
    (tmp_path / "data/raw/acdc").mkdir(parents=True)
    seen = {f.what: f for f in of_machine(tmp_path)}
    assert seen["versions"].verdict == "note" and "numpy 0.1" in seen["versions"].found
    assert "make setup" in seen["versions"].remedy
    assert seen["raw acdc"].verdict == "problem" and "no patient folders" in seen["raw acdc"].found
    assert seen["raw brats2019"].remedy == "`python -m benchmarks fetch brats2019`"
    assert seen["raw phantom_acdc"].verdict == "ok"
