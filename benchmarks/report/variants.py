"""For the findings, rows of one method beside each other, where no contrast was declared."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.report.tables import pipe_table, plural, points
from benchmarks.report.told import Told


def variant_section(told: Iterable[Told]) -> str:
    """Every row of such a benchmark minus its baseline, a variant too; "" where there is none.

    Args:
        told: benchmarks with their tables.
    """
    rows = []
    for one in told:
        baseline = one.facts.baseline
        if baseline is None or one.alone or one.config.contrasts or one.config.steps:
            continue
        for r in one.table.dropna(subset="difference").to_dict("records"):
            ends = (r["difference"], r["difference_low"], r["difference_high"])
            rows.append(
                (
                    *(one.link, one.place(r["dataset"], r["labels"])),
                    f"{one.title(r['key'])} minus {baseline.title}",
                    *(points(*ends, sign="+"), f"{r['p_holm']:.3f}"),
                    f"{r['outcome']}, {plural(r['runs'], 'run')}",
                )
            )
    header = ("Benchmark", "Data", "Rows", "Points [95 %]", "p (Holm)", "Outcome")
    note = (
        "Exploratory: no contrast of these was declared. p and outcome are corrected over the rows"
        " of a benchmark and the tables read before, the intervals are not."
    )
    return f"{pipe_table(header, tuple(rows), words=(0, 1, 2, 5))}\n\n{note}" if rows else ""
