"""A few losses of every run, which tell whether another machine trains the same."""

from __future__ import annotations

import numpy as np
import pandas as pd

from benchmarks.common.workspace import STEPS, TRACES, report_folder
from benchmarks.config import BenchmarkConfig
from benchmarks.report.facts import Facts
from benchmarks.report.load import Source, read_columns

COLUMNS = ["dataset", "method", "labels", "fold", "seed", "step", "loss"]
DECIMALS = 8
_POINTS = 10
_RUN = ["labels", "fold", "seed"]


def read_traces(config: BenchmarkConfig, facts: Facts, source: Source) -> pd.DataFrame | None:
    """The first logged loss of every run, the last, and eight between them.

    Args:
        config: the benchmark.
        facts: its methods and data sets.
        source: of the logs, or of the kept `traces.csv`.

    Returns:
        Columns `COLUMNS`; None where a kept report is older than this file.

    Raises:
        RunError: a file is missing or damaged.
    """
    if source.kept:
        path = report_folder(source.root, config.name) / TRACES
        if not path.is_file():
            return None
        return read_columns(path, COLUMNS, what="table of losses", again="report again")
    frames = []
    for dataset, method, folder in source.scored(config, facts):
        trace = trace_of(pd.read_csv(folder / STEPS))
        frames.append(trace.assign(dataset=dataset, method=method))
    return pd.concat(frames, ignore_index=True)[COLUMNS]


def trace_of(steps: pd.DataFrame) -> pd.DataFrame:
    """Some of the logged losses of runs.

    Args:
        steps: columns `labels`, `fold`, `seed`, `step`, `loss`; rows without a loss do not count.

    Returns:
        The same columns, at most ten rows per run.
    """
    logged = steps.dropna(subset="loss")[[*_RUN, "step", "loss"]]
    parts = [_some(run) for _, run in logged.groupby(_RUN, sort=False)]
    return pd.concat(parts, ignore_index=True) if parts else logged


def _some(run: pd.DataFrame) -> pd.DataFrame:
    places = np.linspace(0, len(run) - 1, min(_POINTS, len(run))).round().astype(int)
    return run.iloc[places]
