"""params.yaml as checked, typed values; unknown keys are refused with path and nearest key."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from benchmarks.common.errors import ConfigError, nearest
from benchmarks.common.schema import Strict, check, merge
from benchmarks.common.shares import LabelCounts
from benchmarks.common.strict_yaml import load_yaml
from benchmarks.common.workspace import RESERVED
from benchmarks.config.grid import (
    ROW_BLOCKS,
    ClaimConfig,
    ContrastConfig,
    Count,
    GridConfig,
    SweepConfig,
)
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
    title: str | None = Field(
        None,
        min_length=1,
        description="in tables and figures, where the files are others than the data set's;"
        " null: the data set's own",
    )
    word: str = Field(
        "patient",
        min_length=1,
        description="for what is split and tested, where it is no patient known by an id: `slice`",
    )
    note: str = Field("", description="what a reader of the report must know of the files")
    train: dict[str, Any] = Field(default_factory=dict, description="overrides of `train`")


class RuntimeConfig(Strict):
    """What changes how fast a run goes, not what it computes; no part of a run's identity."""

    jobs: Count | Literal["auto"] = Field(
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
    steps: dict[str, Count] = Field(
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
        if self.steps and self.grid.equal == "operations":
            raise ValueError(
                "the block `steps` and `grid.equal: operations` both set the training length; leave"
                " one out"
            )
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
