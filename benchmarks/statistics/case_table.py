"""Case tables on disk, of this suite or of somebody else, checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd

from benchmarks.common.errors import ConfigError, DataError, nearest
from benchmarks.statistics.difference import less_is_better

# What a table of somebody else may lack, and what is taken in its place.
_ASSUMED: Mapping[str, str | int] = MappingProxyType(
    {"dataset": "data", "labels": 0, "checkpoint": "last", "variant": "", "fold": 0, "seed": 0}
)
_NEEDED = ["method", "patient"]
_METRICS = ("dice", "jaccard", "nsd", "hd95_mm", "asd_mm", "assd_mm")
_WHOLE = ("labels", "fold", "seed")


def read_cases(path: Path, *, metric: str = "dice") -> pd.DataFrame:
    """Read a case table of this suite, or any table with its columns `method` and `patient`.

    Without `patient`, every `case` is one. Data set, labelled count, checkpoint, variant, fold and
    seed may be missing: all rows are of one then.

    Args:
        path: CSV file.
        metric: column of scores that it must have.

    Raises:
        DataError: no readable table, a column is missing, a value is no number or no score, or a
            row is there twice.
        ConfigError: the metric is not in the table.
    """
    try:
        cases = pd.read_csv(
            path,
            dtype=dict.fromkeys(("dataset", "method", "variant", "patient", "checkpoint"), str),
            keep_default_na=False,
            na_values={name: ["", "nan", "NaN", "n/a"] for name in _METRICS},
        )
    except (OSError, ValueError) as error:
        why = str(error).strip().splitlines()[0]
        if not path.exists():
            why = "it is not there; a report writes it (`python -m benchmarks repro`)"
        raise DataError(f"'{path}' is no readable case table: {why}") from None
    if "patient" not in cases.columns and "case" in cases.columns:
        cases["patient"] = cases["case"].astype(str)
    missing = [column for column in _NEEDED if column not in cases.columns]
    if missing:
        raise DataError(
            f"'{path}' lacks the columns {missing}; a case table has {_NEEDED} and scores such as"
            f" dice, of several {list(_ASSUMED)} these too; see reports/*/cases.csv"
        )
    if cases.empty:
        raise DataError(f"'{path}' has no rows")
    assumed = {name: value for name, value in _ASSUMED.items() if name not in cases.columns}
    cases = cases.assign(**assumed)
    if metric not in cases.columns:
        hint = nearest(metric, [name for name in _METRICS if name in cases.columns])
        raise ConfigError(f"'{path}' has no metric '{metric}': {hint}")
    for column in (*_WHOLE, metric):
        if not pd.api.types.is_numeric_dtype(cases[column]):
            numbers = pd.to_numeric(cases[column], errors="coerce")
            words = (numbers.isna() & cases[column].notna()).to_numpy()
            at = int(words.argmax() if words.any() else numbers.isna().to_numpy().argmax())
            value = cases[column].iloc[at]
            raise DataError(f"'{path}' line {at + 2}: {column} is '{value}'; it must be a number")
    _refuse_parts(cases, path)
    _refuse_impossible(cases[metric], path)
    unit_of = [c for c in (*_ASSUMED, *_NEEDED, "case", "class") if c in cases.columns]
    twice = cases.duplicated(unit_of)
    # Without classes a case may rightly have several rows, unless runs are not told apart.
    if twice.any() and {"case"} <= set(cases) and ({"class"} <= set(cases) or "seed" in assumed):
        at = int(twice.to_numpy().argmax())
        what = ", ".join(f"{c} {cases[c].iloc[at]}" for c in unit_of if cases[c].iloc[at] != "")
        raise DataError(
            f"'{path}' line {at + 2}: there twice: {what}; keep the rows of one benchmark"
            + (", and tell runs apart by a column 'seed'" if "seed" in assumed else "")
        )
    return cases


def _refuse_parts(cases: pd.DataFrame, path: Path) -> None:
    for column in _WHOLE:
        broken = (cases[column] % 1 != 0).to_numpy()
        if broken.any():
            at = int(broken.argmax())
            raise DataError(
                f"'{path}' line {at + 2}: {column} is {cases[column].iloc[at]:g}; it must be a"
                " whole number, of labelled patients for instance, not a share of them"
            )


def _refuse_impossible(scores: pd.Series[float], path: Path) -> None:
    """Raise a DataError for a score that no masks can have; a missing one may be."""
    most = np.finfo(float).max if less_is_better(str(scores.name)) else 1.0
    wrong = ~scores.between(0, most) & scores.notna()
    if not wrong.any():
        return
    at = int(wrong.to_numpy().argmax())
    what = "millimetres from 0, and finite" if most > 1 else "a fraction from 0 to 1"
    hint = "; divide percent by 100" if most == 1 and scores.between(0, 100).all() else ""
    raise DataError(
        f"'{path}' line {at + 2}: {scores.name} is {scores.iloc[at]:g}; it must be {what}{hint}"
    )
