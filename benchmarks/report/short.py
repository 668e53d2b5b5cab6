"""The first lines of the page of findings: what a reader in a hurry should take away."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any

from benchmarks.report.told import Told
from benchmarks.statistics.verdict import NO_VERDICT, rule


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
        judged = cell[~cell["outcome"].isin(NO_VERDICT)]
        if len(judged) < len(cell) or cell.empty:
            continue
        words = "; ".join(
            f"{d['name']} {100 * d['mean']:+.1f} points, {d['outcome']}{_excluded(d)}"
            for d in cell.to_dict("records")
        )
        ruling = rule([str(outcome) for outcome in cell["outcome"]])
        claim = f'"{one.config.claim.text}"'
        yield f"{one.place(dataset, labels)}, {claim} is {ruling} ({one.link}): {words}."


def _excluded(d: Mapping[Hashable, Any]) -> str:
    """The gain that an undecided or equivalent contrast excludes."""
    if d["outcome"] not in {"undecided", "equivalent"}:
        return ""
    return f", a gain above {100 * d['high']:.1f} excluded"


def _gains(one: Told) -> Iterator[str]:
    """How many rows are better and worse than the baseline, by name."""
    table = one.table.dropna(subset="difference")
    baseline = one.facts.baseline
    for (dataset, labels), cell in table.groupby(["dataset", "labels"], sort=False):
        judged = cell[~cell["outcome"].isin(NO_VERDICT)]
        if judged.empty or baseline is None:
            continue
        counted = []
        for outcome in ("better", "worse", "equivalent", "undecided"):
            keys = judged.loc[judged["outcome"] == outcome, "key"]
            names = f" ({one.names(keys)})" if len(keys) else ""
            counted.append(f"{len(keys)} {outcome}{names if outcome != 'undecided' else ''}")
        words = ", ".join(counted)
        yield f"{one.place(dataset, labels)}, against {baseline.title} ({one.link}): {words}."
