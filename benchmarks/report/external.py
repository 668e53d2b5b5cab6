"""Rows of predictions that were made outside this suite, as `score` left them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from benchmarks.common.errors import RunError
from benchmarks.common.workspace import CASES, external_folder, report_folder
from benchmarks.config import BenchmarkConfig
from benchmarks.report.facts import Facts, MethodFacts
from benchmarks.report.load import Source, load_cases, narrowed, read_columns, read_table
from benchmarks.scoring.cases import EXTERNAL, ORIGIN, ORIGIN_COLUMNS

_UNIT = ["patient", "case", "class"]


@dataclass(frozen=True)
class Loaded:
    """All rows of a benchmark.

    Attributes:
        facts: of the grid, with the external rows after it.
        cases: rows of the case tables in the same order.
        source: of all tables of the benchmark.
        origin: what is known of each run of the external rows, with `ORIGIN_COLUMNS`; None where
            there is none.
        unfit: scores that a partial report leaves out, and why.
    """

    facts: Facts
    cases: pd.DataFrame
    source: Source
    origin: pd.DataFrame | None = None
    unfit: tuple[str, ...] = ()


def load_rows(config: BenchmarkConfig, facts: Facts, source: Source) -> Loaded:
    """Rows of the grid and the external ones.

    Args:
        config: the benchmark.
        facts: of the grid.
        source: of the tables.

    Raises:
        RunError: as `load_cases`, or an external table is damaged, or was scored on other cases
            than the grid or for runs that the grid does not have.
    """
    unfit: list[str] = []
    if source.partial:
        source, unfit = narrowed(config, facts, source)
    grid = load_cases(config, facts, source)
    loaded, folders = Loaded(facts, grid, source, unfit=tuple(unfit)), _folders(config, source)
    if not folders:
        return loaded
    tables = [read_table(folder / CASES, older=source.kept) for folder in folders]
    whole = pd.concat(tables, ignore_index=True)
    cases = _ordered(whole[whole["variant"] == EXTERNAL], config, ["method"])
    origin = pd.concat([_origin(folder / ORIGIN) for folder in folders], ignore_index=True)
    origin = _ordered(origin, config, ["method", "labels", "fold", "seed"])
    problems = [
        f"  {words}: score it again, or remove it from '{folders[0].parent}'"
        for words in _problems(config, cases, origin, grid)
    ]
    if problems:
        raise RunError("\n".join([f"external rows do not fit '{config.name}':", *problems]))
    rows = tuple(_facts(str(name), own) for name, own in origin.groupby("method", sort=False))
    both = pd.concat([grid, cases], ignore_index=True)
    return replace(loaded, facts=replace(facts, external=rows), cases=both, origin=origin)


def _folders(config: BenchmarkConfig, source: Source) -> list[Path]:
    """Where the tables lie: with the report, or one folder per data set and name."""
    if source.kept:
        folder = report_folder(source.root, config.name)
        return [folder] if (folder / ORIGIN).is_file() else []
    tables = external_folder(source.root, config.name).glob(f"*/{ORIGIN}")
    return sorted(path.parent for path in tables)


def _ordered(frame: pd.DataFrame, config: BenchmarkConfig, columns: list[str]) -> pd.DataFrame:
    """Rows by data set of the grid and then by columns; equal rows keep their order."""
    places = {dataset: place for place, dataset in enumerate(config.grid.datasets)}
    keys = frame[columns].assign(place=frame["dataset"].map(places))
    order = keys.sort_values(["place", *columns], kind="stable").index
    return frame.loc[order].reset_index(drop=True)


def _origin(path: Path) -> pd.DataFrame:
    how = {"dtype": str, "keep_default_na": False}
    frame = read_columns(path, ORIGIN_COLUMNS, what="table", again="score again", **how)
    return frame.astype(dict.fromkeys(("labels", "fold", "seed", "masks"), int))


def _problems(
    config: BenchmarkConfig, cases: pd.DataFrame, origin: pd.DataFrame, grid: pd.DataFrame
) -> Iterator[str]:
    """Runs whose cells or tested cases are not those of the grid."""
    units = {
        key: set(own[_UNIT].itertuples(index=False, name=None))
        for key, own in grid.groupby(["dataset", "fold"])
    }
    for (dataset, name, labels, fold, seed), own in cases.groupby(
        ["dataset", "method", "labels", "fold", "seed"], sort=False
    ):
        where = f"{dataset} {name}, {labels} labelled, fold {fold}, seed {seed}"
        known = config.data[dataset].labels if dataset in config.grid.datasets else ()
        whole = set(origin.loc[origin["method"] == name, "all_labels"]) == {"True"}
        if (not whole and labels not in known) or (fold, seed) not in config.grid.pairs:
            yield f"{where}: no such cell in the grid"
            continue
        tested = set(own[_UNIT].itertuples(index=False, name=None))
        # Of a partial grid, nothing may be known of this fold yet.
        if tested != units.get((dataset, fold), tested):
            yield f"{where}: scored on other cases than the grid"


def _facts(name: str, origin: pd.DataFrame) -> MethodFacts:
    """The row with what was checked as its caveat."""
    title, lists = f"{name} (external)", sorted(set(origin["split"]))
    checked = f"by {', '.join(lists)} it was trained on no test patient"
    if "" in lists:
        checked = "on whom it was trained was not checked"
    footnote = (
        f"{title}: {origin['masks'].sum()} masks predicted elsewhere, scored here in native"
        f" geometry; {checked}."
    )
    whole = set(origin["all_labels"]) == {"True"}
    return MethodFacts(
        f"{name}-{EXTERNAL}", name, EXTERNAL, title, footnote, all_labels=whole, external=True
    )
