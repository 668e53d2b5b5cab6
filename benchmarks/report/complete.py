"""Whether case tables hold exactly the runs and cases of a grid, and how to say what they lack."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pandas as pd

from benchmarks.common.errors import RunError
from benchmarks.common.workspace import CHECKPOINTS
from benchmarks.config import BenchmarkConfig
from benchmarks.report.facts import MethodFacts
from benchmarks.scoring.cases import IDENTITY

RUN = ["method", "variant", "labels", "fold", "seed", "checkpoint"]
_SHOWN = 8

# Data set, method and what is wrong.
Problems = list[tuple[str, str, str]]


def refuse_others(frame: pd.DataFrame, expected: tuple[str, str, str, str]) -> None:
    """Refuse a table with rows of another benchmark, data set or method.

    Raises:
        RunError: it has some.
    """
    found = set(frame[list(IDENTITY[:4])].itertuples(index=False, name=None))
    if found - {expected}:
        raise RunError(f"a table of {expected} holds rows of {sorted(found - {expected})}")


def grid_problems(
    frame: pd.DataFrame,
    config: BenchmarkConfig,
    dataset: str,
    method: MethodFacts,
    *,
    partial: bool = False,
) -> Iterator[str]:
    """Runs that are missing from a case table, or in it without being of the grid.

    Args:
        frame: rows of one method on one data set.
        config: with the grid.
        dataset: id.
        method: of the grid.
        partial: runs may be missing, but none may lack a checkpoint.
    """
    found = set(frame[RUN[2:]].drop_duplicates().itertuples(index=False, name=None))
    labels_of = frame.groupby("fold")["labels"].max().to_dict()
    wanted = set()
    for fold, seed in config.grid.pairs:
        counts = config.data[dataset].labels
        if method.all_labels:
            counts = (labels_of.get(fold, -1),)
        wanted |= {(n, fold, seed, c) for n in counts for c in CHECKPOINTS}
    if not found:
        yield "the file has no rows"
    if partial:
        wanted = {run for run in wanted if any((*run[:-1], c) in found for c in CHECKPOINTS)}
    for run in sorted(found - wanted, key=str):
        yield f"not of the grid: {_run_name(*run)}"
    for run in sorted(wanted - found):
        yield f"missing {_run_name(*run)}"


def unit_problems(frame: pd.DataFrame) -> Problems:
    """Runs of one data set that lack a case or class that other runs of the same fold have.

    Folds are not compared with each other: those of a cross-validation test other patients.
    """
    problems = []
    key: Any
    for _, fold in frame.groupby("fold"):
        units = set(fold[["patient", "case", "class"]].itertuples(index=False, name=None))
        for key, run in fold.groupby(RUN, sort=False):
            name, variant, labels, index, seed, checkpoint = key
            own = list(run[["patient", "case", "class"]].itertuples(index=False, name=None))
            missing = sorted(units - set(own))
            state = f"{len(missing)} of {len(units)} values missing, e.g. {missing[:1]}"
            if len(own) != len(set(own)):
                state = f"{len(own) - len(set(own))} values twice"
            elif not missing:
                continue
            method = f"{name}-{variant}" if variant else str(name)
            where = _run_name(labels, index, seed, checkpoint)
            problems.append((str(run["dataset"].iloc[0]), method, f"{where}: {state}"))
    return problems


def _run_name(labels: int, fold: int, seed: int, checkpoint: str) -> str:
    count = "all labels" if labels < 0 else f"{labels} labelled"
    return f"{count}, fold {fold}, seed {seed}, checkpoint {checkpoint}"


def problem_words(problems: Problems, remedies: Callable[[str, str], Sequence[str]]) -> list[str]:
    """All problems as lines, a few per data set and method, with the commands that mend each.

    Args:
        problems: in any order.
        remedies: the commands for a data set and method.
    """
    stages: dict[tuple[str, str], list[str]] = {}
    for dataset, method, problem in problems:
        stages.setdefault((dataset, method), []).append(problem)
    lines = []
    for (dataset, method), found in stages.items():
        lines += [f"  {dataset} x {method}: {problem}" for problem in found[:_SHOWN]]
        if len(found) > _SHOWN:
            lines.append(f"  {dataset} x {method}: {len(found) - _SHOWN} more")
        lines += [f"    {command}" for command in remedies(dataset, method)]
    return lines
