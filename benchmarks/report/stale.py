"""Whether scores are of runs made with the present parameters, split and data."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from benchmarks.common.files import read_json
from benchmarks.common.workspace import PREPARED, RUNS, prepared_folder, scores_folder, split_file
from benchmarks.config import BenchmarkConfig
from benchmarks.plan.resolve import settings_of
from benchmarks.scoring.cases import MADE_WITH

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


def _digest(path: Path) -> str:
    """Digest that a file tells of itself; "" where there is none."""
    try:
        return str(read_json(path)["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
