"""Labelled patients of a data set, as numbers or as shares of the training patients."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from benchmarks.common.schema import Strict, refuse_twice

_SHARE = re.compile(r"(\d+(?:\.\d+)?) ?%")


class Share(Strict):
    """One share, such as "5%"."""

    percent: float = Field(gt=0, le=100, description="of the training patients with masks")
    patients: int | None = Field(None, ge=1, description="as many as these are, once it is known")

    def of(self, count: int) -> int:
        """Whole patients, rounded down, at least 1.

        So 5 % and 10 % of the 70 training patients of ACDC are the 3 and 7 of the literature.
        """
        return max(1, math.floor(count * self.percent / 100 + 1e-9))


class LabelCounts(Strict):
    """The labelled counts of a data set; `labels` of a file may hold numbers and shares."""

    labels: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        description='labelled patients, per cell; "5%": a share of the training patients'
    )
    shares: tuple[Share, ...] = Field(
        (), exclude_if=lambda given: not given, description="those of `labels` given as shares"
    )

    @model_validator(mode="before")
    @classmethod
    def _apart(cls, value: Any) -> Any:
        """Shares leave the list of numbers."""
        if not isinstance(value, dict) or not isinstance(value.get("labels"), list | tuple):
            return value
        shares = {
            item: float(match[1])
            for item in value["labels"]
            if isinstance(item, str) and (match := _SHARE.fullmatch(item))
        }
        for item, percent in shares.items():
            if not 0 < percent <= 100:
                raise ValueError(f"labels names '{item}'; a share is above 0 % and at most 100 %")
        if not shares:
            return value
        numbers = [item for item in value["labels"] if item not in shares]
        return {**value, "labels": numbers, "shares": [{"percent": p} for p in shares.values()]}

    @model_validator(mode="after")
    def _not_empty(self) -> LabelCounts:
        if not self.labels and not self.shares:
            raise ValueError('labels is empty; give numbers of patients such as [3, 7] or ["5%"]')
        for values in (self.labels, (share.percent for share in self.shares)):
            refuse_twice(values, "labels")
        return self

    @model_serializer(mode="wrap")
    def _as_given(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Shares in the list again, as a file has them."""
        value: dict[str, Any] = handler(self)
        if self.shares and "labels" in value:
            counts = {share.patients for share in self.shares}
            numbers = [n for n in self.labels if n not in counts]
            value["labels"] = [*numbers, *(f"{share.percent:g}%" for share in self.shares)]
            value.pop("shares", None)
        return value
