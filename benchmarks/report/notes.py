"""What a reader must know, once per page."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.config import BenchmarkConfig
from benchmarks.report.facts import Facts
from benchmarks.report.results import Results, titled
from benchmarks.report.sections import IDLE, MARK, cell_title, in_folds, select
from benchmarks.statistics.convergence import LEVEL
from benchmarks.statistics.inference import look_factor
from benchmarks.statistics.mechanisms import FAINT
from benchmarks.statistics.rule import ALPHA, INERT, MARGIN, MIN_RUNS, NOTHING

_UNCONVERGED = (
    " unconverged: a row of the pair is not shown to be converged. The"
    f" {100 * LEVEL:.0f} % interval, over runs, of what twice as many steps gain has to lie below"
    f" {100 * MARGIN:g} point of validation Dice; else the row still gains, or it has too few runs"
    " to tell."
)
# Parameters of supervision that stand for what a method has beside its loss terms.
_CONTROLS = ("unlabeled_bn", "strong")


def warnings(facts: Facts, results: Results) -> list[str]:
    """What stands first, the worst before the rest, because it limits everything below."""
    found = [results.interim] if results.interim else []
    found += [
        *results.unfit,
        *results.mixed,
        *_barren(facts, results),
        *_idle(facts, results),
        *_late(facts, results),
        *_unfit(facts, results),
    ]
    synthetic = [d.title for d in facts.datasets if d.synthetic]
    if synthetic:
        found.append("Synthetic phantoms are generated images, which say nothing about patients.")
    return [*found, *(f"{d.title}: {d.note}" for d in facts.datasets if d.note)]


def _barren(facts: Facts, results: Results) -> Iterator[str]:
    """Rows that predict nothing, by data set and labelled count."""
    titles, table = facts.titles, results.table
    for dataset in facts.datasets:
        for labels in dict.fromkeys(n for d, n, _ in results.barren if d == dataset.id):
            names = [titles[k] for d, n, k in results.barren if (d, n) == (dataset.id, labels)]
            rows = select(table, facts, dataset=dataset.id, labels=labels)["key"].nunique()
            one = len(names) == 1
            yield (
                f"{len(names)} of {rows} rows predict{'s' * one} (almost) nothing on"
                f" {cell_title(dataset, labels)}: {', '.join(names)}. Comparisons with"
                f" {'it' if one else 'them'} are not tested."
            )


def _idle(facts: Facts, results: Results) -> Iterator[str]:
    """Rows with an inert term, by data set and labelled count."""
    for dataset in facts.datasets:
        for labels in dict.fromkeys(n for d, n, _ in results.idle if d == dataset.id):
            words = _inert(results, facts, dataset.id, labels)
            if words:
                yield (
                    f"Not at work on {cell_title(dataset, labels)}: {words}. Comparisons with such"
                    " a row are not tested."
                )


def _inert(results: Results, facts: Facts, dataset: str, labels: int) -> str:
    """Methods with their inert terms, in words."""
    words = []
    for (d, n, key), terms in results.idle.items():
        names = [f"`{name}`" for name, state in terms if state == "inert"]
        if names and (d, n) == (dataset, labels):
            words.append(f"{facts.titles[key]} (term {', '.join(names)})")
    return "; ".join(words)


def _late(facts: Facts, results: Results) -> Iterator[str]:
    """Rows that are not shown to be converged, by data set and labelled count."""
    for (dataset, labels), keys in results.late.items():
        names = "; ".join(m.title for m in facts.methods if m.key in keys)
        place = cell_title(facts.dataset(dataset), labels)
        yield (
            f"Not shown to be converged on {place}: {names}. Comparisons with such a row have no"
            " verdict."
        )
    for dataset, keys in results.references.items():
        names = "; ".join(facts.titles[key] for key in keys)
        yield (
            f"Not shown to be converged with all labels of {facts.dataset(dataset).title}: {names}."
            " No row is tested against it; longer training may be better."
        )


def _unfit(facts: Facts, results: Results) -> Iterator[str]:
    """Further reasons for which comparisons of the last checkpoint allow no verdict."""
    family = titled([*results.baseline, *results.declared, *results.external], facts.titles)
    words: dict[str, dict[str, None]] = {}
    for d in family:
        silent = d.outcome == "not tested" and d.design != "none"
        if silent and d.checkpoint == "last" and not d.reason.endswith((*NOTHING, INERT)):
            place = f"{d.dataset}, {d.labels} labelled"
            words.setdefault(f"{d.outcome}: {d.reason}", {})[place] = None
    for reason, places in words.items():
        yield f"{reason[0].upper()}{reason[1:]} ({'; '.join(places)})."


def notes(config: BenchmarkConfig, facts: Facts, results: Results) -> list[str]:
    """How to read the tables and figures of a page, one sentence or a few each."""
    compared = results.baseline or results.declared
    words = dict.fromkeys(f"{d.word}s" for d in facts.datasets)
    return [
        "Last checkpoint of every run, never the one that scored best; `table.csv` has both.",
        "A run is one training: a labelled subset (fold) with a seed. Frames and classes are"
        " averaged within a patient first. Intervals are 95 % and count both runs and patients as"
        f" drawn at random; with a single run they cover patients only.{_folds(config)}",
        *convergence_note(facts, results),
        *(_comparison_notes(config, facts, results) if compared else []),
        *_mechanism_notes(results),
        *(_control_note(config, facts) if facts.baseline else []),
        "Rank: place by mean Dice, with the interval that the tests of all pairs leave (Holm); a"
        " pair without a verdict separates nothing."
        f" {MARK}: not separable from the method with the best mean.",
        f"NSD: share of both surfaces within {_tolerances(facts)} of each other. HD95 and ASSD:"
        f" medians over {' or '.join(words)}. Jaccard, ASD and each class: `table.csv`,"
        " `classes.csv`, `cases.csv`.",
        *_older(results),
        "Failures: values (runs x cases x classes) of which exactly one mask, predicted or"
        " reference, is empty: Dice 0, distances the image diagonal. Both empty: Dice 1, no"
        " distance.",
        *dict.fromkeys(m.footnote for m in facts.rows if m.footnote),
    ]


def _comparison_notes(config: BenchmarkConfig, facts: Facts, results: Results) -> list[str]:
    family = "the methods of a table" if facts.baseline else "the declared contrasts"
    if facts.baseline and config.contrasts:
        family += ", and over the declared contrasts"
    return [
        "Differences are paired by run and patient. p (Holm): of Student's test over runs and"
        f" patients, corrected over {family}; intervals are not corrected. p (false claim):"
        " the one-sided p, which is the probability that the method is not the better one if"
        " nothing was known before. Methods with all labels are references and not tested.",
        *_looks(config.grid.looks),
        *(["External rows: a family of their own, without ranks."] if facts.external else []),
        f"Outcome. better, worse: corrected p < {ALPHA}. equivalent: within {100 * MARGIN:g} Dice"
        " point, corrected too. undecided: neither; in brackets the difference that is found with"
        " 80 % power whatever the other rows do, corrected as p is. pilot: fewer than"
        f" {MIN_RUNS} runs, too few patients or no fair test of methods allow no verdict."
        f"{_UNCONVERGED if results.late else ''}",
    ]


def _looks(looks: int) -> list[str]:
    """That a growing table was read before, and what was done about it."""
    if looks == 1:
        return []
    return [
        f"{looks} tables with such comparisons of growing runs were read, this one included, and"
        " nobody had said how many there would be. So every p is multiplied by"
        f" {look_factor(looks)} ({looks} x {looks + 1}); intervals are not corrected."
    ]


def _folds(config: BenchmarkConfig) -> str:
    """How the means of a cross-validation are taken, and what its error rates rest on."""
    told = (
        " In a cross-validation every fold tests patients of its own, and all folds weigh alike;"
        " that they share training patients is not in the error rates."
    )
    return told if in_folds(config) else ""


def convergence_note(facts: Facts, results: Results) -> list[str]:
    """Which rows have no study of longer training, in a sentence; nothing where all have one."""
    names = [m.title for m in facts.methods if m.key in results.unstudied]
    if not names:
        return []
    if len(names) == len(facts.methods):
        return [
            "No row has a study of longer training: whether they have converged is not known, and"
            " all are taken as they are at this length."
        ]
    return [
        "Without a study of longer training, and so taken as they are at this length:"
        f" {'; '.join(names)}."
    ]


def _mechanism_notes(results: Results) -> list[str]:
    if not results.idle:
        return []
    inert, faint = IDLE["inert"], IDLE["faint"]
    return [
        f"{inert}: a term of the method was inert, without any effect on the tested network, so the"
        f" row is not tested. {faint}: a term was faint, its gradient below {100 * FAINT:.0f} % of"
        " the supervised one."
    ]


def _control_note(config: BenchmarkConfig, facts: Facts) -> list[str]:
    """What has to stand beside a method before a loss term of it is credited with anything."""
    blocks = [config.methods[m.key] for m in facts.methods]
    if all(any(block.get(control) for block in blocks) for control in _CONTROLS):
        known = "and the rows that do so without another loss term tell how much"
    else:
        known = "and not both have a row here that tells how much"
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
