"""The numbers of a page, JSON-ready: what its charts, tables and dialogs read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from benchmarks.config import BenchmarkConfig
from benchmarks.plan.grid import base_of
from benchmarks.plan.resolve import method_params
from benchmarks.report.answer import answer
from benchmarks.report.contrasts import rulings
from benchmarks.report.cost import operations
from benchmarks.report.facts import DatasetFacts, Facts, MethodFacts
from benchmarks.report.mechanisms import Mechanisms
from benchmarks.report.notes import notes
from benchmarks.report.page import control_words
from benchmarks.report.results import Results
from benchmarks.report.sections import cell_title, sections, select
from benchmarks.report.web.looks import web_looks
from benchmarks.statistics.difference import Difference, phrase
from benchmarks.statistics.pairs import method_keys
from benchmarks.statistics.rule import MARGIN, less_is_better
from benchmarks.statistics.summary import patient_scores
from methods import load_method

Json = dict[str, Any]
# Of the case table, with title and what its interval is.
METRICS = {
    "dice": ("Dice", "95 % interval over runs and patients"),
    "nsd": ("NSD", ""),
    "jaccard": ("Jaccard", ""),
    "hd95_mm": ("HD95", "median and quartiles over patients"),
    "assd_mm": ("ASSD", "median and quartiles over patients"),
}
_ENDS = {"dice": "dice", "hd95_mm": "hd95", "assd_mm": "assd"}
_DIGITS = 4
ALL_LABELS = "all"


@dataclass(frozen=True)
class Inputs:
    """What a page is made of.

    Attributes:
        config: the benchmark.
        facts: its methods and data sets.
        results: what came out.
        mechanisms: judged ledgers, where there are any.
        curves: what the runs logged, where it was kept.
        pictures: of test cases, by data set.
    """

    config: BenchmarkConfig
    facts: Facts
    results: Results
    mechanisms: Mechanisms | None
    curves: pd.DataFrame | None
    pictures: Mapping[str, Json]


def payload(given: Inputs) -> Json:
    """All numbers of a page.

    Data sets, methods and cells (data set with labelled count) are lists, and other parts name
    them by their place (`d`, `m`, `c`). Scores are in the unit that is shown: percent, or that of
    the data set. What does not exist is null.
    """
    config, facts, results = given.config, given.facts, given.results
    found = answer(config, facts, results)
    return {
        "name": config.name,
        "question": config.question,
        "common": facts.common,
        "news": list(found.news),
        "result": found.result,
        "rulings": [
            {"title": f"{v.dataset}, {v.labels} labelled", "claim": v.claim, "ruling": v.ruling,
             "reason": v.reason, "numbers": list(v.numbers)}
            for v in rulings(config, facts, results)
        ],
        "margin": 100 * MARGIN,
        "controls": control_words(config),
        "equal": config.grid.equal,
        "notes": notes(config, facts, results),
        "metrics": [
            {"id": m, "title": title, "spread": spread, "less": less_is_better(m)}
            for m, (title, spread) in METRICS.items()
        ],
        "datasets": [_dataset(d, results.cases) for d in facts.datasets],
        "methods": _methods(config, facts),
        "cells": [
            {"d": place, "labels": n, "title": cell_title(d, n), "sample": section.sample}
            for (place, d, n), section in zip(
                _cells(config, facts), sections(config, facts, results), strict=True
            )
        ],
        "means": list(_means(config, facts, results)),
        "differences": list(_differences(config, facts, results)),
        "ranks": list(_ranks(config, facts, results)),
        "scores": list(_scores(facts, results)),
        "pictures": [given.pictures.get(d.id) for d in facts.datasets],
        "curves": [] if given.curves is None else list(_curves(facts, given.curves)),
        "terms": [] if given.mechanisms is None else list(_terms(facts, given.mechanisms)),
    }  # fmt: skip


def _cells(config: BenchmarkConfig, facts: Facts) -> list[tuple[int, DatasetFacts, int]]:
    """Place of the data set, data set and labelled count, as the sections are ordered."""
    return [(i, d, n) for i, d in enumerate(facts.datasets) for n in config.data[d.id].labels]


def _places(facts: Facts) -> tuple[dict[str, int], dict[str, int]]:
    """Places of data sets by id, and of methods by key."""
    return (
        {d.id: i for i, d in enumerate(facts.datasets)},
        {m.key: i for i, m in enumerate(facts.rows)},
    )


def shown(value: float, metric: str) -> float | None:
    """A score in the unit that is shown; None where there is none."""
    if value is None or math.isnan(value):
        return None
    return round(float(value) * (1 if less_is_better(metric) else 100), _DIGITS)


def _dataset(dataset: DatasetFacts, cases: pd.DataFrame) -> Json:
    own = cases[cases["dataset"] == dataset.id]
    each = own[["case", "patient"]].drop_duplicates().sort_values(["patient", "case"])
    return {
        "id": dataset.id, "title": dataset.title, "synthetic": dataset.synthetic,
        "short": dataset.title.replace("(synthetic phantom)", "phantom"), "unit": dataset.unit,
        "classes": list(dataset.classes),
        "cases": each["case"].tolist(), "patients": each["patient"].tolist(),
    }  # fmt: skip


def _methods(config: BenchmarkConfig, facts: Facts) -> list[Json]:
    looks = web_looks(facts)
    return [
        {
            "key": m.key, "title": m.title, "footnote": m.footnote, "allLabels": m.all_labels,
            "oracle": m.oracle, "reference": m.reference, "baseline": m.baseline,
            "external": m.external, **looks[m.key],
            **({} if m.external else _made(config, facts, m)),
        }
        for m in facts.rows
    ]  # fmt: skip


def _made(config: BenchmarkConfig, facts: Facts, method: MethodFacts) -> Json:
    """Citation, parameters and cost of a method of the grid.

    The cost is of a run, relative to supervised training on as many images for as many steps.
    """
    cls = load_method(base_of(method.key))
    params = method_params(config, method.key, facts.datasets[0].ndim)
    return {
        "paper": cls.paper,
        "params": params.model_dump(mode="json"),
        "cost": operations(config, facts, method.key),
    }


def _means(config: BenchmarkConfig, facts: Facts, results: Results) -> Iterable[Json]:
    """One row per cell and method of the last checkpoint; `n` is the row's own labelled count."""
    last = results.table[results.table["checkpoint"] == "last"]
    for c, (_, dataset, labels) in enumerate(_cells(config, facts)):
        rows = select(last, facts, dataset=dataset.id, labels=labels).to_dict("records")
        by_key: dict[str, Mapping[Any, Any]] = {str(row["key"]): row for row in rows}
        for m, method in enumerate(facts.rows):
            row = by_key.get(method.key)
            if row is None:
                continue
            done = results.done[dataset.id, int(row["labels"]), method.key]
            yield {
                "c": c, "m": m, "n": int(row["labels"]), "runs": done,
                "patients": int(row["patients"]), "failed": int(row["failed"]),
                "values": int(row["values"]),
                **{name: _mean(row, name) for name in METRICS},
            }  # fmt: skip


def _mean(row: Mapping[Any, Any], metric: str) -> list[float | None]:
    """Value with both ends."""
    value = shown(row[metric], metric)
    end = _ENDS.get(metric)
    ends = [shown(row[f"{end}_{side}"], metric) if end else None for side in ("low", "high")]
    return [value, *ends]


def _differences(config: BenchmarkConfig, facts: Facts, results: Results) -> Iterable[Json]:
    """Comparisons of the last checkpoint in points, by family."""
    _, methods = _places(facts)
    cells = {(d.id, n): c for c, (_, d, n) in enumerate(_cells(config, facts))}
    families = {
        "baseline": (*results.baseline, *results.external),
        "declared": results.declared,
        "controls": results.controls,
    }
    for family, differences in families.items():
        for d in differences:
            trained = {d.better, d.than} <= methods.keys()
            if trained and d.checkpoint == "last" and (d.dataset, d.labels) in cells:
                yield {
                    "c": cells[d.dataset, d.labels], "m": methods[d.better],
                    "than": methods[d.than], "family": family, "name": d.name, **_difference(d),
                }  # fmt: skip


def _difference(d: Difference) -> Json:
    numbers = {"mean": d.mean, "low": d.low, "high": d.high}
    chances = {"p": d.p_holm, "false": d.p_false}
    return {
        **{name: shown(value, "dice") for name, value in numbers.items()},
        **{name: None if math.isnan(value) else round(value, 6) for name, value in chances.items()},
        "wins": d.wins, "ties": d.ties, "losses": d.losses, "word": d.outcome,
        "phrase": phrase(d),
    }  # fmt: skip


def _ranks(config: BenchmarkConfig, facts: Facts, results: Results) -> Iterable[Json]:
    _, methods = _places(facts)
    cells = {(d.id, n): c for c, (_, d, n) in enumerate(_cells(config, facts))}
    for r in results.ranks:
        if r.checkpoint == "last":
            yield {
                "c": cells[r.dataset, r.labels], "m": methods[r.method], "rank": r.rank,
                "low": r.low, "high": r.high, "separable": bool(r.separable),
                "beats": [methods[name] for name in r.beats],
            }  # fmt: skip


def _scores(facts: Facts, results: Results) -> Iterable[Json]:
    """Means over runs of every case, method and labelled count, of classes together and apart.

    Lists are in the order of the data set's `cases`; a method with all labels has the count `all`.
    """
    last = results.cases[results.cases["checkpoint"] == "last"]
    places, methods = _places(facts)
    metrics = list(METRICS)
    means = last.groupby(["dataset", "method", "variant", "labels", "patient", "case"], sort=False)[
        metrics
    ].mean()
    means = means.reset_index()
    classes = patient_scores(last, ["dice"], by=["class"])
    classes = classes.assign(key=method_keys(classes))
    parts: dict[Any, pd.DataFrame] = dict(
        iter(classes.groupby(["dataset", "key", "labels"], sort=False))
    )
    orders = {d.id: _dataset(d, results.cases)["cases"] for d in facts.datasets}
    key: Any
    for key, own in means.assign(key=method_keys(means)).groupby(
        ["dataset", "key", "labels"], sort=False
    ):
        dataset, name, labels = key
        cases = own.set_index("case")[metrics].reindex(orders[dataset])
        by_class = parts[key].groupby("class", sort=False)["dice"].mean()
        yield {
            "d": places[dataset], "m": methods[name],
            "n": ALL_LABELS if facts.rows[methods[name]].all_labels else int(labels),
            **{m: [shown(value, m) for value in cases[m]] for m in metrics},
            "classes": {str(part): shown(value, "dice") for part, value in by_class.items()},
        }  # fmt: skip


def _curves(facts: Facts, curves: pd.DataFrame) -> Iterable[Json]:
    """One row per curve, with lists of equal length."""
    places, methods = _places(facts)
    key: Any
    for key, own in curves.groupby(["dataset", "method", "labels", "series"], sort=False):
        dataset, name, labels, series = key
        if name not in methods:
            continue
        yield {
            "d": places[dataset], "m": methods[name], "series": series,
            "n": ALL_LABELS if facts.rows[methods[name]].all_labels else int(labels),
            "step": own["step"].tolist(),
            **{end: own[end].tolist() for end in ("mean", "low", "high")},
        }  # fmt: skip


def _terms(facts: Facts, found: Mechanisms) -> Iterable[Json]:
    """Judged terms, and the accuracy of pseudo-labels as rows of the kind `network`."""
    places, methods = _places(facts)
    numbers = ("start", "elements", "relative", "cosine", "value")
    for row in found.terms.to_dict("records"):
        method = methods[row["method"]]
        yield {
            "d": places[row["dataset"]], "m": method,
            "n": ALL_LABELS if facts.rows[method].all_labels else int(row["labels"]),
            "kind": row["kind"], "name": row["name"], "state": row["state"],
            "probes": int(row["probes"]), "silent": int(row["silent"]),
            **{k: None if math.isnan(row[k]) else round(float(row[k]), 6) for k in numbers},
        }  # fmt: skip
