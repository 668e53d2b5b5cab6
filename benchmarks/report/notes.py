"""What a reader must know, once per page."""

from __future__ import annotations

from benchmarks.config import BenchmarkConfig
from benchmarks.report.facts import Facts
from benchmarks.report.results import Results
from benchmarks.report.sections import MARK, cell_title
from benchmarks.statistics.rule import ALPHA, MARGIN, MIN_RUNS

# Parameters of supervision that stand for what a method has beside its loss terms.
_CONTROLS = ("unlabeled_bn", "strong")


def warnings(facts: Facts, results: Results) -> list[str]:
    """What stands at the top of the page, because it limits everything below."""
    found = []
    titles = facts.titles
    for dataset in facts.datasets:
        cells = dict.fromkeys(n for d, n, _ in results.barren if d == dataset.id)
        for labels in cells:
            names = [titles[k] for d, n, k in results.barren if (d, n) == (dataset.id, labels)]
            found.append(
                f"Nothing learnt on {cell_title(dataset, labels)}: {', '.join(names)} "
                f"predict{'s' * (len(names) == 1)} (almost) nothing. Comparisons with "
                f"{'it' if len(names) == 1 else 'them'} are not tested."
            )
    synthetic = [d.title for d in facts.datasets if d.synthetic]
    if synthetic:
        found.append("Synthetic phantoms are generated images, which say nothing about patients.")
    return found


def notes(config: BenchmarkConfig, facts: Facts, results: Results) -> list[str]:
    """How to read the tables and figures of a page, one sentence or a few each."""
    compared = results.baseline or results.declared
    return [
        "Last checkpoint of every run, never the one that scored best; `table.csv` has both.",
        "A run is one training: a labelled subset (fold) with a seed. Frames and classes are"
        " averaged within a patient first. Intervals are 95 % and count both runs and patients as"
        " drawn at random; with a single run they cover patients only.",
        *(_comparison_notes(config, facts) if compared else []),
        *(_control_note(config, facts) if facts.baseline else []),
        "Rank: place by mean Dice, with the interval that the tests of all pairs leave (Holm)."
        f" {MARK}: not separable from the method with the best mean.",
        f"NSD: share of both surfaces within {_tolerances(facts)} of each other. HD95 and ASSD:"
        " medians over patients. Jaccard, ASD and each class: `table.csv`, `classes.csv`,"
        " `cases.csv`.",
        *_older(results),
        "Failures: values (runs x cases x classes) of which exactly one mask, predicted or"
        " reference, is empty: Dice 0, distances the image diagonal. Both empty: Dice 1, no"
        " distance.",
        *dict.fromkeys(m.footnote for m in facts.methods if m.footnote),
    ]


def _comparison_notes(config: BenchmarkConfig, facts: Facts) -> list[str]:
    family = "the methods of a table" if facts.baseline else "the declared contrasts"
    if facts.baseline and config.contrasts:
        family += ", and over the declared contrasts"
    return [
        "Differences are paired by run and patient. p (Holm): of Student's test over runs and"
        f" patients, corrected over {family}. p (false claim): probability that the true difference"
        " has the other sign. Methods with all labels are references and not tested.",
        f"Outcome. better, worse: corrected p < {ALPHA}. equivalent: within {100 * MARGIN:g} Dice"
        " point, corrected too. undecided: neither; in brackets the difference that is found with"
        f" 80 % power. pilot: fewer than {MIN_RUNS} runs allow no verdict.",
    ]


def _control_note(config: BenchmarkConfig, facts: Facts) -> list[str]:
    """What has to stand beside a method before a loss term of it is credited with anything."""
    blocks = [config.methods[m.key] for m in facts.methods]
    if all(any(block.get(control) for block in blocks) for control in _CONTROLS):
        known = "and the rows that do so without another loss term tell how much"
    else:
        known = "and no row here tells how much"
    return [
        "Unlabelled images in the batch norm and strong views can raise Dice by themselves,"
        f" {known}: nothing is credited to a term that is not above them."
    ]


def _tolerances(facts: Facts) -> str:
    each = {f"{d.tolerance:g} {d.unit}": d.title for d in facts.datasets}
    if len(each) == 1:
        return next(iter(each))
    return ", ".join(f"{d.tolerance:g} {d.unit} ({d.title})" for d in facts.datasets)


def _older(results: Results) -> list[str]:
    if not results.cases["nsd"].isna().all():
        return []
    return ["NSD and ASSD are n/a: these runs were scored before both were measured."]
