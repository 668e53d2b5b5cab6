"""Whether scores are of runs made with the present parameters, split and data."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import suppress
from itertools import product
from pathlib import Path

import pandas as pd

from benchmarks.common.errors import DataError, RunError
from benchmarks.common.files import read_json
from benchmarks.common.workspace import (
    PREPARED,
    RUNS,
    prepared_folder,
    report_folder,
    scores_folder,
    split_file,
)
from benchmarks.config import BenchmarkConfig
from benchmarks.plan.resolve import prepare_params, settings_of
from benchmarks.scoring.cases import MADE_WITH
from datasets.preparing.parts import refuse_other_split
from datasets.preparing.raw import refuse_other_params
from datasets.preparing.split import Split, load_split
from datasets.preparing.store import Prepared, open_prepared

_WORDS = {"settings": "parameters of training or method", "split": "split", "data": "data"}


def stale_words(root: Path, config: BenchmarkConfig, dataset: str, method: str) -> str:
    """What the scored runs were made with that is different now; "" if nothing is.

    Split and prepared data that are not here are not compared.
    """
    path = scores_folder(root, config.name, dataset, method) / RUNS
    runs = pd.read_csv(path, dtype=str)
    if not {*MADE_WITH} <= {*runs.columns}:
        return f"{path.relative_to(root)} does not tell what the runs were made with"
    other = other_words(root, config, dataset, method, runs)
    return f"scored runs were made with other {', '.join(other)} than now" if other else ""


def other_words(
    root: Path, config: BenchmarkConfig, dataset: str, method: str, runs: pd.DataFrame
) -> list[str]:
    """What runs were made with that is different now.

    Args:
        root: the checkout; split and prepared data that are not here are not compared.
        config: the benchmark.
        dataset: id.
        method: id, with variant.
        runs: a line for each, with the columns `MADE_WITH`.
    """
    now = {
        "settings": settings_of(config, dataset, method),
        "split": _digest(split_file(root, config.name, dataset)),
        "data": _digest(prepared_folder(root, config.name, dataset) / PREPARED),
    }
    return [word for n, word in _WORDS.items() if now[n] and {*runs[n]} - {now[n]}]


def refuse_other_setup(root: Path, config: BenchmarkConfig, *, kept: bool = False) -> None:
    """Refuse parameters that describe another split or other arrays than the runs had.

    Of kept tables also other parameters of training or method, which a page would tell of them;
    fresh scores are held against those one by one (`stale_words`).

    Digests of files do not tell: an edit of the parameters leaves the files as they are. Those that
    are not here, or cannot be read, are not compared.

    Args:
        root: the checkout.
        config: the benchmark.
        kept: the runs are those of the report's tables, of which the arrays here need not be.

    Raises:
        DataError: names what differs, and the commands that make it anew.
        RunError: the runs of the report had another split than there is now, or other parameters.
    """
    table = report_folder(root, config.name) / RUNS
    runs = pd.read_csv(table, dtype=str) if kept and table.is_file() else pd.DataFrame()
    if other := sorted({*_trained_otherwise(config, runs)}):
        raise RunError(
            f"'{table}' is of runs whose parameters of training or method are not those of"
            f" '{config.name}' now: {', '.join(other)}. Put the old ones back, or train anew:"
            " `python -m benchmarks repro`"
        )
    for dataset in config.grid.datasets:
        file = split_file(root, config.name, dataset)
        had = {n: _told(runs, dataset, n) for n in ("split", "data")}
        if kept and file.is_file() and had["split"] - {_digest(file)}:
            raise RunError(
                f"'{table}' is of runs with another split of {dataset} than '{file}':"
                f" `git checkout -- {shlex.quote(str(file))}` brings the committed one back,"
                " `python -m benchmarks repro` trains with the one that is there"
            )
        split, data = _opened(file, prepared_folder(root, config.name, dataset))
        if split is not None:
            refuse_other_split(split, config.data[dataset].split)
        if data is not None and (not kept or data.digest in had["data"]):
            refuse_other_params(data, prepare_params(config, dataset))


def _trained_otherwise(config: BenchmarkConfig, runs: pd.DataFrame) -> Iterator[str]:
    """Rows of the grid whose runs had other parameters; an older table tells none."""
    if "settings" not in runs:
        return
    for dataset, method in product(config.grid.datasets, config.grid.methods):
        own = runs[(runs["dataset"] == dataset) & (runs["method"] == method)]
        if {*own["settings"].dropna()} - {settings_of(config, dataset, method)}:
            yield method


def _told(runs: pd.DataFrame, dataset: str, name: str) -> set[str]:
    """Digests that a table tells of its runs on a data set; an older table tells none."""
    return {*runs.loc[runs["dataset"] == dataset, name].dropna()} if name in runs else set()


def _opened(file: Path, folder: Path) -> tuple[Split | None, Prepared | None]:
    """Split and prepared data; None for what is not here or damaged."""
    split, data = None, None
    with suppress(DataError):
        split = load_split(file)
    with suppress(DataError):
        data = open_prepared(folder)
    return split, data


def _digest(path: Path) -> str:
    """Digest that a file tells of itself; "" where there is none."""
    try:
        return str(read_json(path)["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
