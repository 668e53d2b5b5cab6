"""Comparisons from the command line."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from benchmarks.config import ContrastConfig
from benchmarks.errors import ConfigError, DataError, nearest
from benchmarks.statistics.contrasts import compare
from benchmarks.statistics.pairs import CELL, method_keys

_NEEDED = [*CELL, "method", "variant", "fold", "seed", "patient"]


def compare_file(path: Path, better: str, than: str, *, metric: str) -> list[dict[str, object]]:
    """Two methods of a case table, one row per data set, labelled count and checkpoint.

    Args:
        path: the case table.
        better: method key.
        than: method key.
        metric: column of scores.

    Raises:
        DataError: no readable table, or a column is missing.
        ConfigError: a method or the metric is not in the table.
    """
    try:
        cases = pd.read_csv(path, dtype={"variant": str, "patient": str})
    except (OSError, ValueError) as error:
        raise DataError(f"'{path}' is no readable case table: {error}") from None
    missing = [column for column in _NEEDED if column not in cases.columns]
    if missing:
        raise DataError(f"'{path}' lacks the columns {missing}; a case table has {_NEEDED}")
    known = sorted(set(method_keys(cases)))
    for name in (better, than):
        if name not in known:
            raise ConfigError(f"'{path}' holds no method '{name}': {nearest(name, known)}")
    contrast = ContrastConfig(name=f"{better} - {than}", better=better, than=than)
    return [
        {
            "data": f"{r.dataset}, {r.labels} labelled, {r.checkpoint}",
            "mean [95 %]": f"{r.mean:+.4f} [{r.low:+.4f}, {r.high:+.4f}]",
            "Hodges-Lehmann [95 %]": f"{r.shift:+.4f} [{r.shift_low:+.4f}, {r.shift_high:+.4f}]",
            "p": f"{r.p:.3g}",
            "win / tie / loss": f"{r.wins} / {r.ties} / {r.losses}",
            "patients, runs": f"{r.patients}, {r.runs}",
            "outcome": r.outcome,
            "left out": r.left_out or "nothing",
        }
        for r in compare(cases, [contrast], metric=metric)
    ]
