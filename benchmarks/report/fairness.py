"""What a mean hides: choice of checkpoint, failures, sources of variation, ranks."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scikit_posthocs import critical_difference_diagram

from benchmarks.config import BenchmarkConfig
from benchmarks.files import write_text
from benchmarks.report.facts import Facts, MethodFacts
from benchmarks.report.sections import Results
from benchmarks.report.style import figure_style, new_figure, save
from benchmarks.report.tables import csv, pipe_table
from benchmarks.statistics.pairs import Key, patient_runs
from benchmarks.statistics.ranks import Ranks, rank_methods

_HEADER = (
    "Method", "Dice, %", "best - last", "median patient", "worst tenth", "one mask empty",
    "sd subsets", "sd seeds", "sd patients", "sd rest",
)  # fmt: skip
_NOTES = """## How to read this

- Unit: test patient, frames and classes averaged. Last checkpoint; *best - last*: what the
  checkpoint with the best validation score would add, in Dice points.
- Worst tenth: mean Dice of the tenth of the patients who fare worst. One mask empty: values (runs x
  cases x classes) where exactly one of prediction and reference is empty, so Dice is 0.
- sd: standard deviation in Dice points that labelled subsets (folds), seeds and patients add, and
  what is left (method of moments; negative estimates are 0; empty: a single one, nothing to see).
- Ranks: mean over patients, 1 is best; methods joined by a bar do not differ by Nemenyi's test at
  5 % (Demsar 2006). It treats training runs as fixed; the declared contrasts do not."""


@dataclass(frozen=True)
class Components:
    """Standard deviations in Dice, NaN where there is a single level.

    Attributes:
        subset: between labelled subsets (folds).
        seed: between seeds inside a subset.
        patient: between patients.
        rest: of a patient in a run.
    """

    subset: float
    seed: float
    patient: float
    rest: float


def variance_components(folds: list[NDArray[np.float64]]) -> Components:
    """Sources of variation of one method, by the method of moments.

    Args:
        folds: one (runs, patients) array of scores per fold.

    Returns:
        Roots of `V_rest = MS_rest`, `V_seed = (MS_seed - MS_rest) / patients`,
        `V_patient = (MS_patient - MS_rest) / runs`, each averaged over folds, and of the variance
        of the fold means beyond what these explain.
    """
    inside = [_moments(fold) for fold in folds]
    rest, seed, patient = (_mean([part[i] for part in inside]) for i in range(3))
    subset = float("nan")
    if len(folds) > 1:
        runs = np.mean([len(fold) for fold in folds])
        known = np.nan_to_num([seed, patient, rest])
        patients = np.mean([fold.shape[1] for fold in folds])
        explained = known[0] / runs + known[1] / patients + known[2] / (runs * patients)
        subset = float(np.var([fold.mean() for fold in folds], ddof=1) - explained)
    return Components(*(_root(v) for v in (subset, seed, patient, rest)))


def _moments(fold: NDArray[np.float64]) -> tuple[float, float, float]:
    """Variances of rest, seed and patient in a (runs, patients) table; NaN where unknown."""
    runs, patients = fold.shape
    nan = float("nan")
    if min(runs, patients) < 2:
        only = float(fold.var(ddof=1)) if fold.size > 1 else nan
        return nan, only if runs > 1 else nan, only if patients > 1 else nan
    mean, by_run, by_patient = fold.mean(), fold.mean(1), fold.mean(0)
    rest = fold - by_run[:, None] - by_patient + mean
    noise = float((rest**2).sum()) / ((runs - 1) * (patients - 1))
    seed = float(by_run.var(ddof=1)) - noise / patients
    return noise, seed, float(by_patient.var(ddof=1)) - noise / runs


def _mean(values: list[float]) -> float:
    known = [v for v in values if not np.isnan(v)]
    return float(np.mean(known)) if known else float("nan")


def _root(variance: float) -> float:
    return float(np.sqrt(max(variance, 0.0))) if not np.isnan(variance) else variance


def write_fairness(
    config: BenchmarkConfig, facts: Facts, results: Results, *, folder: Path
) -> list[Path]:
    """Write `fairness.md`, `components.csv` and, for 3 methods or more, `ranks.{svg,pdf,png}`.

    Args:
        config: the benchmark.
        facts: its methods and data sets.
        results: of the benchmark.
        folder: of the report.
    """
    frame = fairness_table(facts, results)
    write_text(folder / "components.csv", csv(frame, decimals=6))
    ranked = list(_ranked(results.cases))
    parts = [f"# Behind the means of benchmark `{config.name}`"]
    for dataset in facts.datasets:
        for labels in config.data[dataset.id].labels:
            parts.append(f"## {dataset.title}, {labels} labelled patients")
            own = frame[(frame["dataset"] == dataset.id) & (frame["labels"] == labels)]
            parts.append(pipe_table(_HEADER, tuple(_row(r, facts) for r in own.to_dict("records"))))
            parts += [
                _rank_words(r, facts) for r in ranked if r.key == (dataset.id, labels, "last")
            ]
    write_text(folder / "fairness.md", "\n\n".join([*parts, _NOTES]) + "\n")
    return [folder / "fairness.md", folder / "components.csv", *_figure(ranked, facts, folder)]


def fairness_table(facts: Facts, results: Results) -> pd.DataFrame:
    """One row per data set, labelled count and method; scores in [0, 1]."""
    scores, rows = patient_runs(results.cases), []
    keys = {m.key: m for m in facts.methods}
    cells = scores[["dataset", "labels", "key"]].drop_duplicates()
    for dataset, labels, key in cells.itertuples(index=False, name=None):
        own = scores[
            (scores["dataset"] == dataset) & (scores["labels"] == labels) & (scores["key"] == key)
        ]
        last = own[own["checkpoint"] == "last"]
        patients = last.groupby("patient")["score"].mean().sort_values()
        best = own[own["checkpoint"] == "best"].groupby("patient")["score"].mean()
        folds = [
            part.pivot_table(index="seed", columns="patient", values="score").to_numpy(dtype=float)
            for _, part in last.groupby("fold")
        ]
        found = variance_components(folds)
        rows.append(
            {
                "dataset": dataset, "labels": labels, "method": key, "dice": patients.mean(),
                "best_minus_last": best.mean() - patients.mean(), "median": patients.median(),
                "worst_tenth": patients.head(max(1, round(len(patients) / 10))).mean(),
                "one_empty": _one_empty(results.cases, dataset, labels, keys[key]),
                "sd_subset": found.subset, "sd_seed": found.seed,
                "sd_patient": found.patient, "sd_rest": found.rest,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def _one_empty(cases: pd.DataFrame, dataset: str, labels: int, method: MethodFacts) -> int:
    """Values where exactly one mask is empty, last checkpoint."""
    own = cases[
        (cases["dataset"] == dataset) & (cases["labels"] == labels)
        & (cases["method"] == method.id) & (cases["variant"] == method.variant)
        & (cases["checkpoint"] == "last")
    ]  # fmt: skip
    return int(((own["ref_voxels"] == 0) != (own["pred_voxels"] == 0)).sum())


def _row(record: Mapping[Hashable, Any], facts: Facts) -> tuple[str, ...]:
    title = next(m.title for m in facts.methods if m.key == record["method"])
    spread = (record[f"sd_{name}"] for name in ("subset", "seed", "patient", "rest"))
    return (
        title,
        f"{100 * record['dice']:.1f}",
        f"{100 * record['best_minus_last']:+.1f}",
        f"{100 * record['median']:.1f}",
        f"{100 * record['worst_tenth']:.1f}",
        str(record["one_empty"]),
        *("" if np.isnan(v) else f"{100 * v:.1f}" for v in spread),
    )


def _ranked(cases: pd.DataFrame) -> Iterator[Ranks]:
    """Ranks of the last checkpoint, where there are methods and patients enough."""
    scores = patient_runs(cases[cases["checkpoint"] == "last"])
    key: Key
    for key in (
        scores[["dataset", "labels", "checkpoint"]]
        .drop_duplicates()
        .itertuples(index=False, name=None)
    ):
        found = rank_methods(scores, key)
        if found is not None:
            yield found


def _rank_words(ranks: Ranks, facts: Facts) -> str:
    titles = {m.key: m.title for m in facts.methods}
    order = ", ".join(f"{titles[str(key)]} {value:.2f}" for key, value in ranks.mean.items())
    left = f"; left out: {', '.join(ranks.left_out)}" if ranks.left_out else ""
    return f"Mean ranks over {ranks.patients} patients (Friedman p = {ranks.p:.2g}): {order}{left}."


def _figure(ranked: list[Ranks], facts: Facts, folder: Path) -> list[Path]:
    """One critical-difference diagram per data set and labelled count."""
    if not ranked:
        return []
    titles = {m.key: m.title for m in facts.methods}
    heights = [0.9 + 0.13 * len(r.mean) for r in ranked]
    with figure_style(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the library, on methods that do not differ
        figure = new_figure(7.2, sum(heights))
        axes = figure.subplots(len(ranked), 1, squeeze=False, height_ratios=heights)[:, 0]
        for ax, ranks in zip(axes, ranked, strict=True):
            # Numbers stand for names while the library draws: it orders bars by hash, and only
            # those of numbers are the same in every process.
            numbers = {key: number for number, key in enumerate(ranks.mean.index)}
            named = ranks.pairwise.rename(index=numbers, columns=numbers)
            critical_difference_diagram(
                ranks.mean.rename(index=numbers), named, ax=ax, label_props={"size": 7},
                label_fmt_left="<{label}> {rank:.1f}  ", label_fmt_right="  {rank:.1f} <{label}>",
            )  # fmt: skip
            for text in ax.texts:
                for key, number in numbers.items():
                    text.set_text(text.get_text().replace(f"<{number}>", titles[str(key)]))
            dataset, labels, _ = ranks.key
            ax.set_title(f"{dataset}, {labels} labelled: mean rank over {ranks.patients} patients")
        return [save(figure, folder / f"ranks.{kind}") for kind in ("svg", "pdf", "png")]
