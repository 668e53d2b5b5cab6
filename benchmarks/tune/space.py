"""What is searched: ranges declared at the parameter models' fields, or given by hand."""

from __future__ import annotations

import math
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from benchmarks.common.errors import ConfigError, nearest
from benchmarks.config import TrainConfig
from methods import load_method

if TYPE_CHECKING:
    from optuna import Trial

_TRAIN = "train."


@dataclass(frozen=True)
class Range:
    """Range of one parameter.

    Attributes:
        name: a method's parameter, or a dotted one of `train`, such as `train.optimizer.lr`.
        low: smallest value.
        high: largest value.
        log: drawn evenly on a logarithmic scale.
        integer: whole numbers only.
    """

    name: str
    low: float
    high: float
    log: bool = False
    integer: bool = False

    @property
    def possible(self) -> bool:
        """Whether there is something to draw, and ends are whole where values are."""
        ends = (self.low, self.high)
        if not all(math.isfinite(end) for end in ends) or self.low >= self.high:
            return False
        whole = not self.integer or all(end.is_integer() for end in ends)
        return whole and (self.low > 0 or not self.log)

    @property
    def lowest(self) -> float | int:
        """The low end as a value that may be drawn."""
        return int(self.low) if self.integer else self.low

    @property
    def highest(self) -> float | int:
        """The high end as a value that may be drawn."""
        return int(self.high) if self.integer else self.high

    @property
    def text(self) -> str:
        """As it is given on the command line."""
        return f"{self.lowest}:{self.highest}{':log' * self.log}"

    def draw(self, trial: Trial) -> float | int:
        """A value for a trial."""
        if self.integer:
            return trial.suggest_int(self.name, int(self.low), int(self.high), log=self.log)
        return trial.suggest_float(self.name, self.low, self.high, log=self.log)


def declared_ranges(model: type[BaseModel]) -> list[Range]:
    """Ranges that a model's fields declare as `json_schema_extra={"tune": [low, high, "log"]}`."""
    found = []
    for name, field in model.model_fields.items():
        extra = field.json_schema_extra
        given = extra.get("tune") if isinstance(extra, dict) else None
        if isinstance(given, list):
            low, high, *scale = given
            integer = _is_whole(name, field)
            found.append(Range(name, float(str(low)), float(str(high)), "log" in scale, integer))
    return found


def parse_range(text: str, method: str, train: TrainConfig) -> Range:
    """A range as `NAME=LOW:HIGH` or `NAME=LOW:HIGH:log`.

    Args:
        text: as given on the command line.
        method: id whose parameters may be named.
        train: how the data set's runs are trained, whose fields may be named too.

    Raises:
        ConfigError: no such form, no such parameter, no number, or an empty range.
    """
    name, _, ends = text.partition("=")
    if name == f"{_TRAIN}iterations":
        raise ConfigError(
            f"'{text}': methods would be trained for different numbers of steps, so their budgets"
            " would not be equal; give all of them the same with --iterations"
        )
    inside = name.startswith(_TRAIN)
    field = _field_of_train(name, train) if inside else _field_of_method(name, method)
    integer = _is_whole(name, field)
    try:
        low, high, *scale = ends.split(":")
        made = Range(name, float(low), float(high), scale == ["log"], integer)
    except ValueError:
        made, scale = Range(name, 1, 0), []
    if not made.possible or scale not in ([], ["log"]):
        raise ConfigError(
            f"'{text}' is no range; give NAME=LOW:HIGH with LOW < HIGH, or NAME=LOW:HIGH:log with"
            f" LOW > 0, such as tau_c=0.05:0.5:log{'; both are whole numbers here' * integer}"
        )
    return made


def _field_of_method(name: str, method: str) -> FieldInfo:
    fields = load_method(method).Params.model_fields
    if name not in fields:
        hint = nearest(name, fields)
        raise ConfigError(f"{method} has no parameter '{name}': {hint}; or `train.<name>`")
    return fields[name]


def _field_of_train(name: str, train: TrainConfig) -> FieldInfo:
    """The field of a dotted name, in the blocks as they are: of the network that is trained."""
    block: object = train
    way, *parts = name.split(".")
    for part in parts:
        fields = type(block).model_fields if isinstance(block, BaseModel) else {}
        if part not in fields:
            hint = nearest(f"{way}.{part}", (f"{way}.{field}" for field in fields))
            raise ConfigError(f"no setting '{name}': {hint}")
        block, way, field = getattr(block, part), f"{way}.{part}", fields[part]
    return field


def _is_whole(name: str, field: FieldInfo) -> bool:
    """Whether a field takes whole numbers alone; ConfigError if it takes no numbers."""
    kind = field.annotation
    kinds = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    if not {int, float} & set(kinds):
        raise ConfigError(f"'{name}' is no number, so it has no range; name another one")
    return float not in kinds


def space_of(method: str, given: Sequence[str], train: TrainConfig) -> list[Range]:
    """The ranges to search for a method: those given, else those its parameters declare.

    Args:
        method: id.
        given: on the command line.
        train: as in `parse_range`.

    Raises:
        ConfigError: the method declares none and none is given.
    """
    space = [parse_range(text, method, train) for text in given] or declared_ranges(
        load_method(method).Params
    )
    if not space:
        raise ConfigError(
            f"no parameter of {method} declares a range; give one with --parameter NAME=LOW:HIGH"
        )
    return space


def put(tree: MutableMapping[str, Any], way: Sequence[str], value: object) -> None:
    """Set a value inside nested blocks; those that are missing or empty are made."""
    *path, last = way
    for part in path:
        if tree.get(part) is None:
            tree[part] = {}
        tree = tree[part]
    tree[last] = value
