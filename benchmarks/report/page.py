"""The page of a benchmark, `README.md` of its folder."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.config import BenchmarkConfig
from benchmarks.report.checklist import open_pitfalls
from benchmarks.report.contrasts import (
    contrast_section,
    control_section,
    rulings,
    verdict_text,
)
from benchmarks.report.facts import DatasetFacts, Facts
from benchmarks.report.notes import notes, warnings
from benchmarks.report.results import Results, fewest_runs, titled
from benchmarks.report.sections import MISSING, Section, cell_title, sections
from benchmarks.report.setting import setting
from benchmarks.report.tables import number, pipe_table, plural
from benchmarks.statistics.difference import EXPLORATORY, Difference
from benchmarks.statistics.rule import MIN_RUNS
from benchmarks.statistics.verdict import NO_VERDICT

RESULT = "**What came out.** "
_CONTROLS = (
    "What a method gains over rows that train on labels alone too, corrected over this table."
    " Unlabelled images in the batch norm and strong views are ingredients of methods: a gain that"
    " is not above a control with the method's own is not owed to its loss terms. A control below"
    " labels alone is easily beaten."
)
ADDED = (
    "Exploratory: that methods are compared with the controls was decided after rows of both had"
    " been read."
)
FIGURES = {
    "dice": "Dice of all that was tested, mean and interval of every method",
    "forest": "Differences with their intervals",
    "ranks": "Ranks with their intervals",
    "heatmap": "Dice over two parameters",
    "convergence": "Validation Dice over the operations of trainings of several lengths",
    "cost": "Dice over the cost of a run; the line joins rows that no cheaper one reaches",
    "mechanisms": "Gradient of every term relative to supervision",
    "groups": "The entropy split over training",
}
FILES = {
    "cases.csv": "one row per run, checkpoint, case and class",
    "table.csv": "means, differences and outcomes, both checkpoints",
    "table.tex": "the tables in LaTeX",
    "differences.csv": "all comparisons with every number of the rule",
    "ranks.csv": "ranks with their intervals",
    "classes.csv": "means by class, with ASD",
    "components.csv": "median patient, worst tenth, sources of variation",
    "runs.csv": "identity of every run and digest of the code that trained it",
    "external.csv": "rows predicted elsewhere: what was read and checked",
    "groups.csv": "what the runs logged of the entropy split",
    "mechanisms.csv": "what every loss term did, by the mechanism ledgers of the runs",
    "pseudo_labels.csv": "accuracy on unlabelled training images",
    "convergence.csv": "validation Dice at the end of trainings of several lengths",
    "cost.csv": "seconds, memory and energy of every run, as measured",
    "metrics.json": "Dice, for `dvc metrics`",
    "baseline_selection.csv": "how learning rate and iterations were chosen",
}


@dataclass(frozen=True)
class More:
    """Sections that have a module of their own, as Markdown.

    Attributes:
        groups: of the entropy split, or "".
        mechanisms: of the mechanism ledger, or "".
        cost: of operations, time and memory.
        convergence: of training lengths, or "".
    """

    groups: str
    mechanisms: str
    cost: str
    convergence: str = ""


def page(
    config: BenchmarkConfig,
    facts: Facts,
    results: Results,
    more: More,
    code: str,
    folder: Path,
) -> str:
    """The whole page as Markdown.

    Args:
        config: the benchmark.
        facts: its methods and data sets.
        results: what came out.
        more: further sections.
        code: digests of the code that trained the runs, in words.
        folder: of the report; figures and files in it are linked.
    """
    parts = [f"# Benchmark `{config.name}`", config.question]
    if facts.common:
        parts.append(facts.common)
    parts += [f"**{words}**" for words in warnings(facts, results)]
    parts += [RESULT + headline(config, facts, results), setting(config, facts)]
    found = rulings(config, facts, results)
    parts += ["## Verdict", verdict_text(found)] if found else []
    parts.append("## Results")
    for section in sections(config, facts, results):
        parts += [f"### {section.title}", section_table(section), section.sample]
    parts.append(_picture(folder, "dice"))
    contrasts = contrast_section(facts, results)
    if contrasts:
        parts += ["## Declared contrasts", contrasts]
    against = control_section(facts, results)
    parts += ["## Against the controls", control_words(config), against] if against else []
    parts += [_picture(folder, name) for name in ("forest", "ranks", "heatmap")]
    parts += _overlays(folder, facts)
    if more.mechanisms:
        shown = _picture(folder, "mechanisms")
        parts += ["## Which mechanisms were at work", shown, more.mechanisms]
    if more.groups:
        parts += ["## What the entropy split did", more.groups, _picture(folder, "groups")]
    if more.convergence:
        shown = _picture(folder, "convergence")
        parts += ["## Is training converged", more.convergence, shown]
    parts += ["## What it cost", more.cost, _picture(folder, "cost")]
    parts += ["## What this benchmark leaves open", _open(config, folder)]
    parts += ["## How to read this", _bullets([*notes(config, facts, results), code])]
    parts += ["## Files", _bullets(_files(folder))]
    return "\n\n".join(part for part in parts if part) + "\n"


def control_words(config: BenchmarkConfig) -> str:
    """What stands above the comparisons with rows that learn from labels alone."""
    return f"{_CONTROLS} {ADDED}" if config.grid.controls == EXPLORATORY else _CONTROLS


def section_table(section: Section) -> str:
    """A section's table as Markdown."""
    return pipe_table(section.header, section.rows, words=section.words)


def headline(config: BenchmarkConfig, facts: Facts, results: Results) -> str:
    """What came out, in a sentence for each data set and labelled count."""
    if results.lengths:
        return _sentences([results.lengths], results)
    found = rulings(config, facts, results)
    if found:
        words = [f'{v.dataset}, {v.labels} labelled: "{v.claim}" is {v.ruling}' for v in found]
        return _sentences(words, results)
    cells = [(dataset, n) for dataset in facts.datasets for n in config.data[dataset.id].labels]
    told = [(cell_title(d, n), *_cell_words(facts, results, d, n)) for d, n in cells]
    subjects = {subject for _, subject, _ in told}
    if len(subjects) > 1:
        return _sentences(
            [f"{cell}: {subject} {result}" for cell, subject, result in told], results
        )
    # What all cells begin with is said once.
    each = [f"{cell}: {result}" for cell, _, result in told]
    return _sentences([f"{subjects.pop()}, {each[0]}", *each[1:]], results)


def _sentences(words: Sequence[str], results: Results) -> str:
    text, fewest = "; ".join(words) + ".", fewest_runs(results)
    if results.pilot:
        return f"{text} A pilot: no verdict, whatever the runs."
    if fewest >= MIN_RUNS or results.interim:
        return text
    return f"{text} A pilot of {plural(fewest, 'run')}: a verdict needs at least {MIN_RUNS}."


def _cell_words(
    facts: Facts, results: Results, dataset: DatasetFacts, labels: int
) -> tuple[str, str]:
    """What is told of a cell, and what came out."""
    cell = (dataset.id, labels, "last")
    studied = "; convergence is not shown" if results.unstudied else ""
    own = [d for d in results.baseline if (d.dataset, d.labels, d.checkpoint) == cell]
    own = [d for d in titled(own, facts.titles) if not math.isnan(d.mean)]
    if own and facts.baseline:
        if {d.outcome for d in own} <= {*NO_VERDICT}:
            return f"Differences to {facts.baseline.title}, points", _apart(own, facts, _spread)
        told = _apart(own, facts, _counts)
        return f"Compared with {facts.baseline.title}", told + studied
    declared = [d for d in results.declared if (d.dataset, d.labels, d.checkpoint) == cell]
    if declared:
        return "Declared contrasts", _counts(titled(declared, facts.titles)) + studied
    table = results.table
    inside = (table["dataset"] == dataset.id) & (table["labels"] == labels)
    dice = 100 * table.loc[inside & (table["checkpoint"] == "last"), "dice"]
    if dice.empty:
        return "Dice, %", MISSING if results.interim else "of full supervision alone"
    return "Dice, %", f"{number(dice.min())} to {number(dice.max())}"


def _apart(
    differences: Sequence[Difference], facts: Facts, told_of: Callable[[Sequence[Difference]], str]
) -> str:
    """What is told of methods and, apart, of controls that train on labels alone."""
    alone = {m.title for m in facts.methods if m.labels_alone}
    groups = {
        "methods": [d for d in differences if d.better not in alone],
        "controls": [d for d in differences if d.better in alone],
    }
    told = [f"{name} {told_of(group)}" for name, group in groups.items() if group]
    return "; ".join(told) if groups["controls"] else told_of(differences)


def _spread(differences: Sequence[Difference]) -> str:
    """The smallest and the largest difference."""
    low, high = (pick(100 * d.mean for d in differences) for pick in (min, max))
    return f"{low:+.1f} to {high:+.1f}" if len(differences) > 1 else f"{low:+.1f}"


def _counts(differences: Sequence[Difference]) -> str:
    """Verdicts with names, where these are few; the others are counted."""
    words = dict.fromkeys(d.outcome for d in differences)
    parts = []
    for word in words:
        names = [d.better for d in differences if d.outcome == word]
        counted = f"{len(names)} {word}"
        verdict = word in {"better", "worse", "equivalent"}
        parts.append(f"{counted} ({'; '.join(names)})" if verdict and len(names) <= 6 else counted)
    return ", ".join(parts)


def _picture(folder: Path, name: str) -> str:
    text = FIGURES[name]
    if not (folder / f"{name}.png").is_file():
        return ""
    return f"![{text}]({name}.png)\n\n[PDF]({name}.pdf)"


def _overlays(folder: Path, facts: Facts) -> list[str]:
    names = [(d.title, f"overlay-{d.id}.png") for d in facts.datasets]
    return [f"![{title}: one slice]({n})" for title, n in names if (folder / n).is_file()]


def _open(config: BenchmarkConfig, folder: Path) -> str:
    found = open_pitfalls(config)
    # The report of an unfinished benchmark lies a folder deeper.
    up = next(("../" * n for n, p in enumerate(folder.parents, 1) if p.name == "reports"), "")
    lead = f"Of the [known pitfalls of the field]({up}PITFALLS.md)"
    return f"{lead}:\n\n{_bullets(found)}" if found else f"{lead}: none."


def _files(folder: Path) -> list[str]:
    here = [f"[`{n}`]({n}): {text}." for n, text in FILES.items() if (folder / n).is_file()]
    runs = sorted(p.parent.name for p in folder.glob("diagnosis/*/diagnosis.png"))
    return here + [f"[Diagnosis of {run}](diagnosis/{run}/diagnosis.png)." for run in runs]


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
