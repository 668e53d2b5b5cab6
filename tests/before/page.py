"""The page of reports/mended, from its tables."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from benchmarks.common.files import write_text
from benchmarks.report.mechanisms import share
from benchmarks.report.tables import number, pipe_table
from methods import load_method
from tests.old_commit import COMMIT

_LEFT = (0, 1, 2, 6)
_NOT_THERE = "not there"

TEXT = """# Mended methods, before and after

Made by `make before`, which trains the methods of commit {commit} on the patients, labelled
subsets and seeds of [`methods_cpu`](../methods_cpu/README.md), {runs} runs each, and puts them
beside its tables. What is shown is whether terms act, not whether a method is better: a few points
of Dice between so few runs are noise.

## Terms

*Silent*: share of a term's [probes](../../benchmarks/statistics/mechanisms.py), after its start, in
which its gradient for the tested network is exactly 0. *Gradient*: norm relative to the supervised
one, and *value* of the weighted term: medians over the last quarter of the runs. An auxiliary term
trains another network and is judged by its value.

{terms}

## Dice

Mean over runs and the same test patients, last checkpoint, in %. The supervised row was not
mended: its own change by {drawn} points is the noise of this table. Why AD-MT falls behind in so
short a run: [methods](../../methods/README.md).

{dice}

## Files

- [`terms.csv`](terms.csv): one row per term and state of the code.
- [`dice.csv`](dice.csv): Dice in [0, 1].
"""


def write_page(folder: Path, *, runs: int) -> None:
    """Terms and Dice before and after the mends, as two tables.

    Args:
        folder: with `terms.csv` and `dice.csv`.
        runs: of every method.
    """
    terms = pd.read_csv(folder / "terms.csv", keep_default_na=False, na_values={"relative": [""]})
    dice = pd.read_csv(folder / "dice.csv", index_col="method")
    change: pd.Series[float] = (dice["after"] - dice["before"]).abs()
    drawn = number(100 * change["supervised"])
    tables = {"terms": _terms(terms), "dice": _dice(dice)}
    text = TEXT.format(commit=COMMIT, runs=runs, drawn=drawn, **tables)
    write_text(folder / "README.md", text)


def _title(method: str) -> str:
    return load_method(method).title


def _terms(terms: pd.DataFrame) -> str:
    side = ("Silent", "Gradient", "Value")
    shown = terms[terms["kind"] != "reference"]
    rows = [
        (
            _title(str(method)),
            str(name).replace("_", " "),
            *_side(own, "before"),
            *_side(own, "after"),
        )
        for (method, name), own in shown.groupby(["method", "name"], sort=False)
    ]
    head = ("Method", "Term", "Before", *side, "After", *side)
    return pipe_table(head, tuple(rows), words=_LEFT)


def _side(own: pd.DataFrame, code: str) -> tuple[str, str, str, str]:
    """State, share of silent probes, pull and value of a term in one state of the code."""
    found = own[own["code"] == code]
    if found.empty:
        return _NOT_THERE, "", "", ""
    row = found.iloc[0]
    value = share(float(row["value"]))
    if row["kind"] == "auxiliary":
        return "auxiliary", "", "", value
    silent = f"{row['silent'] / row['probes']:.0%}"
    return row["state"] or "at work", silent, share(row["relative"]), value


def _dice(dice: pd.DataFrame) -> str:
    columns = ([number(100 * x) for x in dice[code]] for code in ("before", "after"))
    rows = tuple(zip(map(_title, dice.index), *columns, strict=True))
    return pipe_table(("Method", "Before", "After"), rows)
