"""The declared contrasts as table, text and forest plot, with the verdict on the claim."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from benchmarks.config import BenchmarkConfig
from benchmarks.files import write_text
from benchmarks.report.style import figure_style, new_figure, save
from benchmarks.report.tables import csv, pipe_table
from benchmarks.statistics.bootstrap import DRAWS
from benchmarks.statistics.contrasts import MARGIN, ContrastResult, compare
from benchmarks.statistics.verdict import Verdict, verdicts

_HEADER = (
    "Contrast", "Dice points [95 %]", "Hodges-Lehmann [95 %]", "p (patients)", "p (runs)",
    "p (Holm)", "p (equivalent)", "detectable", "win / tie / loss", "worst tenth", "Outcome",
)  # fmt: skip
_FILES = ("contrasts.csv", "contrasts.md", "verdict.md")
_COLORS = {"superior": "#009E73", "inferior": "#D55E00", "equivalent": "#0072B2"}
_OTHER = "#7A7A7A"


def write_contrasts(
    config: BenchmarkConfig, cases: pd.DataFrame, *, folder: Path, decimals: int
) -> list[Path]:
    """Write `contrasts.csv`, `contrasts.md`, `forest.{svg,pdf,png}` and, of a claim, `verdict.md`.

    Args:
        config: the benchmark; without contrasts nothing is written.
        cases: merged case tables.
        folder: of the report.
        decimals: of floats in the CSV file.

    Returns:
        The files.
    """
    if not config.contrasts:
        return []
    results = compare(cases, config.contrasts)
    rulings = verdicts(results, config.claim) if config.claim else []
    frame = pd.DataFrame([asdict(r) for r in results])
    write_text(folder / "contrasts.csv", csv(frame, decimals=decimals))
    write_text(folder / "contrasts.md", _page(config, results, rulings))
    if rulings:
        write_text(folder / "verdict.md", "\n\n".join(_claims(rulings)) + "\n")
    written = [p for p in map(folder.joinpath, _FILES) if p.is_file()]
    last = [r for r in results if r.checkpoint == "last" and r.patients]
    return [*written, *_forest(last, folder)]


def _claims(rulings: Sequence[Verdict]) -> list[str]:
    """Two paragraphs for each data set and labelled count."""
    return [
        text
        for v in rulings
        for text in (
            f'**{v.dataset}, {v.labels} labelled: "{v.claim}" is {v.ruling}.**',
            "\n".join(f"- {words}" for words in v.numbers),
        )
    ]


def _page(
    config: BenchmarkConfig, results: Sequence[ContrastResult], rulings: Sequence[Verdict]
) -> str:
    parts = [f"# Contrasts of benchmark `{config.name}`", *_claims(rulings)]
    for dataset, labels, checkpoint in dict.fromkeys(
        (r.dataset, r.labels, r.checkpoint) for r in results
    ):
        own = [r for r in results if (r.dataset, r.labels, r.checkpoint) == (
            dataset, labels, checkpoint)]  # fmt: skip
        parts.append(f"## {dataset}, {labels} labelled, {checkpoint} checkpoint")
        parts.append(pipe_table(_HEADER, tuple(_row(r) for r in own)))
        left = dict.fromkeys(f"- {r.name}: {r.left_out}" for r in own if r.left_out)
        parts.append("\n".join(["Left out:", *left]) if left else "Nothing was left out.")
    parts.append(_NOTES)
    return "\n\n".join(parts) + "\n"


_NOTES = f"""## How to read this

- Unit: test patient; seeds, frames and classes are averaged within a patient first. Rows are
  paired: same seeds, same data order.
- First interval: mean difference over runs and patients, {DRAWS:,} draws, widened for few runs;
  runs vary as in the two methods or as in all compared ones, the larger.
  Second: Hodges-Lehmann estimate with the exact interval of the signed-rank test, over patients.
- p (patients): exact Wilcoxon signed-rank test; p (runs): of the mean difference with the variance
  of runs and patients. The larger is Holm-corrected over the contrasts of one table, since the
  first takes chance differences between runs for effects. Superior and inferior need corrected
  p < 0.05 and both intervals on one side of 0. Equivalent: two one-sided tests within
  +-{100 * MARGIN:g} Dice points. Anything else is inconclusive, which is not evidence of equality.
- Detectable: smallest difference that this many patients show with 80 % power at this variance.
- Win, tie, loss: patients above, within, below {100 * MARGIN:g} Dice points. Worst tenth: mean
  difference in the patients who fare worst with the second method.
- The claim is supported if every deciding contrast is superior, not supported if one is inferior or
  equivalent, otherwise inconclusive."""


def _points(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{100 * value:+.1f}"


def _p(value: float) -> str:
    return "n/a" if math.isnan(value) else ("< 0.001" if value < 0.001 else f"{value:.3f}")


def _row(r: ContrastResult) -> tuple[str, ...]:
    return (
        f"{r.name} ({r.better} - {r.than})",
        f"{_points(r.mean)} [{_points(r.low)}, {_points(r.high)}]",
        f"{_points(r.shift)} [{_points(r.shift_low)}, {_points(r.shift_high)}]",
        _p(r.p),
        _p(r.p_runs),
        _p(r.p_holm),
        _p(r.p_equivalence),
        "n/a" if math.isnan(r.detectable) else f"{100 * r.detectable:.1f}",
        f"{r.wins} / {r.ties} / {r.losses}",
        _points(r.worst_decile),
        r.outcome,
    )


def _forest(results: Sequence[ContrastResult], folder: Path) -> list[Path]:
    """One panel per data set and labelled count, one line per contrast."""
    cells = list(dict.fromkeys((r.dataset, r.labels) for r in results))
    if not cells:
        return []
    rows = max(sum((r.dataset, r.labels) == cell for r in results) for cell in cells)
    with figure_style():
        figure = new_figure(7.2, len(cells) * (0.32 * rows + 0.9))
        for ax, cell in zip(figure.subplots(len(cells), 1, squeeze=False).flat, cells, strict=True):
            _panel(ax, [r for r in results if (r.dataset, r.labels) == cell])
            ax.set_title(f"{cell[0]}, {cell[1]} labelled")
        return [save(figure, folder / f"forest{suffix}") for suffix in (".svg", ".pdf", ".png")]


def _panel(ax: Axes, results: Sequence[ContrastResult]) -> None:
    """Mean difference with its interval (line) and the Hodges-Lehmann interval (thick)."""
    ax.axvspan(-100 * MARGIN, 100 * MARGIN, color="#EEEEEE", lw=0)
    ax.axvline(0, color="#444444", lw=0.8)
    for place, r in enumerate(reversed(results)):
        color = _COLORS.get(r.outcome, _OTHER)
        ax.plot([100 * r.low, 100 * r.high], [place, place], color=color, lw=1.2)
        if math.isfinite(r.shift_low) and math.isfinite(r.shift_high):
            ends = [100 * r.shift_low, 100 * r.shift_high]
            ax.plot(ends, [place, place], color=color, lw=4, alpha=0.35, solid_capstyle="butt")
        ax.plot(100 * r.mean, place, "o", color=color, ms=5)
    names = [f"{r.name}\n{r.better} - {r.than}: {r.outcome}" for r in reversed(results)]
    ax.set_yticks(range(len(results)), names)
    ax.set_ylim(-0.6, len(results) - 0.4)
    ax.set_xlabel("difference in Dice points; grey: within the margin of equivalence")
