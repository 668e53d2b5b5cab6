"""Read the case tables of a grid, refuse an incomplete benchmark unless told otherwise, merge."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.common.errors import ConfigError, RunError
from benchmarks.common.pasting import params_options
from benchmarks.common.workspace import (
    CASES,
    CHECKPOINTS,
    MECHANISMS,
    PSEUDO_LABELS,
    RUNS,
    STEPS,
    partial_folder,
    report_folder,
    scores_folder,
)
from benchmarks.config import BenchmarkConfig, load_config
from benchmarks.report.complete import (
    Problems,
    grid_problems,
    problem_words,
    refuse_others,
    unit_problems,
)
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

# Columns that tables of older runs lack.
_YOUNG = ("assd_mm", "nsd")
_NUMBERS = ("labels", "fold", "seed")
_TEXT = [name for name in IDENTITY if name not in _NUMBERS]
_FILES = (CASES, STEPS, RUNS, MECHANISMS, PSEUDO_LABELS)


@dataclass(frozen=True)
class Source:
    """Where the report takes the scores from.

    Attributes:
        root: the checkout.
        params: parameter file, for the commands in messages.
        kept: read the committed tables of the report in place of the scores.
        partial: runs may be missing; the report lies apart.
        present: data sets and methods that have scores; None are all of the grid.
    """

    root: Path
    params: Path = Path("params.yaml")
    kept: bool = False
    partial: bool = False
    present: frozenset[tuple[str, str]] | None = None

    def target(self, name: str) -> Path:
        """Folder of the report of a benchmark."""
        return (partial_folder if self.partial else report_folder)(self.root, name)

    def scored(self, config: BenchmarkConfig, facts: Facts) -> Iterator[tuple[str, str, Path]]:
        """Data set, method and folder of all scores that there are, in the order of the grid."""
        for dataset in config.grid.datasets:
            for method in facts.methods:
                if self.present is None or (dataset, method.key) in self.present:
                    folder = scores_folder(self.root, config.name, dataset, method.key)
                    yield dataset, method.key, folder

    def remedies(self, config: BenchmarkConfig, dataset: str, method: str) -> list[str]:
        """The commands that make the scores of a method anew; of a sweep the one that makes all."""
        if self._sweep(config):
            return [self.whole(config)]
        return [
            f"python -m benchmarks {name} {params_options(self.params)} {dataset} {method}"
            for name in ("run", "evaluate")
        ]

    def scoring(self, dataset: str) -> str:
        """The command that scores what is finished."""
        return f"python -m benchmarks evaluate {params_options(self.params)} {dataset} --partial"

    def whole(self, config: BenchmarkConfig) -> str:
        """The command that makes all scores."""
        sweep, command = self._sweep(config), "python -m benchmarks repro"
        return f"{command} {params_options(self.params, sweep)}" if sweep else command

    def _sweep(self, config: BenchmarkConfig) -> str:
        """Name of the sweep that a benchmark is, or "" of one with a parameter file."""
        try:
            start = f"{load_config(self.params).name}_"
        except ConfigError:
            return ""
        return config.name.removeprefix(start) if config.name.startswith(start) else ""


def narrowed(config: BenchmarkConfig, facts: Facts, source: Source) -> tuple[Source, list[str]]:
    """The source of a partial report with what has scores, and why other scores do not count.

    Raises:
        RunError: nothing at all has been scored.
    """
    found, unfit = set(), []
    for dataset, method, folder in source.scored(config, facts):
        words = _absent(config, dataset, method, source)
        if not words:
            found.add((dataset, method))
        elif folder.is_dir():
            unfit.append(f"{dataset} x {method}: {words}")
    if not found:
        commands = [f"  {source.scoring(dataset)}" for dataset in config.grid.datasets]
        head = f"no scores of '{config.name}' yet; of runs that are finished:"
        raise RunError("\n".join([head, *commands, *(f"  {words}" for words in unfit)]))
    return replace(source, present=frozenset(found)), unfit


def load_cases(config: BenchmarkConfig, facts: Facts, source: Source) -> pd.DataFrame:
    """All rows of the grid's case tables.

    Rows are ordered by data set and method of the grid, then labels, fold, seed, checkpoint (last
    first), case, and class as evaluated.

    Args:
        config: the benchmark.
        facts: its methods and data sets.
        source: of the tables; those of `narrowed` where it is partial.

    Returns:
        One row per run, checkpoint, case and class with `COLUMNS`; distances NaN where not counted
        and where an older table lacks them.

    Raises:
        RunError: a file, run, case or class is missing (runs may be where the source is partial),
            twice there or not of the grid; names the cells and the commands that mend it.
    """
    kept = _read_kept(config, facts, source) if source.kept else None
    known, problems = {m.key: m for m in facts.methods}, Problems()
    frames: dict[str, list[pd.DataFrame]] = {dataset: [] for dataset in config.grid.datasets}
    for dataset, key, folder in source.scored(config, facts):
        method = known[key]
        if kept is not None:
            frame = kept.get((dataset, method.id, method.variant))
            absent = f"no rows in the kept {CASES}"
        else:
            absent = _absent(config, dataset, key, source)
            frame = None if absent else read_table(folder / CASES)
        if frame is None:
            problems.append((dataset, key, absent))
            continue
        refuse_others(frame, (config.name, dataset, method.id, method.variant))
        found = grid_problems(frame, config, dataset, method, partial=source.partial)
        problems += [(dataset, key, words) for words in found]
        frames[dataset].append(frame)
    for read in filter(None, frames.values()):
        problems += unit_problems(pd.concat(read, ignore_index=True))
    none = not any(folder.exists() for _, _, folder in source.scored(config, facts))
    if problems and none and not source.kept:
        table = (source.target(config.name) / CASES).is_file()
        raise RunError(
            f"no run of '{config.name}' is scored here: `{source.whole(config)}` trains and scores"
            f" all{'; `python -m benchmarks report --kept` takes the committed tables' * table}"
        )
    if problems:
        hint = "" if source.partial else " (--partial: a report of what is)"
        head = f"benchmark '{config.name}' is not complete{hint}:"
        words = problem_words(problems, partial(source.remedies, config))
        raise RunError("\n".join([head, *words]))
    return pd.concat([f for read in frames.values() for f in read], ignore_index=True)


def _absent(config: BenchmarkConfig, dataset: str, method: str, source: Source) -> str:
    """Why there are no scores of a method that count; "" if there are."""
    folder = scores_folder(source.root, config.name, dataset, method)
    lacking = [name for name in _FILES if not (folder / name).is_file()]
    return (
        ", ".join(f"no file {(folder / n).relative_to(source.root)}" for n in lacking)
        or broken_seal(folder)
        or stale_words(source.root, config, dataset, method)
    )


def with_cell_labels(cases: pd.DataFrame, facts: Facts) -> pd.DataFrame:
    """Give a method with all labels one labelled count per data set.

    Training parts of cross-validation folds may differ by a patient; the largest count names the
    cell, so that its folds are averaged like those of any other method.
    """
    whole = rows_of(cases, facts.whole)
    largest = cases.groupby(["dataset", "method", "variant"])["labels"].transform("max")
    return cases.assign(labels=largest.where(whole, cases["labels"]))


def rows_of(frame: pd.DataFrame, methods: Iterable[MethodFacts]) -> NDArray[np.bool_]:
    """Which rows of a frame belong to some methods: (rows,) bool."""
    keys = {(m.id, m.variant) for m in methods}
    return np.array([k in keys for k in zip(frame["method"], frame["variant"], strict=True)], bool)


def all_labels_counts(cases: pd.DataFrame, facts: Facts) -> dict[tuple[str, str], str]:
    """By data set and key, the labelled counts of a method with all labels, such as "63 to 64"."""
    own = cases[rows_of(cases, facts.whole)].assign(key=method_keys)
    ends = own.groupby(["dataset", "key"])["labels"]
    return {
        (str(d), str(k)): f"{low} to {high}" if low < high else f"{high}"
        for (d, k), low, high in ends.agg(["min", "max"]).itertuples(name=None)
    }


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
    columns = [*_NUMBERS, "checkpoint", "case"]
    return frame.loc[order.sort_values(columns, kind="stable").index]


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
