"""Which code and configuration the runs behind a table are of."""

from __future__ import annotations

from itertools import combinations

import pandas as pd

from benchmarks.common.files import read_json
from benchmarks.common.workspace import RUNS, SCORED, report_folder
from benchmarks.config import BenchmarkConfig
from benchmarks.plan.grid import cell_name
from benchmarks.report.facts import Facts
from benchmarks.report.load import Source
from benchmarks.scoring.cases import MADE_WITH

# Columns of digests, which are text: 12e4 is no number.
DIGESTS = dict.fromkeys(("code", "digest", *MADE_WITH, "weights"), str)


def read_provenance(config: BenchmarkConfig, facts: Facts, source: Source) -> pd.DataFrame | None:
    """Identity of every run of the grid, and digests of its code and weights.

    Args:
        config: the benchmark.
        facts: its methods and data sets.
        source: of the scores, or of the kept `runs.csv`.

    Returns:
        Columns `dataset`, `method`, `labels`, `fold`, `seed`, `code`, `digest`, what the run was
        made with and the digest of its last `weights`; None where it was not recorded.
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
    return pd.concat(frames, ignore_index=True)


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
