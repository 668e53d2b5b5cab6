"""params.yaml as checked, typed values; unknown keys are refused with path and nearest key."""

from __future__ import annotations

import re
from collections.abc import Collection
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from benchmarks.common.errors import ConfigError, nearest
from benchmarks.common.schema import Strict, check, merge, refuse_twice
from benchmarks.common.shares import LabelCounts
from benchmarks.common.strict_yaml import load_yaml
from benchmarks.common.workspace import RESERVED
from benchmarks.config.training import (
    MonaiConfig,
    Network,
    OptimizerConfig,
    SMPConfig,
    TrainConfig,
    UNetConfig,
)
from datasets.preparing.split import SplitConfig

__all__ = [
    "ROW_BLOCKS", "BenchmarkConfig", "ClaimConfig", "ContrastConfig", "DataConfig", "GridConfig",
    "MonaiConfig", "Network", "OptimizerConfig", "RuntimeConfig", "SMPConfig", "SweepConfig",
    "TrainConfig", "UNetConfig", "load_config",
]  # fmt: skip

# Names become parts of paths: no separator, no leading dot, no more than a folder's name may have.
_NAMES = {
    "data": (r"[a-z][a-z0-9_]{0,63}", "lower-case letters, digits and _"),
    "methods": (
        r"[a-z][a-z0-9_]{0,63}(-[A-Za-z0-9][A-Za-z0-9_.=+-]{0,119})?",
        "<method> or <method>-<variant>, a variant of letters, digits and _ . = + -",
    ),
    "sweeps": (r"[a-z0-9_]{1,64}", "lower-case letters, digits and _"),
}
# Blocks by key of `methods` with what a row has in place of `train`; a sweep may make rows of each.
ROW_BLOCKS = ("steps", "amp")
_Count = Annotated[int, Field(ge=1)]
_Natural = Annotated[int, Field(ge=0, lt=2**63)]


class DataConfig(LabelCounts):
    """One data set of the benchmark."""

    fetch: dict[str, Any] = Field(default_factory=dict, description="see the data set's file")
    prepare: dict[str, Any] = Field(default_factory=dict, description="see the data set's file")
    split: SplitConfig
    unit: Literal["mm", "voxels", "pixels"] | None = Field(
        None,
        description="of distances in the report, where the files' spacing is nominal or unknown;"
        " null: the data set's own",
    )
    train: dict[str, Any] = Field(default_factory=dict, description="overrides of `train`")


class GridConfig(Strict):
    """What is run."""

    datasets: tuple[str, ...] = Field(min_length=1)
    methods: tuple[str, ...] = Field(min_length=1, description="<method> or <method>-<variant>")
    seeds: tuple[_Natural, ...] = Field(min_length=1)
    folds: tuple[_Natural, ...] = Field((0,), min_length=1)
    bound: bool = Field(
        False,
        description="each fold has a seed of its own, the first the first one, and so on; else"
        " every fold is trained with every seed",
    )
    pilot: bool = Field(
        False, description="too few patients for a verdict, whatever the runs: every outcome is so"
    )
    baseline: str | None = Field(None, description="method that the report compares others with")
    equal: Literal["steps", "operations"] = Field(
        "steps",
        description="what all methods get the same of; operations: `train.iterations` are divided"
        " by the counted cost of the method's step",
    )

    @model_validator(mode="after")
    def _consistent(self) -> GridConfig:
        if self.baseline is not None and self.baseline not in self.methods:
            raise ValueError(
                f"grid.baseline '{self.baseline}': {nearest(self.baseline, self.methods)}"
            )
        for name in ("datasets", "methods", "seeds", "folds"):
            refuse_twice(getattr(self, name), f"grid.{name}")
        if self.bound and len(self.seeds) != len(self.folds):
            raise ValueError(
                f"grid.bound needs as many seeds as folds, not {len(self.seeds)} seeds and"
                f" {len(self.folds)} folds"
            )
        return self

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Fold and seed of every run of a cell."""
        if self.bound:
            return tuple(zip(self.folds, self.seeds, strict=True))
        return tuple(product(self.folds, self.seeds))

    def folds_of(self, seeds: Collection[int]) -> tuple[int, ...]:
        """Folds that are trained with some of the seeds: where they are bound, their own."""
        if not self.bound:
            return self.folds
        return tuple(fold for fold, seed in self.pairs if seed in seeds)


class ContrastConfig(Strict):
    """A comparison declared before the results are seen."""

    name: str = Field(min_length=1)
    better: str = Field(description="method whose score counts positive")
    than: str = Field(description="method that is subtracted")

    @model_validator(mode="after")
    def _of_two(self) -> ContrastConfig:
        if self.better == self.than:
            raise ValueError(f"contrast '{self.name}' compares '{self.better}' with itself")
        return self


class ClaimConfig(Strict):
    """A claim, and the contrasts that must all be superior for it to be supported."""

    text: str = Field(min_length=1)
    contrasts: tuple[str, ...] = Field(min_length=1)


class SweepConfig(Strict):
    """Variants made from methods and lists of parameter values, all combinations of them."""

    question: str = Field("", description="what the sweep is to answer, for its report")
    methods: tuple[str, ...] = Field(min_length=1, description="methods with blocks of their own")
    values: dict[str, tuple[Any, ...]] = Field(
        default_factory=dict, description="parameter: values; none: the methods as they are"
    )
    steps: tuple[_Count, ...] = Field(
        (), description="training lengths in place of `train.iterations`, each a row of its own"
    )
    amp: tuple[Literal["off", "bf16"], ...] = Field(
        (), description="arithmetic in place of `train.amp`, each a row, compared with the first"
    )
    seeds: tuple[_Natural, ...] | None = Field(None, description="in place of those of the grid")
    labels: tuple[_Count, ...] | None = Field(
        None, description="in place of those of the data sets"
    )
    equal: Literal["steps", "operations"] = Field("steps", description="as in the grid")

    @model_validator(mode="after")
    def _once(self) -> SweepConfig:
        lists = {n: getattr(self, n) for n in ("methods", *ROW_BLOCKS, "seeds", "labels")}
        for name, values in {**lists, **self.values}.items():
            refuse_twice(values or (), f"{name} of a sweep")
        for name in self.values.keys() & set(ROW_BLOCKS):
            raise ValueError(f"values.{name}: of a sweep this is `{name}`, beside `values`")
        return self


class RuntimeConfig(Strict):
    """What changes how fast a run goes, not what it computes; no part of a run's identity."""

    jobs: _Count | Literal["auto"] = Field(
        "auto", description="runs at once; auto: one per core, or as many as fit on all cards"
    )
    checkpoint_seconds: float = Field(60.0, ge=0, description="between resumable states")

    @property
    def fixed_jobs(self) -> int | None:
        """Runs at once, or None where the machine decides."""
        return None if self.jobs == "auto" else self.jobs


class BenchmarkConfig(Strict):
    """A whole params.yaml."""

    name: str = Field(pattern=r"^[a-z0-9_]+$", max_length=128)
    question: str = Field("", description="what the benchmark is to answer, for its report")
    grid: GridConfig
    data: dict[str, DataConfig]
    train: TrainConfig
    methods: dict[str, dict[str, Any]]
    titles: dict[str, str] = Field(
        default_factory=dict, description="names in tables and figures, by key of `methods`"
    )
    steps: dict[str, _Count] = Field(
        default_factory=dict,
        description="iterations in place of `train.iterations`, by key of `methods`; the schedule"
        " is that of the shorter or longer run",
    )
    amp: dict[str, Literal["off", "bf16"]] = Field(
        default_factory=dict, description="in place of `train.amp`, by key of `methods`"
    )
    sweeps: dict[str, SweepConfig] = Field(default_factory=dict)
    contrasts: tuple[ContrastConfig, ...] = ()
    claim: ClaimConfig | None = None
    runtime: RuntimeConfig = RuntimeConfig()

    @field_validator("name")
    @classmethod
    def _not_reserved(cls, name: str) -> str:
        if name in RESERVED:
            raise ValueError(f"the folder 'reports/{name}' has another use; choose another name")
        return name

    @model_validator(mode="after")
    def _names_allowed(self) -> BenchmarkConfig:
        for block, (pattern, words) in _NAMES.items():
            for name in getattr(self, block):
                if not re.fullmatch(pattern, name):
                    raise ValueError(f"{block}.{name!r}: this name is not allowed; {words}")
        return self

    @model_validator(mode="after")
    def _blocks_present(self) -> BenchmarkConfig:
        for kind, wanted, blocks in (
            ("data", self.grid.datasets, self.data),
            ("methods", self.grid.methods, self.methods),
        ):
            missing = sorted(set(wanted) - set(blocks))
            if missing:
                name, add = missing[0], "or add such a block (it may be empty: {})"
                raise ValueError(f"no block `{kind}.{name}`: {nearest(name, blocks)}; {add}")
        return self

    @model_validator(mode="after")
    def _titles_known(self) -> BenchmarkConfig:
        for key, title in self.titles.items():
            if key not in self.methods:
                raise ValueError(f"titles names '{key}': {nearest(key, self.methods)}")
            if not title.strip():
                raise ValueError(f"titles.{key} is empty")
        shown = [self.titles[key] for key in self.grid.methods if key in self.titles]
        twice = sorted({title for title in shown if shown.count(title) > 1})
        if twice:
            raise ValueError(f"titles gives two methods the name '{twice[0]}'")
        return self

    @model_validator(mode="after")
    def _steps_known(self) -> BenchmarkConfig:
        for block in ROW_BLOCKS:
            for key in getattr(self, block):
                if key not in self.methods:
                    raise ValueError(f"{block} names '{key}': {nearest(key, self.methods)}")
        return self

    @model_validator(mode="after")
    def _contrasts_known(self) -> BenchmarkConfig:
        """Their rows have a block; those that the grid does not train yet are not tested."""
        for contrast in self.contrasts:
            for method in (contrast.better, contrast.than):
                if method not in self.methods:
                    hint = nearest(method, self.methods)
                    raise ValueError(f"contrast '{contrast.name}' names '{method}': {hint}")
        names = [contrast.name for contrast in self.contrasts]
        if len(set(names)) != len(names):
            raise ValueError(f"contrasts gives two comparisons one name: {names}")
        for name in self.claim.contrasts if self.claim else ():
            if name not in names:
                raise ValueError(f"claim.contrasts names '{name}': {nearest(name, names)}")
        return self

    def train_for(self, dataset: str) -> TrainConfig:
        """`train` with the overrides of `data.<dataset>.train`, which win."""
        merged = merge(self.train.model_dump(mode="json"), self.data[dataset].train)
        return check(TrainConfig, merged, where=f"data.{dataset}.train")


def load_config(path: Path) -> BenchmarkConfig:
    """Read and check a parameter file.

    Args:
        path: YAML file such as params.yaml.

    Raises:
        ConfigError: the file is missing, no YAML, ambiguous (`load_yaml`), or has a wrong key, type
            or value.
    """
    if not path.is_file():
        raise ConfigError(f"no parameter file '{path}'; the default is params.yaml in the checkout")
    value, lines = load_yaml(path)
    if not isinstance(value, dict):
        raise ConfigError(
            f"'{path}' must hold a mapping with the keys name, grid, data, train, methods"
        )
    try:
        return check(BenchmarkConfig, value, lines=lines)
    except ConfigError as error:
        raise ConfigError(f"in '{path}':\n{error}") from None
