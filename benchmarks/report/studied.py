"""Which rows of a benchmark the kept studies of training lengths judge, and how."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import product

import pandas as pd

from benchmarks.config import BenchmarkConfig
from benchmarks.plan.grid import base_of
from benchmarks.plan.resolve import method_params, train_config
from benchmarks.plan.studies import Study
from benchmarks.report.convergence import read_lengths
from benchmarks.report.facts import Facts, MethodFacts
from benchmarks.statistics.convergence import Gain, gains


@dataclass(frozen=True)
class Studied:
    """What the kept studies say of the rows of a benchmark.

    Attributes:
        late: keys of rows that are not shown to be converged at the length that they have or a
            longer one, by data set and labelled count; those that no study has trained, or with
            fewer runs than a verdict needs, are not in it.
        unstudied: keys of rows that no study judges everywhere; none in a study itself.
        references: keys of rows with all labels that are not shown to be converged, by data set;
            none in a study itself.
    """

    late: dict[tuple[str, int], frozenset[str]]
    unstudied: tuple[str, ...]
    references: dict[str, tuple[str, ...]] = field(default_factory=dict)


def studied_rows(
    config: BenchmarkConfig,
    facts: Facts,
    studies: Iterable[Study],
    lengths: pd.DataFrame | None = None,
) -> Studied:
    """Judge rows by the studies that trained them alike, whatever they are called there.

    Args:
        config: the benchmark.
        facts: its methods and data sets.
        studies: kept ones, of any benchmarks.
        lengths: of the benchmark, if it is a study, whose kept table may be older or missing.

    Raises:
        RunError: a kept `convergence.csv` is damaged.
    """
    measured = [(s.config, read_lengths(s.table)) for s in studies if s.config.name != config.name]
    if lengths is not None:
        measured.append((config, lengths))
    own = list(_own_gains(config, facts, measured))
    unstudied = () if config.steps else _unstudied(config, facts, own)
    references = {} if config.steps else _references(facts, own)
    return Studied(_late(config, own), unstudied, references)


def _references(facts: Facts, own: Iterable[Gain]) -> dict[str, tuple[str, ...]]:
    whole = {m.key for m in facts.methods if m.all_labels}
    found: dict[str, dict[str, None]] = {}
    for gain in own:
        if gain.outcome == "unconverged" and gain.method in whole:
            found.setdefault(gain.dataset, {})[gain.method] = None
    return {dataset: tuple(keys) for dataset, keys in found.items()}


def _late(config: BenchmarkConfig, own: Iterable[Gain]) -> dict[tuple[str, int], frozenset[str]]:
    found: dict[tuple[str, int], set[str]] = {}
    for gain in own:
        inside = gain.labels in config.data[gain.dataset].labels  # not those of full supervision
        if gain.outcome == "unconverged" and inside:
            found.setdefault((gain.dataset, gain.labels), set()).add(gain.method)
    return {cell: frozenset(methods) for cell, methods in found.items()}


def _unstudied(config: BenchmarkConfig, facts: Facts, own: Iterable[Gain]) -> tuple[str, ...]:
    judged = [gain for gain in own if gain.outcome != "pilot"]
    cells = {(gain.dataset, gain.method, gain.labels) for gain in judged}
    whole = {(gain.dataset, gain.method) for gain in judged}

    def everywhere(method: MethodFacts, dataset: str) -> bool:
        if method.all_labels:
            return (dataset, method.key) in whole
        return all((dataset, method.key, n) in cells for n in config.data[dataset].labels)

    return tuple(
        method.key
        for method in facts.methods
        if not all(everywhere(method, dataset.id) for dataset in facts.datasets)
    )


def _own_gains(
    config: BenchmarkConfig,
    facts: Facts,
    measured: Iterable[tuple[BenchmarkConfig, pd.DataFrame]],
) -> Iterator[Gain]:
    """Gains of twice as many steps, of the rows of a benchmark at the length that they have."""
    for study, table in measured:
        found = gains(table)
        for dataset, method in product(facts.datasets, config.grid.methods):
            here = [gain for gain in found if gain.dataset == dataset.id]
            alike = [g for g in here if _alike(config, method, study, g, dataset.ndim)]
            steps = train_config(config, dataset.id, method).iterations
            for labels in dict.fromkeys(gain.labels for gain in alike):
                known = _known([gain for gain in alike if gain.labels == labels], steps)
                if known is not None:
                    yield replace(known, method=method)


def _known(own: Iterable[Gain], steps: int) -> Gain | None:
    """What the gains of a row from several lengths say of one of them, studied or not.

    A training has not converged if a longer one has not; of one that is longer than all, or shorter
    than one that has, nothing is known.
    """
    longer = [gain for gain in own if gain.steps >= steps]
    nearest = min(longer, key=lambda gain: gain.steps, default=None)
    if nearest and (nearest.steps == steps or nearest.outcome == "unconverged"):
        return nearest
    return None


def _alike(
    config: BenchmarkConfig, method: str, study: BenchmarkConfig, gain: Gain, ndim: int
) -> bool:
    """Whether a row is trained like that of a study but for its length, whatever their names."""
    if base_of(method) != base_of(gain.method):
        return False
    dataset = gain.dataset
    data, studied = config.data[dataset], study.data[dataset]
    train = train_config(config, dataset, method)
    as_long = {"iterations": train.iterations}
    return (
        (data.prepare, data.split) == (studied.prepare, studied.split)
        and train == train_config(study, dataset, gain.method).model_copy(update=as_long)
        and method_params(config, method, ndim) == method_params(study, gain.method, ndim)
    )
