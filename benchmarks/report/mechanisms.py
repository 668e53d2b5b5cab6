"""Which loss terms were at work in the runs behind a table, and how right pseudo-labels were."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.common.ledger import COLUMNS
from benchmarks.common.workspace import MECHANISMS, PSEUDO_LABELS, report_folder
from benchmarks.config import BenchmarkConfig
from benchmarks.report.facts import Facts
from benchmarks.report.load import Source, read_columns
from benchmarks.report.sections import cell_title
from benchmarks.report.tables import number, pipe_table
from benchmarks.statistics.mechanisms import FAINT, GRACE, INERT, LATE, SUMMARY, judge_terms

DECIMALS = 6
_CELL = ["dataset", "method", "labels", "network"]
_SHARES = ("dice", "accuracy")
_LABELS = [*_CELL, "runs", "patients", *_SHARES]
_RUN = ["labels", "fold", "seed"]
_HEADER = (
    "Method", "Term", "Starts at, % of the run", "Probes without effect", "Acted on",
    "Gradient / supervised", "Cosine", "Player right, %", "State",
)  # fmt: skip
_NETWORKS = ("Method", "Network", "Dice, %", "Pixels right, %")
_NOTES = f"""- Probes: a few steps of every run, evenly spread, at which the gradient of every
  term was taken for the tested network. Without effect: nothing to act on, or a gradient of
  exactly 0.
- inert: without effect in more than {100 * INERT:.0f} % of the probes after the term's start, which
  is its first probe with an effect, at the latest {100 * GRACE:.0f} % of the run after the method
  first states it. Comparisons with such a row are not tested.
- faint: gradient below {100 * FAINT:.0f} % of the supervised one (median), at full weight.
  auxiliary: trains other modules only.
- Acted on, gradient, cosine: medians over the last {100 * LATE:.0f} % of all runs (of a term that
  ends before: over the last steps it has; where runs were joined in parts: means of the parts'
  medians). Acted on:
  pixels, anchors or images in a step; empty: all that the step has. Cosine: of the angle between
  the gradients of the term and of supervision.
- Player right: accuracy of what the term trains or uses, such as a discriminator.
- Thresholds (`benchmarks/statistics/mechanisms.py`) were set before any ledger was judged."""
_PSEUDO = (
    "What the networks make of unlabelled training images, last checkpoint, mean over runs. Their"
    " references are read after training, by the evaluation alone. Networks beside the tested one,"
    " such as teachers and other decoders, are in train mode, with the slices of one case as the"
    " batch of their batch norm: they compare with each other, not with the tested one."
)


@dataclass(frozen=True)
class Mechanisms:
    """Ledgers and accuracy of pseudo-labels of all runs of a benchmark.

    Attributes:
        terms: from `judge_terms`.
        labels: mean over runs by network, with `dice` and `accuracy` in [0, 1]; may have no rows.
    """

    terms: pd.DataFrame
    labels: pd.DataFrame


def read_mechanisms(config: BenchmarkConfig, facts: Facts, source: Source) -> Mechanisms | None:
    """Judge the ledgers of the grid's runs.

    Args:
        config: the benchmark.
        facts: its methods and data sets.
        source: of the scores, or of the kept tables.

    Returns:
        All rounded to `DECIMALS`; None where a kept report is older than the ledger.

    Raises:
        RunError: a file is missing or damaged.
    """
    if source.kept:
        folder = report_folder(source.root, config.name)
        if not (folder / MECHANISMS).is_file():
            return None
        terms = _read(folder / MECHANISMS, SUMMARY)
        states = terms["state"].astype(object).fillna("")
        return Mechanisms(terms.assign(state=states), _read(folder / PSEUDO_LABELS, _LABELS))
    entries, labels = [], []
    for dataset, method, folder in source.scored(config, facts):
        row = {"dataset": dataset, "method": method}
        entries.append(_read(folder / MECHANISMS, [*_RUN, *COLUMNS]).assign(**row))
        columns = [*_RUN, "network", "patients", "dice", "accuracy"]
        labels.append(_read(folder / PSEUDO_LABELS, columns).assign(**row))
    # Rounded before use, so that the kept files give the same tables and figure.
    terms = judge_terms(pd.concat(entries, ignore_index=True)).round(DECIMALS)
    return Mechanisms(terms, _means(pd.concat(labels, ignore_index=True)).round(DECIMALS))


def _read(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    return read_columns(path, columns, what="ledger", again="evaluate again")


def _means(labels: pd.DataFrame) -> pd.DataFrame:
    found = labels.groupby(_CELL, sort=False).agg(
        runs=("dice", "size"), patients=("patients", "max"), dice=("dice", "mean"),
        accuracy=("accuracy", "mean"),
    )  # fmt: skip
    return found.reset_index().reindex(columns=_LABELS).astype(dict.fromkeys(_SHARES, float))


def mechanisms_section(config: BenchmarkConfig, facts: Facts, found: Mechanisms) -> str:
    """The tables of terms and pseudo-labels, by data set and labelled count, as Markdown."""
    titles, parts = facts.titles, []
    for dataset in facts.datasets:
        for labels in config.data[dataset.id].labels:
            terms, networks = (
                frame[(frame["dataset"] == dataset.id) & (frame["labels"] == labels)]
                for frame in (found.terms, found.labels)
            )
            rows = _term_rows(terms, titles)
            if rows:
                parts.append(f"### {cell_title(dataset, labels)}")
                parts.append(pipe_table(_HEADER, rows, words=(0, 1, len(_HEADER) - 1)))
            if len(networks):
                rows = tuple(_network_row(row, titles) for row in networks.to_dict("records"))
                parts += [_PSEUDO, pipe_table(_NETWORKS, rows, words=(0, 1))]
    return "\n\n".join([*parts, _NOTES])


def _term_rows(terms: pd.DataFrame, titles: Mapping[str, str]) -> tuple[tuple[str, ...], ...]:
    """All terms but supervision."""
    observed = terms[terms["kind"] == "observed"].set_index(["method", "name"])["value"]
    shown = terms[terms["kind"].isin(["term", "auxiliary"])]
    return tuple(
        _term_row(row, titles, observed.get((row["method"], f"{row['name']}_correct"), math.nan))
        for row in shown.to_dict("records")
    )


def _term_row(row: Mapping[Any, Any], titles: Mapping[str, str], right: float) -> tuple[str, ...]:
    auxiliary = row["kind"] == "auxiliary"
    return (
        titles[row["method"]],
        f"`{row['name']}`",
        f"{100 * row['start']:.0f}",
        "" if auxiliary else f"{row['silent']} of {row['probes']}",
        "" if math.isnan(row["elements"]) else f"{row['elements']:,.0f}",
        "" if auxiliary else share(row["relative"]),
        "" if math.isnan(row["cosine"]) else f"{row['cosine'] + 0.0:.2f}",
        "" if math.isnan(right) else number(100 * right),
        "auxiliary" if auxiliary else row["state"] or "at work",
    )


def _network_row(row: Mapping[Any, Any], titles: Mapping[str, str]) -> tuple[str, ...]:
    shares = (number(100 * row[name]) for name in ("dice", "accuracy"))
    return (titles[row["method"]], row["network"].replace("_", " "), *shares)


def share(value: float) -> str:
    """A ratio of gradients with two significant digits, never in powers of ten."""
    if math.isnan(value):
        return ""
    return "0" if value == 0 else f"{float(f'{value:.1e}'):.7f}".rstrip("0").rstrip(".")
