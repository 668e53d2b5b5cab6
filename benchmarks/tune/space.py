"""What is searched: ranges declared at the parameter models' fields, or given by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import BaseModel

from benchmarks.common.errors import ConfigError, nearest
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
            integer = field.annotation is int
            found.append(Range(name, float(str(low)), float(str(high)), "log" in scale, integer))
    return found


def parse_range(text: str, method: str) -> Range:
    """A range as `NAME=LOW:HIGH` or `NAME=LOW:HIGH:log`.

    Args:
        text: as given on the command line.
        method: id whose parameters may be named.

    Raises:
        ConfigError: no such form, no such parameter, or an empty range.
    """
    name, _, ends = text.partition("=")
    fields = load_method(method).Params.model_fields
    if not name.startswith(_TRAIN) and name not in fields:
        hint = nearest(name, fields)
        raise ConfigError(f"{method} has no parameter '{name}': {hint}; or `train.<name>`")
    try:
        low, high, *scale = ends.split(":")
        made = Range(
            name,
            float(low),
            float(high),
            scale == ["log"],
            name in fields and fields[name].annotation is int,
        )
    except ValueError:
        made = Range(name, 1, 0)
        scale = []
    if made.low >= made.high or scale not in ([], ["log"]) or (made.log and made.low <= 0):
        raise ConfigError(
            f"'{text}' is no range; give NAME=LOW:HIGH with LOW < HIGH, or NAME=LOW:HIGH:log with"
            " LOW > 0, such as tau_c=0.05:0.5:log"
        )
    return made


def space_of(method: str, given: Sequence[str]) -> list[Range]:
    """The ranges to search for a method: those given, else those its parameters declare.

    Raises:
        ConfigError: the method declares none and none is given.
    """
    space = [parse_range(text, method) for text in given] or declared_ranges(
        load_method(method).Params
    )
    if not space:
        raise ConfigError(
            f"no parameter of {method} declares a range; give one with --parameter NAME=LOW:HIGH"
        )
    return space
