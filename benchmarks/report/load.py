"""Read the case tables of exactly the grid, refuse an incomplete benchmark, merge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.common.errors import ConfigError, RunError
from benchmarks.common.workspace import (
    CASES,
    CHECKPOINTS,
    MECHANISMS,
    PSEUDO_LABELS,
    RUNS,
    STEPS,
    report_folder,
    scores_folder,
)
from benchmarks.config import BenchmarkConfig, load_config
from benchmarks.report.facts import Facts, MethodFacts
from benchmarks.report.stale import stale_words
from benchmarks.scoring.cases import (
    COLUMNS,
    EXTERNAL,
    IDENTITY,
    MEASURED,
    broken_seal,
    value_problems,
)
from benchmarks.statistics.pairs import method_keys

RUN = ["method", "variant", "labels", "fold", "seed", "checkpoint"]
# Columns that tables of older runs lack.
_YOUNG = ("assd_mm", "nsd")
_NUMBERS = ("labels", "fold", "seed")
_TEXT = [name for name in IDENTITY if name not in _NUMBERS]
_SHOWN = 8
_FILES = (CASES, STEPS, RUNS, MECHANISMS, PSEUDO_LABELS)

Problems = list[tuple[str, str, str]]


@dataclass(frozen=True)
class Source:
    """Where the report takes the scores from.

    Attributes:
        root: the checkout.
        params: parameter file, for the commands in messages.
        kept: read the committed tables of the report in place of the scores.
        partial: leave out methods that lack a run, in place of refusing the benchmark.
    """

    root: Path
    params: Path = Path("params.yaml")
    kept: bool = False
    partial: bool = False

    def remedies(self, config: BenchmarkConfig, dataset: str, method: str) -> list[str]:
        """The commands that make the scores of a method anew, to paste.

        A sweep has no commands for its single stages: one makes the whole of it.
        """
        try:
            own = load_config(self.params).name
        except ConfigError:
            own = config.name
        if own != config.name:
            sweep = config.name.removeprefix(f"{own}_")
            return [f"python -m benchmarks repro --params {self.params} --sweep {sweep}"]
        return [
            f"python -m benchmarks {name} --params {self.params} {dataset} {method}"
            for name in ("run", "evaluate")
        ]


def load_cases(config: BenchmarkConfig, facts: Facts, source: Source) -> pd.DataFrame:
    """All rows of the grid's case tables.

    Rows are ordered by data set and method of the grid, then labels, fold, seed, checkpoint (last
    first), case, and class as evaluated.

    Args:
        config: the benchmark.
        facts: its methods and data sets.
        source: of the tables.

    Returns:
        One row per run, checkpoint, case and class with `COLUMNS`; distances NaN where not counted
        and where an older table lacks them.

    Raises:
        RunError: a file, run, case or class is missing, twice there or not of the grid; names the
            cells and the commands that mend it.
    """
    kept = _read_kept(config, facts, source) if source.kept else None
    frames: list[pd.DataFrame] = []
    problems: Problems = []
    for dataset in config.grid.datasets:
        read = []
        for method in facts.methods:
            if kept is not None:
                frame = kept.get((dataset, method.id, method.variant))
                absent = f"no rows in the kept {CASES}"
            else:
                folder = scores_folder(source.root, config.name, dataset, method.key)
                lacking = [folder / n for n in _FILES if not (folder / n).is_file()]
                absent = ", ".join(f"no file {path.relative_to(source.root)}" for path in lacking)
                absent = (
                    absent
                    or broken_seal(folder)
                    or stale_words(source.root, config, dataset, method.key)
                )
                frame = None if absent else read_table(folder / CASES)
            if frame is None:
                problems.append((dataset, method.key, absent))
                continue
            _refuse_others(frame, (config.name, dataset, method.id, method.variant))
            found = _grid_problems(frame, config, dataset, method)
            problems += [(dataset, method.key, words) for words in found]
            read.append(frame)
        if read:
            problems += _unit_problems(pd.concat(read, ignore_index=True))
        frames += read
    broken = {method for _, method, _ in problems}
    if problems and not (source.partial and {m.key for m in facts.methods} - broken):
        raise RunError(_message(config, problems, source))
    whole = pd.concat(frames, ignore_index=True)
    return whole[~method_keys(whole).isin(broken)].reset_index(drop=True)


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
    whole = {(m.id, m.variant) for m in facts.rows if m.all_labels}
    return np.array([k in whole for k in zip(frame["method"], frame["variant"], strict=True)], bool)


def read_columns(
    path: Path, columns: Sequence[str], *, what: str, again: str, **how: Any
) -> pd.DataFrame:
    """A CSV file of exactly these columns.

    Args:
        path: of the file.
        columns: in order.
        what: it is, for the message.
        again: the remedy, for the message.
        how: options of `pandas.read_csv`.

    Raises:
        RunError: the file is missing or damaged, or has other columns.
    """
    try:
        frame: pd.DataFrame = pd.read_csv(path, **how)
    except (OSError, ValueError) as error:
        raise RunError(f"'{path}' is no readable {what}: {error}; {again}") from None
    if list(frame.columns) != list(columns):
        found = f"'{path}' has the columns {list(frame.columns)}; expected {list(columns)}"
        raise RunError(f"{found}; {again}")
    return frame


def read_table(path: Path, *, older: bool = False) -> pd.DataFrame:
    """One case table, sorted.

    Args:
        path: of the table.
        older: columns may be missing that older runs were not scored by.
    """
    try:
        frame = pd.read_csv(
            path,
            dtype=dict.fromkeys((*_TEXT, "empty"), str),
            keep_default_na=False,
            na_values={name: [""] for name in MEASURED},
        )
    except (ValueError, UnicodeDecodeError) as error:
        raise RunError(f"'{path}' is no readable case table: {error}") from None
    expected = [c for c in COLUMNS if not older or c in frame.columns or c not in _YOUNG]
    if list(frame.columns) != expected:
        raise RunError(f"'{path}' has the columns {list(frame.columns)}; expected {list(COLUMNS)}")
    if not np.isfinite(frame[["dice", "jaccard"]].to_numpy(dtype=float)).all():
        raise RunError(f"'{path}' holds a Dice or Jaccard value that is no number; evaluate again")
    frame = frame.reindex(columns=list(COLUMNS))
    wrong = next(value_problems(frame), "")
    if wrong:
        raise RunError(f"'{path}' holds {wrong}; evaluate again")
    places = {c: i for i, c in enumerate(CHECKPOINTS)}
    order = frame.assign(checkpoint=frame["checkpoint"].map(places))
    by = [*_NUMBERS, "checkpoint", "case"]
    return frame.loc[order.sort_values(by, kind="stable").index]


def _read_kept(
    config: BenchmarkConfig, facts: Facts, source: Source
) -> dict[tuple[str, str, str], pd.DataFrame]:
    """The committed case table by data set, method and variant.

    Raises:
        RunError: there is none, or it holds what is not of the grid.
    """
    path = report_folder(source.root, config.name) / CASES
    if not path.is_file():
        raise RunError(
            f"no file '{path}'; `python -m benchmarks report` without --kept makes"
            " it from finished runs"
        )
    frame = read_table(path, older=True)
    frame = frame[frame["variant"] != EXTERNAL]
    parts: dict[Any, pd.DataFrame] = dict(iter(frame.groupby(["dataset", "method", "variant"])))
    wanted = {(d, m.id, m.variant) for d in config.grid.datasets for m in facts.methods}
    if set(parts) - wanted:
        raise RunError(f"'{path}' holds {sorted(set(parts) - wanted)}, not of the grid")
    return parts


def _refuse_others(frame: pd.DataFrame, expected: tuple[str, str, str, str]) -> None:
    """Refuse a table with rows of another benchmark, data set or method."""
    found = set(frame[list(IDENTITY[:4])].itertuples(index=False, name=None))
    if found - {expected}:
        raise RunError(f"a table of {expected} holds rows of {sorted(found - {expected})}")


def _grid_problems(
    frame: pd.DataFrame, config: BenchmarkConfig, dataset: str, method: MethodFacts
) -> Iterator[str]:
    """Runs that are missing from a case table, or in it without being of the grid."""
    found = set(frame[RUN[2:]].drop_duplicates().itertuples(index=False, name=None))
    labels_of = frame.groupby("fold")["labels"].max().to_dict()
    wanted = set()
    for fold, seed in config.grid.pairs:
        known = config.data[dataset].labels
        counts = (labels_of.get(fold, -1),) if method.all_labels else known
        wanted |= {(n, fold, seed, c) for n in counts for c in CHECKPOINTS}
    if not found:
        yield "the file has no rows"
    for run in sorted(found - wanted, key=str):
        yield f"not of the grid: {_run_name(*run)}"
    for run in sorted(wanted - found):
        yield f"missing {_run_name(*run)}"


def _unit_problems(frame: pd.DataFrame) -> Problems:
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


def _message(config: BenchmarkConfig, problems: Problems, source: Source) -> str:
    """All problems, a few per stage, with the two commands that mend each stage."""
    stages: dict[tuple[str, str], list[str]] = {}
    for dataset, method, problem in problems:
        stages.setdefault((dataset, method), []).append(problem)
    lines = [f"benchmark '{config.name}' is not complete (--partial: a report of what is):"]
    for (dataset, method), found in stages.items():
        lines += [f"  {dataset} x {method}: {problem}" for problem in found[:_SHOWN]]
        if len(found) > _SHOWN:
            lines.append(f"  {dataset} x {method}: {len(found) - _SHOWN} more")
        lines += [f"    {command}" for command in source.remedies(config, dataset, method)]
    return "\n".join(lines)
