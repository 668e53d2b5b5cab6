"""Put newly scored rows into a committed report, whose other rows are not trained again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from io import StringIO

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
from benchmarks.report.facts import Facts, collect_facts
from benchmarks.report.groups import DECIMALS as LOGGED
from benchmarks.report.groups import GROUPS, read_groups
from benchmarks.report.load import Source, load_cases, narrowed
from benchmarks.report.mechanisms import read_mechanisms
from benchmarks.report.provenance import DIGESTS, read_provenance
from benchmarks.report.stale import other_words
from benchmarks.report.tables import csv
from benchmarks.report.traces import DECIMALS as LOSSES
from benchmarks.report.traces import read_traces
from benchmarks.report.web.curves import CURVES, read_curves
from benchmarks.statistics.pairs import method_keys

_ROW = ["dataset", "method"]


def join_rows(config: BenchmarkConfig, source: Source) -> None:
    """Write the rows that are scored here into the tables of the committed report.

    A row is a method on a data set, with all of its runs. Rows that are scored here replace those
    of the report; its other rows are kept as they stand, digit for digit. Killed half-way, the next
    call writes the same.

    Args:
        config: the benchmark, whose grid may have rows that the report has not.
        source: of the scores; neither kept nor partial.

    Raises:
        RunError: there is no report, no row is scored here, or a row that is not was made by other
            code or with other settings, split or data than now, or is not in the report either.
    """
    folder, facts = report_folder(source.root, config.name), collect_facts(config)
    if not (folder / RUNS).is_file():
        raise RunError(f"no '{folder / RUNS}' to join rows to: `{source.whole(config)}` makes all")
    here, _ = narrowed(config, facts, source)
    kept = pd.read_csv(folder / RUNS, dtype=DIGESTS)
    grid = {(dataset, m.key) for dataset in config.grid.datasets for m in facts.methods}
    _refuse_unlike(config, source, kept, grid - _present(here))
    for name, fresh in _fresh(config, facts, here).items():
        old = folder / name
        before = _text(old.read_text(encoding="utf-8")) if old.is_file() else None
        write_text(old, csv(_joined(before, _text(fresh), config, here)))


def _refuse_unlike(
    config: BenchmarkConfig, source: Source, kept: pd.DataFrame, rows: set[tuple[str, str]]
) -> None:
    """Refuse rows that are not in the report, or that would be trained in another way now.

    Raises:
        RunError: there are some.
    """
    lines = []
    for dataset, method in sorted(rows):
        own = kept[(kept["dataset"] == dataset) & (kept["method"] == method)]
        words = other_words(source.root, config, dataset, method, own)
        if {*own["code"]} != {code_digest(source.root, base_of(method))}:
            words = [*words, "code"]
        if words:
            told = f"made with other {', '.join(words)} than now" if len(own) else "no such row"
            lines.append(f"  {dataset} x {method}: {told}")
            lines += [f"    {command}" for command in source.remedies(config, dataset, method)]
    if lines:
        raise RunError("\n".join(["rows that the report cannot give, nor scores here:", *lines]))


def _fresh(config: BenchmarkConfig, facts: Facts, here: Source) -> Mapping[str, str]:
    """The tables of the rows that are scored here, as CSV by name."""
    keys = {method for _, method in _present(here)}
    own = replace(facts, methods=tuple(m for m in facts.methods if m.key in keys))
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


def _present(here: Source) -> frozenset[tuple[str, str]]:
    return here.present or frozenset()


def _text(table: str) -> pd.DataFrame:
    return pd.read_csv(StringIO(table), dtype=str, keep_default_na=False)


def _joined(
    before: pd.DataFrame | None, fresh: pd.DataFrame, config: BenchmarkConfig, here: Source
) -> pd.DataFrame:
    """Kept rows and new ones in the order of the grid."""
    parts = [fresh]
    if before is not None:
        stays = [row not in _present(here) for row in _rows(before)]
        parts.insert(0, before[stays])
    both = pd.concat(parts, ignore_index=True)[list(fresh.columns)]
    grid = [(d, m) for d in config.grid.datasets for m in config.grid.methods]
    order = {row: place for place, row in enumerate(grid)}
    places = [order.get(row, len(grid)) for row in _rows(both)]  # external rows stand last
    return both.iloc[sorted(range(len(both)), key=places.__getitem__)]


def _rows(frame: pd.DataFrame) -> list[tuple[str, str]]:
    """Data set and key of every line; a case table has the variant in a column of its own."""
    keyed = frame.assign(method=method_keys(frame)) if "variant" in frame else frame
    return list(keyed[_ROW].itertuples(index=False, name=None))
