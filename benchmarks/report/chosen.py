"""Figures of chosen cases and slices: every method's prediction, errors and entropy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmarks.common.errors import ConfigError, nearest
from benchmarks.common.workspace import CASES, local_folder, scores_folder
from benchmarks.config import BenchmarkConfig
from benchmarks.plan.resolve import Run
from benchmarks.report.facts import MethodFacts, dataset_facts, method_facts
from benchmarks.report.load import read_table
from benchmarks.report.overlays import Showcase, draw_showcases
from benchmarks.report.style import figure_style, save
from benchmarks.scoring.cases import COLUMNS
from benchmarks.scoring.rows import tested_cases
from benchmarks.scoring.slices import cut_slice
from benchmarks.scoring.trained import Trained, open_trained
from benchmarks.training.one import Place


@dataclass(frozen=True)
class Choice:
    """What is to be shown.

    Attributes:
        case: id of a tested case, or None for the worst ones.
        index: of the slice; None takes the fullest in the reference.
        worst: number of cases with the lowest mean Dice of the shown methods.
    """

    case: str | None
    index: int | None
    worst: int


def write_overlays(
    config: BenchmarkConfig, runs: Sequence[Run], choice: Choice, place: Place
) -> list[Path]:
    """Write `case-<dataset>-<case>-s<slice>.png` into the local folder of the report.

    That folder is never committed, since cases may be of patients.

    Args:
        config: the benchmark.
        runs: finished ones on one data set, one per method.
        choice: of cases and slice.
        place: where the runs are and the device to predict on.

    Returns:
        The figures.

    Raises:
        ConfigError: no such case or slice, or the worst cases are wanted without scores.
        RunError: a run is missing.
    """
    dataset = dataset_facts(config, runs[0].key.dataset)
    methods = [method_facts(config, run.key.method) for run in runs]
    trained = [open_trained(run, place) for run in runs]
    scores = _scores(config, runs, place.root)
    folder, written = local_folder(place.root, config.name), []
    for case in _cases(trained, scores, choice):
        shown = [_showcase(t, m, case, choice.index) for t, m in zip(trained, methods, strict=True)]
        with figure_style():
            figure = draw_showcases(dataset, shown, cases=scores, errors=True)
            name = f"case-{dataset.id}-{case}-s{shown[0].slice.index}.png"
            written.append(save(figure, folder / name))
    return written


def _scores(config: BenchmarkConfig, runs: Sequence[Run], root: Path) -> pd.DataFrame:
    """Rows of the runs that have been scored."""
    frames = [pd.DataFrame(columns=list(COLUMNS))]
    for run in runs:
        path = scores_folder(root, config.name, run.key.dataset, run.key.method) / CASES
        if path.is_file():
            frame = read_table(path)
            same = (frame["fold"] == run.key.fold) & (frame["seed"] == run.key.seed)
            frames.append(frame[same & (frame["labels"] == run.key.labels)])
    return pd.concat([f for f in frames if len(f)] or frames, ignore_index=True)


def _cases(trained: Sequence[Trained], scores: pd.DataFrame, choice: Choice) -> list[str]:
    """The chosen case, or the worst ones, the worst first."""
    first = trained[0]
    known = [c.case for c in tested_cases(first.job.data, first.job.fold.test)]
    if choice.case is not None:
        if choice.case not in known:
            raise ConfigError(
                f"no test case '{choice.case}' in fold {first.run.key.fold}:"
                f" {nearest(choice.case, known)}"
            )
        return [choice.case]
    last = scores[scores["checkpoint"] == "last"]
    if last.empty:
        dataset = first.run.key.dataset
        raise ConfigError(
            "the worst cases are known from scores alone, and there are none: run"
            f" `python -m benchmarks evaluate {dataset}`, or name a case with --case"
        )
    means = last.groupby("case")["dice"].mean().sort_values(kind="stable")
    return [str(case) for case in means.index[: choice.worst]]


def _showcase(trained: Trained, method: MethodFacts, case: str, index: int | None) -> Showcase:
    image, key = trained.job.data.image(case), trained.run.key
    if index is not None and not 0 <= index < image.shape[1]:
        raise ConfigError(f"--slice {index}: '{case}' has the slices 0 to {image.shape[1] - 1}")
    one = cut_slice(trained, case, trained.probability(image), index)
    return Showcase(method, one, key.labels, key.seed)
