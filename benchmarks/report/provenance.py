"""Which code and configuration the runs behind a table are of, and in what precision they are."""

from __future__ import annotations

from contextlib import suppress
from itertools import combinations
from pathlib import Path

import pandas as pd

from benchmarks.common.files import read_json
from benchmarks.common.workspace import RECORD, RUNS, SCORED, report_folder
from benchmarks.config import BenchmarkConfig
from benchmarks.plan.grid import RunKey, cell_name
from benchmarks.report.facts import Facts
from benchmarks.report.load import Source
from benchmarks.scoring.cases import MADE_WITH

# Columns of digests, which are text: 12e4 is no number.
DIGESTS = dict.fromkeys(("code", "digest", *MADE_WITH, "weights", "precision"), str)
_CELL = ["dataset", "method", "labels", "fold", "seed"]


def read_provenance(
    config: BenchmarkConfig, facts: Facts, source: Source, root: Path | None = None
) -> pd.DataFrame | None:
    """Identity of every run of the grid, and digests of its code and weights.

    Args:
        config: the benchmark.
        facts: its methods and data sets.
        source: of the scores, or of the kept `runs.csv`.
        root: the checkout with the runs; None takes that of the scores.

    Returns:
        Columns `dataset`, `method`, `labels`, `fold`, `seed`, `code`, `digest`, what the run was
        made with, the digest of its last `weights` and the `precision` of its training, "" where
        neither run nor report tell it; None where nothing was recorded.
    """
    if source.kept:
        path = report_folder(source.root, config.name) / RUNS
        return pd.read_csv(path, dtype=DIGESTS) if path.is_file() else None
    frames = []
    for dataset, method, folder in source.scored(config, facts):
        frame = pd.read_csv(folder / RUNS, dtype=DIGESTS)
        weights = read_json(folder / SCORED)["weights"]
        cells = zip(frame["labels"], frame["fold"], frame["seed"], strict=True)
        frame["weights"] = [weights[f"{cell_name(*cell)} last"] for cell in cells]
        frame.insert(0, "dataset", dataset)
        frame.insert(1, "method", method)
        frames.append(frame)
    runs = pd.concat(frames, ignore_index=True)
    return runs.assign(precision=_precisions(config, runs, root or source.root))


def _precisions(config: BenchmarkConfig, runs: pd.DataFrame, root: Path) -> list[str]:
    """The precision of every run, by its record, or by the kept table where the run is gone."""
    columns = [*_CELL, "digest", "weights"]
    path, known = report_folder(root, config.name) / RUNS, {}
    with suppress(OSError, ValueError, KeyError):  # a table without them tells nothing
        kept = pd.read_csv(path, dtype=DIGESTS)
        told = kept["precision"].fillna("")
        known = dict(zip(kept[columns].itertuples(index=False, name=None), told, strict=True))
    found = []
    for row in runs[columns].itertuples(index=False, name=None):
        dataset, method, labels, fold, seed, code, _ = row
        folder = RunKey(config.name, dataset, method, labels, fold, seed).folder(root)
        precision = str(known.get(row, ""))
        with suppress(OSError, ValueError, KeyError, TypeError):
            record = read_json(folder / RECORD)
            precision = str(record["precision"]) if record["digest"] == code else precision
        found.append(precision)
    return found


def precision_words(
    config: BenchmarkConfig, facts: Facts, runs: pd.DataFrame | None
) -> tuple[str, ...]:
    """A warning for every data set whose rows were trained in different precisions unasked.

    Rows whose precision the parameters name have what they ask for; `amp: auto` follows the device,
    which is no part of a run's identity.

    Args:
        config: the benchmark.
        facts: its methods and data sets.
        runs: from `read_provenance`; a table without precisions tells nothing.
    """
    if runs is None or "precision" not in runs:
        return ()
    words = []
    for dataset in facts.datasets:
        if config.train_for(dataset.id).amp != "auto":
            continue
        own = runs[(runs["dataset"] == dataset.id) & ~runs["method"].isin([*config.amp])]
        each = own[own["precision"].fillna("") != ""].groupby("precision")["method"].unique()
        if len(each) > 1:
            rows = "; ".join(
                f"{precision}: {', '.join(facts.titles[key] for key in keys)}"
                for precision, keys in each.items()
            )
            words.append(
                f"Trained in different precisions on {dataset.title}, by `train.amp: auto` on"
                f" different devices ({rows}): their differences are not of the methods alone. Set"
                " `train.amp` to off or bf16 and train them again."
            )
    return tuple(words)


def code_words(facts: Facts, runs: pd.DataFrame | None) -> str:
    """The digests of the code that trained each row, for the notes of a page.

    A row with more than one was trained by different versions, and says so.
    """
    if runs is None:
        return "Code of the runs: not recorded with these scores."
    words = []
    for method in facts.methods:
        digests = sorted(set(runs.loc[runs["method"] == method.key, "code"]))
        mixed = " (of different versions)" if len(digests) > 1 else ""
        if digests:
            words.append(f"{method.title} {', '.join(f'`{d}`' for d in digests)}{mixed}")
    told = f"Code that trained the runs, by digest: {'; '.join(words)}."
    return " ".join([told, *(_twin_words(facts, *twins) for twins in equal_rows(runs))])


def _twin_words(facts: Facts, dataset: str, first: str, second: str) -> str:
    titles = facts.titles
    return (
        f"{titles[second]} has the same weights as {titles[first]} in all runs on"
        f" {titles.get(dataset, dataset)}: there both rows are one method."
    )


def equal_rows(runs: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Data set and keys of two rows whose runs all have the same weights, bit for bit.

    Rows with a run whose weights are not recorded are not compared.

    Args:
        runs: from `read_provenance`.
    """
    if "weights" not in runs:
        return []
    cells = runs.assign(cell=runs[["labels", "fold", "seed"]].astype(str).agg(" ".join, axis=1))
    found = []
    for dataset, own in cells.groupby("dataset", sort=False):
        rows = {
            method: dict(zip(row["cell"], row["weights"], strict=True))
            for method, row in own.groupby("method", sort=False)
            if row["weights"].notna().all()
        }
        pairs = combinations(rows, 2)
        found += [
            (str(dataset), str(one), str(two)) for one, two in pairs if rows[one] == rows[two]
        ]
    return found
