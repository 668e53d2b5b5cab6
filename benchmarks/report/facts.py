"""What the report says about a method or a data set besides numbers."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.config import BenchmarkConfig, check
from datasets import load_dataset
from methods import load_method


@dataclass(frozen=True)
class MethodFacts:
    """One column of the grid.

    Attributes:
        key: name in the grid, `<id>` or `<id>-<variant>`.
        id: of the method.
        variant: suffix, or "".
        title: name in tables and figures.
        footnote: caveat, or "".
        all_labels: trained with the labels of every training patient.
        baseline: the others are compared with it.
    """

    key: str
    id: str
    variant: str
    title: str
    footnote: str
    all_labels: bool
    baseline: bool = False


@dataclass(frozen=True)
class DatasetFacts:
    """One row of the grid.

    Attributes:
        id: of the data set.
        title: name in tables and figures; a synthetic one says so.
        synthetic: True for generated data.
        unit: of distances.
        classes: names of the foreground classes, in label order from 1.
    """

    id: str
    title: str
    synthetic: bool
    unit: str
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Facts:
    """Facts of a whole benchmark, in grid order."""

    datasets: tuple[DatasetFacts, ...]
    methods: tuple[MethodFacts, ...]

    @property
    def baseline(self) -> MethodFacts | None:
        """The method that the others are compared with, or None."""
        return next((m for m in self.methods if m.baseline), None)


def method_facts(config: BenchmarkConfig, key: str) -> MethodFacts:
    """Facts of a method as named in the grid.

    Raises:
        ConfigError: there is no such method.
    """
    name, _, variant = key.partition("-")
    method = load_method(name)
    title = f"{method.title}, {variant}" if variant else method.title
    is_baseline = key == config.grid.baseline
    return MethodFacts(key, name, variant, title, method.footnote, method.all_labels, is_baseline)


def dataset_facts(config: BenchmarkConfig, dataset: str) -> DatasetFacts:
    """Facts of a data set with the benchmark's preparation.

    Raises:
        ConfigError: there is no such data set, or its `prepare` block is wrong.
    """
    adapter = load_dataset(dataset)
    where = f"data.{dataset}.prepare"
    params = check(adapter.Params, config.data[dataset].prepare, where=where)
    title = adapter.title
    if adapter.synthetic and "synthetic phantom" not in title.lower():
        title = f"{title} (synthetic phantom)"
    classes = adapter.info(params).classes[1:]
    return DatasetFacts(dataset, title, adapter.synthetic, adapter.unit, classes)


def collect_facts(config: BenchmarkConfig) -> Facts:
    """Facts of everything in the grid.

    Raises:
        ConfigError: the grid names an unknown method or data set.
    """
    return Facts(
        tuple(dataset_facts(config, d) for d in config.grid.datasets),
        tuple(method_facts(config, m) for m in config.grid.methods),
    )
