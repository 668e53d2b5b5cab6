"""Comparisons and power of any case table on disk, as rows that fit 80 columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path

import pandas as pd

from benchmarks.common.errors import ConfigError, nearest
from benchmarks.statistics.beside import Told, told_beside
from benchmarks.statistics.case_table import read_cases
from benchmarks.statistics.difference import (
    Difference,
    less_is_better,
    looks_told,
    phrase,
    unit,
)
from benchmarks.statistics.inference import MIN_RUNS
from benchmarks.statistics.pairs import CELL, method_keys
from benchmarks.statistics.power import Power, power

Row = dict[str, str]
_WORST_FIRST = (
    "not tested", "unconverged", "pilot", "undecided", "equivalent", "worse", "better",
)  # fmt: skip


@dataclass(frozen=True)
class FileComparison:
    """Two methods of a case table.

    Attributes:
        rows: one per data set, labelled count and checkpoint that has both methods.
        news: what limits the outcomes, the worst first: no verdict and why, runs and patients that
            were left out, cells that were not compared, columns that the table lacks.
        claims: how probable a false claim is with runs and patients drawn at random, and with
            patients alone, and over how many comparisons p is corrected, one line per row.
        notes: descriptions, one line each.
        sign: how a difference is read where less is better; else "".
    """

    rows: list[Row]
    news: list[str]
    claims: list[str]
    notes: list[str]
    sign: str = ""


def compare_file(path: Path, better: str, than: str, *, metric: str = "dice") -> FileComparison:
    """Two methods of a case table.

    All methods of a cell count, as in a report whose baseline is the second one: for the run
    variance that they have in common, and as the family over which p is corrected; so a pair picked
    from many is corrected for the choice. Declared contrasts are a family of their own in a report,
    and p may differ from here. Where the list of comparisons of a report lies beside its case
    table, references with more labels, external rows and comparisons with controls count as they do
    there, and so do inert terms, rows that are not converged, too few patients, repeated looks and
    what limits a verdict; a pair that the report does not compare is exploratory.

    Args:
        path: the case table.
        better: method key.
        than: method key.
        metric: column of scores; less is better where its name ends in `_mm`.

    Raises:
        DataError: no readable table, a column is missing, a value is no number, or the list of
            comparisons beside it is damaged.
        ConfigError: a method or the metric is not in the table, or no cell has both methods.
    """
    cases = read_cases(path, metric=metric)
    keys = method_keys(cases)
    known = sorted(set(keys))
    for name in (better, than):
        if name not in known:
            raise ConfigError(f"'{path}' holds no method '{name}': {nearest(name, known)}")
    if better == than:
        raise ConfigError(f"'{better}' is given twice; give two of {', '.join(known)}")
    family = told_beside(path).against(cases, better, than, metric=metric)
    found = [d for d in family if (d.better, d.than) == (better, than) and d.design != "none"]
    where = cases.assign(key=keys)[[*CELL, "key"]].drop_duplicates()
    if not found:
        places = "; ".join(
            f"{name} in " + ", ".join(_places(where[where["key"] == name]))
            for name in (better, than)
        )
        raise ConfigError(f"'{path}' has no runs of both on the same patients: {places}")
    done = {(d.dataset, d.labels, d.checkpoint) for d in found}
    own = where[where["key"].isin([better, than])]
    alone = own[[key not in done for key in own[CELL].itertuples(index=False, name=None)]]
    news = [*_limits(found), *(f"left out: {_place(d)}: {d.left_out}" for d in found if d.left_out)]
    news += [f"not compared: {place}, where only one method has runs" for place in _places(alone)]
    news += _lacking(path)
    claims = [_claim(d, [o for o in family if _place(o) == _place(d)]) for d in found]
    sign = f"negative is better: {metric} is a distance" if less_is_better(metric) else ""
    return FileComparison([_row(d) for d in found], news, claims, [_note(d) for d in found], sign)


def _lacking(path: Path) -> Iterable[str]:
    """Columns that a table of somebody else lacks, and what that means."""
    header = set(pd.read_csv(path, nrows=0).columns)
    if "patient" not in header:
        yield "no column 'patient': every case counts as a patient of its own"
    if not {"seed", "fold"} & header:
        yield "no column 'seed' or 'fold': all rows count as one run of every method"


def _claim(d: Difference, family: Sequence[Difference]) -> str:
    """As two readers of a table tell it, who count on other runs and who do not."""
    size, other = sum(not isnan(o.p) for o in family), len({o.than for o in family}) > 1
    both = "unknown from a single run" if isnan(d.p_false) or d.runs < 2 else _p(d.p_false)
    return (
        f"probability of a false claim in {_place(d)}: {both} with runs and patients drawn at"
        f" random; {_p(d.p_false_patients)} with patients alone; p is corrected over"
        f" {size} comparison{'s' * (size != 1)} with {'controls' if other else d.than} (Holm)"
        f"{looks_told(d.looks)}"
    )


def _places(rows: pd.DataFrame) -> Iterable[str]:
    cells = rows[CELL].itertuples(index=False, name=None)
    return dict.fromkeys(f"{d} {n} {c}" for d, n, c in cells)


def _row(d: Difference) -> Row:
    factor, name = unit(d.metric)
    ends = f" [{factor * d.low:+.1f}, {factor * d.high:+.1f}]" if not isnan(d.low) else ""
    return {
        "cell": _place(d),
        f"{name} [95 %]": f"{factor * d.mean:+.1f}{ends}",
        "p": _p(d.p_holm),
        "p false": _p(d.p_false),
        "runs x n": f"{d.runs} x {d.patients}",
        "outcome": d.outcome,
    }


def _p(value: float) -> str:
    return "n/a" if isnan(value) else "<.001" if value < 0.001 else f"{value:.3f}"


def _place(d: Difference) -> str:
    return f"{d.dataset} {d.labels} {d.checkpoint}"


def _limits(found: Sequence[Difference]) -> Iterable[str]:
    """Outcomes that say more than their word, with the cells that have them, worst first.

    Of the last checkpoint, where the table has it.
    """
    told: dict[str, list[str]] = {}
    last = [d for d in found if d.checkpoint == "last"] or found
    for d in sorted(last, key=lambda d: _WORST_FIRST.index(d.outcome)):
        if phrase(d) != d.outcome:
            told.setdefault(phrase(d), []).append(_place(d))
    return [f"{words}: {', '.join(places)}" for words, places in told.items()]


def _note(d: Difference) -> str:
    factor, name = unit(d.metric)
    margin = "at all" if less_is_better(d.metric) else "by more than 1 point"
    return (
        f"patients of {_place(d)}: {d.wins} better {margin}, {d.ties} alike, {d.losses} worse;"
        f" Hodges-Lehmann {factor * d.shift:+.1f} {name}; the tenth worst off"
        f" {factor * d.worst_tenth:+.1f} {name} (description, not a test)"
    )


def power_file(
    path: Path, *, effect: float, metric: str = "dice", comparisons: int | None = None
) -> list[Power]:
    """What a case table could have seen and what an effect needs; see `power.power`.

    Args:
        path: the case table.
        effect: in points (Dice, Jaccard, NSD) or mm, above 0.
        metric: column of scores.
        comparisons: in the family, of a table that is read once; None takes those of the report
            beside the table, with its repeated looks, and one where there is none.

    Raises:
        DataError: no readable table, a column is missing, a value is no number, or the list of
            comparisons beside it is damaged.
        ConfigError: the metric is not in the table, the effect is not above 0, or no cell has two
            methods.
    """
    if not effect > 0:
        raise ConfigError(f"the effect is {effect:g}; give points (or mm) above 0, such as 2")
    if comparisons is not None and comparisons < 1:
        raise ConfigError(f"the number of comparisons is {comparisons}; give 1 or more")
    cases = read_cases(path, metric=metric)
    factor, _ = unit(metric)
    told = told_beside(path) if comparisons is None else Told()
    found = power(
        cases,
        effect=effect / factor,
        metric=metric,
        comparisons=comparisons or told.tests,
        looks=told.looks,
    )
    if not found:
        raise ConfigError(f"'{path}' has no two methods on the same data set and labelled count")
    return found


def power_rows(found: Iterable[Power], *, metric: str = "dice") -> list[Row]:
    """One row per cell: what was measured, what could have been seen, what the effect needs."""
    factor, _ = unit(metric)
    return [
        {
            "cell": f"{p.dataset} {p.labels} {p.checkpoint}",
            "runs x n": f"{p.runs} x {p.patients}",
            "sd": ", ".join(
                "n/a" if isnan(v) else f"{factor * v**0.5:.1f}"
                for v in (p.spread.run, p.spread.response, p.spread.residual)
            ),
            "seen": "n/a" if isnan(p.seen) else f"{factor * p.seen:.1f}",
            "runs": _size(p, p.runs_needed, 50),
            "folds": _size(p, p.folds_needed, 50),
            "patients": _size(p, p.patients_needed, 1000),
        }
        for p in found
    ]


def _corrected(p: Power) -> str:
    return f"{p.comparisons} comparison{'s' * (p.comparisons != 1)}{looks_told(p.looks)}"


def _size(p: Power, needed: int | None, most: int) -> str:
    if isnan(p.spread.run):
        return "n/a"
    return f">{most}" if needed is None else str(needed)


def power_notes(found: Sequence[Power], *, metric: str = "dice") -> list[str]:
    """What the columns of `power_rows` mean, and what limits the answer, one line each."""
    factor, name = unit(metric)
    size = factor * found[0].effect
    notes = [
        f"sd: of method x run, method x patient and the residual, in {name}",
        f"seen: the difference in {name} that this file could have seen with 80 % power, corrected"
        f" over {' or '.join(dict.fromkeys(map(_corrected, found)))}",
        f"runs, folds, patients: what {size:g} {name.removesuffix('s') if size == 1 else name}"
        " would need in a table that is read once, each alone: runs on the same patients;"
        " folds of a cross-validation, each with as many test patients as a run has here; patients"
        f" with as many runs as here, {MIN_RUNS} at least",
    ]
    return notes + [f"{p.dataset} {p.labels} {p.checkpoint}: {p.note}" for p in found if p.note]


def table_rows(p: Power, *, metric: str = "dice") -> list[Row]:
    """The table of runs x patients of one cell, detectable differences in points or mm.

    Where nothing is known, one row says why.
    """
    if not p.table:
        return [{"nothing to tell": p.note}]
    factor, _ = unit(metric)
    rows: dict[int, Row] = {}
    for d in p.table:
        row = rows.setdefault(d.runs, {"runs": str(d.runs) + " (pilot)" * (d.runs < MIN_RUNS)})
        row[f"{d.patients} patients"] = f"{factor * d.difference:.1f}"
    return list(rows.values())
