"""The first lines of the page of findings: what a reader in a hurry should take away."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from benchmarks.report.told import Told
from benchmarks.statistics.difference import DECIDED, EXPLORATORY
from benchmarks.statistics.verdict import rule

# Outcomes of too few runs, or of rows that are not what they are named for.
_SILENT = ("pilot", "not tested")


def short_lines(told: Iterable[Told]) -> str:
    """A list as Markdown: claims first, then rows against labels alone; "" without a verdict.

    Args:
        told: benchmarks with their tables; those without enough runs for a verdict are left out.
    """
    known = list(told)
    claims = [line for one in known for line in _claim(one)]
    gains = [line for one in known if one.alone for line in _gains(one)]
    return "\n".join(f"- {line}" for line in [*claims, *gains])


def _claim(one: Told) -> Iterator[str]:
    """What the declared contrasts say of the claim, and which gain they exclude."""
    if one.config.claim is None:
        return
    frame = one.differences
    own = frame[(frame["family"] == "declared") & frame["name"].isin(one.config.claim.contrasts)]
    for (dataset, labels), cell in own.groupby(["dataset", "labels"], sort=False):
        judged = cell[~cell["outcome"].isin(_SILENT)]
        if len(judged) < len(cell) or cell.empty:
            continue
        words = "; ".join(
            f"{d['name']} ({one.title(d['better'])} minus {one.title(d['than'])})"
            f" {100 * d['mean']:+.1f} points, {d['outcome']}{_excluded(d)}"
            for d in cell.to_dict("records")
        )
        limits = cell.loc[cell["outcome"].isin(DECIDED), "reason"]
        ruling = rule([str(o) for o in cell["outcome"]], limited=bool(limits.notna().any()))
        claim = f'"{one.config.claim.text}"'
        told = f"{claim} is {ruling} ({one.link}): {words}{_length(one)}."
        yield f"{one.place(dataset, labels)}, {told}"


def _excluded(d: Mapping[Hashable, Any]) -> str:
    """The gain that an undecided or equivalent contrast excludes."""
    if d["outcome"] not in {"undecided", "equivalent"}:
        return ""
    size = f"a gain above {100 * d['high']:.1f}" if d["high"] > 0 else "any gain"
    return f", {size} outside the interval"


def _length(one: Told) -> str:
    """Whether the outcomes may be those of short training alone."""
    return "; convergence is not shown" if one.unstudied else ""


def _gains(one: Told) -> Iterator[str]:
    """How many methods, and how many controls, are better and worse, by name."""
    table = one.table.dropna(subset="difference")
    baseline = one.facts.baseline
    against = one.differences[one.differences["family"] == "controls"]
    for (dataset, labels), cell in table.groupby(["dataset", "labels"], sort=False):
        judged = cell[~cell["outcome"].isin(_SILENT)]
        if judged.empty or baseline is None:
            continue
        inside = (against["dataset"] == dataset) & (against["labels"] == labels)
        inside &= ~against["outcome"].isin(_SILENT)
        parts = [
            (f"methods against {baseline.title}", judged[judged["key"].isin(one.methods)]),
            *(
                (
                    f"methods against {_control(one, str(control), cell)}",
                    rows.assign(key=rows["better"]),
                )
                for control, rows in against[inside].groupby("than", sort=False)
            ),
            (f"controls against {baseline.title}", judged[judged["key"].isin(one.controls)]),
        ]
        words = "; ".join(f"{name}: {_counted(one, rows)}" for name, rows in parts if len(rows))
        words += _credited(one, parts[:-1])
        yield f"{one.place(dataset, labels)} ({one.link}), {words}{_length(one)}."


def _credited(one: Told, parts: Sequence[tuple[str, pd.DataFrame]]) -> str:
    """The methods that are better than labels alone and than every control."""
    if len(parts) < 2:
        return ""
    better = (set(rows.loc[rows["outcome"] == "better", "key"]) for _, rows in parts)
    keys = sorted(set.intersection(*better))
    return f"; better than all of these: {one.names(keys) or 'no method'}"


def _control(one: Told, key: str, cell: pd.DataFrame) -> str:
    """A control's name, with its own difference from the baseline: a weak one is easily beaten."""
    own = cell.loc[cell["key"] == key, "difference"]
    words = [f"itself {100 * own.iloc[0]:+.1f}"] if len(own) else []
    words += [EXPLORATORY] if one.config.grid.controls == EXPLORATORY else []
    return f"{one.title(key)} ({', '.join(words)})" if words else one.title(key)


def _counted(one: Told, rows: pd.DataFrame) -> str:
    """Outcomes of rows, those that are a verdict with names."""
    parts = []
    for outcome in dict.fromkeys(["better", "worse", *map(str, rows["outcome"])]):
        keys = rows.loc[rows["outcome"] == outcome, "key"]
        named = len(keys) and outcome in {"better", "worse", "equivalent"}
        parts.append(f"{len(keys)} {outcome}{f' ({one.names(keys)})' if named else ''}")
    return ", ".join(parts)
