"""What the report says about a method or a data set besides numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from benchmarks.common.schema import check
from benchmarks.config import ROW_BLOCKS, BenchmarkConfig
from benchmarks.plan.grid import split_key
from benchmarks.report.tables import plural
from datasets import load_dataset
from methods import load_method

_PARAMETERS = {"tau": "threshold", "tau_c": "temperature", "avg": "average"}


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
        oracle: reads the labels of images that it calls unlabelled.
        labels_alone: no unlabelled image takes part.
        baseline: the others are compared with it.
        row: the variant without swept values.
        values: swept parameters and their values as text.
        shade: place of the values among those of the row, in [0, 1).
        external: predicted outside this suite.
    """

    key: str
    id: str
    variant: str
    title: str
    footnote: str = ""
    all_labels: bool = False
    oracle: bool = False
    labels_alone: bool = False
    baseline: bool = False
    row: str = ""
    values: tuple[tuple[str, str], ...] = ()
    shade: float = 0.0
    external: bool = False

    @property
    def reference(self) -> bool:
        """Shown beside the others, neither ranked nor compared, since it has more labels."""
        return self.all_labels or self.oracle


@dataclass(frozen=True)
class DatasetFacts:
    """One row of the grid.

    Attributes:
        id: of the data set.
        title: name in tables and figures; a synthetic one says so.
        synthetic: True for generated data.
        unit: of distances.
        classes: names of the foreground classes, in label order from 1.
        tolerance: of NSD, in `unit`.
        ndim: of what networks see: 2 slices, 3 volumes.
        shares: labelled counts that were asked for as a share, with the percentage.
        word: for what is split and tested, `patient` or what stands for it.
        note: what a reader must know of the files, or "".
    """

    id: str
    title: str
    synthetic: bool
    unit: str
    classes: tuple[str, ...]
    tolerance: float = 1.0
    ndim: int = 2
    shares: tuple[tuple[int, float], ...] = ()
    word: str = "patient"
    note: str = ""

    def labelled(self, count: int) -> str:
        """Such as "7 labelled patients"."""
        return plural(count, f"labelled {self.word}")


@dataclass(frozen=True)
class Facts:
    """Facts of a whole benchmark.

    Attributes:
        datasets: in grid order.
        methods: in grid order.
        external: rows that were predicted outside this suite.
        awaited: rows of declared contrasts that the grid does not train.
    """

    datasets: tuple[DatasetFacts, ...]
    methods: tuple[MethodFacts, ...]
    external: tuple[MethodFacts, ...] = ()
    awaited: tuple[MethodFacts, ...] = ()

    @property
    def rows(self) -> tuple[MethodFacts, ...]:
        """All rows of the tables, those of the grid first."""
        return self.methods + self.external

    def dataset(self, name: str) -> DatasetFacts:
        """Facts of a data set, by id or title."""
        return next(d for d in self.datasets if name in {d.id, d.title})

    @property
    def baseline(self) -> MethodFacts | None:
        """The method that the others are compared with, or None."""
        return next((m for m in self.methods if m.baseline), None)

    @property
    def whole(self) -> tuple[MethodFacts, ...]:
        """Rows with the labels of every training patient."""
        return tuple(m for m in self.rows if m.all_labels)

    @property
    def titles(self) -> dict[str, str]:
        """Names of methods and data sets, by key or id."""
        named = {m.key: m.title for m in (*self.rows, *self.awaited)}
        return named | {d.id: d.title for d in self.datasets}

    @property
    def compared(self) -> tuple[MethodFacts, ...]:
        """Rows of the grid that train neither on labels alone nor with more labels than others."""
        return tuple(m for m in self.methods if not (m.labels_alone or m.reference))

    @property
    def controls(self) -> tuple[MethodFacts, ...]:
        """Rows on labels alone beside the baseline.

        Swept rows are no controls: their values are in question themselves.
        """
        return tuple(m for m in self.methods if m.labels_alone and not (m.baseline or m.values))

    @property
    def common(self) -> str:
        """A sentence where all compared rows are variants of one method, else ""."""
        rows = self.compared
        if len(rows) < 2 or len({m.id for m in rows}) > 1:
            return ""
        which = "All rows" if len(rows) == len(self.methods) else "All rows but supervision"
        return f"{which} are variants of {load_method(rows[0].id).title}."


def split_variant(method: str, variant: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The row of the ablation and its swept values, of a variant's name.

    Args:
        method: id, whose parameters may be swept.
        variant: such as `a5_tau=0.25_tau_c=0.1`.

    Returns:
        `("a5", (("tau", "0.25"), ("tau_c", "0.1")))`.
    """
    pattern = _swept(method)
    return pattern.split(variant, maxsplit=1)[0], tuple(pattern.findall(variant))


@lru_cache
def _swept(method: str) -> re.Pattern[str]:
    """Of `<row>_<parameter>=<value>`, as made by `plan.sweeps.swept`; values may hold `_`."""
    names = "|".join((*load_method(method).Params.model_fields, *ROW_BLOCKS))
    return re.compile(rf"(?:^|_)({names})=(.+?)(?=_(?:{names})=|$)")


def parameter_title(name: str) -> str:
    """Name of a swept parameter in tables and figures."""
    return _PARAMETERS.get(name, name.replace("_", " "))


def method_facts(config: BenchmarkConfig, key: str) -> MethodFacts:
    """Facts of a method as named in the grid.

    Raises:
        ConfigError: there is no such method.
    """
    name, variant = split_key(key)
    method = load_method(name)
    row, values = split_variant(name, variant)
    own = [v for base, v in map(split_key, config.methods) if base == name]
    blocks = [split_variant(name, v) for v in own]
    swept = [v for r, v in blocks if r == row and v]
    return MethodFacts(
        key, name, variant, _title(config, key, method.title), method.footnote, method.all_labels,
        method.oracle,
        labels_alone=not (method.uses_unlabeled or method.all_labels),
        baseline=key == config.grid.baseline,
        row=row,
        values=values,
        shade=swept.index(values) / len(swept) if values else 0.0,
    )  # fmt: skip


def _title(config: BenchmarkConfig, key: str, method: str) -> str:
    """The name given in the file, else the method's with the variant; swept values in words."""
    if key in config.titles:
        return config.titles[key]
    name, variant = split_key(key)
    row, values = split_variant(name, variant)
    default = f"{method}, {row}" if row else method
    words = [config.titles.get(f"{name}-{row}" if row else name, default)]
    for parameter, value in values:
        joint = " " if re.fullmatch(r"[-+.e\d]+", value) else ": "
        words.append(f"{parameter_title(parameter)}{joint}{value.replace('_', ' ')}")
    return ", ".join(words)


def dataset_facts(config: BenchmarkConfig, dataset: str) -> DatasetFacts:
    """Facts of a data set with the benchmark's preparation.

    Raises:
        ConfigError: there is no such data set, or its `prepare` block is wrong.
    """
    adapter = load_dataset(dataset)
    where = f"data.{dataset}.prepare"
    params = check(adapter.Params, config.data[dataset].prepare, where=where)
    block = config.data[dataset]
    title = block.title or adapter.title
    if adapter.synthetic and "synthetic phantom" not in title.lower():
        title = f"{title} (synthetic phantom)"
    info = adapter.info(params)
    return DatasetFacts(
        dataset, title, adapter.synthetic, block.unit or adapter.unit, info.classes[1:],
        adapter.tolerance, info.ndim,
        tuple((s.patients, s.percent) for s in block.shares if s.patients is not None),
        block.word, block.note,
    )  # fmt: skip


def collect_facts(config: BenchmarkConfig) -> Facts:
    """Facts of everything in the grid.

    Raises:
        ConfigError: the grid names an unknown method or data set.
    """
    declared = dict.fromkeys(m for c in config.contrasts for m in (c.better, c.than))
    return Facts(
        tuple(dataset_facts(config, d) for d in config.grid.datasets),
        tuple(method_facts(config, m) for m in config.grid.methods),
        awaited=tuple(method_facts(config, m) for m in declared if m not in config.grid.methods),
    )
