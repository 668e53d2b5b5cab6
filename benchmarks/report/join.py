"""Put newly scored runs into a committed report, whose other runs are not trained again."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from benchmarks.common.errors import RunError
from benchmarks.common.files import write_text
from benchmarks.common.workspace import (
    CASES,
    MECHANISMS,
    PSEUDO_LABELS,
    RUNS,
    SCORED,
    TRACES,
    report_folder,
    scores_folder,
)
from benchmarks.config import BenchmarkConfig
from benchmarks.plan.grid import base_of
from benchmarks.plan.identity import code_digest
from benchmarks.report import DECIMALS
from benchmarks.report.facts import Facts, MethodFacts, collect_facts
from benchmarks.report.groups import DECIMALS as LOGGED
from benchmarks.report.groups import GROUPS, read_groups
from benchmarks.report.load import Source, load_cases, narrowed
from benchmarks.report.mechanisms import read_mechanisms
from benchmarks.report.pool import SUMMARIES, pool, pooled_runs
from benchmarks.report.provenance import read_provenance
from benchmarks.report.stale import other_words, refuse_other_setup
from benchmarks.report.tables import csv
from benchmarks.report.traces import DECIMALS as LOSSES
from benchmarks.report.traces import read_traces
from benchmarks.report.web.curves import CURVES, read_curves
from benchmarks.scoring.cases import EXTERNAL, MADE_WITH, seal
from benchmarks.statistics.pairs import method_keys

_RUN = ["labels", "fold", "seed"]
# Stands for the labelled count of a method with all labels, which differs by fold.
_ALL = -1

Row = tuple[str, str]
Run = tuple[int, int, int]


@dataclass(frozen=True)
class Joining:
    """A row of the grid, and which of its runs come from where.

    Attributes:
        row: data set and key of the method.
        whole: whether it is trained with all labels.
        fresh: runs that are scored here and new.
        kept: runs of the report that stay.
        problems: why the row cannot be joined, in words.
    """

    row: Row
    whole: bool
    fresh: frozenset[Run]
    kept: frozenset[Run]
    problems: tuple[str, ...]


def join_rows(config: BenchmarkConfig, source: Source) -> None:
    """Write the runs that are scored here into the tables of the committed report.

    A row is a method on a data set. If all of its runs are scored here, they replace those of the
    report; if some are, those that the report has not stand beside those that it has. All else is
    kept as it stands, digit for digit; rows that the grid has no more go. A call that was killed
    half-way, or is made again, gives the same.

    Args:
        config: the benchmark, whose grid may have rows and runs that the report has not.
        source: of the scores; neither kept nor partial.

    Raises:
        RunError: a study of training lengths, no report, nothing scored here, scores that do not
            count, or of a row that is not scored as a whole the report has not the other runs, or
            has them made by other code, settings, split or data, or has runs that are not of the
            grid. Nothing has been written then.
    """
    folder, facts = report_folder(source.root, config.name), collect_facts(config)
    if config.steps:
        words = "is a study of training lengths, whose table of lengths is made of all runs"
        raise RunError(f"'{config.name}' {words}: `{source.whole(config)}`")
    if not (folder / RUNS).is_file():
        raise RunError(f"no '{folder / RUNS}' to join rows to: `{source.whole(config)}` makes all")
    refuse_other_setup(source.root, config)
    here, unfit = narrowed(config, facts, replace(source, partial=True))
    if unfit:
        raise RunError("\n".join(["scores here that do not count:", *(f"  {w}" for w in unfit)]))
    told, kept = read_provenance(config, facts, here), _by_row(_read(folder / RUNS))
    scored = {} if told is None else _by_row(_text(csv(told)))
    rows = [
        _joining(config, source.root, (dataset, method), scored, kept)
        for dataset in config.grid.datasets
        for method in facts.methods
    ]
    _refuse(config, source, rows)
    tables = {
        name: _joined(name, before, fresh, rows)
        for name, fresh in _fresh(config, facts, here, rows).items()
        # A report that is older than a table would get it with a part of the rows.
        if not (before := _read(folder / name)).empty
        or name == GROUPS
        or not any(one.kept for one in rows)
    }
    # The table of runs comes last: by it, a call that was killed before knows what was there.
    for name, table in tables.items():
        write_text(folder / name, csv(table))


def _joining(
    config: BenchmarkConfig,
    root: Path,
    cell: tuple[str, MethodFacts],
    scored: dict[Row, pd.DataFrame],
    kept: dict[Row, pd.DataFrame],
) -> Joining:
    dataset, method = cell
    row, whole = (dataset, method.key), method.all_labels
    here, there = (_weights(frames.get(row)) for frames in (scored, kept))
    counts = (_ALL,) if whole else config.data[dataset].labels
    wanted = {(n, *pair) for n in counts for pair in config.grid.pairs}

    def named(runs: Iterable[Run]) -> set[Run]:
        return {(_ALL, fold, seed) for _, fold, seed in runs} if whole else set(runs)

    if wanted <= named(here):
        return Joining(row, whole, frozenset(here), frozenset(), ())
    fresh, found = here.keys() - there.keys(), named(here) | named(there)
    again = {run for run in here.keys() & there.keys() if here[run] != there[run]}
    lacking = wanted - found
    told = [
        f"{words} {', '.join(_name(run) for run in sorted(runs))}"
        for words, runs in (
            ("no run", lacking),
            ("runs that are not of the grid:", found - wanted),
            ("scored here again with other weights, but not all of the row:", again),
        )
        if runs
    ]
    if lacking == wanted:
        told = ["no such row"]
    elif there and (words := _otherwise(config, root, row, kept[row])):
        told.append(f"made with other {', '.join(words)} than now")
    return Joining(row, whole, frozenset(fresh), frozenset(there), tuple(told))


def _of(lines: pd.DataFrame, runs: frozenset[Run]) -> pd.DataFrame:
    return lines[np.array([run in runs for run in _cells(lines)], dtype=bool)]


def _weights(lines: pd.DataFrame | None) -> dict[Run, str]:
    """Digests of the last weights by run."""
    if lines is None:
        return {}
    return dict(zip(_cells(lines), lines.get("weights", [""] * len(lines)), strict=True))


def _name(run: Run) -> str:
    labels = "" if run[0] == _ALL else f"l{run[0]}-"
    return f"{labels}f{run[1]}-s{run[2]}"


def _otherwise(config: BenchmarkConfig, root: Path, row: Row, own: pd.DataFrame) -> list[str]:
    """What the runs of the report were made with that is different now."""
    if not {*MADE_WITH} <= {*own.columns}:
        return ["columns"]
    words = other_words(root, config, *row, own)
    same = {*own["code"]} == {code_digest(root, base_of(row[1]))}
    return words if same else [*words, "code"]


def _refuse(config: BenchmarkConfig, source: Source, rows: Sequence[Joining]) -> None:
    """Raise a `RunError` of rows with problems, with the commands that train and score them."""
    lines = []
    for one in rows:
        lines += [f"  {' x '.join(one.row)}: {text}" for text in one.problems]
        if one.problems:
            run, *_ = source.remedies(config, *one.row)
            lines.append(f"    {run}")
    if lines:
        datasets = dict.fromkeys(one.row[0] for one in rows if one.problems)
        lines += [f"    {source.scoring(dataset)}" for dataset in datasets]
        raise RunError("\n".join(["neither report nor scores can give:", *lines]))


def _fresh(
    config: BenchmarkConfig, facts: Facts, here: Source, rows: Sequence[Joining]
) -> dict[str, pd.DataFrame]:
    """The tables of the new runs alone, by name; none if there are none."""
    new = {one.row: one.fresh for one in rows if one.fresh}
    if not new:
        return {}
    with TemporaryDirectory() as place:
        for row, runs in new.items():
            source, target = (scores_folder(r, config.name, *row) for r in (here.root, Path(place)))
            _copy(source, target, runs)
        there = replace(here, root=Path(place), present=frozenset(new))
        found = read_mechanisms(config, facts, there)
        frames = {
            CASES: (load_cases(config, facts, there), None),
            MECHANISMS: (None if found is None else found.terms, DECIMALS),
            PSEUDO_LABELS: (None if found is None else found.labels, DECIMALS),
            TRACES: (read_traces(config, facts, there), LOSSES),
            CURVES: (read_curves(config, facts, there), None),
            GROUPS: (read_groups(config, facts, there), LOGGED),
            RUNS: (read_provenance(config, facts, there, here.root), None),
        }
    return {n: _text(csv(f, decimals=d)) for n, (f, d) in frames.items() if f is not None}


def _copy(source: Path, target: Path, runs: frozenset[Run]) -> None:
    """Scores of some runs of a row, as if no other had been trained."""
    target.mkdir(parents=True)
    shutil.copy(source / SCORED, target)
    for path in source.glob("*.csv"):
        write_text(target / path.name, csv(_of(_read(path), runs)))
    seal(target)


def _read(path: Path) -> pd.DataFrame:
    return _text(path.read_text(encoding="utf-8")) if path.is_file() else pd.DataFrame()


def _text(table: str) -> pd.DataFrame:
    """Cells as they are written, so that what is kept keeps its digits."""
    return pd.read_csv(StringIO(table), dtype=str, keep_default_na=False)


def _by_row(lines: pd.DataFrame) -> dict[Row, pd.DataFrame]:
    """Lines by data set and key; a case table has the variant in a column of its own."""
    if lines.empty:
        return {}
    keys = method_keys(lines) if "variant" in lines else lines["method"]
    groups = lines.groupby([lines["dataset"], keys], sort=False)
    return {(str(dataset), str(key)): own for (dataset, key), own in groups}


def _cells(lines: pd.DataFrame) -> list[Run]:
    return [(int(n), int(f), int(s)) for n, f, s in lines[_RUN].itertuples(index=False, name=None)]


def _joined(
    name: str, before: pd.DataFrame, fresh: pd.DataFrame, rows: Sequence[Joining]
) -> pd.DataFrame:
    """Kept lines and new ones in the order of the grid; external rows stay at the end."""
    old, new, nothing = _by_row(before), _by_row(fresh), fresh.head(0)
    parts = []
    for one in rows:
        kept, own = old.get(one.row, nothing), new.get(one.row, nothing)
        if not one.fresh:
            parts.append(kept)
        elif not one.kept:
            parts.append(own)
        elif name in SUMMARIES:
            parts.append(_pooled(name, kept, own, one))
        else:
            both = pd.concat([_of(kept, one.kept), own], ignore_index=True)
            # Case tables are sorted by labels, others as runs are listed.
            columns = _RUN[1:] if one.whole and name != CASES else _RUN
            order = both[columns].astype(int).sort_values(columns, kind="stable").index
            parts.append(both.loc[order])
    outside = [own for (_, key), own in old.items() if key.endswith(f"-{EXTERNAL}")]
    return pd.concat([*parts, *outside], ignore_index=True)[list(fresh.columns)]


def _pooled(name: str, kept: pd.DataFrame, own: pd.DataFrame, one: Joining) -> pd.DataFrame:
    """A summary of kept and new runs; that of a call that was killed holds both already.

    Raises:
        RunError: the kept summary is of other runs than the table of runs says.
    """
    if kept.empty or own.empty:
        return kept if own.empty else own
    parts = [pd.read_csv(StringIO(csv(part))) for part in (kept, own)]
    count = pooled_runs(name, parts[0])
    if count == len(one.kept | one.fresh):
        return kept
    if count != len(one.kept):
        raise RunError(
            f"{name} of the report holds {count} runs of {' x '.join(one.row)}, {RUNS}"
            f" {len(one.kept)}: take the report's folder from Git again"
        )
    both = pd.concat(parts, ignore_index=True)
    if name == CURVES and one.whole:  # its folds are drawn as one, by the largest count
        both["labels"] = both["labels"].max()
    return _text(csv(pool(name, both)))
