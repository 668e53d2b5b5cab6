"""params.yaml as checked, typed values; unknown keys are refused with path and nearest key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from benchmarks.errors import ConfigError, nearest


class Strict(BaseModel):
    """Base of every block: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class UNetConfig(Strict):
    """The U-Net of the SSL4MIS protocol (methods share it), 2D or 3D."""

    kind: Literal["unet"] = "unet"
    channels: tuple[int, ...] = Field(
        (16, 32, 64, 128, 256), min_length=4, max_length=6, description="channels per level"
    )


class SMPConfig(Strict):
    """U-Net of segmentation-models-pytorch with any of its encoders, 2D."""

    kind: Literal["smp"]
    encoder: str = "resnet34"
    weights: str | None = Field(None, description="pre-trained weights; null trains from scratch")


class MonaiConfig(Strict):
    """BasicUNet of MONAI, 2D or 3D."""

    kind: Literal["monai"]
    features: tuple[int, int, int, int, int, int] = (16, 32, 64, 128, 256, 16)
    dropout: float = Field(0.1, ge=0, lt=1)


Network = Annotated[UNetConfig | SMPConfig | MonaiConfig, Field(discriminator="kind")]


class OptimizerConfig(Strict):
    """Optimiser and learning-rate schedule."""

    kind: Literal["sgd", "adamw"] = "sgd"
    lr: float = Field(0.01, gt=0)
    momentum: float = Field(0.9, ge=0, lt=1, description="SGD only")
    weight_decay: float = Field(1e-4, ge=0)
    schedule: Literal["poly", "constant"] = "poly"
    power: float = Field(0.9, gt=0, description="of the poly schedule (1 - t/T)^power")


class TrainConfig(Strict):
    """How every method is trained."""

    iterations: int = Field(ge=1)
    labeled_batch: int = Field(ge=1, description="labelled images per step")
    unlabeled_batch: int = Field(ge=1, description="unlabelled images per step")
    patch: tuple[int, ...] | None = Field(
        None, min_length=2, max_length=3, description="random crop (*S, voxels); null: whole grid"
    )
    inference: Literal["windows", "whole"] = Field(
        "windows", description="3D prediction: overlapping windows of `patch`, or in one piece"
    )
    network: Network = UNetConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    augment: Literal["none", "suite", "ssl4mis"] = "suite"
    validations: int = Field(10, ge=1, description="validations per run, evenly spaced")
    amp: Literal["auto", "off", "bf16", "fp16"] = Field(
        "auto", description="autocast; auto: bf16 on CUDA, off on CPU"
    )
    channels_last: bool = True
    compile: bool = Field(
        False, description="torch.compile the networks; on CPU it is slower (reports/speed)"
    )
    skip_nonfinite: int = Field(
        0,
        ge=0,
        description="iterations with a loss that is not finite to leave out before the run stops",
    )


class SplitConfig(Strict):
    """How patients are divided. Labelled subsets are the first n of each fold's training order."""

    scheme: str = Field("seeded", description="seeded, cv, or the name of a public split")
    seed: int = Field(0, ge=0)
    val: int = Field(0, ge=0, description="validation patients (seeded, cv)")
    test: int = Field(0, ge=0, description="test patients (seeded)")
    folds: int = Field(1, ge=1, description="seeded: labelled orders; cv: test parts")


class DataConfig(Strict):
    """One data set of the benchmark."""

    labels: tuple[int, ...] = Field(min_length=1, description="labelled patients, per cell")
    fetch: dict[str, Any] = Field(default_factory=dict, description="see the data set's file")
    prepare: dict[str, Any] = Field(default_factory=dict, description="see the data set's file")
    split: SplitConfig
    train: dict[str, Any] = Field(default_factory=dict, description="overrides of `train`")


class GridConfig(Strict):
    """What is run."""

    datasets: tuple[str, ...] = Field(min_length=1)
    methods: tuple[str, ...] = Field(min_length=1, description="<method> or <method>-<variant>")
    seeds: tuple[int, ...] = Field(min_length=1)
    folds: tuple[int, ...] = (0,)
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
            values = getattr(self, name)
            if len(set(values)) != len(values):
                raise ValueError(f"grid.{name} names a value twice: {list(values)}")
        return self


class ContrastConfig(Strict):
    """A comparison declared before the results are seen."""

    name: str = Field(min_length=1)
    better: str = Field(description="method whose score counts positive")
    than: str = Field(description="method that is subtracted")


class ClaimConfig(Strict):
    """A claim, and the contrasts that must all be superior for it to be supported."""

    text: str = Field(min_length=1)
    contrasts: tuple[str, ...] = Field(min_length=1)


class SweepConfig(Strict):
    """Variants made from methods and lists of parameter values, all combinations of them."""

    methods: tuple[str, ...] = Field(min_length=1, description="methods with blocks of their own")
    values: dict[str, tuple[Any, ...]] = Field(
        default_factory=dict, description="parameter: values; none: the methods as they are"
    )
    seeds: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(
        None, description="in place of those of the grid"
    )
    equal: Literal["steps", "operations"] = Field("steps", description="as in the grid")


class RuntimeConfig(Strict):
    """What changes how fast a run goes, not what it computes; no part of a run's identity."""

    jobs: int | Literal["auto"] = Field(
        "auto", description="runs at once; auto: cores on CPU, else 1"
    )
    checkpoint_seconds: float = Field(60.0, ge=0, description="between resumable states")
    tensorboard: bool = False


class BenchmarkConfig(Strict):
    """A whole params.yaml."""

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    grid: GridConfig
    data: dict[str, DataConfig]
    train: TrainConfig
    methods: dict[str, dict[str, Any]]
    sweeps: dict[str, SweepConfig] = Field(default_factory=dict)
    contrasts: tuple[ContrastConfig, ...] = ()
    claim: ClaimConfig | None = None
    runtime: RuntimeConfig = RuntimeConfig()

    @model_validator(mode="after")
    def _blocks_present(self) -> BenchmarkConfig:
        for kind, wanted, blocks in (
            ("data", self.grid.datasets, self.data),
            ("methods", self.grid.methods, self.methods),
        ):
            missing = sorted(set(wanted) - set(blocks))
            if missing:
                raise ValueError(f"no block `{kind}.{missing[0]}`; add one (it may be empty: {{}})")
        return self

    @model_validator(mode="after")
    def _contrasts_known(self) -> BenchmarkConfig:
        for contrast in self.contrasts:
            for method in (contrast.better, contrast.than):
                if method not in self.grid.methods:
                    hint = nearest(method, self.grid.methods)
                    raise ValueError(f"contrast '{contrast.name}' names '{method}': {hint}")
        names = [contrast.name for contrast in self.contrasts]
        for name in self.claim.contrasts if self.claim else ():
            if name not in names:
                raise ValueError(f"claim.contrasts names '{name}': {nearest(name, names)}")
        return self

    def swept(self, sweep: str) -> BenchmarkConfig:
        """The benchmark `<name>_<sweep>`, whose methods are `<method>-<parameter>=<value>`.

        A sweep without values takes its methods as they are.

        Raises:
            ConfigError: no such sweep, or it names a method without a block.
        """
        if sweep not in self.sweeps:
            raise ConfigError(f"no sweep '{sweep}': {nearest(sweep, self.sweeps)}")
        chosen = self.sweeps[sweep]
        for method in chosen.methods:
            if method not in self.methods:
                raise ConfigError(
                    f"sweeps.{sweep}.methods names '{method}': {nearest(method, self.methods)}"
                )
        made: dict[str, dict[str, Any]] = {}
        for method, *values in product(chosen.methods, *chosen.values.values()):
            block = dict(zip(chosen.values, values, strict=True))
            suffix = "_".join(f"{key}={value}" for key, value in block.items())
            joint = ("_" if "-" in method else "-") if block else ""
            made[f"{method}{joint}{suffix}"] = {**self.methods[method], **block}
        fields = self.model_dump(mode="json")
        fields["name"] = f"{self.name}_{sweep}"
        baseline = self.grid.baseline if self.grid.baseline in made else None
        fields["grid"] |= {"methods": list(made), "baseline": baseline}
        fields["grid"]["seeds"] = chosen.seeds or fields["grid"]["seeds"]
        fields["grid"]["equal"] = chosen.equal
        fields["methods"] |= made
        fields |= {"contrasts": [], "claim": None}
        return check(BenchmarkConfig, fields, where=f"sweeps.{sweep}")

    def train_for(self, dataset: str) -> TrainConfig:
        """`train` with the overrides of `data.<dataset>.train`, which win."""
        merged = _merge(self.train.model_dump(mode="json"), self.data[dataset].train)
        return check(TrainConfig, merged, where=f"data.{dataset}.train")


M = TypeVar("M", bound=BaseModel)


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Nested update; a block that names another `kind` replaces the whole block."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            same_kind = value.get("kind", old.get("kind")) == old.get("kind")
            merged[key] = _merge(old, value) if same_kind else value
        else:
            merged[key] = value
    return merged


def check(model: type[M], value: object, *, where: str = "") -> M:
    """Validate a block and turn every problem into one readable error.

    Args:
        model: pydantic model of the block.
        value: what the file holds.
        where: path of the block, for the message.

    Raises:
        ConfigError: one line per problem with the key's path, what was given and what is allowed.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        lines = [_describe(model, problem, where) for problem in error.errors()]
        raise ConfigError("\n".join(lines)) from None


def _describe(model: type[BaseModel], problem: Any, where: str) -> str:
    path = ".".join(str(part) for part in ((where, *problem["loc"]) if where else problem["loc"]))
    if problem["type"] == "extra_forbidden":
        allowed = _fields_at(model, problem["loc"][:-1])
        return f"unknown key '{path}': {nearest(str(problem['loc'][-1]), allowed)}"
    if problem["type"] == "missing":
        return f"missing key '{path}'"
    given = "" if isinstance(problem["input"], Mapping) else f", given {problem['input']!r}"
    return f"'{path or 'parameters'}': {problem['msg'].removeprefix('Value error, ')}{given}"


def _fields_at(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """Field names of the model that stands at a path inside `model`."""
    candidates: list[Any] = [model]
    for part in path:
        found = []
        for candidate in candidates:
            field = getattr(candidate, "model_fields", {}).get(part)
            found += _models_in(field.annotation if field else candidate)
        candidates = found
    return sorted({name for c in candidates for name in getattr(c, "model_fields", {})})


def _models_in(annotation: Any) -> list[Any]:
    """All pydantic models named in a type annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for part in getattr(annotation, "__args__", ()) for m in _models_in(part)]


def load_config(path: Path) -> BenchmarkConfig:
    """Read and check a parameter file.

    Args:
        path: YAML file such as params.yaml.

    Raises:
        ConfigError: the file is missing, no YAML, or has a wrong key, type or value.
    """
    if not path.is_file():
        raise ConfigError(f"no parameter file '{path}'; the default is params.yaml in the checkout")
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"'{path}' is no readable YAML: {error}") from None
    if not isinstance(value, dict):
        raise ConfigError(
            f"'{path}' must hold a mapping with the keys name, grid, data, train, methods"
        )
    try:
        return check(BenchmarkConfig, value)
    except ConfigError as error:
        raise ConfigError(f"in '{path}':\n{error}") from None
