"""The field's known pitfalls, and where this suite or this benchmark answers each.

The pitfalls are those of Oliver et al. 2018 (arXiv:1804.09170), Maier-Hein et al. 2024 (Metrics
Reloaded, doi:10.1038/s41592-023-02151-z), Li and Qin (arXiv:2605.25561) and of public threads on
the methods' code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.config import BenchmarkConfig
from benchmarks.report.tables import pipe_table, plural
from benchmarks.statistics.rule import MIN_RUNS

# Fewest labelled subsets that make their variation visible.
_ENOUGH = 3
# Data sets whose unlabelled images come from elsewhere than the labelled ones.
_OTHER_SOURCE = frozenset({"covid19"})


@dataclass(frozen=True)
class Pitfall:
    """One way to fool oneself.

    Attributes:
        text: what goes wrong.
        answer: what the suite does.
        pointers: `file` or `file::test` that shows it.
        open_in: says of a benchmark what it leaves open, or "".
    """

    text: str
    answer: str
    pointers: tuple[str, ...]
    open_in: Callable[[BenchmarkConfig], str] = lambda _: ""


def _seeds(config: BenchmarkConfig) -> str:
    count = len(config.grid.pairs)
    return "" if count >= MIN_RUNS else f"{plural(count, 'run')}, a verdict needs {MIN_RUNS}"


def _subsets(config: BenchmarkConfig) -> str:
    count = len(config.grid.folds)
    return "" if count >= _ENOUGH else plural(count, "labelled subset")


def _strong(config: BenchmarkConfig) -> str:
    strong = any(config.methods[m].get("strong") for m in config.grid.methods)
    return "" if strong else "No row of supervision with strong views"


def _random_split(config: BenchmarkConfig) -> str:
    split = [config.methods[m].get("split") for m in config.grid.methods]
    return "" if "random" in split else "No row with a random split"


def _same_source(config: BenchmarkConfig) -> str:
    other = set(config.grid.datasets) & _OTHER_SOURCE
    return "" if other else "No unlabelled patients of another source"


def _validation(config: BenchmarkConfig) -> str:
    few = [d for d in config.grid.datasets if config.data[d].split.val > min(config.data[d].labels)]
    return f"More validation than labelled patients: {', '.join(few)}" if few else ""


PITFALLS = (
    Pitfall(
        "Test data choose the model",
        "One module reads test patients, after training; the last checkpoint is primary",
        (
            "tests/engine/test_training.py::test_masks_of_unlabeled_and_test_patients_are_never_opened",
            "tests/tune/test_tune.py::test_no_test_patient_is_in_the_sandbox",
        ),
    ),
    Pitfall(
        "Selection on validation and test patients together",
        "The parts share no patient; what selection would add is shown as best - last",
        (
            "tests/datasets/test_split.py::test_patient_in_two_parts_is_refused",
            "benchmarks/report/results.py",
        ),
    ),
    Pitfall(
        "Best of many looks at a validation set larger than the labelled set",
        "Last checkpoint primary; the best one is a second column",
        ("tests/report/test_build.py::test_page_of_a_pilot",),
        _validation,
    ),
    Pitfall(
        "A single seed, or the best of several",
        "All seeds of the grid are needed and averaged; their spread is shown; on another processor"
        " a seed is another draw, which twins measure",
        (
            "tests/report/test_load.py::test_missing_file_and_run_name_the_cells_and_the_commands",
            "tests/statistics/test_components.py",
            "tests/training/test_reproduce.py::test_twins_part_by_their_change_alone",
        ),
        _seeds,
    ),
    Pitfall(
        "One fixed labelled subset",
        "Nested random subsets by fold, spread over known groups; their variance is shown",
        (
            "tests/datasets/test_split.py::test_properties",
            "tests/datasets/test_split.py::test_groups_are_spread",
        ),
        _subsets,
    ),
    Pitfall(
        "An untuned supervised baseline",
        "Equal numbers of trials for all methods of a tuning study; batch habits as variants",
        (
            "tests/tune/test_tune.py::test_search_gives_every_method_the_same_budget_and_goes_on",
            "methods/supervised.py",
        ),
    ),
    Pitfall(
        "Unequal augmentation",
        "One augmentation for all; supervision with strong views is the control",
        ("benchmarks/engine/augment.py", "methods/blocks/labeled.py"),
        _strong,
    ),
    Pitfall(
        "Unequal compute and pre-training",
        "Operations per step are counted; `grid.equal: operations` gives all the same compute; no"
        " weights are downloaded",
        (
            "tests/plan/test_cost.py",
            "tests/plan/test_equal_compute.py",
            "methods/README.md",
        ),
    ),
    Pitfall(
        "Distances of empty masks counted as 0",
        "One mask empty: Dice 0 and the image diagonal; both: Dice 1, distances left out; counted",
        (
            "tests/test_metrics.py::test_one_empty_mask_costs_the_image_diagonal",
            "tests/test_metrics.py::test_both_masks_empty_agree_and_have_no_distance",
        ),
    ),
    Pitfall(
        "Slices, frames or seeds taken for independent patients",
        "One rule over runs and patients, each averaged inside first; Holm's correction",
        (
            "tests/statistics/test_summary.py::test_patients_weigh_equally_however_many_cases_they_have",
            "tests/statistics/test_rule.py",
        ),
    ),
    Pitfall(
        "Tuning on more labels than a user would have",
        "Trials, seeds and iterations of a study are stated in its `budget.csv`",
        ("tests/tune/test_tune.py::test_the_budget_keeps_methods_that_were_tuned_before",),
        _validation,
    ),
    Pitfall(
        "A method's name without the method",
        "Equations tested by hand; deviations listed in the file that is the method",
        ("tests/methods/test_consistency_methods.py", "tests/methods/test_pseudo_methods.py"),
    ),
    Pitfall(
        "Copied figures shown as own",
        "A table holds only runs of its grid; literature figures stand apart with their source",
        (
            "tests/report/test_load.py::test_wrong_case_table_is_refused",
            "reports/published_results.csv",
        ),
    ),
    Pitfall(
        "An uncertainty mask without a control",
        "Rows without selection and with a random selection of equal size",
        ("tests/methods/test_groups.py", "benchmarks/presets/ablation_folds/params.yaml"),
        _random_split,
    ),
    Pitfall(
        "Unlabelled data of the same distribution by construction",
        "The unlabelled CT images are of other scanners; other data sets leave it open",
        ("datasets/covid19.py", "benchmarks/presets/covid19_cpu/params.yaml"),
        _same_source,
    ),
    Pitfall(
        "Confidence taken for certainty",
        "Accuracy inside low and high group; calibration by `python -m benchmarks diagnose`",
        (
            "tests/report/test_parts.py::test_accuracy_of_a_group_is_a_share_of_its_own_pixels",
            "tests/scoring/test_diagnose.py",
        ),
    ),
    Pitfall(
        "Dice by slice, or over absent classes",
        "Dice of the whole case by class",
        ("tests/test_metrics.py::test_score_labels_scores_each_class_as_a_mask",),
    ),
    Pitfall(
        "Labels of unlabelled images used in training",
        "The batch has no place for them, and their files are not opened",
        (
            "tests/contract/test_rules.py::test_batch_has_no_place_for_labels_of_unlabeled_images",
            "tests/engine/test_training.py::test_masks_of_unlabeled_and_test_patients_are_never_opened",
            "tests/engine/test_training.py::test_an_oracle_alone_reads_labels_of_unlabeled_images",
        ),
    ),
    Pitfall(
        "Gradients that a library gets wrong",
        "Volumes of which bf16 on a CPU has none are refused",
        ("tests/engine/test_options.py::test_maps_that_bf16_has_wrong_gradients_of_are_refused",),
    ),
)


def open_pitfalls(config: BenchmarkConfig) -> list[str]:
    """What a benchmark leaves open, one line each: what opens it and the pitfalls."""
    found: dict[str, list[str]] = {}
    for pitfall in PITFALLS:
        found.setdefault(pitfall.open_in(config), []).append(pitfall.text)
    return [f"{why} ({'; '.join(texts)})." for why, texts in found.items() if why]


def pitfalls_page() -> str:
    """Every pitfall with its answer and what shows it, as Markdown."""
    rows = tuple(
        (
            str(number),
            pitfall.text,
            pitfall.answer,
            ", ".join(f"`{pointer}`" for pointer in pitfall.pointers),
        )
        for number, pitfall in enumerate(PITFALLS, 1)
    )
    header = ("#", "Pitfall", "Answer", "Shown by")
    table = pipe_table(header, rows, words=(0, 1, 2, 3))
    lead = "What a benchmark leaves open of these stands on its page."
    return f"# Known pitfalls of the field\n\n{lead}\n\n{table}\n"
