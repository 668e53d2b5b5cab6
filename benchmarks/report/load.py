"""Read the case tables of exactly the grid, refuse an incomplete benchmark, merge."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.config import BenchmarkConfig
from benchmarks.errors import RunError
from benchmarks.report.facts import Facts, MethodFacts

CHECKPOINTS = ("last", "best")
RUN = ["method", "variant", "labels", "fold", "seed", "checkpoint"]
TEXT = ("benchmark", "dataset", "method", "variant", "checkpoint", "case", "patient", "class")
COLUMNS = [
    "benchmark",
    "dataset",
    "method",
    "variant",
    "labels",
    "fold",
    "seed",
    "checkpoint",
    "case",
    "patient",
    "class",
    "dice",
    "jaccard",
    "hd95_mm",
    "asd_mm",
    "ref_voxels",
    "pred_voxels",
    "empty",
]
_SHOWN = 8


def load_cases(config: BenchmarkConfig, facts: Facts, *, root: Path) -> pd.DataFrame:
    """All rows of the grid's case tables.

    Rows are ordered by data set and method of the grid, then labels, fold, seed, checkpoint (last
    first), case, and class as evaluated.

    Args:
        config: the benchmark.
        facts: its methods and data sets.
        root: the checkout.

    Returns:
        One row per run, checkpoint, case and class with `COLUMNS`; distances NaN where not counted.

    Raises:
        RunError: a file, run, case or class is missing, twice there or not of the grid; names the
            cells and the commands that mend it.
    """
    folder = root / "reports" / config.name / "cases"
    frames, problems = [], []
    for dataset in config.grid.datasets:
        read = []
        for method in facts.methods:
            path = folder / f"{dataset}-{method.key}.csv"
            if not path.is_file():
                problems.append((dataset, method.key, f"no file {path.relative_to(root)}"))
                continue
            frame = _read(path, expected=(config.name, dataset, method.id, method.variant))
            problems += [(dataset, method.key, p) for p in _grid_problems(frame, config, method)]
            read.append(frame)
        if read:
            problems += _unit_problems(pd.concat(read, ignore_index=True))
        frames += read
    if problems:
        raise RunError(_message(config, problems))
    return pd.concat(frames, ignore_index=True)


def with_cell_labels(cases: pd.DataFrame, facts: Facts) -> pd.DataFrame:
    """Give a method with all labels one labelled count per data set.

    Training parts of cross-validation folds may differ by a patient; the largest count names the
    cell, so that its folds are averaged like those of any other method.
    """
    whole = all_labels_rows(cases, facts)
    largest = cases.groupby(["dataset", "method", "variant"])["labels"].transform("max")
    return cases.assign(labels=largest.where(whole, cases["labels"]))


def all_labels_rows(frame: pd.DataFrame, facts: Facts) -> NDArray[np.bool_]:
    """Which rows of a frame belong to a method with all labels: (rows,) bool."""
    whole = {(m.id, m.variant) for m in facts.methods if m.all_labels}
    return np.array([k in whole for k in zip(frame["method"], frame["variant"], strict=True)], bool)


def _read(path: Path, *, expected: tuple[str, str, str, str]) -> pd.DataFrame:
    """One case table, sorted; its identifying columns must be those of its file name."""
    try:
        frame = pd.read_csv(
            path,
            dtype=dict.fromkeys((*TEXT, "empty"), str),
            keep_default_na=False,
            na_values={name: [""] for name in ("dice", "jaccard", "hd95_mm", "asd_mm")},
        )
    except (ValueError, UnicodeDecodeError) as error:
        raise RunError(f"'{path}' is no readable case table: {error}") from None
    if list(frame.columns) != COLUMNS:
        raise RunError(f"'{path}' has the columns {list(frame.columns)}; expected {COLUMNS}")
    identity = ["benchmark", "dataset", "method", "variant"]
    found = set(frame[identity].itertuples(index=False, name=None))
    if found - {expected}:
        raise RunError(f"'{path}' holds rows of {sorted(found - {expected})}; expected {expected}")
    if not np.isfinite(frame[["dice", "jaccard"]].to_numpy(dtype=float)).all():
        raise RunError(f"'{path}' holds a Dice or Jaccard value that is no number; evaluate again")
    order = frame.assign(
        checkpoint=frame["checkpoint"].map({c: i for i, c in enumerate(CHECKPOINTS)})
    )
    columns = ["labels", "fold", "seed", "checkpoint", "case"]
    return frame.loc[order.sort_values(columns, kind="stable").index]


def _grid_problems(
    frame: pd.DataFrame, config: BenchmarkConfig, method: MethodFacts
) -> Iterator[str]:
    """Runs that are missing from a case table, or in it without being of the grid."""
    found = set(frame[RUN[2:]].drop_duplicates().itertuples(index=False, name=None))
    labels_of = frame.groupby("fold")["labels"].max().to_dict()
    wanted = set()
    for fold in config.grid.folds:
        dataset = str(frame["dataset"].iloc[0]) if len(frame) else ""
        counts = config.data[dataset].labels if dataset else ()
        if method.all_labels:
            counts = (labels_of.get(fold, -1),)
        wanted |= {(n, fold, s, c) for n in counts for s in config.grid.seeds for c in CHECKPOINTS}
    if not found:
        yield "the file has no rows"
    for run in sorted(found - wanted, key=str):
        yield f"not of the grid: {_run_name(*run)}"
    for run in sorted(wanted - found):
        yield f"missing {_run_name(*run)}"


def _unit_problems(frame: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Runs of one data set that lack a case or class that other runs of the same fold have."""
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


def _message(config: BenchmarkConfig, problems: list[tuple[str, str, str]]) -> str:
    """All problems, a few per stage, with the two commands that mend each stage."""
    stages: dict[tuple[str, str], list[str]] = {}
    for dataset, method, problem in problems:
        stages.setdefault((dataset, method), []).append(problem)
    lines = [f"benchmark '{config.name}' is not complete:"]
    for (dataset, method), found in stages.items():
        lines += [f"  {dataset} x {method}: {problem}" for problem in found[:_SHOWN]]
        if len(found) > _SHOWN:
            lines.append(f"  {dataset} x {method}: {len(found) - _SHOWN} more")
        lines += [
            f"    python -m benchmarks {command} --params FILE {dataset} {method}"
            for command in ("run", "evaluate")
        ]
    lines.append(f"FILE is the parameter file of '{config.name}'; `dvc repro` does both")
    return "\n".join(lines)
