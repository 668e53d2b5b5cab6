"""Put newly scored runs into a committed report, whose other runs are not trained again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path

import pandas as pd

from benchmarks.common.errors import RunError
from benchmarks.common.files import write_text
from benchmarks.common.workspace import (
    CASES,
    MECHANISMS,
    PSEUDO_LABELS,
    RUNS,
    TRACES,
    report_folder,
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
from benchmarks.report.stale import other_words
from benchmarks.report.tables import csv
from benchmarks.report.traces import DECIMALS as LOSSES
from benchmarks.report.traces import read_traces
from benchmarks.report.web.curves import CURVES, read_curves
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
        fresh: runs that are scored here.
        kept: runs of the report that stay.
        missing: folds and seeds that neither has.
    """

    row: Row
    whole: bool
    fresh: frozenset[Run]
    kept: frozenset[Run]
    missing: tuple[tuple[int, int], ...]


def join_rows(config: BenchmarkConfig, source: Source) -> None:
    """Write the runs that are scored here into the tables of the committed report.

    A row is a method on a data set. If all of its runs are scored here, they replace those of the
    report; if some are, they stand beside those that the report has and the scores have not. All
    else is kept as it stands, digit for digit. A call that was killed half-way, or is made again,
    gives the same.

    Args:
        config: the benchmark, whose grid may have rows and runs that the report has not.
        source: of the scores; neither kept nor partial.

    Raises:
        RunError: there is no report, nothing is scored here, or of a row that is not scored as a
            whole the report has not the other runs, or has them made by other code or with other
            settings, split or data than now.
    """
    folder, facts = report_folder(source.root, config.name), collect_facts(config)
    if not (folder / RUNS).is_file():
        raise RunError(f"no '{folder / RUNS}' to join rows to: `{source.whole(config)}` makes all")
    here, _ = narrowed(config, facts, replace(source, partial=True))
    keys = {method for _, method in here.present or ()}
    own = replace(facts, methods=tuple(m for m in facts.methods if m.key in keys))
    fresh = {name: _text(table) for name, table in _fresh(config, own, here).items()}
    kept = _read(folder / RUNS)
    rows = [
        _joining(config, dataset, method, _runs(fresh[RUNS]), _runs(kept))
        for dataset in config.grid.datasets
        for method in facts.methods
    ]
    _refuse_unlike(config, source, kept, rows)
    # The table of runs comes last: by it, a call that was killed before knows what was there.
    for name in [*(n for n in fresh if n != RUNS), RUNS]:
        write_text(folder / name, csv(_joined(name, _read(folder / name), fresh[name], rows)))


def _fresh(config: BenchmarkConfig, own: Facts, here: Source) -> dict[str, str]:
    """The tables of the runs that are scored here, as CSV by name."""
    found = read_mechanisms(config, own, here)
    frames = {
        CASES: (load_cases(config, own, here), None),
        RUNS: (read_provenance(config, own, here), None),
        MECHANISMS: (None if found is None else found.terms, DECIMALS),
        PSEUDO_LABELS: (None if found is None else found.labels, DECIMALS),
        TRACES: (read_traces(config, own, here), LOSSES),
        CURVES: (read_curves(config, own, here), None),
        GROUPS: (read_groups(config, own, here), LOGGED),
    }
    return {n: csv(f, decimals=d) for n, (f, d) in frames.items() if f is not None}


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


def _runs(lines: pd.DataFrame) -> dict[Row, set[Run]]:
    return {row: set(_cells(own)) for row, own in _by_row(lines).items()}


def _joining(
    config: BenchmarkConfig,
    dataset: str,
    method: MethodFacts,
    fresh: dict[Row, set[Run]],
    kept: dict[Row, set[Run]],
) -> Joining:
    row = (dataset, method.key)
    here, whole = fresh.get(row, set()), method.all_labels
    stays = kept.get(row, set()) - here

    def named(runs: set[Run]) -> set[Run]:
        return {(_ALL, fold, seed) for _, fold, seed in runs} if whole else runs

    counts = (_ALL,) if whole else config.data[dataset].labels
    wanted = {(n, *pair) for n in counts for pair in config.grid.pairs}
    if wanted <= named(here):
        stays = set()
    missing = sorted({(fold, seed) for _, fold, seed in wanted - named(here | stays)})
    return Joining(row, whole, frozenset(here), frozenset(stays), tuple(missing))


def _refuse_unlike(
    config: BenchmarkConfig, source: Source, kept: pd.DataFrame, rows: Sequence[Joining]
) -> None:
    """Refuse rows of which runs are missing, or would be trained in another way now.

    Raises:
        RunError: there are some.
    """
    lines, known = [], _by_row(kept)
    for one in rows:
        told = []
        if one.kept:
            own = known[one.row]
            own = own[[run in one.kept for run in _cells(own)]]
            words = other_words(source.root, config, *one.row, own)
            if {*own["code"]} != {code_digest(source.root, base_of(one.row[1]))}:
                words.append("code")
            told = [f"made with other {', '.join(words)} than now"] * bool(words)
        if one.missing:
            runs = ", ".join(f"fold {fold} seed {seed}" for fold, seed in one.missing)
            told.append(f"no run of {runs}" if one.fresh or one.kept else "no such row")
        lines += [f"  {' x '.join(one.row)}: {text}" for text in told]
        lines += [f"    {c}" for c in source.remedies(config, *one.row) if told]
    if lines:
        raise RunError("\n".join(["neither report nor scores can give:", *lines]))


def _joined(
    name: str, before: pd.DataFrame, fresh: pd.DataFrame, rows: Sequence[Joining]
) -> pd.DataFrame:
    """Kept lines and new ones in the order of the grid; external rows stay at the end."""
    old, new, nothing = _by_row(before), _by_row(fresh), fresh.head(0)
    parts = []
    for one in rows:
        kept, own = old.pop(one.row, nothing), new.get(one.row, nothing)
        if not one.fresh:
            parts.append(kept)
        elif name in SUMMARIES:
            parts.append(_pooled(name, kept, own, one))
        else:
            stays = kept[[run in one.kept for run in _cells(kept)]]
            parts.append(_by_run(pd.concat([stays, own], ignore_index=True)))
    return pd.concat([*parts, *old.values()], ignore_index=True)[list(fresh.columns)]


def _by_run(lines: pd.DataFrame) -> pd.DataFrame:
    return lines.loc[lines[_RUN].astype(int).sort_values(_RUN, kind="stable").index]


def _pooled(name: str, kept: pd.DataFrame, own: pd.DataFrame, one: Joining) -> pd.DataFrame:
    """A summary of kept and new runs; that of a call that was killed holds both already."""
    if not one.kept or kept.empty or own.empty:
        return kept if own.empty else own
    parts = [pd.read_csv(StringIO(csv(part))) for part in (kept, own)]
    if pooled_runs(name, parts[0]) > len(one.kept):
        return kept
    both = pd.concat(parts, ignore_index=True)
    if name == CURVES and one.whole:  # its folds are drawn as one, by the largest count
        both["labels"] = both["labels"].max()
    return _text(csv(pool(name, both)))
