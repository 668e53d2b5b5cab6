"""An error inside a method is told with its line, however its runs are trained."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch import Tensor

import methods.mean_teacher
from benchmarks.common.blame import blamed
from benchmarks.common.errors import RunError
from benchmarks.common.workers import quiet
from benchmarks.launch.backend import Slots
from benchmarks.launch.campaign import launch
from benchmarks.launch.local import Local
from benchmarks.plan.resolve import Run, resolve
from benchmarks.training.many import train_runs
from benchmarks.training.one import Place
from tests.engine.small import make_config

SOURCE = Path(methods.mean_teacher.__file__)


@pytest.fixture
def runs(flat: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Run]]:
    """Two runs of a method in which a line is wrong."""

    def wrong(logits: Tensor, label: Tensor) -> Tensor:
        del logits, label
        raise ZeroDivisionError("weight")

    monkeypatch.setattr(methods.mean_teacher, "supervised_loss", wrong)
    config = make_config(iterations=2, seeds=(0, 1))
    yield resolve(config, "phantom_acdc", "mean_teacher", flat)
    shutil.rmtree(flat / "runs", ignore_errors=True)


@pytest.mark.parametrize("mode", ["one at a time", "many at once", "launch"])
def test_the_line_is_told_in_every_mode(flat: Path, runs: list[Run], mode: str) -> None:
    place = Place(flat, "cpu", threads=1)
    lines = SOURCE.read_text().splitlines()
    number = next(n for n, line in enumerate(lines, 1) if "supervised_loss(" in line)
    if mode == "launch":
        found = launch(runs, Local(Slots(2)), place, report=quiet, say=lambda line: None)  # noqa: ARG005
        told = list(found.failed.values())
    else:
        with pytest.raises(RunError) as caught:
            train_runs(runs, place, jobs=1 if mode == "one at a time" else 2)
        told = str(caught.value).splitlines()
    assert len(told) == 2
    for text, run in zip(sorted(told), runs, strict=True):
        assert text.startswith(
            f"{run.key.title}: methods/mean_teacher.py:{number}: ZeroDivisionError: weight; the"
        )


def test_errors_elsewhere_blame_no_method(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        (tmp_path / "absent").read_text()
    assert blamed(caught.value) == ""
