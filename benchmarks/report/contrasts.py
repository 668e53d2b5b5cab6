"""The declared contrasts as table and text, and the forest plot of a benchmark's comparisons."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from benchmarks.config import BenchmarkConfig
from benchmarks.report.facts import Facts
from benchmarks.report.results import Results, titled
from benchmarks.report.style import WIDTH, figure_style, new_figure, save_both
from benchmarks.report.tables import p_value, pipe_table, points
from benchmarks.statistics.difference import Difference, phrase
from benchmarks.statistics.pairs import patient_runs
from benchmarks.statistics.rule import MARGIN
from benchmarks.statistics.verdict import Verdict, verdicts

_HEADER = (
    "Contrast", "Difference, points [95 %]", "p (Holm)", "p (false claim)",
    "p (false claim), patients alone", "p (equivalent)", "win / tie / loss",
    "Hodges-Lehmann [95 %]", "worst tenth", "Outcome",
)  # fmt: skip
_NOTE = (
    f"Win, tie, loss: patients more than {100 * MARGIN:g} point above, within, below. Worst tenth:"
    " mean difference in the patients who fare worst with both. These, the Hodges-Lehmann estimate"
    " over patients and the p from patients alone describe, and decide nothing."
)
_COLORS = {"better": "#009E73", "worse": "#D55E00", "equivalent": "#0072B2"}
_OTHER = "#7A7A7A"
_ROW, _NAMED_ROW, _FRAME, _TOP = 0.23, 0.52, 0.75, 0.35  # inches


def rulings(config: BenchmarkConfig, facts: Facts, results: Results) -> list[Verdict]:
    """The verdicts on the claim, with the names that are shown; none without a claim."""
    shown = titled(results.declared, facts.titles)
    return verdicts(shown, config.claim) if config.claim else []


def verdict_text(found: Sequence[Verdict]) -> str:
    """The verdicts as Markdown, two paragraphs for each data set and labelled count."""
    parts = []
    for v in found:
        why = f" {v.reason}." if v.reason else ""
        parts.append(f'**{v.dataset}, {v.labels} labelled: "{v.claim}" is {v.ruling}.**{why}')
        parts.append("\n".join(f"- {words}" for words in v.numbers))
    return "\n\n".join(parts)


def _by_cell(
    family: Sequence[Difference], facts: Facts
) -> Iterator[tuple[str, list[Difference], list[Difference]]]:
    """Comparisons of the last checkpoint, a heading for each cell with some, and with titles."""
    last = [d for d in family if d.checkpoint == "last"]
    for dataset, labels in dict.fromkeys((d.dataset, d.labels) for d in last):
        own = [d for d in last if (d.dataset, d.labels) == (dataset, labels)]
        if any(d.design != "none" for d in own):
            heading = f"### {facts.titles[dataset]}, {facts.dataset(dataset).labelled(labels)}"
            yield heading, own, titled(own, facts.titles)


def contrast_section(facts: Facts, results: Results) -> str:
    """The table of declared contrasts, last checkpoint, as Markdown; "" where none is declared."""
    parts = []
    for heading, raw, own in _by_cell(results.declared, facts):
        table = pipe_table(_HEADER, tuple(_row(d) for d in own), words=(0, len(_HEADER) - 1))
        parts += [heading, table, _by_run(raw, results)]
        left = dict.fromkeys(f"- {d.name}: {d.left_out}" for d in own if d.left_out)
        parts += ["\n".join(["Left out:", "", *left])] if left else []
    return "\n\n".join(filter(None, [*parts, _NOTE])) if parts else ""


def _by_run(differences: Sequence[Difference], results: Results) -> str:
    """The difference in every run, so that one that decides alone is seen; as a list."""
    scores = patient_runs(results.cases)
    lines = []
    for d in differences:
        own = scores[
            (scores["dataset"] == d.dataset)
            & (scores["labels"] == d.labels)
            & (scores["checkpoint"] == "last")
            & scores["key"].isin([d.better, d.than])
        ]
        means = own.groupby(["fold", "seed", "key"])["score"].mean().unstack().dropna()
        if d.design != "none" and len(means):
            each = 100 * (means[d.better] - means[d.than])
            lines.append(f"- {d.name}: {', '.join(f'{value:+.1f}' for value in each)}")
    return "\n".join(["Of every run, points:", "", *lines]) if lines else ""


def control_section(facts: Facts, results: Results) -> str:
    """Every method against every control, last checkpoint, as Markdown; "" without a control."""
    parts = []
    for heading, _, own in _by_cell(results.controls, facts):
        rows: dict[str, tuple[str, ...]] = {}
        for d in own:
            told = (points(d.mean, d.low, d.high, sign="+"), phrase(d))
            rows[d.better] = (*rows.get(d.better, (d.better,)), *told)
        controls = dict.fromkeys(d.than for d in own)
        pairs = ((f"Minus {control}, points [95 %]", "Outcome") for control in controls)
        header = ("Method", *chain.from_iterable(pairs))
        words = tuple(range(0, len(header), 2))
        parts += [heading, pipe_table(header, tuple(rows.values()), words=words)]
    return "\n\n".join(parts)


def _row(d: Difference) -> tuple[str, ...]:
    return (
        f"{d.name} ({d.better} minus {d.than})",
        points(d.mean, d.low, d.high, sign="+"),
        *(p_value(p) for p in (d.p_holm, d.p_false, d.p_false_patients, d.p_equivalent)),
        f"{d.wins} / {d.ties} / {d.losses}",
        points(d.shift, d.shift_low, d.shift_high, sign="+"),
        points(d.worst_tenth, math.nan, math.nan, sign="+"),
        phrase(d),
    )


def forest_figure(facts: Facts, results: Results, *, folder: Path) -> list[Path]:
    """Write `forest.{pdf,png}`: the declared contrasts, or else the differences to the baseline.

    One panel per data set and labelled count, one line per comparison with its 95 % interval.

    Returns:
        The files; none where nothing is compared.
    """
    family = titled(results.declared or (*results.baseline, *results.external), facts.titles)
    last = [d for d in family if d.checkpoint == "last" and not math.isnan(d.mean)]
    cells = list(dict.fromkeys((d.dataset, d.labels) for d in last))
    if not cells:
        return []
    panels = [[d for d in last if (d.dataset, d.labels) == cell] for cell in cells]
    row = _NAMED_ROW if results.declared else _ROW
    heights = [row * len(panel) + _FRAME for panel in panels]
    with figure_style():
        figure = new_figure(WIDTH, sum(heights) + _TOP)
        axes = figure.subplots(len(cells), 1, squeeze=False, height_ratios=heights, sharex=True)
        for ax, panel, (dataset, labels) in zip(axes.flat, panels, cells, strict=True):
            _panel(ax, panel, named=bool(results.declared))
            ax.set_title(f"{dataset}, {facts.dataset(dataset).labelled(labels)}")
            ax.tick_params(labelbottom=True)
        axes.flat[-1].set_xlabel(
            f"difference in Dice points, 95 % interval; {_against(facts, results)}"
        )
        figure.legend(handles=_handles(last), loc="outside upper center", ncols=5, frameon=False)
        return save_both(figure, folder / "forest")


def _against(facts: Facts, results: Results) -> str:
    if results.declared or facts.baseline is None:
        return "first method minus second"
    return f"method minus {facts.baseline.title}"


def _panel(ax: Axes, differences: Sequence[Difference], *, named: bool) -> None:
    ax.axvspan(-100 * MARGIN, 100 * MARGIN, color="#EEEEEE", lw=0)
    ax.axvline(0, color="#444444", lw=0.8)
    names = []
    for place, d in enumerate(differences):
        color = _COLORS.get(d.outcome, _OTHER)
        if not math.isnan(d.low):
            ax.plot([100 * d.low, 100 * d.high], [place, place], color=color, lw=1.4)
        ax.plot(100 * d.mean, place, "o", color=color, ms=5, mec="white", mew=0.6)
        pair = (f"{d.name}:", d.better, f"minus {d.than}")
        names.append("\n".join(pair) if named else textwrap.fill(d.better, 34))
        ax.annotate(
            textwrap.fill(phrase(d), 26),
            (1.01, place),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize="x-small",
            color=color,
            annotation_clip=False,
        )
    ax.set_yticks(range(len(differences)), names)
    ax.set_ylim(len(differences) - 0.4, -0.6)
    ax.grid(visible=False, axis="y")
    if named:
        ax.tick_params(axis="y", labelsize="small")
    sns.despine(ax=ax, left=True)


def _handles(differences: Sequence[Difference]) -> list[Line2D]:
    words = dict.fromkeys(d.outcome for d in differences)
    shown = [w for w in words if w in _COLORS]
    handles = [Line2D([], [], color=_COLORS[w], marker="o", ms=4, label=w) for w in shown]
    if len(shown) < len(words):
        handles.append(Line2D([], [], color=_OTHER, marker="o", ms=4, label="no verdict"))
    band = Line2D([], [], color="#DDDDDD", lw=6, label=f"±{100 * MARGIN:g} point")
    return [*handles, band]
