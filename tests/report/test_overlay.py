"""The command `overlay`: which case, slice and methods its pictures show."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.common.errors import ConfigError
from benchmarks.common.files import write_text
from benchmarks.common.schema import check
from benchmarks.common.workspace import scores_folder
from benchmarks.config import BenchmarkConfig
from benchmarks.plan.resolve import Run, open_job, resolve
from benchmarks.report import chosen
from benchmarks.report.chosen import Choice, write_overlays
from benchmarks.report.overlays import ERRORS
from benchmarks.scoring.cases import COLUMNS
from benchmarks.scoring.trained import Predict, Trained
from benchmarks.training.one import Place
from datasets.preparing.store import Prepared
from tests.engine.small import build, make_config

DATASET = "phantom_acdc"
SHIFT = {"supervised": 2, "mean_teacher": -3}
Panels = list[tuple[Path, Figure]]


class Shifted(Trained):
    """Finds every structure some rows too low or too high."""

    def probability(self, image: NDArray[np.float32], predict: Predict | None = None) -> Tensor:
        del predict
        data = self.job.data
        (case,) = [c.case for c in data.cases if np.array_equal(data.image(c.case), image)]
        found = np.roll(data.label(case), SHIFT[self.run.key.method], axis=1)
        one_hot = np.eye(len(data.classes), dtype=np.float32)[found].transpose(3, 0, 1, 2)
        return torch.from_numpy(0.8 * one_hot + 0.2 / len(data.classes))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> tuple[BenchmarkConfig, list[Run], Path]:
    """Six phantoms, two of them tested in two frames each, and runs that nobody trained."""
    root = tmp_path_factory.mktemp("overlay")
    fields = make_config().model_dump(mode="json")
    fields["data"][DATASET]["split"]["test"] = 2
    config = check(BenchmarkConfig, fields)
    build(root, config)
    return config, [resolve(config, DATASET, method, root)[0] for method in SHIFT], root


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Panels:
    """Figures in place of files, by networks that are not trained."""
    found: Panels = []

    def opened(run: Run, place: Place) -> Shifted:
        folder = run.key.folder(place.root)
        job: Any = open_job(run, place.root, folder)
        nothing: Any = None
        return Shifted(run, "last", folder, job, nothing, torch.device("cpu"))

    def save(figure: Figure, path: Path) -> Path:
        found.append((path, figure))
        return path

    monkeypatch.setattr(chosen, "open_trained", opened)
    monkeypatch.setattr(chosen, "save", save)
    return found


def held_out(run: Run, root: Path) -> tuple[Prepared, list[str]]:
    job = open_job(run, root, root)
    return job.data, [c.case for c in job.data.of_patients(job.fold.test)]


def scores(run: Run, dice: dict[str, float], **changes: Any) -> pd.DataFrame:
    """Rows of one run, whose two classes lie around the mean."""
    key = run.key
    what = (key.benchmark, key.dataset, key.base, key.variant, key.labels, key.fold, key.seed)
    rows = [
        (*what, "last", case, case, name, d, d / (2 - d), 1.0, 1.0, 1.0, 1.0, 9, 9, "none")
        for case, mean in dice.items()
        for name, d in (("LV", mean + 0.05), ("RV", mean - 0.05))
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS)).assign(**changes)


def test_the_wanted_case_and_slice_with_a_panel_for_every_method(
    bench: tuple[BenchmarkConfig, list[Run], Path], drawn: Panels
) -> None:
    config, runs, root = bench
    data, cases = held_out(runs[0], root)
    case, index = cases[1], 1
    write_overlays(config, runs, Choice(case, index, 3), Place(root, "cpu"))
    ((path, figure),) = drawn
    assert path == root / f"reports/small/local/case-{DATASET}-{case}-s{index}.png"
    grid = np.reshape([ax for ax in figure.axes if ax.get_label() != "<colorbar>"], (3, 3))
    titles = [ax.get_title().splitlines()[0] for ax in grid[0]]
    assert titles == ["Image", "Supervised", "Mean Teacher"]
    image = np.asarray(data.image(case)[0, index], dtype=float)
    low, high = np.percentile(image, [1, 99])
    shades = np.round(255 * np.clip((image - low) / (high - low), 0, 1))
    for ax in (grid[0, 0], grid[1, 0], *grid[0, 1:], *grid[1, 1:]):
        np.testing.assert_allclose(ax.images[0].get_array(), shades, atol=1)
    truth = np.asarray(data.label(case)[index])
    assert truth.any()
    for column, shift in zip((1, 2), SHIFT.values(), strict=True):
        found = np.roll(truth, shift, axis=0)
        errors = grid[1, column].images[1].get_array().filled(0)
        names = np.array(["", *ERRORS])[errors]
        assert np.array_equal(names == "missed", (truth > 0) & (found == 0))
        assert np.array_equal(names == "too much", (truth == 0) & (found > 0))
        p = np.array([0.85, 0.05, 0.05, 0.05])
        share = -(p * np.log(p)).sum() / np.log(4)
        np.testing.assert_allclose(grid[2, column].images[0].get_array(), share, atol=1 / 255)
    # Without a slice the fullest of the reference.
    write_overlays(config, runs, Choice(case, None, 3), Place(root, "cpu"))
    counts = [(np.asarray(part) > 0).sum() for part in data.label(case)]
    assert drawn[1][0].name == f"case-{DATASET}-{case}-s{int(np.argmax(counts))}.png"


def test_the_worst_cases_are_those_of_all_shown_methods_in_the_shown_runs(
    bench: tuple[BenchmarkConfig, list[Run], Path], drawn: Panels
) -> None:
    config, runs, root = bench
    _, cases = held_out(runs[0], root)
    first, second = ((0.9, 0.2, 0.5, 0.6), (0.1, 0.9, 0.4, 0.9))  # means 0.5, 0.55, 0.45, 0.75
    for run, dice in zip(runs, (first, second), strict=True):
        own = scores(run, dict(zip(cases, dice, strict=True)))
        decoys = [
            scores(run, {cases[3]: 0.1}, **change)
            for change in ({"checkpoint": "best"}, {"seed": 7}, {"fold": 1}, {"labels": 3})
        ]
        folder = scores_folder(root, config.name, DATASET, run.key.method)
        write_text(folder / "cases.csv", pd.concat([own, *decoys]).to_csv(index=False))
    write_overlays(config, runs, Choice(None, None, 2), Place(root, "cpu"))
    assert [path.name.split("-")[2] for path, _ in drawn] == [cases[2], cases[0]]
    titles = [ax.get_title() for ax in drawn[0][1].axes[1:3]]
    assert titles == ["Supervised\nDice 50.0 %", "Mean Teacher\nDice 40.0 %"]


def test_cases_and_slices_that_are_not_there(
    bench: tuple[BenchmarkConfig, list[Run], Path], drawn: Panels
) -> None:
    config, runs, root = bench
    data, cases = held_out(runs[0], root)
    place, depth = Place(root, "cpu"), data.label(cases[0]).shape[0]
    trained = next(c.case for c in data.cases if c.case not in cases)
    for choice, words in (
        (Choice(trained, None, 1), rf"no test case '{trained}' in fold 0: .*{cases[0]}"),
        (Choice(cases[0], depth, 1), rf"--slice {depth}: .* has the slices 0 to {depth - 1}"),
        (Choice(cases[0], -1, 1), r"--slice -1: "),
    ):
        with pytest.raises(ConfigError, match=words):
            write_overlays(config, runs, choice, place)
    unscored = [replace(run, key=replace(run.key, seed=99)) for run in runs]
    with pytest.raises(
        ConfigError, match=f"`python -m benchmarks evaluate {DATASET}`, or .*--case"
    ):
        write_overlays(config, unscored, Choice(None, None, 1), place)
    assert drawn == []
