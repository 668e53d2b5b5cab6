"""Rows of runs that were scored before, so that a table with more runs costs the new ones alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.common.files import read_json
from benchmarks.common.workspace import CASES, CHECKPOINTS, PSEUDO_LABELS, RUNS, SCORED
from benchmarks.plan.grid import RunKey
from benchmarks.plan.resolve import Run
from benchmarks.scoring.cases import broken_seal
from benchmarks.scoring.rows import Row

_RUN = ["labels", "fold", "seed"]


def kept_rows(
    folder: Path, runs: Sequence[Run], identities: str, scored: Mapping[str, Any]
) -> dict[RunKey, tuple[list[Row], list[Row]]]:
    """What an older scores folder holds of runs that have not changed since.

    Args:
        folder: of the scores; anything wrong with it leaves nothing to keep.
        runs: that are asked for.
        identities: content of `runs.csv` for them, a line per run below the header.
        scored: content of `scored.json` for them.

    Returns:
        By run, its rows of the case table and of the table of pseudo-labels, as text.
    """
    try:
        old = read_json(folder / SCORED)
        known = set((folder / RUNS).read_text(encoding="utf-8").splitlines()[1:])
        if old["code"] != scored["code"] or broken_seal(folder):
            return {}
        parts = [
            dict(iter(pd.read_csv(folder / n, dtype=str, keep_default_na=False).groupby(_RUN)))
            for n in (CASES, PSEUDO_LABELS)
        ]
        return {
            run.key: (list(_rows(parts[0], run)), list(_rows(parts[1], run)))
            for run, line in zip(runs, identities.splitlines()[1:], strict=True)
            if line in known and all(_equal(old, scored, run, c) for c in CHECKPOINTS)
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _rows(parts: Mapping[Any, pd.DataFrame], run: Run) -> Iterator[Row]:
    own = parts.get((str(run.key.labels), str(run.key.fold), str(run.key.seed)))
    yield from () if own is None else own.itertuples(index=False, name=None)


def _equal(old: Mapping[str, Any], new: Mapping[str, Any], run: Run, checkpoint: str) -> bool:
    name = f"{run.key.cell} {checkpoint}"
    return bool(old["weights"].get(name) == new["weights"][name])
