"""What is run and compared: the blocks `grid`, `contrasts`, `claim` and `sweeps`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from benchmarks.common.errors import nearest
from benchmarks.common.schema import Strict, refuse_twice

# Blocks by key of `methods` with what a row has in place of `train`; a sweep may make rows of each.
ROW_BLOCKS = ("steps", "amp")
Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0, lt=2**63)]


class GridConfig(Strict):
    """What is run."""

    datasets: tuple[str, ...] = Field(min_length=1)
    methods: tuple[str, ...] = Field(min_length=1, description="<method> or <method>-<variant>")
    seeds: tuple[Natural, ...] = Field(min_length=1)
    folds: tuple[Natural, ...] = Field((0,), min_length=1)
    bound: bool = Field(
        False,
        description="each fold has a seed of its own, the first the first one, and so on; else"
        " every fold is trained with every seed",
    )
    pilot: bool = Field(
        False,
        description="no verdict is possible, whatever the runs: too few patients, or no fair test",
    )
    baseline: str | None = Field(None, description="method that the report compares others with")
    looks: Count = Field(
        1,
        description="tables made of this benchmark while runs or rows were added, the present one"
        " included, and of others before it with declared comparisons of this one; of a second or"
        " later one, every p is multiplied by it and by one more",
    )
    controls: Literal["declared", "exploratory"] = Field(
        "declared",
        description="exploratory: that methods are compared with the controls was decided after"
        " rows of both had been read",
    )
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

    def of_seeds(self, seeds: Sequence[int]) -> dict[str, tuple[int, ...]]:
        """`seeds` and `folds` of a grid with some of the seeds; where they are bound, in order."""
        if not self.bound:
            return {"seeds": tuple(seeds), "folds": self.folds}
        pairs = [(fold, seed) for fold, seed in self.pairs if seed in seeds]
        return {"seeds": tuple(s for _, s in pairs), "folds": tuple(f for f, _ in pairs)}


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
    steps: tuple[Count, ...] = Field(
        (), description="training lengths in place of `train.iterations`, each a row of its own"
    )
    amp: tuple[Literal["off", "bf16"], ...] = Field(
        (), description="arithmetic in place of `train.amp`, each a row, compared with the first"
    )
    seeds: tuple[Natural, ...] | None = Field(
        None, min_length=1, description="in place of those of the grid"
    )
    labels: tuple[Count, ...] | None = Field(
        None, min_length=1, description="in place of those of the data sets"
    )
    baseline: str | None = Field(None, description="row to compare with; null: that of the grid")
    equal: Literal["steps", "operations"] = Field("steps", description="as in the grid")
    looks: Count = Field(1, description="as in the grid")
    controls: Literal["declared", "exploratory"] = Field("declared", description="as in the grid")

    @model_validator(mode="after")
    def _once(self) -> SweepConfig:
        lists = {n: getattr(self, n) for n in ("methods", *ROW_BLOCKS, "seeds", "labels")}
        for name, values in {**lists, **self.values}.items():
            refuse_twice(values or (), f"{name} of a sweep")
        if self.steps and self.equal == "operations":
            raise ValueError("steps and `equal: operations` of a sweep both set its lengths")
        for name in self.values.keys() & set(ROW_BLOCKS):
            raise ValueError(f"values.{name}: of a sweep this is `{name}`, beside `values`")
        return self
